"""Look for a value in every file of the lake: what `mesh erase` notes as its proof."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mesh_platform.erasure.state_files import databases, holds, lake_files, other_files
from mesh_platform.errors import UnavailableError
from mesh_platform.iceberg.avro_edit import plain_parts
from mesh_platform.iceberg.orphan_files import table_files
from mesh_platform.iceberg.value_search import Value

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyiceberg.catalog import Catalog

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_GZIP = b"\x1f\x8b"


@dataclass
class Proof:
    """What was looked through, and the places where the value was found: files, and columns of Parquet files."""

    files: int = 0
    bytes: int = 0
    found: list[str] = field(default_factory=list)


def prove(catalog: Catalog, state: Path, value: Value, columns: Collection[str]) -> Proof:
    """Look for the value in the files of all tables, and in all other files of the state folder.

    Data files are read column by column: texts, bytes, and whatever columns with the names `columns` have. Manifests
    are read block by block, everything else as bytes.
    """
    proof = Proof()
    seen = set()
    for namespace in catalog.list_namespaces():
        for name in catalog.list_tables(namespace):
            files, listed = table_files(catalog.load_table(name))
            for path, size in listed:
                seen.add(path)
                proof.files, proof.bytes = proof.files + 1, proof.bytes + size
                proof.found += _places(files, path, value, columns)
    in_rows = databases(state)
    unseen = (path for path in lake_files(state) if str(path) not in seen)
    for file in (*unseen, *other_files(state), *in_rows):
        if file.is_file():
            proof.files, proof.bytes = proof.files + 1, proof.bytes + file.stat().st_size
            is_there = holds(file, value) or (file in in_rows and _holds_rows(file, value))
            proof.found += [str(file)] if is_there else []
    return proof


def _places(files: FileSystem, path: str, value: Value, columns: Collection[str]) -> Iterator[str]:
    try:
        if path.endswith(".parquet"):
            with files.open_input_file(path) as opened:
                yield from (f"{path}: {column}" for column in _columns(pq.ParquetFile(opened), value, columns))
            return
        with files.open_input_file(path) as opened:
            content = opened.read()
    except FileNotFoundError:
        # Maintenance removed it meanwhile.
        return
    if path.endswith(".avro"):
        parts = plain_parts(content)
    else:
        parts = iter((gzip.decompress(content) if content.startswith(_GZIP) else content,))
    if any(value.is_in(part) for part in parts):
        yield path


def _columns(file: pq.ParquetFile, value: Value, columns: Collection[str]) -> list[str]:
    """Return the columns that have the value: texts and bytes that contain it, others that equal it."""
    schema = file.schema_arrow
    texts = [each.name for each in schema if any(of(each.type) for of in _TEXTS)]
    others = [each.name for each in schema if each.name in columns and each.name not in texts]
    found: set[str] = set()
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=[*texts, *others])
        for name in {*texts, *others} - found:
            marks = value.within(rows[name]) if name in texts else value.equals(rows[name])
            if marks is not None and pc.any(marks).as_py():
                found.add(name)
    return sorted(found)


def _holds_rows(path: Path, value: Value) -> bool:
    """Whether a text or bytes in a SQLite file contain the value: a long one is on several pages of the file."""
    if path.suffix != ".db":
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    cells = (each.encode() if isinstance(each, str) else each for each in row)
                    if any(isinstance(each, bytes) and value.is_in(each) for each in cells):
                        return True
    except sqlite3.Error as error:
        raise UnavailableError(f"{path}: cannot be read ({error}). Mend it, then erase again.") from error
    return False
