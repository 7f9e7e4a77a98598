"""Lines of a message that are no JSON by themselves: which of them together are one value, pretty-printed."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACES = re.compile(r"[ \t\r]*")
# A byte order mark, its bytes read as Latin-1.
_INDENT = re.compile(r"(\xef\xbb\xbf)?[ \t\r]*")


def find_values(
    body: bytes, starts: Sequence[int], ends: Sequence[int], broken: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """The first and the last line of each JSON value that lies over several lines of `body`, in order.

    `starts` and `ends` say where the lines are that are not blank; `broken` are the numbers of those that are no
    JSON, ascending. Values that follow one another on a line go together. Time is linear in the length of the body,
    whatever its bytes: nothing is looked for behind a value that goes on in the next line and does not end.
    """
    # A letter for each byte, so that places are the same. Strings may hold any of these, and the syntax is ASCII.
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
    """Whether a value begins in the line and may go on in the next."""
    # Of the line alone: an error counts the lines before it, in all of what is read.
    try:
        _end(line, 0)
    except json.JSONDecodeError as error:
        return error.pos >= len(line)
    except RecursionError:
        return True
    return False


def _end(text: str, place: int) -> int:
    """Where the line ends with which the value at `place` ends, or another one on its last line."""
    while True:
        _, place = _DECODER.raw_decode(text, place)
        spaces = _SPACES.match(text, place)
        place = spaces.end() if spaces else place
        if place == len(text) or text[place] == "\n":
            return place
