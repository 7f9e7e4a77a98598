#!/usr/bin/env bash
# Expected: Two writers upsert the same new key at the same moment: one wins, the other updates its row or is refused.
# Happens: The loser's commit is retried over the winner's without a new look: its insert is an append, and an append
#   conflicts with nothing. The key is there twice, and a later upsert updates both rows. An append whose column was
#   dropped meanwhile goes through as well, and the values of that column are gone.
# Matters: Upsert is what people use for 'exactly once'. Here two workers that deliver the same record double it for
#   good.
# Instead: Set the table property commit.retry.num-retries to 0, and on CommitFailedException load the table and start
#   over from the look.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check "pyiceberg[sql-sqlite,pyarrow]==0.12.0" pyarrow==26.0.1
venv/bin/python - <<'PY'
import importlib.metadata
import logging
import os
import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

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

logging.disable(logging.WARNING)
stock = pa.table({"sku": ["A1"], "qty": [1]})


def attempt(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "done"


for retries, outcome, rows in (("4", "done", 2), ("0", CommitFailedException.__name__, 1)):
    first = catalog.create_table(f"shop.stock{retries}", stock.schema, properties={"commit.retry.num-retries": retries})
    second = catalog.load_table(first.name())
    first.upsert(stock, join_cols=["sku"])
    seen = attempt(lambda: second.upsert(stock, join_cols=["sku"]))
    compare(f"{retries} retries: the second upsert", "an update, or refused", seen, outcome)
    table = catalog.load_table(first.name())
    compare(f"{retries} retries: rows of the key", 1, table.scan().count(), rows)
    if retries == "4":
        table.upsert(pa.table({"sku": ["A1"], "qty": [2]}), join_cols=["sku"])
        compare("rows of the key after a later upsert", 1, table.scan().count(), 2)

first = catalog.create_table("shop.columns", stock.schema)
second = catalog.load_table("shop.columns")
with first.update_schema() as change:
    change.delete_column("qty")
compare("append of a column that was dropped meanwhile", "refused", attempt(lambda: second.append(stock)), "done")
compare("what is read back", "nothing", catalog.load_table("shop.columns").scan().to_arrow().to_pylist(), [{"sku": "A1"}])
sys.exit(len(changed) > 0)
PY
