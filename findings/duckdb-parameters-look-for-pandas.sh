#!/usr/bin/env bash
# Expected: A parameter of type str in `execute(sql, [text])` costs what the same text as a literal costs, and a Python
#   function in SQL costs a call for each row.
# Happens: Where pandas is not installed, each parameter and each row of such a function asks the importer for pandas,
#   because a failed import is not remembered: small queries spend a third of their time in searches of sys.path, and a
#   hash of a column takes 80 times as long as with a function of type arrow.
# Matters: Tools that plan or check many queries (lineage, linters, tests), or mask columns by a Python function, run in
#   lean environments without pandas.
# Instead: Send many values in one query, or write trusted text as a literal; give `create_function` type="arrow".
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5 numpy==2.4.6
venv/bin/python - <<'PY'
import importlib.metadata
import sys

import duckdb

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


class Counter:
    def __init__(self):
        self.asked = []

    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        return None


print("duckdb", importlib.metadata.version("duckdb"))
connection = duckdb.connect()
connection.execute("SELECT ?", ["warm"]).fetchone()
connection.execute("SELECT 'warm'").fetchone()
counter = Counter()
sys.meta_path.insert(0, counter)
for _ in range(100):
    connection.execute("SELECT 'text'").fetchone()
compare("modules asked for by 100 queries with a literal", 0, len(counter.asked), 0)
for _ in range(100):
    connection.execute("SELECT ?", ["text"]).fetchone()
print("    they are", sorted(set(counter.asked)))
compare("modules asked for by 100 queries with a parameter", 0, len(counter.asked), 200)
counter.asked.clear()
connection.create_function("reversed_text", lambda text: text[::-1], ["VARCHAR"], "VARCHAR")
connection.execute("SELECT count(reversed_text(i::VARCHAR)) FROM range(1000) AS numbers (i)").fetchone()
compare("pandas is asked for once a row, by a function over 1,000 rows", False, counter.asked.count("pandas") >= 1000, True)
sys.exit(len(changed) > 0)
PY
