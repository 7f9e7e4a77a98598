"""The bounds of data files are true of all their rows, whatever these contain."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.data_files import _upper_bound
from mesh_platform.lake.catalog import PROPERTIES
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, NestedField, StringType

from ..moved_lake import open_lake

# The last characters before those that UTF-8 cannot encode, and the last of all.
EDGES = st.sampled_from(["a", "é", "\ud7ff", "\ue000", "\U0010ffff"])


@given(st.text(EDGES, max_size=6), st.integers(1, 5))
@example("\U0010ffff" * 3, 2)
def test_the_upper_bound_of_a_text_is_short_not_below_it_and_can_be_written(text: str, length: int) -> None:
    bound = _upper_bound(text, length)
    if bound is None:
        assert set(text[:length]) == {"\U0010ffff"}
    else:
        assert len(bound) <= length
        assert bound.encode() >= text.encode()


@pytest.mark.parametrize("text", ["p" * 15 + "\ud7ffa", "\ud7ff" * 20, "\U0010ffff" * 20])
def test_a_text_before_the_surrogates_is_written_and_found(tmp_path: Path, text: str) -> None:
    catalog = open_lake(tmp_path / "state")
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.notes", Schema(NestedField(1, "note", StringType())), properties=PROPERTIES)
    append_rows(table, pa.table({"note": pa.array(["a", text], pa.large_string())}))
    assert table.scan(row_filter=f"note = '{text}'").to_arrow()["note"].to_pylist() == [text]


def test_files_with_more_rows_than_were_given_are_not_committed(tmp_path: Path) -> None:
    catalog = open_lake(tmp_path / "state")
    catalog.create_namespace("shop")
    by_ratio = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "ratio"))
    schema = Schema(NestedField(1, "ratio", DoubleType()))
    table = catalog.create_table("shop.ratios", schema, partition_spec=by_ratio, properties=PROPERTIES)
    with pytest.raises(AttentionError, match=r"3 rows went to data files, which have 5\. Nothing was committed"):
        append_rows(table, pa.table({"ratio": [0.0, -0.0, 1.0]}))
    assert not catalog.load_table("shop.ratios").snapshots()
