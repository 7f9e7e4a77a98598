#!/usr/bin/env bash
# Expected: A filter `qty > 1.5` on an integer column keeps 2 and 3, as SQL does.
# Happens: pyiceberg rounds the literal to the type of the column first: 1.5 becomes 2, so that 2 is not among the
#   rows; `qty = 2.7` finds 3. delete() uses the same filter.
# Matters: A threshold that somebody computes (an average, a quota) selects or deletes the wrong rows without a word.
#   The same literal on a decimal column raises an error.
# Instead: Give integer literals to integer columns (`qty >= 2`), or filter in the SQL engine.
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

stock = pa.table({"qty": [1, 2, 3]})
table = catalog.create_table("shop.stock", stock.schema)
table.append(stock)


def rows(text):
    return sorted(table.scan(row_filter=text).to_arrow()["qty"].to_pylist())


compare("qty > 1.5", [2, 3], rows("qty > 1.5"), [3])
compare("qty < 2.5", [1, 2], rows("qty < 2.5"), [1])
compare("qty = 2.7", [], rows("qty = 2.7"), [3])
table.delete("qty > 1.5")
compare("left after delete qty > 1.5", [1], rows("qty > 0"), [1, 2])
sys.exit(len(changed) > 0)
PY
