#!/usr/bin/env bash
# Expected: Two keys of a record are two columns, or the load says that their names collide.
# Happens: dlt normalises orderId, order_id and 'Order ID' to order_id; of each record the last one in it is stored,
#   and the load succeeds.
# Matters: Two sources merged into one feed, or an API in change from camel to snake case, have both for a while.
#   Which value is kept depends on the order of the keys in the JSON.
# Instead: Look for keys that normalise alike before the load and rename them, or use the naming convention 'direct'.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check "dlt[duckdb]==1.31.0" duckdb==1.5.5
venv/bin/python - <<'PY'
import importlib.metadata
import os
import sys

import duckdb

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "dlt duckdb".split():
    print(package, importlib.metadata.version(package))
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DLT_DATA_DIR"] = os.getcwd()
import dlt


def stored(name, record):
    pipeline = dlt.pipeline(name, destination=dlt.destinations.duckdb(f"{name}.duckdb"), dataset_name="shop", pipelines_dir=os.getcwd())
    pipeline.run([record], table_name="orders")
    with duckdb.connect(f"{name}.duckdb") as lake:
        result = lake.sql("SELECT * EXCLUDE (_dlt_id, _dlt_load_id) FROM shop.orders")
        return dict(zip(result.columns, result.fetchall()[0]))


compare("{orderId: 1, order_id: 2}", "two columns, or an error", stored("one", {"orderId": 1, "order_id": 2}), {"order_id": 2})
compare("{order_id: 2, orderId: 1}", "two columns, or an error", stored("two", {"order_id": 2, "orderId": 1}), {"order_id": 1})
sys.exit(len(changed) > 0)
PY
