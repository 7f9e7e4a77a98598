"""Regular expressions of contracts mean the same everywhere: what RE2, the engine of Arrow and DuckDB, finds."""

from __future__ import annotations

import re

# Of these alone, a pattern that Python takes is one that RE2 takes, and both find the same in printable ASCII. Asking
# RE2 needs Arrow, which is slow to import. To RE2 `[:` may begin the name of a class, and what is long and repeats
# much may be too large.
_PLAIN_PATTERN = re.compile(
    r"(?!.{128})([-\w^$|.,:@#/ \]]|\[(?!:)|\\[dws.]|([*?+]|\{\d{1,3}(,\d{0,3})?\})(?!\+))*", re.ASCII
)


def check_pattern(pattern: str) -> None:
    """Raise ValueError where Python or RE2 does not take a pattern."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(str(error)) from error
    if not _PLAIN_PATTERN.fullmatch(pattern):
        import pyarrow as pa
        import pyarrow.compute as pc

        # Arrow's own errors are ValueErrors.
        pc.match_substring_regex(pa.array([""]), pattern)


def pattern_matches(pattern: str, text: str) -> bool:
    """Whether a pattern of a contract matches somewhere in `text` by RE2, the engine of ingest and of builds.

    To Python alone, a digit may be one of any script, and `$` may stand before a line's end.
    """
    if text.isascii() and text.isprintable() and _PLAIN_PATTERN.fullmatch(pattern):
        return re.search(pattern, text, re.ASCII) is not None
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.array([text]), pattern)[0].as_py())
