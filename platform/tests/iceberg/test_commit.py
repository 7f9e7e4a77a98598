"""A commit reads the table's metadata often, but copies it only a few times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyiceberg.table
import pytest
from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.iceberg.commit import CheapTransaction, append_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.table import Table, Transaction

SCHEMA = TableSchema("sales", "Sales.", (Field("n", parse_type("long"), "n", True, 1, 1),), (), None, 1)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return ensure_table(open_catalog(Settings(root=tmp_path, state=Path("state"))), "shop.sales", SCHEMA)


def test_the_metadata_is_copied_a_few_times_a_commit(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    real, copies = pyiceberg.table.update_table_metadata, 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal copies
        copies += 1
        return real(*arguments, **options)

    monkeypatch.setattr(pyiceberg.table, "update_table_metadata", counted)
    append_rows(table, pa.table([[1, 2]], schema=arrow_schema(SCHEMA)))
    assert 0 < copies <= 3
    assert sorted(table.scan().to_arrow()["n"].to_pylist()) == [1, 2]


def test_what_is_staged_is_seen(table: Table) -> None:
    with CheapTransaction(table) as cheap:
        seen = [cheap.table_metadata]
        for number in range(3):
            cheap.set_properties({f"p{number}": "x"})
            seen.append(cheap.table_metadata)
        assert cheap.table_metadata is seen[-1]
        expected = Transaction.table_metadata.fget(cheap)  # type: ignore[attr-defined]
        assert seen[-1].properties == expected.properties
        assert [len(each.properties) - len(seen[0].properties) for each in seen] == [0, 1, 2, 3]
    assert table.properties["p2"] == "x"
