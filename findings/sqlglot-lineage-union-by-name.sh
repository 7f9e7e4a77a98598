#!/usr/bin/env bash
# Expected: The lineage of a column of UNION ALL BY NAME leads to the columns of that name; that of EXCEPT leads to the
#   left side, whose rows it returns; that of PIVOT leads to the columns that are pivoted.
# Happens: UNION ALL BY NAME is followed by position, so a column leads to another one's source; EXCEPT names the right
#   side as a source of values; the output columns of PIVOT do not exist. None of them warns. DuckDB's own result shows
#   where the values come from.
# Matters: A catalog or an impact analysis names the wrong column, or none.
# Instead: Read the plan that DuckDB binds (json_serialize_plan), which numbers columns instead of naming them.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check sqlglot==30.30.0 duckdb==1.5.5
venv/bin/python - <<'PY'
import importlib.metadata
import sys

import duckdb
from sqlglot import exp
from sqlglot.lineage import lineage

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


def sources(column, sql):
    roots = lineage(None, sql, schema={"t": {"id": "INT", "x": "INT"}, "u": {"id": "INT", "y": "INT"}}, dialect="duckdb")
    if column not in roots:
        return "no such column"
    leaves = [node for node in roots[column].walk() if isinstance(node.expression, exp.Table)]
    return sorted(f"{leaf.expression.name}.{leaf.name.rpartition('.')[2].strip(chr(34))}" for leaf in leaves)


for package in ("sqlglot", "duckdb"):
    print(package, importlib.metadata.version(package))
connection = duckdb.connect()
connection.execute("CREATE TABLE t AS SELECT 1 AS id, 10 AS x; CREATE TABLE u AS SELECT 2 AS id, 20 AS y")
united = "SELECT id, x FROM t UNION ALL BY NAME SELECT y AS x, id FROM u"
compare("values of id in DuckDB", [1, 2], sorted(row[0] for row in connection.execute(united).fetchall()), [1, 2])
compare("UNION ALL BY NAME: sources of id", ["t.id", "u.id"], sources("id", united), ["t.id", "u.y"])
compare("EXCEPT: sources of x", ["t.x"], sources("x", "SELECT x FROM t EXCEPT SELECT y FROM u"), ["t.x", "u.y"])
pivoted = "SELECT * FROM (PIVOT t ON x IN (10, 20) USING sum(id))"
compare("PIVOT: sources of 10", ["t.id", "t.x"], sources("10", pivoted), "no such column")
sys.exit(len(changed) > 0)
PY
