"""The rows that engines are compared on: at the edges of each type, and within what contracts promise."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from mesh_platform.contract.promise import promises_of
from mesh_platform.engine.sql import quoted
from mesh_platform.errors import AttentionError
from mesh_platform.governance.parity.edge_rows import edge_rows
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.relations import relation_schemas

from ..every_type import every_type


def test_rows_have_the_edges_of_every_type(tmp_path: Path):
    event = every_type(tmp_path, code={"examples": ["A-12"]}).event
    assert event
    rows = edge_rows("shop.things", event, ["word"])
    values = {name: set(rows.column(name).to_pylist()) for name in rows.column_names}
    assert {"", "word", "\U0001f600"} <= values["name"]
    assert values["code"] == {"A-12", None}
    assert {-(2**63), 2**63 - 1, None} <= values["big"]
    assert {Decimal("9" * 38), Decimal("-" + "9" * 38)} <= values["huge"]
    assert {Decimal("0.0000001"), Decimal("-0.0000001"), Decimal("99.9999999")} <= values["tiny"]
    assert {-5, 100} <= values["small"] <= {None, *range(-5, 101)}
    assert {date(1, 1, 1), date(9999, 12, 30), date(2024, 2, 29)} <= values["born"]
    assert {datetime(2025, 11, 2, 1, 30), datetime(2025, 3, 9, 2, 30)} <= values["wall"]
    assert values["flag"] == {True, False, None}
    assert None not in values["name"] | values["at"]


def test_the_same_call_gives_the_same_rows_and_each_relation_has_others(tmp_path: Path):
    event = every_type(tmp_path, code={"examples": ["A-12"]}).event
    assert event
    rows = edge_rows("shop.things", event, [])
    assert rows.equals(edge_rows("shop.things", event, []))
    assert not rows.equals(edge_rows("shop.others", event, []))


def test_every_relation_of_the_company_gets_rows_that_keep_its_promises(mesh: Mesh):
    for relation, schema in relation_schemas(mesh).items():
        rows = edge_rows(relation, schema, ["USD"], 200)
        assert rows.num_rows, relation
        for field in schema.fields:
            column = rows.column(field.name)
            assert not (field.required and column.null_count), (relation, field.name)
            broken = [v for v in column.to_pylist() for promise in promises_of(field) if promise.breaks(v)]
            assert not broken, (relation, quoted(field.name), broken[:3])
        if schema.key:
            assert rows.select(schema.key).group_by(schema.key).aggregate([]).num_rows == rows.num_rows, relation


def test_the_values_of_a_key_keep_its_promises(tmp_path: Path):
    event = every_type(tmp_path, code={"examples": ["A-12"]}).event
    assert event
    fields = tuple(replace(field, key=int(field.name == "code")) for field in event.fields)
    rows = edge_rows("shop.things", replace(event, fields=fields), ["word"])
    assert rows.column("code").to_pylist() == ["A-12"]


def test_a_pattern_without_an_example_that_matches_asks_for_one(tmp_path: Path):
    event = every_type(tmp_path, code={"logicalTypeOptions": {"pattern": "^Q-[0-9]{9}$"}}).event
    assert event
    with pytest.raises(AttentionError, match=r"shop\.things: no value of 'code' is known"):
        edge_rows("shop.things", event, [])
