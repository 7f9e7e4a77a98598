"""The record of what was asked: `mesh.audit`, one row for each command that shows rows of the mesh.

A commit for each query would cost as much as the query, and more with every snapshot that it leaves. So a command
writes its record as a file of its own to the state folder before it answers, and `move_records` appends the files to
the table. A record carries its id, so one that a killed move left in both places is one row after the next.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, LessThan

from mesh_platform import faults
from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.errors import AttentionError, UnavailableError
from mesh_platform.files import write_once
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.replace import replace_without_trace
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.lake.catalog import AUDIT_FOLDER, arrow_schema, checked_table, ensure_table

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

AUDIT = "mesh.audit"
# Longer than the year that an audit usually looks back.
KEPT_FOR = timedelta(days=400)
_ATTEMPTS = 8

AUDIT_SCHEMA = TableSchema(
    "audit",
    "One row for each command that showed rows of the mesh, or wrote them to a file for others.",
    (
        _column("record", "string", "The id of the record, a UUID."),
        _column("asked_at", "timestamptz", "When, UTC, by the machine's clock."),
        _column("user_name", "string", "The user of the machine who asked."),
        _column("role", "string", "The role that was read as; owner hides nothing."),
        _column("command", "string", "The command: query, views, dashboards, dbt, catalog."),
        _column("tables", "string", "JSON: the names of the views that it reads."),
        _column(
            "statement", "string", "The SQL, with ? for each literal and for each name that is not public.", False
        ),
        _column("as_of", "string", "The past state that was read; missing for now.", False),
        _column("rows", "long", "How many rows a query showed; missing for one that failed, and for files.", False),
    ),
    (("month", "asked_at"),),
    None,
    1,
    by_flush=True,
)


@dataclass
class Record:
    """What somebody asks: the columns of `mesh.audit`. `as_of` and `rows` are filled in once they are known."""

    command: str
    role: str
    tables: tuple[str, ...]
    statement: str | None = None
    as_of: str | None = None
    rows: int | None = None
    asked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    user_name: str = field(default_factory=lambda: _user())
    record: str = field(default_factory=lambda: str(uuid4()))


@contextmanager
def recorded(catalog: Catalog, record: Record) -> Iterator[Record]:
    """Do what `write_record` does at the end of the block, however it ends; show the answer after it."""
    try:
        yield record
    finally:
        write_record(catalog, record)


def write_record(catalog: Catalog, record: Record) -> None:
    """Write a record to the state folder, where it survives the end of the process.

    Raises UnavailableError if it cannot be written.
    """
    folder = Path(catalog.properties[AUDIT_FOLDER])
    row = {**asdict(record), "asked_at": record.asked_at.isoformat(), "tables": json.dumps(record.tables)}
    try:
        write_once(folder / f"{record.record}.json", json.dumps(row).encode())
    except OSError as error:
        raise UnavailableError(
            f"{folder}: what is asked cannot be recorded here ({error.strerror}), so there is no answer. Make the "
            "folder writable, or name another state folder with MESH_STATE."
        ) from error


def move_records(catalog: Catalog) -> int:
    """Append the records that wait in the state folder to `mesh.audit`, each once; return how many waited.

    A killed move is finished by the next one. Raises AttentionError for a damaged file, and UnavailableError.
    """
    folder = catalog.properties.get(AUDIT_FOLDER)
    rows, files = [], sorted(Path(folder).glob("*.json")) if folder else []
    for file in files:
        try:
            row = json.loads(file.read_bytes())
            rows.append({**row, "asked_at": datetime.fromisoformat(row["asked_at"])})
        except FileNotFoundError:
            # Somebody else has moved it.
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise AttentionError(f"{file}: no record of a query. Move it out of this folder.") from error
    if rows:
        ensure_table(catalog, AUDIT, AUDIT_SCHEMA)
        arrow = pa.Table.from_pylist(rows, schema=arrow_schema(AUDIT_SCHEMA))
        append_new(lambda: ensure_table(catalog, AUDIT, AUDIT_SCHEMA), arrow, "record", "asked_at")
        faults.point("audit.moved")
    for file in files:
        file.unlink(missing_ok=True)
    return len(rows)


def read_audit(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the rows of `mesh.audit`, newest first. Raises what `checked_table` raises."""
    table = checked_table(catalog, AUDIT, AUDIT_SCHEMA)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    for row in rows:
        row["tables"] = json.loads(row["tables"])
    return sorted(rows, key=lambda row: row["asked_at"], reverse=True)


def remove_old_records(catalog: Catalog, now: datetime) -> int:
    """Remove the records of whole months that ended longer than `KEPT_FOR` before `now`; return how many.

    Earlier snapshots have them until they expire. Raises ConflictError if others keep committing.
    """

    def attempt() -> int:
        table = checked_table(catalog, AUDIT, AUDIT_SCHEMA)
        before = LessThan("asked_at", (now - KEPT_FOR).isoformat())
        tasks = table.scan(row_filter=before).plan_files() if table else ()
        old = [task.file for task in tasks if task.residual == AlwaysTrue()]
        if table and old:
            replace_without_trace(table, old, (), {})
        return sum(file.record_count for file in old)

    return on_conflict(_ATTEMPTS, attempt, f"{AUDIT}: others keep committing. Maintain again.")


def _user() -> str:
    """Return the name of the user who runs this process; unlike `getpass`, it does not ask the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
