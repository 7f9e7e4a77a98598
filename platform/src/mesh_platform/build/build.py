"""Build tables in dependency order, and make a release of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.build.job import Built
from mesh_platform.build.jobs import Jobs
from mesh_platform.build.plan import Plan
from mesh_platform.build.table import Builder
from mesh_platform.errors import AttentionError, ConflictError, ContractError, UsageError
from mesh_platform.iceberg.outage import answering
from mesh_platform.lake.releases import Release, make_release
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import build_order, find_models, of_tables, upstream
from mesh_platform.sql.type_check import check_types
from mesh_platform.text import offer

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.build.spark_run import SparkRuns

_ATTEMPTS = 5
OnRun = Callable[[str, Built | Exception | None], object]


@answering("", "the lake fails", "Mend the catalog or the storage, then build again; what was built stays.")
def build(
    mesh: Mesh,
    catalog: Catalog,
    tables: Sequence[str] = (),
    full: bool = False,
    between: tuple[date, date] | None = None,
    alone: bool = False,
    on_progress: Callable[[Built], None] | None = None,
    on_release: Callable[[Release], None] | None = None,
    on_run: OnRun = lambda table, outcome: None,
    spark: SparkRuns | None = None,
) -> list[Built]:
    """Bring `tables` (by default all) and their upstream tables up to date with their inputs; `full` rebuilds them.

    With `between`, the partitions of `tables` that overlap these days (first and last, inclusive, UTC) are then
    rebuilt. With `alone`, upstream tables are left as they are. A build of all tables makes a release, unless the
    newest release already has the same snapshots. A table that another builder changes meanwhile is brought up to
    date again, and then appears twice in the result. `on_run` receives each table when its build starts (None), and
    when it ends, with what was done or with the error. With `spark`, whole queries run there; DuckDB applies changes.

    Raises UsageError for an unknown table, and with `between` for one without partitions by time, and ContractError
    for faulty SQL, both before anything is built. Raises AttentionError at the end, with all failures: a table that
    failed is unchanged, and so are its dependents. Raises ConflictError if the only failures are that others kept
    committing, and UnavailableError if the lake fails.
    """
    builder, chosen = prepare(mesh, catalog, tables, alone, spark)
    if between:
        _check_days(builder, tables, between)

    def build_one(name: str) -> Built:
        return builder.build_between(name, *between) if between and name in tables else builder.build(name, full)

    builder.jobs.open_tables(chosen)
    done = build_each(builder, chosen, build_one, on_progress, on_run)
    newest = {built.table: built for built in done}
    for _ in range(0 if tables else _ATTEMPTS):
        try:
            release = make_release(catalog, _consistent_snapshots(newest))
        except ConflictError:
            builder.jobs.open_tables(chosen)
            again = build_each(builder, _chosen(builder, ()), lambda name: builder.build(name, False), None, on_run)
            newest |= {built.table: built for built in again}
            done += [built for built in again if built.mode != "noop"]
            continue
        if release and on_release:
            on_release(release)
        break
    return done


@answering("", "the lake fails", "Mend the catalog or the storage, then look again.")
def plan_build(mesh: Mesh, catalog: Catalog, tables: Sequence[str] = (), full: bool = False) -> list[Plan]:
    """Return what `build` would do to the same tables, in build order. Nothing is written.

    A table downstream of a built one may turn out to need less, because its inputs may end up with the same rows.
    Raises what `build` raises before it builds, and UnavailableError.
    """
    builder, chosen = prepare(mesh, catalog, tables)
    plans: dict[str, Plan] = {}
    for name in chosen:
        above = [plans[other] for other in upstream(mesh, builder.models, name) if other in plans]
        if blocked := sorted(each.table for each in above if each.mode == "blocked"):
            plans[name] = Plan(name, "blocked", f"{', '.join(blocked)} cannot be built")
            continue
        plans[name] = builder.jobs.plan(name, full, {each.table for each in above if each.mode != "noop"})
    return [*plans.values()]


def prepare(
    mesh: Mesh, catalog: Catalog, tables: Sequence[str], alone: bool = False, spark: SparkRuns | None = None
) -> tuple[Builder, list[str]]:
    """Return a builder and the tables to build, in build order: `tables` (by default all) and, unless `alone`, their
    upstream tables.

    Raises UsageError and ContractError.
    """
    # With only some tables chosen, wrong types in the others do not block the build.
    if not tables and (problems := check_types(mesh)):
        raise ContractError(problems)
    # Nor does faulty SQL that none of them depends on.
    builder = Builder(mesh, catalog, find_models(mesh)[0], spark)
    chosen = _chosen(builder, tables, alone)
    if tables and (problems := check_types(mesh, chosen)):
        raise ContractError(problems)
    return builder, chosen


@answering("", "the lake fails", "Mend the catalog or the storage, then look again.")
def stale_tables(mesh: Mesh, catalog: Catalog, tables: Sequence[str]) -> list[str]:
    """Return those of `tables` that a build would or might change: their inputs changed, or an upstream is stale.

    A table that does not match its contract counts as stale: its build reports what is wrong. Raises ContractError
    if the SQL of `tables` cannot be parsed, and UnavailableError.
    """
    models, problems = find_models(mesh)
    if problems := of_tables(mesh, tables, problems):
        raise ContractError(problems)
    return stale_of(Jobs(mesh, catalog, models), build_order(mesh, models, tables))


def stale_of(jobs: Jobs, names: Sequence[str]) -> list[str]:
    """Do what `stale_tables` does, for tables in build order."""
    stale: list[str] = []
    jobs.open_tables(names)
    for name in names:
        if (
            any(other in stale for other in upstream(jobs.mesh, jobs.models, name))
            or _built_if_current(jobs, name) is None
        ):
            stale.append(name)
    return stale


@answering("", "the lake fails", "Mend the catalog or the storage; the next build makes the release.")
def release_current(mesh: Mesh, catalog: Catalog) -> Release | None:
    """Make a release of all tables in their current state, if each is up to date with its inputs.

    Returns None if a table is stale or its SQL cannot be parsed, if another builder is at work, or if the newest
    release already has these snapshots. Raises UnavailableError.
    """
    models, problems = find_models(mesh)
    if problems:
        return None
    jobs = Jobs(mesh, catalog, models)
    jobs.open_tables(mesh.contracts)
    current: dict[str, Built] = {}
    for name in mesh.contracts:
        built = _built_if_current(jobs, name)
        if built is None:
            return None
        current[name] = built
    try:
        return make_release(catalog, _consistent_snapshots(current))
    except ConflictError:
        return None


def _built_if_current(jobs: Jobs, name: str) -> Built | None:
    try:
        return jobs.built_if_current(name)
    except AttentionError:
        return None


def build_each(
    builder: Builder,
    names: Iterable[str],
    build_one: Callable[[str], Built],
    on_progress: Callable[[Built], None] | None,
    on_run: OnRun,
) -> list[Built]:
    """Build each of `names`, in build order, and return what was done.

    If one fails, its dependents are left out. Raises at the end what `build` raises.
    """
    done: list[Built] = []
    failed: dict[str, str] = {}
    conflicts = []
    for name in names:
        blocked = [other for other in upstream(builder.mesh, builder.models, name) if other in failed]
        if blocked:
            failed[name] = f"{name}: not built, because {', '.join(blocked)} failed."
            continue
        on_run(name, None)
        try:
            built = build_one(name)
        except (AttentionError, ContractError, ConflictError) as error:
            on_run(name, error)
            failed[name] = str(error)
            conflicts += [name] if isinstance(error, ConflictError) else []
            continue
        faults.point("build.committed")
        on_run(name, built)
        done.append(built)
        if on_progress:
            on_progress(built)
    if failed and list(failed) == conflicts:
        raise ConflictError("\n".join(failed.values()))
    if failed:
        raise AttentionError("\n".join(failed.values()))
    return done


def _consistent_snapshots(built: Mapping[str, Built]) -> dict[str, int]:
    """Return the snapshot of each table. Raises ConflictError if one was built from another state of an input."""
    for each in built.values():
        for name, snapshot in each.inputs.items():
            if name in built and built[name].snapshot_id != snapshot:
                raise ConflictError(f"{name}: somebody else built it since.")
    return {name: each.snapshot_id for name, each in built.items() if each.snapshot_id is not None}


def _check_days(builder: Builder, tables: Sequence[str], between: tuple[date, date]) -> None:
    first, last = between
    if first > last:
        raise UsageError(f"{first} to {last}: the first day comes after the last. Turn them round.")
    by_time = {name: None for name in builder.models if builder.has_days(name)}
    if not tables:
        raise UsageError(f"{first} to {last}: of which table? Name it. {offer('', by_time)}")
    for name in tables:
        if name not in by_time:
            raise UsageError(
                f"{name}: no table with partitions by time, which alone has days. {offer(name, by_time)}"
            )


def _chosen(builder: Builder, tables: Sequence[str], alone: bool = False) -> list[str]:
    wanted: set[str] = set()
    waiting = list(tables) or list(builder.mesh.contracts)
    while waiting:
        name = waiting.pop()
        if name in builder.mesh.domains:
            waiting += [contract.identifier for contract in builder.mesh.domains[name].contracts.values()]
            continue
        if name not in builder.mesh.contracts:
            raise UsageError(f"{name}: no such table. {offer(name, builder.mesh.contracts)}")
        if name not in wanted:
            wanted.add(name)
            waiting += () if alone else upstream(builder.mesh, builder.models, name)
    return build_order(builder.mesh, builder.models, wanted)
