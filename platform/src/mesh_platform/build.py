"""Builds tables, each after those it reads: the mesh and the lake arrive; new snapshots leave, and their release."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.build_job import Built
from mesh_platform.domain import Mesh, offer
from mesh_platform.errors import ConflictError, ContractError, NeedsAttention, UsageError
from mesh_platform.lake.catalog_connection import answering
from mesh_platform.lake.releases import Release, make_release
from mesh_platform.sql_model import build_order, check_types, read_models, upstream
from mesh_platform.table_build import Builder

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_ATTEMPTS = 5


@answering("the lake fails. Mend the catalog or the storage, then build again; what was built stays.")
def build(
    mesh: Mesh,
    catalog: Catalog,
    tables: Sequence[str] = (),
    full: bool = False,
    on_progress: Callable[[Built], None] | None = None,
    on_release: Callable[[Release], None] | None = None,
) -> list[Built]:
    """Bring `tables` and what they are built from, by default all, up to date with their inputs; `full` rebuilds all.

    Of all tables it makes a release, where they are not as in the newest one. A table that another builder moved
    meanwhile is brought up to date again, and then stands twice in the result.

    Raises UsageError for an unknown table and ContractError for faulty SQL, both before anything is built. Raises
    NeedsAttention at the end, with all failures: a table that failed is as it was, and so is what depends on it; and
    Unavailable where the lake fails.
    """
    problems = check_types(mesh)
    if problems:
        raise ContractError(problems)
    builder = Builder(mesh, catalog, read_models(mesh))
    done = _build_each(builder, _chosen(builder, tables), full, on_progress)
    newest = {built.table: built for built in done}
    for _ in range(0 if tables else _ATTEMPTS):
        try:
            release = make_release(catalog, _together(newest))
        except ConflictError:
            again = _build_each(builder, _chosen(builder, ()), False, None)
            newest |= {built.table: built for built in again}
            done += [built for built in again if built.mode != "noop"]
            continue
        if release and on_release:
            on_release(release)
        break
    return done


def _build_each(
    builder: Builder, names: Iterable[str], full: bool, on_progress: Callable[[Built], None] | None
) -> list[Built]:
    done: list[Built] = []
    failed: dict[str, str] = {}
    for name in names:
        blocked = [other for other in upstream(builder.mesh, builder.models, name) if other in failed]
        if blocked:
            failed[name] = f"{name}: not built, because {', '.join(blocked)} failed."
            continue
        try:
            built = builder.build(name, full)
        except (NeedsAttention, ContractError, ConflictError) as error:
            failed[name] = str(error)
            continue
        faults.point("build.committed")
        done.append(built)
        if on_progress:
            on_progress(built)
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


def _chosen(builder: Builder, tables: Sequence[str]) -> list[str]:
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
            waiting += upstream(builder.mesh, builder.models, name)
    return [name for name in build_order(builder.mesh, builder.models) if name in wanted]
