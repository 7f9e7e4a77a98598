"""DuckDB that reads Iceberg: the FileIO's properties arrive, a connection leaves that needs no network and no home.

`iceberg_scan('<metadata.json>')` reads a table; it is one state of that table and never moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import duckdb

from mesh_platform.engine.sql import literal
from mesh_platform.errors import MeshError, Unavailable
from mesh_platform.iceberg.outage import explain

if TYPE_CHECKING:
    import pyarrow as pa


Connection = duckdb.DuckDBPyConnection
VERSION = duckdb.__version__
DuckDBError = duckdb.Error
# What DuckDB raises where a row stops a query, and where the query itself is wrong.
ROW_ERRORS = (duckdb.DataError, duckdb.InvalidInputException)
QUERY_ERRORS = (duckdb.ProgrammingError, duckdb.NotSupportedError)


def connect(properties: Mapping[str, str], database: str = ":memory:") -> Connection:
    """A DuckDB in UTC that reads Iceberg, in memory or in a file; of `properties`, the catalog's, `s3.*` matter.

    Raises Unavailable where the extension wheels are missing or are not of DuckDB's own version.
    """
    connection = duckdb.connect(
        database,
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # The wheels are pinned as all other code is; to check its own signature too, DuckDB would read 63 MB of
            # them each time, for 0.2 s. What may be queried by others loads nothing: see `query`, and `view._lock`.
            "allow_unsigned_extensions": "true",
            "python_enable_replacements": "false",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    on_s3 = any(name.startswith("s3.") for name in properties) or properties.get("warehouse", "").startswith("s3")
    for extension in ("avro", "iceberg", *(["httpfs"] if on_s3 else [])):
        connection.execute(f"LOAD {literal(str(_extension_path(extension)))}")
    if on_s3:
        connection.execute(_s3_secret(properties))
    return connection


def connect_in_memory() -> Connection:
    """A DuckDB in memory that reads no variable of Python, for SQL that needs no lake."""
    return duckdb.connect(config={"python_enable_replacements": "false"})


def statement_kinds(sql: str) -> list[str]:
    """What each statement in a text is, such as `SELECT`. Raises DuckDBError where it cannot be read."""
    return [statement.type.name for statement in duckdb.extract_statements(sql)]


def add_text_function(connection: Connection, name: str, function: Callable[[str], str]) -> None:
    """Let SQL call `function`, of a text, by `name`; null stays null."""
    text = duckdb.sqltype("VARCHAR")
    connection.create_function(name, function, [text], text)


@contextmanager
def registered(connection: Connection, name: str, rows: pa.Table | None) -> Iterator[None]:
    """Within the block, SQL reads `rows` by `name`; without rows there is no such name."""
    if rows is None:
        yield
        return
    if _filters_differ(rows):
        connection.register(f"{name}__arrow", rows)
        connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS SELECT * FROM "{name}__arrow"')
        connection.unregister(f"{name}__arrow")
        try:
            yield
        finally:
            connection.execute(f'DROP TABLE "{name}"')
        return
    connection.register(name, rows)
    try:
        yield
    finally:
        connection.unregister(name)


def explain_duckdb(error: Exception, subject: str) -> MeshError | None:
    """The error to raise where DuckDB's `error` says that `subject` cannot be read, else None."""
    return explain(error, subject, "DuckDB cannot read them", "Mend the storage, then run again.")


def _filters_differ(rows: pa.Table) -> bool:
    """Whether a filter may choose other rows than DuckDB does: of rows that are registered, Arrow evaluates it.

    To Arrow NaN > 1 is false, to DuckDB true. What is <= NaN includes missing values where Arrow evaluates it
    (duckdb/duckdb-python#615).
    """
    # Not at the top: a check of types has no rows and does without Arrow, which is slow to import.
    import pyarrow as pa
    import pyarrow.compute as pc

    doubles = (column for column in rows.columns if pa.types.is_floating(column.type))
    return any(column.null_count or pc.any(pc.is_nan(column)).as_py() for column in doubles)


def _extension_path(name: str) -> Path:
    # LOAD by path, because INSTALL wants a network and LOAD by name a folder in the user's home.
    package = f"duckdb_extension_{name}"
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if found.exists():
            return found
    raise Unavailable(
        f"DuckDB {duckdb.__version__} finds no extension '{name}' of its own version. "
        f"Install {package.replace('_', '-')}=={duckdb.__version__}."
    )


def _s3_secret(properties: Mapping[str, str]) -> str:
    """The SQL that gives DuckDB what pyiceberg's FileIO knows (https://py.iceberg.apache.org/configuration/#s3)."""
    endpoint = urlparse(properties.get("s3.endpoint", ""))
    parts = {
        "KEY_ID": properties.get("s3.access-key-id"),
        "SECRET": properties.get("s3.secret-access-key"),
        "SESSION_TOKEN": properties.get("s3.session-token"),
        "REGION": properties.get("s3.region"),
        "ENDPOINT": endpoint.netloc,
        "URL_STYLE": "path" if endpoint.netloc else None,
    }
    given = [f"{name} {literal(value)}" for name, value in parts.items() if value]
    plain = ["USE_SSL false"] if endpoint.scheme == "http" else []
    return f"CREATE SECRET warehouse ({', '.join(['TYPE s3', *given, *plain])})"
