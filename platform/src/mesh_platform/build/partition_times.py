"""Refuse rows that a filter would not find, because of the partition that they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.contract.contract import exact_from_1970
from mesh_platform.errors import AttentionError
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract

_SHOWN = 5


def check_partition_times(contract: Contract, rows: pa.Table) -> None:
    """Raise AttentionError if `rows`, to be published, have times that `exact_from_1970` excludes."""
    schema = contract.table
    for transform, column in exact_from_1970(schema):
        early = pc.less(rows[column].cast(pa.int64()), 0)
        if not pc.any(early).as_py():
            continue
        found = rows.filter(early)
        shown = found.select(list(dict.fromkeys([*schema.key, column]))).slice(0, _SHOWN).to_pylist()
        listed = ", ".join("(" + ", ".join(f"{name}={value}" for name, value in row.items()) + ")" for row in shown)
        raise AttentionError(
            f"{contract.path}:{schema.line}: {column} is before 1970 in {counted(found.num_rows, 'row')}, as in "
            f"{listed}, which DuckDB's filters do not find in partitions by {transform}({column}). Nothing was "
            f"committed. Partition by year({column}), or by a column of type date, then run "
            f"'mesh evolve {contract.identifier}' and build again; or give these rows another time."
        )
