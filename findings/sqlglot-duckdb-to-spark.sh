#!/usr/bin/env bash
# Expected: A query that sqlglot transpiles from DuckDB to Spark without a warning gives the same answer there, or
#   fails.
# Happens: Eight everyday expressions give another one: months and hours between times, the day of the week, a
#   replaced pattern, a cast, a substring from 0, the second with its fraction.
# Matters: Transpiling is how people try models on a second engine; a parity test on a few rows passes, the month's
#   report is off.
# Instead: Keep to a portable subset (write floor or round, counts of months by year and month), and run both engines
#   on edge values.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5 sqlglot==30.12.0 pysail==0.7.2 pyspark-client==4.2.0
venv/bin/python - <<'PY'
import importlib.metadata
import logging
import sys

import duckdb
import sqlglot
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "duckdb sqlglot pysail pyspark-client".split():
    print(package, importlib.metadata.version(package))
server = SparkConnectServer()
server.start(background=True)
host, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
for expression, theirs, recorded in (
    ("date_diff('month', DATE '2025-01-31', DATE '2025-02-01')", 1, 0),
    ("date_diff('hour', TIMESTAMP '2025-01-01 00:59:00', TIMESTAMP '2025-01-01 01:01:00')", 1, 0),
    ("dayofweek(DATE '2025-01-05')", 0, 1),
    ("isodow(DATE '2025-01-05')", 7, 2),
    ("regexp_replace('a-b-c', '-', '')", "ab-c", "abc"),
    ("CAST(2.5 AS INTEGER)", 3, 2),
    ("substring('abc', 0, 2)", "a", "ab"),
    ("epoch(TIMESTAMP '2025-01-01 00:00:00.5')", 1735689600.5, 1735689600),
):
    query = "SELECT " + expression
    duck = duckdb.sql(query).fetchall()[0][0]
    [sparks] = sqlglot.transpile(query, read="duckdb", write="spark")
    compare(expression, duck, [duck, spark.sql(sparks).collect()[0][0]], [theirs, recorded])
spark.stop()
server.stop()
sys.exit(len(changed) > 0)
PY
