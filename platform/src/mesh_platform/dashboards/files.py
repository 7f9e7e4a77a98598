"""The DuckDB files that dashboards read: for each role one, with the rows of the star schema as that role reads them.

A file is never changed once it is written. `current.json` names the file of each role, and is replaced atomically; so
readers always have a whole state of committed snapshots, and hold no lock that a writer needs. The files have tables,
not views: a view over Parquet needs access to files, and whoever has that reads the same files without masks.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh_platform.engine.sql import literal, quoted
from mesh_platform.files import write_whole
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.policy.pseudonyms import Salts, kept_key
from mesh_platform.policy.roles import dashboard_roles, domains_read, rows_of, warehouse_roles
from mesh_platform.query.health import add_health
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.health_schemas import HEALTH_SCHEMAS
from mesh_platform.sql.references import RESOLVED, references
from mesh_platform.sql.relations import SITES

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.engine.protocol import Connection

CURRENT = "current.json"
_KEY = "pseudonyms.key"
# How long a file stays after its successor: readers who have just looked its name up must still find it.
_KEPT_S = 120
# The name of a domain has no hyphen, so it can be none of these.
_NEW, _OLD, _FIRST = "new-file", "old-file", "first-file"


def star_tables(mesh: Mesh) -> list[str]:
    """Return the facts, dimensions and KPIs: the products that are built of other products."""
    return [
        name
        for name, contract in mesh.contracts.items()
        if not contract.event and mesh.domains[contract.domain].product_kind(contract) == "model"
    ]


def star_heads(mesh: Mesh, catalog: Catalog) -> dict[str, int | None]:
    """Return the current snapshot of each table that the files depend on and that exists."""
    wanted = star_tables(mesh)
    for contract in mesh.contracts.values():
        wanted += [landing_name(contract), quarantine_name(contract)] if contract.event else []
    return {name: current_snapshot_id(table) for name, table in find_tables(catalog, wanted).items()}


def write_files(
    mesh: Mesh,
    catalog: Catalog,
    folder: Path,
    now: datetime,
    cache: StateCache | None = None,
    state: Path | None = None,
) -> int:
    """Bring the files in `folder` up to date; return how many tables were read from the lake.

    A table that has not changed is copied from the file before. Another process that calls this waits. `now` is what
    ages are relative to; `state` is the folder that keeps the key of stable pseudonyms.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    with (folder / "lock").open("w") as lock:
        # The follower and a call by hand would copy the same tables.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _write_files(mesh, catalog, folder, now, cache, state)


def _write_files(
    mesh: Mesh, catalog: Catalog, folder: Path, now: datetime, cache: StateCache | None, state: Path | None
) -> int:
    before = _read_current(folder)
    salts = Salts(kept_key(folder / _KEY), state)
    only = [*star_tables(mesh), *_resolved(mesh)]
    after: dict[str, Any] = {}
    read = 0
    for first, *others in _with_equal_masks(mesh):
        with open_session(mesh, catalog, role=first, only=only, locked=False, cache=cache, salts=salts) as session:
            add_health(session, mesh, catalog, now, role=first, cache=cache)
            views = dict(
                session.execute(
                    "SELECT schema_name || '.' || view_name, sql FROM duckdb_views() WHERE NOT internal"
                ).fetchall()
            )
            resolved = [views[name] for name in _resolved(mesh)]
            # The text of a view names the metadata file of the state, and the masks and rows of the role.
            states = {name: hashlib.sha256(views[name].encode()).hexdigest() for name in star_tables(mesh)}
            known = _attach_old(session, folder, before.get(first))
            same = {name for name, state in states.items() if known.get(name) == state}
            read += len(states) - len(same)
            sources = {name: f"{_OLD if name in same else 'memory'}.{name}" for name in _copied(mesh)}
            file = _write(session, folder, first, {name: quoted(each) for name, each in sources.items()}, resolved)
            after[first] = {"file": file, "tables": states}
            session.execute(f"ATTACH {literal(str(folder / file))} AS {quoted(_FIRST)} (READ_ONLY)")
            for role in others:
                rows = {
                    name: f"{quoted(f'{_FIRST}.{name}')} WHERE {_condition(mesh, role, name)}"
                    for name in _copied(mesh)
                }
                after[role] = {"file": _write(session, folder, role, rows, resolved)}
    for entry in before.values():
        # From now it counts how long readers may still open them, however long ago they were written.
        with suppress(OSError):
            os.utime(folder / str(entry["file"]))
    write_whole(folder / CURRENT, json.dumps(after, indent=1).encode())
    _remove_old(folder, {entry["file"] for entry in after.values()})
    return read


def current_file(folder: Path, role: str) -> Path:
    """Return the path of the file that `role` reads now. Raises KeyError if it has none yet."""
    return folder / str(_read_current(folder)[role]["file"])


def _with_equal_masks(mesh: Mesh) -> list[list[str]]:
    """Group the roles that read the same values, so that they are read and masked once.

    The first of a group reads all rows of the others.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for role in dashboard_roles(mesh):
        listing = [name for name, contract in mesh.contracts.items() if role in contract.roles]
        whole = role not in warehouse_roles(mesh)
        same = groups.get((*listing,))
        if same is None:
            groups[(*listing, *([] if whole else [role]))] = [role]
        else:
            same.append(role)
    return [*groups.values()]


def _attach_old(session: Connection, folder: Path, entry: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Attach the file before, and return the state of each table in it; none if there is no such file."""
    if entry is None or not (path := folder / str(entry["file"])).exists():
        return {}
    session.execute(f"ATTACH {literal(str(path))} AS {quoted(_OLD)} (READ_ONLY)")
    return dict(entry["tables"])


def _write(session: Connection, folder: Path, role: str, sources: Mapping[str, str], views: Iterable[str]) -> str:
    """Write a file with a table of the rows of each source, and these views; return the name of the file."""
    name = f"{role}-{time.time_ns()}.duckdb"
    path = folder / f".{name}.part"
    session.execute(f"ATTACH {literal(str(path))} AS {quoted(_NEW)}; USE {quoted(_NEW)}")
    for namespace in sorted({table.partition(".")[0] for table in sources}):
        session.execute(f"CREATE SCHEMA {quoted(namespace)}")
    for table, source in sources.items():
        session.execute(f"CREATE TABLE {quoted(table)} AS SELECT * FROM {source}")
    for view in views:
        # It names its tables without a database, so here it reads those of the file.
        session.execute(view)
    session.execute(f"USE memory; DETACH {quoted(_NEW)}")
    os.replace(path, folder / name)
    return name


def _copied(mesh: Mesh) -> list[str]:
    return [*star_tables(mesh), SITES, *HEALTH_SCHEMAS]


def _condition(mesh: Mesh, role: str, table: str) -> str:
    """Return the SQL condition on the rows of a table of the file that the role may read."""
    contract = mesh.contracts.get(table)
    if contract is not None:
        fields = contract.table.fields
        return rows_of(mesh, role, contract, contract.table, [field.name for field in fields]) or "true"
    return f"domain IN ({', '.join(map(literal, domains_read(mesh, role)))})" if table in HEALTH_SCHEMAS else "true"


def _resolved(mesh: Mesh) -> list[str]:
    return [f"{name}{RESOLVED}" for name in star_tables(mesh) if references(mesh.contracts[name])]


def _read_current(folder: Path) -> dict[str, Any]:
    # A missing or damaged file only means copying all tables again.
    with suppress(OSError, ValueError):
        return dict(json.loads((folder / CURRENT).read_bytes()))
    return {}


def _remove_old(folder: Path, kept: set[str]) -> None:
    for path in [*folder.glob("*.duckdb"), *folder.glob(".*.part*")]:
        with suppress(OSError):
            if path.name not in kept and time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()


def follow_lake(
    mesh: Callable[[], Mesh],
    catalog: Catalog,
    folder: Path,
    now: Callable[[], datetime],
    stopped: Callable[[], bool],
    on_written: Callable[[int], object],
    state: Path | None = None,
) -> None:
    """Bring the files up to date whenever a table has a new snapshot, however it was committed, until `stopped`.

    A look at the catalog every second finds it. While commits keep coming, as in a build, it waits for their end, at
    most `_LONGEST_WAIT_S` seconds. Raises UnavailableError.
    """
    seen: dict[str, int | None] | None = None
    cache, took = StateCache(), 0.0
    while not stopped():
        present = mesh()
        heads = star_heads(present, catalog)
        if heads != seen:
            end = time.monotonic() + _LONGEST_WAIT_S
            while seen is not None and time.monotonic() < end and not stopped():
                time.sleep(_PAUSE_S)
                if (later := star_heads(present, catalog)) == heads:
                    break
                heads = later
            began = time.monotonic()
            on_written(write_files(present, catalog, folder, now(), cache, state))
            seen, took = heads, time.monotonic() - began
        # While ingest commits all the time, others need the processor too.
        time.sleep(max(_PAUSE_S, took))
        took = 0.0


_PAUSE_S, _LONGEST_WAIT_S = 1.0, 3.0
