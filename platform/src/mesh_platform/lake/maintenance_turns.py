"""Count the commits to tables, and have a table maintained after every `MAINTAIN_EVERY` of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

# A commit takes longer with each snapshot of its table, so a table that is written all day is maintained all day.
MAINTAIN_EVERY = 20

# Starts the maintenance of the named tables and returns quickly; False where it could not start.
Maintain = Callable[[Sequence[str]], bool]


class MaintenanceTurns:
    """Counts commits. Where maintenance cannot start, it is tried again at the next commit."""

    def __init__(self, maintain: Maintain) -> None:
        self._maintain = maintain
        self._commits: Counter[str] = Counter()

    def committed(self, tables: Iterable[str]) -> None:
        """Count one commit to each of `tables`, and start the maintenance of those whose turn it is."""
        self._commits.update(tables)
        due = [table for table, commits in self._commits.items() if commits >= MAINTAIN_EVERY]
        if due and self._maintain(due):
            for table in due:
                del self._commits[table]
