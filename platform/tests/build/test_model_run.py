"""Errors that explain why a model's query fails."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from mesh_platform.build.model_run import _why_it_stops
from mesh_platform.sql.model import read_models

from ..small_mesh import small_mesh


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "Conversion Error: no",
            "domains/core/models/dim_item.sql: DuckDB stops at a row: Conversion",
        ),
        ("Invalid Input Error: no", "domains/core/models/dim_item.sql: DuckDB stops at a row: Invalid Input Error"),
        ("Binder Error: no such", "domains/core/models/dim_item.sql:2: DuckDB says: Binder Error: no such"),
        ("Out of Memory Error: 1 GB", "domains/core/models/dim_item.sql: DuckDB cannot run it: Out of Memory Error"),
    ],
)
def test_only_a_fault_of_a_row_is_called_one(tmp_path: Path, error: str, said: str):
    kinds = {"Conv": duckdb.ConversionException, "Inva": duckdb.InvalidInputException}
    kinds |= {"Bind": duckdb.BinderException, "Out ": duckdb.OutOfMemoryException}
    where = "\n\nLINE 3: item_id,\n        ^" if error.startswith("Binder") else ""
    message = _why_it_stops(read_models(small_mesh(tmp_path).mesh)["core.dim_item"], kinds[error[:4]](error + where))
    assert message.startswith(said), message
    assert "LINE" not in message
    assert "Nothing was committed" in message
