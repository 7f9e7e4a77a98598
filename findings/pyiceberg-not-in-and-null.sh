#!/usr/bin/env bash
# Expected: NOT IN treats a null alike, however many values the list has.
# Happens: With one value in the list, pyiceberg leaves a null out; with two values it returns the null, which `!=`
#   for each value does not.
# Matters: A list of excluded warehouses that grows from one to two makes rows without a warehouse appear. On a
#   partition column the same happens.
# Instead: State the null: `site is not null and site not in (...)`, or `site is null or ...`.
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

stock = pa.table({"site": ["east", "west", "north", None]})
table = catalog.create_table("shop.stock", stock.schema)
table.append(stock)


def rows(text):
    return sorted(table.scan(row_filter=text).to_arrow()["site"].to_pylist(), key=str)


compare("not in ('east')", ["north", "west"], rows("site not in ('east')"), ["north", "west"])
compare("not in ('east', 'west')", ["north"], rows("site not in ('east', 'west')"), [None, "north"])
compare("!= 'east' and != 'west'", ["north"], rows("site != 'east' and site != 'west'"), ["north"])
sys.exit(len(changed) > 0)
PY
