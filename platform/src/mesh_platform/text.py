"""Words that messages share: counts, paths, and what is allowed instead of a wrong name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

# So many names are read, more are not.
_OFFERED = 12


def counted(number: int, thing: str, many: str | None = None) -> str:
    """A number and what it counts, as people read it: `1 event`, `2 events`; `many` where no `s` makes the plural."""
    return f"{number} {thing if number == 1 else many or f'{thing}s'}"


def shown(path: Path, root: Path) -> str:
    """`path` as people read it: relative to the repository where it lies inside; what is no UTF-8 in it as U+FFFD."""
    text = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def offer(wrong: str, known: Mapping[str, object]) -> str:
    """A sentence that offers the names in `known` nearest to `wrong`, else all, or the first of many."""
    whole = [name for name in known if name.endswith(f".{wrong}")]
    near = whole or get_close_matches(wrong, known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    more = f" and {len(known) - _OFFERED} more" if len(known) > _OFFERED else ""
    return f"There is {', '.join([*known][:_OFFERED]) or 'none'}{more}."
