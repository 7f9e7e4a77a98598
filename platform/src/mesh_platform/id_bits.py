"""Event ids as text arrive; their 128 bits leave, as two columns of 64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_DIGITS = [place for place in range(_LENGTH) if place not in _DASHES]
# What each byte is worth as a digit; 255 is none.
_WORTH = np.full(256, 255, np.uint8)
_WORTH[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_NO_DIGITS = np.uint64(0xF0F0F0F0F0F0F0F0)
_FOUR_DASHES = np.uint32(0x2D2D2D2D)
# So many at a time stay in the processor's cache.
_AT_ONCE = 4096


def parse_ids(ids: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """The upper and the lower 64 bits of each id, and whether it is a UUID in small letters (`event.EVENT_ID`).

    `ids` are strings or large strings. The bits of what is no id, or null, mean nothing.
    """
    count = len(ids)
    upper, lower, well_formed = np.empty(count, np.uint64), np.empty(count, np.uint64), np.zeros(count, np.bool_)
    of_length = pc.fill_null(pc.equal(pc.binary_length(ids), _LENGTH), False)
    if not pc.all(of_length).as_py():
        ids = pc.if_else(of_length, ids, pa.scalar("-" * _LENGTH, ids.type))
    letters = np.frombuffer(_letters(ids), np.uint8).reshape(-1, _LENGTH)
    for start in range(0, count, _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        digits = _WORTH.take(letters[rows].take(_DIGITS, axis=1))
        eights = digits.view(np.uint64)
        none_wrong = (eights[:, 0] | eights[:, 1] | eights[:, 2] | eights[:, 3]) & _NO_DIGITS == 0
        well_formed[rows] = none_wrong & (letters[rows].take(_DASHES, axis=1).view(np.uint32)[:, 0] == _FOUR_DASHES)
        # Two digits to a byte: the first of a pair is the lower byte of a word of 16 bits.
        pairs = digits.view("<u2")
        words = (pairs << 4 | pairs >> 8).astype(np.uint8).view(">u8")
        upper[rows], lower[rows] = words[:, 0], words[:, 1]
    return upper, lower, well_formed


def _letters(ids: pa.Array) -> memoryview:
    if not len(ids):
        return memoryview(b"")
    _, offsets, letters = ids.buffers()
    width = np.int64 if pa.types.is_large_string(ids.type) else np.int32
    first = int(np.frombuffer(offsets, width)[ids.offset])
    return memoryview(letters)[first : first + len(ids) * _LENGTH]
