"""Run one SELECT over the views of a session, and refuse everything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from mesh_platform.engine.duckdb import DuckDBError, explain_duckdb, statement_kinds
from mesh_platform.engine.protocol import Connection
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.policy.pseudonyms import PSEUDONYM
from mesh_platform.query.session import view_names
from mesh_platform.text import offer

_TABLE_FUNCTIONS = ("range", "generate_series", "unnest", "repeat", "json_each", "json_tree")
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog")


def views_named(mesh: Mesh, sql: str) -> list[str]:
    """Return the views that `sql` could read: those whose table name occurs anywhere in its text."""
    text = sql.lower()
    return [name for name in view_names(mesh) if name.partition(".")[2] in text]


def run_query(connection: Connection, sql: str) -> pa.Table:
    """Return the rows of one SELECT (or FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW) over the session's views.

    Raises UsageError for any other statement, for a source that is not a view, and for what DuckDB refuses, with
    DuckDB's own hint.
    """
    if sql != sql.encode("utf-8", "replace").decode():
        raise UsageError("the query has bytes that are not UTF-8. Write it in UTF-8.")
    try:
        kinds = statement_kinds(sql)
        if kinds != ["SELECT"]:
            listed = ", ".join(kinds) or "nothing"
            raise UsageError(
                f"mesh query reads only, and one statement at a time; this is {listed}. Write one SELECT."
            )
        _check_sources(connection, sql)
        rows = connection.execute(sql).to_arrow_table()
    except DuckDBError as error:
        raise explain_duckdb(error, "the query's tables") or UsageError(str(error)) from error
    twice = {name for name in rows.column_names if rows.column_names.count(name) > 1}
    if twice:
        raise UsageError(f"two columns are called {', '.join(sorted(twice))}. Name one of them with AS.")
    return rows


def _check_sources(connection: Connection, sql: str) -> None:
    """Refuse sources other than the views, such as a table's data files, which contain what a role may not see."""
    found = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    assert found is not None
    try:
        tree = json.loads(found[0])
        nodes = list(_nodes(tree))
    except RecursionError:
        raise UsageError("the query is nested too deeply. Write it with fewer levels.") from None
    if tree["error"]:
        raise UsageError(f"mesh query reads only: {tree['error_message']} Write one SELECT over the views.")
    views = {
        f"{schema}.{name}".lower(): None
        for schema, name in connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
        ).fetchall()
    }
    # A CTE whose name is a path must not allow reading that file elsewhere in the query.
    own = {key.lower() for node in nodes for key in _cte_names(node) if key.isidentifier()}
    for node in nodes:
        # Calling it on guessed values would reveal whose pseudonym is whose.
        called = str(node.get("function_name")).lower()
        if called.startswith(PSEUDONYM):
            raise UsageError(f"{called}() is for the views alone. Leave it out.")
        if node.get("type") == "TABLE_FUNCTION":
            function = node["function"]["function_name"].lower()
            if function not in _TABLE_FUNCTIONS:
                raise UsageError(
                    f"mesh query reads views only, not {function}(). It may call {', '.join(_TABLE_FUNCTIONS)}."
                )
        if node.get("type") == "BASE_TABLE":
            name = ".".join(part for part in (node["schema_name"], node["table_name"]) if part).lower()
            if name not in views and name not in own and node["schema_name"].lower() not in _SYSTEM_SCHEMAS:
                raise UsageError(f"{name}: no such view. {offer(name, views)}")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _cte_names(node: dict[str, Any]) -> list[str]:
    return [entry["key"] for entry in node["cte_map"]["map"]] if "cte_map" in node else []
