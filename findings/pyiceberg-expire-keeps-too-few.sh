#!/usr/bin/env bash
# Expected: expire_snapshots keeps what the table asks for: history.expire.min-snapshots-to-keep, or
#   min_snapshots_to_keep of a branch. The Iceberg spec has both.
# Happens: pyiceberg keeps only the snapshot that each branch or tag points to. Neither setting is read; nor is a
#   tag's max_ref_age_ms, so that an old tag is kept for ever.
# Matters: A table whose retention was set by Spark or by a platform team loses its time travel, and an incremental
#   reader its start, by one clean-up job in Python.
# Instead: Compute the ids to expire yourself and pass them to by_ids; tag each snapshot that somebody needs, and
#   remove old tags yourself.
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
import time
from datetime import datetime, timedelta

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

def kept(table):
    for number in range(5):
        table.append(pa.table({"id": [number]}))
    snapshots = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    yield snapshots
    table.maintenance.expire_snapshots().older_than(datetime.now() + timedelta(days=1)).commit()
    yield len(table.refresh().metadata.snapshots)


schema = pa.schema([("id", pa.int64())])
table = catalog.create_table("shop.property", schema, properties={"history.expire.min-snapshots-to-keep": "3"})
compare("snapshots kept, property says at least 3", 3, list(kept(table))[1], 1)
table = catalog.create_table("shop.branch", schema)
work = kept(table)
newest = next(work)[-1]
table.manage_snapshots().create_branch(newest, "audit", min_snapshots_to_keep=3).commit()
compare("snapshots kept, branch says at least 3", 3, next(work), 1)
table = catalog.create_table("shop.tag", schema)
work = kept(table)
table.manage_snapshots().create_tag(next(work)[0], "old", max_ref_age_ms=1).commit()
time.sleep(0.05)
compare("snapshots kept, the tag lived for 1 ms", 1, next(work), 2)
sys.exit(len(changed) > 0)
PY
