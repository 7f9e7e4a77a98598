"""Regular expressions of contracts, which match as in RE2, the engine of Arrow and DuckDB, everywhere."""

from __future__ import annotations

import re

# A pattern of these elements alone is valid in RE2 if it is in Python, and both match the same printable ASCII. This
# avoids importing Arrow, which is slow. In RE2 `[:` may begin the name of a class, a count
# with a leading zero is plain text, and a long pattern with many
# repetitions may be too large.
_COUNT = r"(0|[1-9]\d{0,2})"
_PLAIN_PATTERN = re.compile(
    rf"(?!.{{128}})([-\w^$|.,:@#/ \]]|\[(?!:)|\\[dws.]|([*?+]|\{{{_COUNT}(,{_COUNT}?)?\}})(?!\+))*", re.ASCII
)


def check_pattern(pattern: str) -> None:
    """Raise ValueError where Python or RE2 does not accept the pattern."""
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
    """Whether a pattern of a contract matches anywhere in `text` by RE2, the engine of ingest and of builds.

    Python differs: its digits are those of any script, and `$` also matches before a final newline.
    """
    if text.isascii() and text.isprintable() and _PLAIN_PATTERN.fullmatch(pattern):
        return re.search(pattern, text, re.ASCII) is not None
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.array([text]), pattern)[0].as_py())
