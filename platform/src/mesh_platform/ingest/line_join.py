"""Finding pretty-printed JSON: which invalid lines of a message together are one value."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACES = re.compile(r"[ \t\r]*")
# A byte order mark, decoded as Latin-1.
_INDENT = re.compile(r"(\xef\xbb\xbf)?[ \t\r]*")


def find_values(
    body: bytes, starts: Sequence[int], ends: Sequence[int], broken: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """The first and the last line of each JSON value that spans several lines of `body`, in order.

    `starts` and `ends` are the offsets of the non-blank lines; `broken` has the numbers of those that are not JSON,
    ascending. Values that share a line are joined. Time is linear in the length of the body, whatever its bytes: the
    search ends at a value that continues on the next line and is never closed.
    """
    # One character for each byte, so that offsets agree. Strings may contain any character, and the syntax is ASCII.
    text = body.decode("latin-1")
    last = -1
    for first in broken:
        if first <= last:
            continue
        indent = _INDENT.match(text, starts[first])
        place = indent.end() if indent else starts[first]
        if text[place : place + 1] not in ("{", "[") or not _breaks_off(text[place : ends[first]].rstrip()):
            continue
        try:
            end = _end(text, place)
        except (json.JSONDecodeError, RecursionError):
            return
        last = bisect_left(starts, end) - 1
        yield first, last


def _breaks_off(line: str) -> bool:
    """Whether a value begins in the line and may continue on the next."""
    # The line alone, because an error counts all lines of the text before it.
    try:
        _end(line, 0)
    except json.JSONDecodeError as error:
        return error.pos >= len(line)
    except RecursionError:
        return True
    return False


def _end(text: str, place: int) -> int:
    """The end of the last line of the value at `place`, or of a later value that begins on that line."""
    while True:
        _, place = _DECODER.raw_decode(text, place)
        spaces = _SPACES.match(text, place)
        place = spaces.end() if spaces else place
        if place == len(text) or text[place] == "\n":
            return place
