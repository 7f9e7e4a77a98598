#!/usr/bin/env bash
# Expected: A local time becomes the same instant in Python, DuckDB and pyarrow.
# Happens: In the hour that autumn repeats, Python takes the first pass and DuckDB the second, an hour later. In the
#   hour that spring skips, both take 03:30; pyarrow raises an error, or with 'earliest' gives a time one microsecond
#   before the gap.
# Matters: Events that are stamped by a Python producer and rebuilt in SQL miss each other in joins for one hour a
#   year.
# Instead: Send instants with an offset. Where a source has local times only, convert them in one place, and refuse
#   the skipped hour there.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5 pyarrow==26.0.1 pytz==2026.6 tzdata==2026.6
venv/bin/python - <<'PY'
import importlib.metadata
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "duckdb pyarrow pytz tzdata".split():
    print(package, importlib.metadata.version(package))
duckdb.sql("SET TimeZone = 'UTC'")
zone = "America/New_York"


def by_arrow(time, choice):
    try:
        local = pc.assume_timezone(pa.array([time], pa.timestamp("us")), zone, ambiguous=choice, nonexistent=choice)
    except pa.ArrowInvalid:
        return "refused"
    return str(local.cast(pa.timestamp("us", "UTC"))[0].as_py().time())


for case, time, recorded in (
    ("repeated", datetime(2025, 11, 2, 1, 30), ["05:30:00", "06:30:00", "refused", "05:30:00", "06:30:00"]),
    ("skipped", datetime(2025, 3, 9, 2, 30), ["07:30:00", "07:30:00", "refused", "06:59:59.999999", "07:00:00"]),
):
    seen = [
        str(time.replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc).time()),
        str(duckdb.sql(f"SELECT timezone('{zone}', TIMESTAMP '{time}')").fetchall()[0][0].time()),
        *(by_arrow(time, choice) for choice in ("raise", "earliest", "latest")),
    ]
    compare(f"{case} {time}, in UTC: Python, DuckDB, pyarrow raise, earliest, latest", "all alike", seen, recorded)
sys.exit(len(changed) > 0)
PY
