"""`mesh` as a process that counts what it asks of a SQL catalog.

    python -m benchmarks.counted_command FILE status --format json

FILE gets the number of statements and the CPU seconds, those of the imports included. The word `tables` is no command
of `mesh`: it makes the landing tables and quarantines of all products, as `mesh run` does first.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path

from sqlalchemy import Engine, event

statements: Counter[str] = Counter()


def _count(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
    statements[statement.split(None, 1)[0].upper()] += 1


def make_tables() -> None:
    """Make the tables that events need, of all products."""
    from mesh_platform.ingest.ingest import ensure_tables
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.mesh.mesh import load_mesh
    from mesh_platform.settings import Settings

    settings = Settings()
    mesh = load_mesh(settings.root)
    ensure_tables(open_catalog(settings), *(each for each in mesh.contracts.values() if each.event))


def _peak_mb() -> float:
    # Not ru_maxrss: a process that Python starts inherits the peak of the one that started it.
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def main(file: Path, words: list[str]) -> None:
    """Run it, and write the figures although a command ends the process."""
    event.listen(Engine, "before_cursor_execute", _count)
    try:
        if words == ["tables"]:
            make_tables()
        else:
            from mesh_platform.cli import main as mesh

            sys.argv = ["mesh", *words]
            mesh()
    finally:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(each.ru_utime + each.ru_stime for each in used)
        figures = {"statements": statements.total(), "cpu": cpu, "mb": _peak_mb()}
        file.write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
