"""Erase a value from the other files of the state folder: logs, caches, copies of tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mesh_platform.iceberg.value_search import Value

# They are made again where they are missing: docs/maintenance.md lists what is in the state folder.
_CACHES = (".cache", "counted.json")
# DuckDB compresses what it stores, so the value is not found in its bytes; `mesh dashboards` writes them again.
_COPIES = (".duckdb", ".duckdb.wal")
# Tables and the indexes of their keys, catalog and broker have their own ways.
_WAREHOUSE, _KEYS = "warehouse", "keys"
_DATABASES = ("catalog.db", "broker.db")
_OTHERS = (*_DATABASES, "erasure.key")
_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True)
class CleanedFiles:
    """The files that were removed because they are made again, and those in which asterisks now cover the value."""

    removed: tuple[str, ...]
    masked: tuple[str, ...]


def clean_state_files(state: Path, value: Value, tables: Iterable[str]) -> CleanedFiles:
    """Remove the value from the files of a state folder that are no tables.

    A log may be open in the process that writes it, so the value is covered in place, and the length stays. `tables`
    are the UUIDs of tables whose index of keys goes: its hashes are without a key.
    """
    removed, masked = [], []
    for uuid in tables:
        with suppress(FileNotFoundError):
            shutil.rmtree(state / _KEYS / uuid)
    for path in other_files(state):
        name = str(path.relative_to(state))
        if path.name.endswith(_COPIES):
            path.unlink(missing_ok=True)
            removed.append(name)
        elif holds(path, value):
            if path.name.endswith(_CACHES):
                path.unlink(missing_ok=True)
                removed.append(name)
            else:
                _mask(path, value)
                masked.append(name)
    return CleanedFiles(tuple(removed), tuple(masked))


def other_files(state: Path) -> Iterator[Path]:
    """Yield the files of a state folder that belong neither to tables nor to the catalog or the broker."""
    for path in sorted(state.rglob("*")):
        top = path.relative_to(state).parts[0]
        if top not in (_WAREHOUSE, _KEYS) and not top.startswith(_OTHERS) and path.is_file():
            yield path


def lake_files(state: Path) -> Iterator[Path]:
    """Yield the files in the folders of tables and of the indexes of their keys."""
    for folder in (_WAREHOUSE, _KEYS):
        yield from (path for path in (state / folder).rglob("*") if path.is_file())


def databases(state: Path) -> list[Path]:
    """Return the files of catalog and broker, with those that SQLite keeps beside them."""
    return sorted(path for path in state.glob("*.db*") if path.name.startswith(_DATABASES))


def holds(path: Path, value: Value) -> bool:
    """Whether the bytes of a file contain the value."""
    # A value at the border of two parts is in the second, which repeats the end of the first.
    overlap = 8 * len(value.text.encode()) + 2
    with suppress(FileNotFoundError), path.open("rb") as file:
        end = b""
        while chunk := file.read(_CHUNK):
            if value.is_in(end + chunk):
                return True
            end = chunk[-overlap:]
    return False


def _mask(path: Path, value: Value) -> None:
    with path.open("r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(value.masked(content))
