"""Parse event ids from text to their 128 bits, as two columns of 64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_LENGTH = 36
_DASHES = (8, 13, 18, 23)
_DASH = np.uint8(0x2D)
# Eight letters make one word; each of these constants repeats its value in every byte.
_ONES = np.uint64(0x0101010101010101)
_LOW = np.uint64(0x0F) * _ONES
_HIGH = np.uint64(0xF0) * _ONES
_ZERO_LETTERS = np.uint64(ord("0")) * _ONES
# The characters between "9" and "a" in ASCII, which have no digit value.
_GAP = np.uint64(ord("a") - ord("9") - 1)
# Every second byte, and every second pair.
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_PAIRS = np.uint64(0x0000FFFF0000FFFF)
_FOURS = np.uint64(0x00000000FFFFFFFF)
# Ids per chunk, so that a chunk stays in the processor's cache.
_AT_ONCE = 4096


def parse_ids(ids: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the upper and lower 64 bits of each id, and whether it is a lower-case UUID (`event.EVENT_ID`).

    `ids` are strings or large strings. The bits of nulls and of other strings are meaningless.
    """
    count = len(ids)
    upper, lower, well_formed = np.empty(count, np.uint64), np.empty(count, np.uint64), np.zeros(count, np.bool_)
    of_length = pc.fill_null(pc.equal(pc.binary_length(ids), _LENGTH), False)
    if not pc.all(of_length).as_py():
        ids = pc.if_else(of_length, ids, pa.scalar("-" * _LENGTH, ids.type))
    letters = _letters(ids)
    for start in range(0, count, _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, count))
        words = _words(letters, rows)
        digits, wrong = _digits(words)
        well_formed[rows] = (wrong[0] | wrong[1] | wrong[2] | wrong[3]) == 0
        for dash in _DASHES:
            well_formed[rows] &= _at(letters, rows, dash, np.uint8) == _DASH
        numbers = _join(digits)
        upper[rows] = numbers[0] << 32 | numbers[1]
        lower[rows] = numbers[2] << 32 | numbers[3]
    return upper, lower, well_formed


def _words(letters: memoryview, rows: slice) -> NDArray[Any]:
    """Return the 32 digits of each id as letters, eight to a word, `[4, rows]`; the first is in the lowest byte."""
    words = np.empty((4, rows.stop - rows.start), "<u8")
    halves = words.view("<u4").reshape(*words.shape, 2)
    words[0] = _at(letters, rows, 0, "<u8")
    for word, half, place in ((1, 0, 9), (1, 1, 14), (2, 0, 19), (2, 1, 24)):
        halves[word, :, half] = _at(letters, rows, place, "<u4")
    words[3] = _at(letters, rows, 28, "<u8")
    return words


def _at(letters: memoryview, rows: slice, place: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return the bytes at a place of each id, as a view of `dtype`."""
    shape = (rows.stop - rows.start,)
    return np.ndarray(shape, dtype, letters, rows.start * _LENGTH + place, (_LENGTH,))


def _digits(letters: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each letter's value as a hexadecimal digit, one per byte; and a byte that is not 0 if it is no digit."""
    # Bit 6 distinguishes letters from digits, and the low bits of "a" are 1.
    worth = (letters >> 6 & _ONES) * 9
    worth += letters & _LOW
    # Encoding the digit again must give the original letter.
    written = (worth + 6 * _ONES >> 4 & _ONES) * _GAP
    written += worth
    written += _ZERO_LETTERS
    written ^= letters
    written |= worth & _HIGH
    return worth, written


def _join(digits: NDArray[Any]) -> NDArray[Any]:
    """Combine eight digits, the first of which is in the lowest byte, into a number."""
    pairs = (digits << 4 | digits >> 8) & _BYTES
    fours = (pairs << 8 | pairs >> 16) & _PAIRS
    return (fours << 16 | fours >> 32) & _FOURS


def _letters(ids: pa.Array) -> memoryview:
    if not len(ids):
        return memoryview(b"")
    _, offsets, letters = ids.buffers()
    width = np.int64 if pa.types.is_large_string(ids.type) else np.int32
    first = int(np.frombuffer(offsets, width)[ids.offset])
    return memoryview(letters)[first : first + len(ids) * _LENGTH]
