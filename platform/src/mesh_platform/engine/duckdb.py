"""Open DuckDB connections that read Iceberg tables, without a network and without a home folder.

`iceberg_scan('<metadata.json>')` reads a table: always the same state of it, the one in that metadata file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import duckdb
from pydantic_core import from_json

from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal
from mesh_platform.errors import MeshError, UnavailableError
from mesh_platform.iceberg.outage import explain

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.contract.types import FieldType


# How many plans one query makes.
_PLANS = 200
# Rows that one thread reads in some hundredths of a second.
_FEW = 500_000

_numbers = count(1)
# The kinds of the tokens of SQL: a keyword or an operator, the name of something, and a text or a number.
WORD, NAME, LITERAL = "word", "name", "literal"
_KINDS = {"keyword": WORD, "operator": WORD, "identifier": NAME, "string_const": LITERAL, "numeric_const": LITERAL}
# The beginning of what is between the starts of two tokens: white space and comments follow it.
_TOKEN = re.compile(r'"(?:[^"]|"")*"|\w+|[-+*/%<>=~!@#^&|`?:;,.()\[\]{}$]+')

VERSION = duckdb.__version__
DuckDBError = duckdb.Error
# What DuckDB raises if a row stops a query, and if the query itself is wrong.
ROW_ERRORS = (duckdb.DataError, duckdb.InvalidInputException)
QUERY_ERRORS = (duckdb.ProgrammingError, duckdb.NotSupportedError)


def connect(properties: Mapping[str, str], database: str = ":memory:") -> Connection:
    """Open a DuckDB in UTC that reads Iceberg, in memory or in a file, with the `s3.*` of the catalog's `properties`.

    Raises UnavailableError if the extension wheels are missing or have another version than DuckDB.
    """
    connection = duckdb.connect(
        database,
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # The wheels are pinned like all other code. To check their signatures, DuckDB would read 63 MB each time,
            # which takes 0.2 s. Sessions that others query load nothing: see `query.query` and `query.session._lock`.
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


def set_threads(connection: Connection, rows: int) -> None:
    """Let what follows use a thread for each core if it reads many rows, else one: to wake others takes longer."""
    connection.execute("SET threads = 1" if rows < _FEW else "RESET threads")


def connect_in_memory() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory that cannot read Python's variables, for SQL that needs no lake."""
    return duckdb.connect(config={"python_enable_replacements": "false"})


@contextmanager
def own_database() -> Iterator[Connection]:
    """Lend an empty database in memory, for SQL that needs no lake; it reads neither files nor Python's variables.

    All of them are in one DuckDB of this process, because to start another takes longer than most checks. A setting
    of one session does not apply to the next, a global one does.
    """
    name, lender = f"own_{next(_numbers)}", _lender(os.getpid())
    try:
        with lender.cursor() as connection:
            connection.execute(f"ATTACH ':memory:' AS {name}; USE {name}")
            yield connection
    finally:
        # By another session: a transaction that has failed takes no more commands, and would hide why.
        with lender.cursor() as other:
            other.execute(f"DETACH DATABASE IF EXISTS {name}")


@cache
def _lender(process: int) -> duckdb.DuckDBPyConnection:
    """The DuckDB of a process: a forked one must not use that of its parent. It has one thread, for few rows."""
    lender = connect_in_memory()
    lender.execute("SET threads = 1; SET enable_external_access = false")
    return lender


def statement_kinds(sql: str) -> list[str]:
    """Return the kind of each statement in `sql`, such as `SELECT`. Raises DuckDBError if it cannot be parsed."""
    return [statement.type.name for statement in duckdb.extract_statements(sql)]


def tokens(sql: str) -> list[tuple[str, str]]:
    """Return the tokens of any text as DuckDB reads SQL, each with its kind: WORD, NAME or LITERAL; no comments.

    What follows something that does not end, such as a text without its second quote, is left out.
    """
    text = sql.encode("utf-8", "replace")
    # The starts are places in bytes.
    starts = [*duckdb.tokenize(text.decode())]
    found = []
    for (start, kind), (end, _) in zip(starts, [*starts, (len(text), None)][1:], strict=True):
        match = _TOKEN.match(text[start:end].decode("utf-8", "replace"))
        if match and kind.name in _KINDS:
            found.append((_KINDS[kind.name], match[0]))
        elif kind.name in _KINDS:
            found.append((LITERAL, ""))
    return found


def function_names(words: Collection[str]) -> set[str]:
    """Return those of the words, in lower case, that are names of DuckDB's functions."""
    if not words:
        return set()
    listed = ", ".join(map(literal, sorted(words)))
    query = f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name IN ({listed})"
    with own_database() as connection:
        return {name for (name,) in connection.execute(query).fetchall()}


def bound_plans(connection: Connection, queries: Sequence[str]) -> list[dict[str, Any]]:
    """Return the logical plan of each query, bound to the tables of the connection, as DuckDB writes it in JSON.

    A query that cannot be bound, or has a plan that is nested too deeply, has the plan `{"error": True, ...}`.
    """
    found: list[dict[str, Any]] = []
    for start in range(0, len(queries), _PLANS):
        # Literals, because for each parameter DuckDB's client looks for pandas on the disk.
        texts = ", ".join(f"({number}, {literal(sql)})" for number, sql in enumerate(queries[start : start + _PLANS]))
        plans = "json_serialize_plan(sql, skip_null := true, skip_empty := true)"
        rows = connection.execute(
            f"SELECT {plans} FROM (VALUES {texts}) AS q (number, sql) ORDER BY number"
        ).fetchall()
        answers = (_parsed(row[0]) for row in rows)
        found += [answer if answer.get("error") else answer["plans"][-1] for answer in answers]
    return found


def _parsed(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        # It reads 200 levels; Python's own reader is slower and reads more.
        try:
            return json.loads(text)
        except RecursionError:
            return {"error": True, "error_message": "it is nested too deeply"}


def add_function(
    connection: Connection, name: str, function: Callable[[Sequence[Any]], Sequence[Any]], kind: FieldType
) -> None:
    """Let SQL call `function` as `name`: of many values of a type, None for NULL, it makes as many of that type."""
    import pyarrow as pa

    sql_type = duckdb.sqltype(kind.duckdb)
    # A call for each value would take 80 times as long: DuckDB looks for pandas each time, where it is not installed.
    # A lambda: DuckDB evaluates annotations, and `pa` is known here alone.
    connection.create_function(
        name,
        lambda values: pa.array(function(values.to_pylist()), kind.arrow),
        [sql_type],
        sql_type,
        type="arrow",
    )


@contextmanager
def registered(connection: Connection, name: str, rows: pa.Table | None) -> Iterator[None]:
    """Within the block, let SQL read `rows` as `name`; if `rows` is None, there is no such name."""
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
    """Return the error to raise if DuckDB's `error` means that `subject` cannot be read, else None."""
    return explain(error, subject, "DuckDB cannot read them", "Mend the storage, then run again.")


def _filters_differ(rows: pa.Table) -> bool:
    """Whether a filter on `rows` may select other rows in Arrow, which filters registered tables, than in DuckDB.

    NaN > 1 is false in Arrow and true in DuckDB. Evaluated by Arrow, `<= NaN` also selects missing values
    (duckdb/duckdb-python#615).
    """
    # Not at the top: type checks have no rows and do without Arrow, which is slow to import.
    import pyarrow as pa
    import pyarrow.compute as pc

    doubles = (column for column in rows.columns if pa.types.is_floating(column.type))
    return any(column.null_count or pc.any(pc.is_nan(column)).as_py() for column in doubles)


def _extension_path(name: str) -> Path:
    # LOAD by path, because INSTALL needs a network, and LOAD by name a folder in the user's home.
    package = f"duckdb_extension_{name}"
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if found.exists():
            return found
    raise UnavailableError(
        f"DuckDB {duckdb.__version__} finds no extension '{name}' of its own version. "
        f"Install {package.replace('_', '-')}=={duckdb.__version__}."
    )


def _s3_secret(properties: Mapping[str, str]) -> str:
    """Return the SQL that gives DuckDB the S3 settings of pyiceberg's FileIO.

    https://py.iceberg.apache.org/configuration/#s3
    """
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
