#!/usr/bin/env bash
# Expected: sum() of a bigint column that leaves the range of bigint raises an error, as 1 / 0 does in the same
#   session and as Spark 4 does, or widens, as DuckDB does.
# Happens: pysail wraps around: the sum of two large positive numbers is negative. Its weekday() of a Sunday is -1,
#   where Spark's goes from 0 to 6.
# Matters: Sail is the light stand-in for Spark in tests. Sums of nanoseconds, hashes or cents times units are where
#   64 bits end.
# Instead: Cast to decimal(38,0) before the sum, and compare with a second engine. Use dayofweek(), which is right.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check pysail==0.7.2 pyspark-client==4.2.0 duckdb==1.5.5
venv/bin/python - <<'PY'
import importlib.metadata
import sys

import duckdb
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "pysail pyspark-client duckdb".split():
    print(package, importlib.metadata.version(package))
server = SparkConnectServer()
server.start(background=True)
host, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()


def answer(query):
    try:
        return str(spark.sql(query).collect()[0][0])
    except Exception as error:
        return type(error).__name__


largest = 2**63 - 1
values = f"FROM (VALUES (CAST({largest} AS BIGINT)), (CAST(1 AS BIGINT))) AS t(x)"
duck = str(duckdb.sql("SELECT sum(x) " + values).fetchall()[0][0])
compare("1 / 0", "an error", answer("SELECT 1 / 0"), "ArithmeticException")
compare("sum(x)", f"an error, or {duck} as in DuckDB", answer("SELECT sum(x) " + values), str(-largest - 1))
compare("sum(CAST(x AS DECIMAL(38, 0)))", duck, answer("SELECT sum(CAST(x AS DECIMAL(38, 0))) " + values), duck)
compare("weekday of a Sunday", "6", answer("SELECT weekday(DATE '2025-01-05')"), "-1")
spark.stop()
server.stop()
sys.exit(len(changed) > 0)
PY
