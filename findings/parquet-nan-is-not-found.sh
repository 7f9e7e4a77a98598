#!/usr/bin/env bash
# Expected: Which rows a filter returns does not depend on whether they are in memory or in a Parquet file.
# Happens: Parquet statistics leave NaN out. pyarrow and DuckDB skip row groups by them, although both say of a NaN in
#   memory that the filter holds: even is_nan() of a pyarrow dataset finds no NaN. polars finds it. pyiceberg scans
#   through pyarrow, so `x is nan` returns nothing, while delete() with the same filter deletes the row.
# Matters: A quality check that looks for NaN in the lake answers 'none'; a look before a delete shows fewer rows than
#   the delete removes.
# Instead: Refuse NaN before the write. To look for it, read the column first and test it in memory.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check pyarrow==26.0.1 duckdb==1.5.5 polars==2.1.0 "pyiceberg[sql-sqlite,pyarrow]==0.12.0"
venv/bin/python - <<'PY'
import importlib.metadata
import math
import os
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "pyarrow duckdb polars pyiceberg".split():
    print(package, importlib.metadata.version(package))
catalog = SqlCatalog("lake", uri="sqlite:///catalog.db", warehouse="file://" + os.getcwd())
catalog.create_namespace("shop")

rates = pa.table({"x": [1.0, math.nan]})
pq.write_table(rates, "rates.parquet")
file = ds.dataset("rates.parquet")
for case, test in (("is_nan(x)", ds.field("x").is_nan()), ("x != 1", ds.field("x") != 1)):
    seen = [rates.filter(test).num_rows, file.to_table(filter=test).num_rows]
    compare(f"pyarrow, {case}: rows in memory, in the file", [1, 1], seen, [1, 0])
duckdb.sql("CREATE TABLE memory AS FROM 'rates.parquet'")
seen = [duckdb.sql(f"SELECT count(*) FROM {source} WHERE x > 5").fetchall()[0][0] for source in ("memory", "'rates.parquet'")]
compare("DuckDB, x > 5 (NaN is its greatest value): rows in memory, in the file", [1, 1], seen, [1, 0])
seen = pl.scan_parquet("rates.parquet").filter(pl.col("x").is_nan()).collect().height
compare("polars, is_nan: rows in the file", 1, seen, 1)
table = catalog.create_table("shop.rates", rates.schema)
table.append(rates)
compare("pyiceberg, scan of 'x is nan'", 1, table.scan(row_filter="x is nan").to_arrow().num_rows, 0)
table.delete("x is nan")
compare("pyiceberg, rows left by a delete of 'x is nan'", 1, table.scan().count(), 1)
sys.exit(len(changed) > 0)
PY
