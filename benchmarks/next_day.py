"""What a next day of `make run` costs: CPU seconds and peak memory, after little history and after much.

CPU seconds are those of both processes, the mesh and the company. The memory is that of the larger one. The next day
is run several times, each from the same state, and the least counts.
"""

from __future__ import annotations

import os
import shutil

from benchmarks.figures import Bench
from benchmarks.place import Place

SHORT, LONG, YEARS = 28, 180, 1095
TIMES = 3


def measure(bench: Bench) -> None:
    """Continue to each history, then run its next day. Three years take half an hour, so only `--long` has them."""
    with bench.scratch() as folder:
        place = Place(folder / "state")
        kept = folder / "kept"
        seconds: dict[int, float] = {}
        for days, at_most in ((SHORT, None), (LONG, 1.3), *(((YEARS, 1.5),) if bench.long else ())):
            length = bench.size(days, 2)
            _run(place, length)
            shutil.rmtree(kept, ignore_errors=True)
            # The lake names its files by their paths, so the copy is what is put back.
            shutil.copytree(place.state, kept)
            costs = []
            for _ in range(TIMES):
                costs.append(_run(place, length + 1))
                shutil.rmtree(place.state)
                shutil.copytree(kept, place.state)
            seconds[days] = min(spent for spent, _ in costs)
            bench.add(f"next day after {days}: CPU", seconds[days], "s")
            bench.add(f"next day after {days}: memory", max(peak for _, peak in costs), "MB", at_most=450)
            if days != SHORT:
                against = f"next day after {SHORT}: CPU"
                bench.ratio(f"next day after {days}", seconds[days] / seconds[SHORT], against, at_most=at_most)


def _run(place: Place, days: int) -> tuple[float, float]:
    """The CPU seconds and the peak memory, in MB, of a run up to so many days."""
    process = place.start(["run", "--days", str(days)])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"mesh run --days {days}: exit {process.returncode}"
    # The kernel adds to a process the time, and the greatest memory, of those it has waited for.
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
