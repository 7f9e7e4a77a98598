"""What the platform says of the tables that dbt tests: the verdict of each test, by the test's name."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from mesh_platform.contract.contract import Contract
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import quoted
from mesh_platform.errors import AttentionError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.dbt.tests import table_tests
from mesh_platform.sql.audit import audit_rows, is_met, measure, table_checks
from mesh_platform.sql.references import references, target


def verdicts_of(session: Connection, mesh: Mesh, contract: Contract, places: Mapping[str, str]) -> dict[str, str]:
    """The verdict on a table of each of its tests: pass, warn or fail.

    `places` are the relations of all tables, as the session names them. Checks that the audit of a build would block
    the table where a test fails.
    """
    relation = places[contract.identifier]
    names = [body["name"] for each in table_tests(mesh, contract, {}) for body in each.values()]
    checks = table_checks(mesh, contract)
    rows = session.execute(f"SELECT * FROM {relation}").to_arrow_table()
    missing = any(rows[field.name].null_count for field in contract.table.fields if field.required)
    keys = [tuple(row.values()) for row in rows.select(contract.table.key).to_pylist()]
    verdicts = ["fail" if missing else "pass"] if any(field.required for field in contract.table.fields) else []
    verdicts += ["fail" if len(set(keys)) < len(keys) else "pass"] if contract.table.key else []
    for check, number in measure(session, relation, checks).items():
        broken = "warn" if check.on_failure == "warn" else "fail"
        verdicts.append("pass" if is_met(check, number) else broken)
    if not any(check.on_failure == "hold" for check in checks):
        assert _blocks(session, contract, mesh, rows) is ("fail" in verdicts), contract.identifier
    found = dict(zip(names, verdicts, strict=True))
    for field in references(contract):
        name, column = target(field)
        known = f"SELECT {quoted(column)} FROM {places[name]} WHERE {quoted(column)} IS NOT NULL"
        dangling = f"SELECT count(*) FROM {relation} WHERE {quoted(field.name)} NOT IN ({known})"
        (count,) = session.execute(dangling).fetchone() or (0,)
        test = f"{contract.identifier.replace('.', '__')}__{field.name}__reference"
        found[test] = "warn" if count else "pass"
    return found


def _blocks(session: Connection, contract: Contract, mesh: Mesh, rows: pa.Table) -> bool:
    try:
        audit_rows(session, contract, table_checks(mesh, contract), rows)
    except AttentionError:
        return True
    return False
