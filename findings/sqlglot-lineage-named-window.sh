#!/usr/bin/env bash
# Expected: Two spellings of one query have one lineage.
# Happens: For sum(a) OVER (PARTITION BY b ORDER BY ts) sqlglot names a, b and ts; with the same window in a WINDOW
#   clause it names a alone. For x IN (SELECT ...) it names the column of the subquery, for EXISTS (SELECT ...) with
#   the same meaning nothing; #2, DuckDB's second column, leads nowhere either.
# Matters: Impact of a change and the spread of personal data are computed from such lineage: the column that orders
#   or selects is missing, and no error says so.
# Instead: Inline named windows before the lineage (or refuse them), and treat an answer without a source table as an
#   error.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check sqlglot==30.12.0
venv/bin/python - <<'PY'
import importlib.metadata
import sys

from sqlglot.lineage import lineage

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "sqlglot".split():
    print(package, importlib.metadata.version(package))
schema = {"t": {"id": "int", "a": "int", "b": "int", "ts": "timestamp"}, "u": {"c": "int"}}
for query, expected, recorded in (
    ("SELECT sum(a) OVER (PARTITION BY b ORDER BY ts) AS x FROM t", ["t.a", "t.b", "t.ts"], ["t.a", "t.b", "t.ts"]),
    ("SELECT sum(a) OVER w AS x FROM t WINDOW w AS (PARTITION BY b ORDER BY ts)", ["t.a", "t.b", "t.ts"], ["t.a"]),
    ("SELECT b IN (SELECT c FROM u) AS x FROM t", ["t.b", "u.c"], ["t.b", "u.c"]),
    ("SELECT EXISTS (SELECT 1 FROM u WHERE u.c = t.b) AS x FROM t", ["t.b", "u.c"], []),
    ("SELECT #2 AS x FROM t", ["t.a"], []),
):
    nodes = lineage("x", query, schema=schema, dialect="duckdb").walk()
    seen = sorted({node.name for node in nodes if not node.downstream and "." in node.name})
    compare(query, expected, seen, recorded)
sys.exit(len(changed) > 0)
PY
