"""Each kind of rule has in dbt the verdict that it has in a build, on rows that keep it and on rows that break it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt_runs import Project
from dbt_verdicts import verdicts_of
from mesh_platform.engine.duckdb import connect
from mesh_platform.engine.sql import literal, quoted, table_definition
from mesh_platform.metadata.dbt.project import dbt_project
from mesh_platform.metadata.dbt.relations import relations_of
from mesh_platform.metadata.dbt.write import write_project
from mesh_platform.sql.model import read_models
from mesh_platform.sql.relations import relation_schemas

from ..small_mesh import Place, add_contract, small_mesh

pytestmark = pytest.mark.slow
WARN = {"customProperties": [{"property": "mesh.onFailure", "value": "warn"}]}
NO_NUMBER = "no_number_breaks_nothing"
COLUMNS = {"a": "string key", "b": "int key", "word": "string", "n": "int", "size": "double", "made": "timestamptz"}
OF_TABLE: list[dict[str, Any]] = [
    {"metric": "rowCount", "mustBeBetween": [3, 5]},
    {"metric": "rowCount", "mustNotBe": 7},
    {"metric": "rowCount", "mustBeGreaterThan": 2},
    {"metric": "rowCount", "mustBeLessOrEqualTo": 4, **WARN},
    {"metric": "rowCount", "mustNotBeBetween": [6, 8]},
    {"metric": "rowCount", "mustBeLessThan": 1},
    {"metric": "duplicateValues", "arguments": {"properties": ["word", "n"]}, "mustBe": 0},
    {"metric": "duplicateValues", "arguments": {"properties": ["n"]}, "unit": "percent", "mustBeLessThan": 20},
    {"type": "sql", "query": "SELECT AVG(n) FROM ${object}", "mustBeGreaterOrEqualTo": 1.5},
    {"type": "sql", "query": "SELECT AVG(n) FROM ${object} WHERE false", "mustBe": 1, "name": NO_NUMBER},
    {"type": "sql", "query": "SELECT SUM(size) FROM ${object}", "mustBeLessThan": 1000, "name": 'it\'s "odd" – é'},
    {"type": "sql", "query": "SELECT SUM(size) FROM ${object}", "mustBeGreaterThan": -0.5, "name": "sum is a number"},
    {"type": "sql", "query": "WITH x AS (SELECT * FROM ${object}) SELECT COUNT(*) FROM x WHERE n > 3", "mustBe": 0},
    {
        "type": "sql",
        "query": "SELECT COUNT(*) FROM ${object} AS t WHERE t.word = '{{ no }} {% jinja %}'",
        "mustBe": 0,
    },
    {"type": "sql", "query": "SELECT COUNT(*) FROM ${object} WHERE a LIKE '%-- no comment'", "mustBe": 0, **WARN},
    {
        "type": "sql",
        "query": "SELECT COUNT(*) FROM ${object} WHERE CAST(made AS DATE) > DATE '2025-10-01'",
        "mustBe": 0,
    },
]
OF_COLUMNS: dict[str, list[dict[str, Any]]] = {
    "word": [
        {"metric": "invalidValues", "arguments": {"pattern": "^[a-z{]{1,2}|{{.*$"}, "mustBe": 0},
        {"metric": "invalidValues", "arguments": {"validValues": ["it", "it's", "{#"]}, "mustBeLessThan": 2},
        {"metric": "nullValues", "unit": "percent", "mustBeLessThan": 10, **WARN},
    ],
    "n": [{"metric": "nullValues", "mustBe": 0}, {"metric": "duplicateValues", "mustBeLessOrEqualTo": 1}],
}
LATE, EARLY = datetime(2025, 10, 2, tzinfo=UTC), datetime(2025, 10, 1, 23, 59, tzinfo=UTC)
ROWS: dict[str, list[tuple[object, ...]]] = {
    "empty": [],
    "good": [("a", 1, "it", 1, 1.5, EARLY), ("a", 2, "{#", 2, 0.0, EARLY), ("b", 1, "it", 3, None, EARLY)],
    "bad": [
        ("a", 1, "{{ no }} {% jinja %}", 1, -1.0, LATE),
        ("a", 1, None, 1, 4.0, EARLY),
        ("x-- no comment", 2, None, None, 5000.0, EARLY),
        ("b", 3, "NO", 9, 2.0, EARLY),
        ("b", 4, "NO", 9, 2.0, EARLY),
        ("b", None, "it", 1, 2.0, EARLY),
        ("c", 4, "it", 1, 2.0, EARLY),
    ],
    "odd": [("a", 1, "it", 1, float("nan"), EARLY), ("b", 1, "it's", 1, float("inf"), EARLY)],
}


def test_every_kind_of_rule_has_the_same_verdict_in_dbt(tmp_path: Path) -> None:
    place = small_mesh(tmp_path / "mesh")
    for name in ROWS:
        _add(place, name)
    mesh, models = place.mesh, read_models(place.mesh)
    project = Project(tmp_path / "dbt", tmp_path / "sources.duckdb")
    write_project(project.folder, dbt_project(mesh, models))
    sources = relations_of(mesh, models).sources
    schemas = relation_schemas(mesh)
    with connect({}) as session:
        session.execute(f"ATTACH {literal(str(project.database))} AS mesh_lake")
        for name in sources:
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted('mesh_lake.' + name.partition('.')[0])}")
            session.execute(table_definition(f"mesh_lake.{name}", schemas[name]))
        for name, rows in ROWS.items():
            for row in rows:
                session.execute(f"INSERT INTO mesh_lake.core.{name} VALUES (?, ?, ?, ?, ?, ?)", row)
        places = {name: quoted(f"mesh_lake.{name}") for name in sources}
        expected: dict[str, str] = {}
        for name in ROWS:
            expected |= verdicts_of(session, mesh, mesh.contracts[f"core.{name}"], places)
    project.dbt("test", "--select", *(f"source:core.{name}" for name in ROWS), check=1)
    assert project.verdicts() == expected
    for rule in {name.split("__", 2)[2] for name in expected} - {NO_NUMBER}:
        found = {expected[f"core__{name}__{rule}"] for name in ROWS}
        assert found in ({"pass", "fail"}, {"pass", "warn"}), f"{rule} is not tried"


def _add(place: Place, name: str) -> None:
    add_contract(place, "core", name, {name: COLUMNS})
    path = place.root / f"domains/core/contracts/{name}.odcs.yaml"
    data = yaml.safe_load(path.read_text())
    (schema,) = data["schema"]
    schema["quality"] = OF_TABLE
    for column in schema["properties"]:
        column["quality"] = OF_COLUMNS.get(column["name"], [])
        if column["name"] == "size":
            column["logicalTypeOptions"] = {"minimum": 0, "maximum": 4000}
    path.write_text(yaml.safe_dump(data))
    place.write(f"core/reference/{name}.csv", ",".join(COLUMNS) + "\n")
