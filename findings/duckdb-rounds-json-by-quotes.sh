#!/usr/bin/env bash
# Expected: 1.005 read into decimal(10,2) is one value, quoted or not, and a half rounds one way.
# Happens: DuckDB takes an unquoted JSON number through a double (1.00) and a quoted one as text (1.01). Casts to an
#   integer differ likewise: 2.5 as a decimal or text becomes 3, as a double 2. pyarrow refuses to drop the digit.
# Matters: A producer that begins to quote its amounts changes cents; the same query over a decimal and a double
#   column disagrees by one.
# Instead: Read amounts as text or with more digits, check their scale, and round on purpose.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5 pyarrow==26.0.1
venv/bin/python - <<'PY'
import importlib.metadata
import io
import sys

import duckdb
import pyarrow as pa
import pyarrow.json

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "duckdb pyarrow".split():
    print(package, importlib.metadata.version(package))
one = {}
for case, line in (("unquoted", '{"usd": 1.005}'), ("quoted", '{"usd": "1.005"}')):
    open("amounts.json", "w").write(line)
    one[case] = str(duckdb.sql("FROM read_json('amounts.json', columns = {usd: 'DECIMAL(10,2)'})").fetchall()[0][0])
compare("DuckDB, 1.005 unquoted and quoted", "alike", one, {"unquoted": "1.00", "quoted": "1.01"})
try:
    schema = pa.schema([("usd", pa.decimal128(10, 2))])
    pa.json.read_json(io.BytesIO(line.encode()), parse_options=pa.json.ParseOptions(explicit_schema=schema))
    seen = "read"
except pa.ArrowInvalid:
    seen = "refused"
compare("pyarrow", "refused", seen, "refused")
seen = duckdb.sql("SELECT CAST(2.5 AS INT), CAST('2.5' AS INT), CAST(2.5::DOUBLE AS INT)").fetchall()[0]
compare("DuckDB, 2.5 to integer from decimal, text, double", "alike", seen, (3, 3, 2))
sys.exit(len(changed) > 0)
PY
