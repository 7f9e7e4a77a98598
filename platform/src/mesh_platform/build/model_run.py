"""Run a model's query over the views of its inputs, and explain why it fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.engine.duckdb import QUERY_ERRORS, ROW_ERRORS, DuckDBError, explain_duckdb, registered
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.rows import is_time, outside_calendar
from mesh_platform.engine.sql import quoted, typed
from mesh_platform.errors import AttentionError
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.contract.contract import TableSchema
    from mesh_platform.sql.model import Model

_SHOWN = 5


def run_model(connection: Connection, model: Model, condition: str = "true") -> pa.Table:
    """Return the rows of a model's query that meet `condition` on `made`, in the contract's columns and types.

    Required columns are not checked yet. Raises AttentionError if DuckDB refuses the query or a row, and for dates
    and times outside the years 1 to 9999, which Python's readers of Iceberg cannot represent. If an input cannot be
    read, raises what `engine.duckdb.explain_duckdb` returns.
    """
    table_schema = model.contract.table
    columns = ", ".join(typed(field) for field in table_schema.fields)
    try:
        rows = connection.execute(
            f"SELECT {columns} FROM (\n{model.sql}\n) AS made WHERE {condition}"
        ).to_arrow_table()
    except DuckDBError as error:
        unread = explain_duckdb(error, f"{model.contract.identifier}: its inputs")
        raise unread or AttentionError(_why_it_stops(model, error)) from error
    return in_contract_types(connection, model, rows)


def in_contract_types(connection: Connection, model: Model, rows: pa.Table) -> pa.Table:
    """Return the rows of a model's query, from any engine, in the contract's types; required columns are not checked.

    Raises AttentionError for dates and times outside the years 1 to 9999.
    """
    table_schema = model.contract.table
    rows = rows.cast(optional_schema(table_schema))
    if fault := _outside_calendar(connection, table_schema, rows):
        raise AttentionError(
            f"{model.path}: {fault}. Nothing was committed. Give these rows another time, such as 9999-12-31, or "
            "null where the column may be missing; or mend the input."
        )
    return rows


def optional_schema(table_schema: TableSchema) -> pa.Schema:
    """Return the Arrow schema of `table_schema` with every column nullable."""
    return pa.schema([field.with_nullable(True) for field in arrow_schema(table_schema)])


def _why_it_stops(model: Model, error: DuckDBError) -> str:
    """Explain DuckDB's error as the fault of a row, of the query, or of neither."""
    text, _, where = str(error).partition("\n\nLINE ")
    said = " ".join(text.split())
    if isinstance(error, ROW_ERRORS):
        return (
            f"{model.path}: DuckDB stops at a row: {said}. Nothing was committed. Let the query take that row, or "
            "mend the input."
        )
    if isinstance(error, QUERY_ERRORS):
        number = re.match(r"\d+", where)
        # The model's text begins on the second line of the executed query.
        line = max(int(number[0]) - 1, 1) if number else 1
        return f"{model.path}:{line}: DuckDB says: {said}. Nothing was committed. Mend the query."
    return (
        f"{model.path}: DuckDB cannot run it: {said}. Nothing was committed. Mend what it names, or let the query "
        "need less, and build again."
    )


def _outside_calendar(connection: Connection, table_schema: TableSchema, rows: pa.Table) -> str:
    """Describe the dates and times of `rows` that other readers cannot represent, with up to five rows; else ""."""
    messages = []
    for field in table_schema.fields:
        values = rows.column(field.name)
        if not is_time(values.type) or not pc.any(odd := outside_calendar(values)).as_py():
            continue
        found = rows.filter(odd)
        shown = ", ".join(quoted(name) for name in dict.fromkeys([*table_schema.key, field.name]))
        with registered(connection, "mesh_odd", found):
            # As text: Python cannot represent such times.
            query = f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT {shown} FROM mesh_odd) ORDER BY ALL LIMIT {_SHOWN}"
            sample = connection.execute(query).to_arrow_table().to_pylist()
        listed = ", ".join("(" + ", ".join(f"{name}={value}" for name, value in row.items()) + ")" for row in sample)
        number = counted(found.num_rows, "row")
        messages.append(f"{field.name} is not in the years 1 to 9999 in {number}, as in {listed}")
    return "; ".join(messages)
