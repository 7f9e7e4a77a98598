"""Write messages and progress bars to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from mesh_platform.text import counted

errors = Console(stderr=True, highlight=False)


def tell(message: str) -> None:
    """Write one message to stderr, above a visible progress bar.

    Lines are not broken: a terminal wraps them, and text can be copied and searched as a whole.
    """
    errors.print(message, markup=False, soft_wrap=True)


class _Amount(ProgressColumn):
    """The count, with the total if known, and the unit: `1 event`, `3/20 events`."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        done, total = int(task.completed), task.total
        if total is None:
            return Text(counted(done, self._unit))
        return Text(f"{done}/{counted(int(total), self._unit)}")


@contextmanager
def progress_bar(label: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, which counts in `unit`; the yielded function advances it.

    There is none if `total` is 0, or where stderr is no terminal: a log or a pipe shall not hold it.
    """
    if total == 0 or not errors.is_terminal:
        yield lambda steps: None
        return
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        _Amount(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=False) as progress:
        task = progress.add_task(label, total=total)
        yield lambda steps: progress.update(task, advance=steps)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """A moving bar and the time on stderr, for what has no steps to count; they go when it is done.

    There is none where stderr is no terminal.
    """
    if not errors.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        progress.add_task(label, total=None)
        yield
