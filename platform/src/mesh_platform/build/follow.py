"""Build tables again whenever events have landed, until stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from mesh_platform.build.build import OnRun, build_each, prepare, stale_of
from mesh_platform.build.job import Built
from mesh_platform.build.table import Builder
from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.maintenance_turns import Maintain, MaintenanceTurns
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import tables_read

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.build.spark_run import SparkRuns

# Seconds between two looks at the landing tables.
_PAUSE = 0.5
# Seconds until a round although no event has landed: for reference files, rollbacks, and tables that failed.
_ANYWAY = 60.0


@answering("", "the lake fails", "Mend the catalog or the storage, then build again; what was built stays.")
def follow(
    mesh: Mesh,
    catalog: Catalog,
    tables: Sequence[str],
    stopped: Callable[[], bool],
    on_built: Callable[[Built], object] = lambda built: None,
    on_failure: Callable[[str], object] = lambda message: None,
    maintain: Maintain = lambda tables: True,
    on_run: OnRun = lambda table, outcome: None,
    spark_runs: Callable[[], AbstractContextManager[SparkRuns | None]] = nullcontext,
) -> None:
    """Build `tables` (by default all) and their upstream tables as `build` does, in rounds, until `stopped`.

    A round begins when a landing table of theirs has a new snapshot, and a minute after the last one at the latest.
    It makes no release. `on_built` receives each table that was built, and `maintain` is called after every
    `MAINTAIN_EVERY` builds of a table. If a table cannot be built, the others are, and `on_failure` receives the
    message once. In each round, `spark_runs` lends what runs whole queries.

    Raises UsageError and ContractError before the first round, and UnavailableError if the lake fails.
    """
    first, chosen = prepare(mesh, catalog, tables)
    landing = {name for table in chosen for name in tables_read(mesh, first.models, table)} - mesh.contracts.keys()
    turns = MaintenanceTurns(maintain)

    def built(each: Built) -> None:
        turns.committed([each.table])
        on_built(each)

    def build_round() -> str:
        """Build what is stale, and return why some of it could not be built."""
        try:
            # If others kept committing, the next round sees what they did.
            with suppress(ConflictError), spark_runs() as spark:
                # A builder for each round: DuckDB keeps in memory what it has read.
                builder = Builder(mesh, catalog, first.models, spark)
                names = takewhile(lambda _name: not stopped(), stale_of(builder.jobs, chosen))
                build_each(builder, names, lambda name: builder.build(name, False), built, on_run)
        except AttentionError as error:
            return str(error)
        return ""

    seen: dict[str, int | None] | None = None
    until, told = 0.0, ""
    while not stopped():
        heads = {name: current_snapshot_id(table) for name, table in find_tables(catalog, landing).items()}
        if heads != seen or time.monotonic() >= until:
            seen, until = heads, time.monotonic() + _ANYWAY
            failure = build_round()
            if failure not in ("", told):
                on_failure(failure)
            told = failure
        time.sleep(_PAUSE)
