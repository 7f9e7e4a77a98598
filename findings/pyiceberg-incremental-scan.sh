#!/usr/bin/env bash
# Expected: A scan 'from snapshot A to now' yields what a reader at A needs to arrive at the table of now, or it
#   refuses a range that deletes.
# Happens: incremental_append_scan passes over overwrites and deletes without a word: a row that was deleted in the
#   range comes out, and one that was corrected comes out twice, in its old and its new form, with nothing to tell
#   them apart.
# Matters: A downstream product kept by it drifts from its source after the first correction or erasure, and nothing
#   fails.
# Instead: Walk the snapshots of the range yourself first, and recompute when an operation is not 'append'.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check "pyiceberg[sql-sqlite,pyarrow]==0.12.0" pyarrow==26.0.1
venv/bin/python - <<'PY'
import importlib.metadata
import os
import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "pyiceberg pyarrow".split():
    print(package, importlib.metadata.version(package))
catalog = SqlCatalog("lake", uri="sqlite:///catalog.db", warehouse="file://" + os.getcwd())
catalog.create_namespace("shop")

orders = pa.table({"id": [1], "usd": [10]})
table = catalog.create_table("shop.orders", orders.schema)
table.append(orders)
known = table.current_snapshot().snapshot_id
table.append(pa.table({"id": [2], "usd": [20]}))
table.append(pa.table({"id": [3], "usd": [30]}))
table.delete("id = 2")
table.overwrite(pa.table({"id": [3], "usd": [33]}), overwrite_filter="id = 3")
now = sorted(table.scan().to_arrow().to_pylist(), key=str)
new = sorted(table.incremental_append_scan(from_snapshot_id_exclusive=known).to_arrow().to_pylist(), key=str)
print("the table now:", now)
compare("added since the first snapshot", [{"id": 3, "usd": 33}], new, [{"id": 2, "usd": 20}, {"id": 3, "usd": 30}, {"id": 3, "usd": 33}])
sys.exit(len(changed) > 0)
PY
