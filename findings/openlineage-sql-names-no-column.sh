#!/usr/bin/env bash
# Expected: The columns that openlineage-sql reports for a table it writes are columns of that table.
# Happens: For a UNION ALL it reports a column that the table does not have (the name in the second branch), and
#   leaves that source out of the column that has it. A scalar subquery with an alias is reported as _0.
# Matters: Edges to columns that do not exist are kept by the lineage server and make impact analysis miss a source,
#   without an error.
# Instead: Compare the reported columns with the table's, and alias each branch of a union alike.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check openlineage-sql==1.54.0 duckdb==1.5.5
venv/bin/python - <<'PY'
import importlib.metadata
import sys

import duckdb
from openlineage_sql import parse

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "openlineage-sql duckdb".split():
    print(package, importlib.metadata.version(package))
duckdb.sql("CREATE TABLE t (a INT); CREATE TABLE u (c INT)")
for query, expected, recorded in (
    ("SELECT a FROM t UNION ALL SELECT c FROM u", {"a": ["t.a", "u.c"]}, {"a": ["t.a"], "c": ["u.c"]}),
    ("SELECT a AS x, (SELECT max(c) FROM u) AS y FROM t", {"x": ["t.a"], "y": ["u.c"]}, {"_0": ["u.c"], "x": ["t.a"]}),
    ("SELECT a FROM t UNION ALL SELECT c AS a FROM u", {"a": ["t.a", "u.c"]}, {"a": ["t.a", "u.c"]}),
):
    duckdb.sql(f"CREATE OR REPLACE TABLE made AS {query}")
    print("columns of the table:", duckdb.table("made").columns)
    edges = parse([f"CREATE TABLE made AS {query}"]).column_lineage
    seen = {edge.descendant.name: sorted(f"{source.origin}.{source.name}" for source in edge.lineage) for edge in edges}
    compare(query, expected, seen, recorded)
sys.exit(len(changed) > 0)
PY
