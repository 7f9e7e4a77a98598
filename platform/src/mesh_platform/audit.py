"""The audit before publishing: rows to be committed arrive; nothing leaves, or an error that shows which rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import registered
from mesh_platform.errors import NeedsAttention
from mesh_platform.relation import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from mesh_platform.contract import Contract

_SHOWN = 5


def audit_rows(
    connection: duckdb.DuckDBPyConnection, contract: Contract, rows: pa.Table, existing: pa.Table | None = None
) -> None:
    """Hold `rows` to what the contract promises: required columns are filled, each primary key stands once.

    `existing` are the keys that stay in the partitions that the rows are appended to. Raises NeedsAttention with the
    table, each broken rule and up to five rows of each.
    """
    key = [quoted(name) for name in contract.table.key]
    faults = []
    with registered(connection, "mesh_audited", rows), registered(connection, "mesh_existing", existing):
        for field in contract.table.fields:
            if field.required and rows.column(field.name).null_count:
                columns = ", ".join(dict.fromkeys([*key, quoted(field.name)]))
                query = f"FROM mesh_audited WHERE {quoted(field.name)} IS NULL"
                faults.append((f"{field.name} is required and missing", _found(connection, columns, query)))
        if key:
            columns = ", ".join(key)
            kept = f" UNION ALL SELECT {columns} FROM mesh_existing" if existing is not None else ""
            query = f"FROM (SELECT {columns} FROM mesh_audited{kept}) GROUP BY {columns} HAVING count(*) > 1"
            found = _found(connection, f"{columns}, count(*) AS times", query)
            if found:
                faults.append((f"the primary key ({', '.join(contract.table.key)}) repeats", found))
    if faults:
        rules = "; ".join(f"{rule}, as in {', '.join(found)}" for rule, found in faults)
        raise NeedsAttention(
            f"{contract.identifier}: {rules}. Nothing was committed, the table is as it was. Mend its query or its "
            f"inputs, or the promise in {contract.path}, and build again."
        )


def _found(connection: duckdb.DuckDBPyConnection, columns: str, query: str) -> list[str]:
    """Up to five rows of `query` as people read them, always the same ones."""
    rows = connection.execute(f"SELECT {columns} {query} ORDER BY ALL LIMIT {_SHOWN}").to_arrow_table().to_pylist()
    return ["(" + ", ".join(f"{name}={value}" for name, value in row.items()) + ")" for row in rows]
