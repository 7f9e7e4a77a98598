#!/usr/bin/env bash
# Expected: DuckDB's iceberg_scan finds a row by its time, whatever the partitions of the table are.
# Happens: In a table partitioned by day or month of a timestamp, DuckDB skips the files of rows before 1970: it
#   rounds towards zero where Iceberg's transform rounds down. By month, a filter for one whole day loses them too.
# Matters: Dates of birth, contracts and archives begin before 1970. The count without a filter is right, with one it
#   is short, and nothing warns.
# Instead: Partition old times by year, or by day or month of a date column: both prune rightly; or filter with
#   pyiceberg.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 "pyiceberg[sql-sqlite,pyarrow,pyiceberg-core]==0.12.0" pyarrow==26.0.1
venv/bin/python - <<'PY'
import importlib.metadata
import os
import pathlib
import sys
from datetime import datetime

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, MonthTransform, YearTransform
from pyiceberg.types import NestedField, TimestampType

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "duckdb duckdb-extension-avro duckdb-extension-iceberg pyiceberg pyarrow".split():
    print(package, importlib.metadata.version(package))
catalog = SqlCatalog("lake", uri="sqlite:///catalog.db", warehouse="file://" + os.getcwd())
catalog.create_namespace("shop")
packages_folder = pathlib.Path(duckdb.__file__).parent.parent
duckdb.sql("SET home_directory = '.'")
for name in ("avro", "iceberg"):
    [extension] = (packages_folder / f"duckdb_extension_{name}").rglob("*.duckdb_extension")
    duckdb.sql(f"LOAD '{extension}'")

times = [datetime(1968, 3, 1, 9, 30), datetime(1968, 3, 15), datetime(1969, 12, 31, 10), datetime(1985, 6, 15, 8)]
one_day = "SELECT count(*) FROM iceberg_scan('{file}') WHERE made_at >= TIMESTAMP '{day}' AND made_at < TIMESTAMP '{day}' + INTERVAL 1 DAY"
for transform, exact, by_day in ((DayTransform(), [0, 1, 0, 1], [1] * 4), (MonthTransform(), [0, 0, 0, 1], [1, 0, 0, 1]), (YearTransform(), [1] * 4, [1] * 4)):
    spec = PartitionSpec(PartitionField(1, 1000, transform, "part"))
    table = catalog.create_table(f"shop.by_{transform}", Schema(NestedField(1, "made_at", TimestampType())), partition_spec=spec)
    table.append(pa.table({"made_at": pa.array(times, pa.timestamp("us"))}))
    file = table.metadata_location.removeprefix("file://")
    found = [table.scan(row_filter=f"made_at = '{at.isoformat()}'").count() for at in times]
    seen = [duckdb.sql(f"SELECT count(*) FROM iceberg_scan('{file}') WHERE made_at = TIMESTAMP '{at}'").fetchall()[0][0] for at in times]
    compare(f"by {transform}: rows at each exact time (pyiceberg: {found})", [1] * 4, seen, exact)
    seen = [duckdb.sql(one_day.format(file=file, day=at.date())).fetchall()[0][0] for at in times]
    compare(f"by {transform}: rows of each day", [1] * 4, seen, by_day)
sys.exit(len(changed) > 0)
PY
