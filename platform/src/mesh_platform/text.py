"""Text helpers for messages: counts, short lines, paths, and suggestions for a wrong name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

# People do not read longer lists of names.
_OFFERED = 12


def counted(number: int, thing: str, many: str | None = None, form: str = "") -> str:
    """A number with its noun: `1 event`, `2 events`.

    `many` is the plural where it is not formed with `s`, `form` how the number is formatted, such as `,`.
    """
    return f"{number:{form}} {thing if number == 1 else many or f'{thing}s'}"


def shortened(text: str, most: int) -> str:
    """`text` in one line of at most `most` characters; what is left out shows as an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def shown(path: Path, root: Path) -> str:
    """`path` for messages: relative to `root` where it is inside; bytes that are not UTF-8 become U+FFFD."""
    text = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def offer(wrong: str, known: Mapping[str, object]) -> str:
    """A sentence that suggests the names in `known` closest to `wrong`, else lists all, or the first of many."""
    whole = [name for name in known if name.endswith(f".{wrong}")]
    near = whole or get_close_matches(wrong, known, n=3, cutoff=0.6)
    if not near:
        # A namespace that was left out, or is another, makes whole names unlike.
        last = {name.rpartition(".")[2]: name for name in known}
        near = [last[name] for name in get_close_matches(wrong.rpartition(".")[2], last, n=3, cutoff=0.7)]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    more = f" and {len(known) - _OFFERED} more" if len(known) > _OFFERED else ""
    return f"There is {', '.join([*known][:_OFFERED]) or 'none'}{more}."
