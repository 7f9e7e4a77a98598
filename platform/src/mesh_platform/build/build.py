"""Builds tables, each after those it reads: the mesh and the lake arrive; new snapshots leave, and their release."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.build.job import Built
from mesh_platform.build.plan import Plan
from mesh_platform.build.table import Builder
from mesh_platform.errors import ConflictError, ContractError, NeedsAttention, UsageError
from mesh_platform.iceberg.outage import answering
from mesh_platform.lake.releases import Release, make_release
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import build_order, find_models, of_tables, upstream
from mesh_platform.sql.type_check import check_types
from mesh_platform.text import offer

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_ATTEMPTS = 5


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
) -> list[Built]:
    """Bring `tables` and what they are built from, by default all, up to date with their inputs; `full` rebuilds all.

    With `between`, the partitions of `tables` that reach into these days (the first and the last, UTC) are then built
    anew. With `alone`, what `tables` are built from is left as it is. Of all tables it makes a release, where they
    are not as in the newest one. A table that another builder moved meanwhile is brought up to date again, and then
    stands twice in the result.

    Raises UsageError for an unknown table, and with `between` for one without partitions by time, and ContractError
    for faulty SQL, both before anything is built. Raises NeedsAttention at the end, with all failures: a table that
    failed is as it was, and so is what depends on it; ConflictError where others only kept committing;
    and Unavailable where the lake fails.
    """
    builder, chosen = _prepare(mesh, catalog, tables, alone)
    if between:
        _check_days(builder, tables, between)

    def build_one(name: str) -> Built:
        return builder.build_between(name, *between) if between and name in tables else builder.build(name, full)

    done = _build_each(builder, chosen, build_one, on_progress)
    newest = {built.table: built for built in done}
    for _ in range(0 if tables else _ATTEMPTS):
        try:
            release = make_release(catalog, _together(newest))
        except ConflictError:
            again = _build_each(builder, _chosen(builder, ()), lambda name: builder.build(name, False), None)
            newest |= {built.table: built for built in again}
            done += [built for built in again if built.mode != "noop"]
            continue
        if release and on_release:
            on_release(release)
        break
    return done


@answering("", "the lake fails", "Mend the catalog or the storage, then look again.")
def plan_build(mesh: Mesh, catalog: Catalog, tables: Sequence[str] = (), full: bool = False) -> list[Plan]:
    """What `build` of the same tables would do, in its order. Nothing is written.

    A table that reads one which is built first may turn out to need less: its inputs may have the same rows then.
    Raises what `build` raises before it builds, and Unavailable.
    """
    builder, chosen = _prepare(mesh, catalog, tables)
    plans: dict[str, Plan] = {}
    for name in chosen:
        above = [plans[other] for other in upstream(mesh, builder.models, name) if other in plans]
        if blocked := sorted(each.table for each in above if each.mode == "blocked"):
            plans[name] = Plan(name, "blocked", f"{', '.join(blocked)} cannot be built")
            continue
        plans[name] = builder.plan(name, full, {each.table for each in above if each.mode != "noop"})
    return [*plans.values()]


def _prepare(mesh: Mesh, catalog: Catalog, tables: Sequence[str], alone: bool = False) -> tuple[Builder, list[str]]:
    """A builder, and the tables to build in their order. Raises UsageError and ContractError."""
    # Where only some are wanted, wrong types of the others keep nobody waiting.
    if not tables and (problems := check_types(mesh)):
        raise ContractError(problems)
    # Nor does SQL that nothing of theirs reads.
    builder = Builder(mesh, catalog, find_models(mesh)[0])
    chosen = _chosen(builder, tables, alone)
    if tables and (problems := check_types(mesh, chosen)):
        raise ContractError(problems)
    return builder, chosen


@answering("", "the lake fails", "Mend the catalog or the storage, then look again.")
def stale_tables(mesh: Mesh, catalog: Catalog, tables: Sequence[str]) -> list[str]:
    """Those of `tables` that a build would change, or may: by their own inputs, or because they read one of those.

    A table that does not match its contract is one of them: its build says what is wrong. Raises ContractError for
    SQL of theirs that cannot be read, and Unavailable.
    """
    models, problems = find_models(mesh)
    if problems := of_tables(mesh, tables, problems):
        raise ContractError(problems)
    builder = Builder(mesh, catalog, models)
    stale: list[str] = []
    for name in build_order(mesh, models, tables):
        if any(other in stale for other in upstream(mesh, builder.models, name)) or _standing(builder, name) is None:
            stale.append(name)
    return stale


@answering("", "the lake fails", "Mend the catalog or the storage; the next build makes the release.")
def release_standing(mesh: Mesh, catalog: Catalog) -> Release | None:
    """Make a release of all tables as they stand, where each is up to date with what it is built from.

    None where one is not or its SQL cannot be read, where another builder is at work, or where the newest release is
    of just this. Raises Unavailable.
    """
    models, problems = find_models(mesh)
    if problems:
        return None
    builder = Builder(mesh, catalog, models)
    standing: dict[str, Built] = {}
    for name in mesh.contracts:
        built = _standing(builder, name)
        if built is None:
            return None
        standing[name] = built
    try:
        return make_release(catalog, _together(standing))
    except ConflictError:
        return None


def _standing(builder: Builder, name: str) -> Built | None:
    try:
        return builder.standing(name)
    except NeedsAttention:
        return None


def _build_each(
    builder: Builder,
    names: Iterable[str],
    build_one: Callable[[str], Built],
    on_progress: Callable[[Built], None] | None,
) -> list[Built]:
    done: list[Built] = []
    failed: dict[str, str] = {}
    conflicts = []
    for name in names:
        blocked = [other for other in upstream(builder.mesh, builder.models, name) if other in failed]
        if blocked:
            failed[name] = f"{name}: not built, because {', '.join(blocked)} failed."
            continue
        try:
            built = build_one(name)
        except (NeedsAttention, ContractError, ConflictError) as error:
            failed[name] = str(error)
            conflicts += [name] if isinstance(error, ConflictError) else []
            continue
        faults.point("build.committed")
        done.append(built)
        if on_progress:
            on_progress(built)
    if failed and list(failed) == conflicts:
        raise ConflictError("\n".join(failed.values()))
    if failed:
        raise NeedsAttention("\n".join(failed.values()))
    return done


def _together(built: Mapping[str, Built]) -> dict[str, int]:
    """The snapshot of each table. Raises ConflictError where one was built from another state of an input."""
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
