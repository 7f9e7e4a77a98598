#!/usr/bin/env bash
# Expected: A time with an offset that meets a column without a zone is refused, or all readers make the same of it.
# Happens: For 00:00+02:00 pyarrow's JSON reader stores 22:00 of the day before, DuckDB drops the offset and stores
#   00:00, and pyarrow's CSV reader refuses.
# Matters: Batch files by one reader and late corrections by the other end two hours apart, in another day's
#   partition.
# Instead: Declare such columns as timestamptz, where the three agree; else refuse offsets before the read.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check pyarrow==26.0.1 duckdb==1.5.5 pytz==2026.6
venv/bin/python - <<'PY'
import importlib.metadata
import io
import sys

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.json

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "pyarrow duckdb pytz".split():
    print(package, importlib.metadata.version(package))
time = "2025-01-01T00:00:00+02:00"
duckdb.sql("SET TimeZone = 'UTC'")
open("events.json", "w").write('{"made_at": "%s"}\n' % time)
open("events.csv", "w").write("made_at\n%s\n" % time)


def answer(read):
    try:
        return str(read()).removesuffix("+00:00")
    except pa.ArrowInvalid:
        return "refused"


for zone, recorded in (
    (None, ["2024-12-31 22:00:00", "refused", "2025-01-01 00:00:00", "2025-01-01 00:00:00"]),
    ("UTC", ["2024-12-31 22:00:00"] * 4),
):
    arrow, sql = pa.timestamp("us", zone), "TIMESTAMPTZ" if zone else "TIMESTAMP"
    options = pa.json.ParseOptions(explicit_schema=pa.schema([("made_at", arrow)]))
    csv_options = pa.csv.ConvertOptions(column_types={"made_at": arrow})
    seen = [
        answer(lambda: pa.json.read_json("events.json", parse_options=options)["made_at"][0].as_py()),
        answer(lambda: pa.csv.read_csv("events.csv", convert_options=csv_options)["made_at"][0].as_py()),
        answer(lambda: duckdb.sql(f"FROM read_json('events.json', columns = {{made_at: '{sql}'}})").fetchall()[0][0]),
        answer(lambda: duckdb.sql(f"FROM read_csv('events.csv', columns = {{made_at: '{sql}'}})").fetchall()[0][0]),
    ]
    compare(f"{time} as {sql}: pyarrow JSON, CSV, DuckDB JSON, CSV", "all alike", seen, recorded)
sys.exit(len(changed) > 0)
PY
