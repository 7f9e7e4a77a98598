#!/usr/bin/env bash
# Expected: A parameter of type str in `execute(sql, [text])` costs what the same text as a literal costs.
# Happens: Where pandas is not installed, each call asks the importer for pandas twice, because a
#   failed import is not remembered: thousands of small queries spend a third of their time in searches of sys.path.
# Matters: Tools that plan or check many queries (lineage, linters, tests) run in lean environments without pandas.
# Instead: Send many values in one query, or write trusted text as a literal.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check duckdb==1.5.5
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
sys.exit(len(changed) > 0)
PY
