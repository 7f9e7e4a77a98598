#!/usr/bin/env bash
# Expected: `datacontract test` of a CSV file says that 2.5 is no integer, and that it is below a minimum of 3.
# Happens: The test passes without a warning: DuckDB reads the column with the contract's type and rounds 2.5 to 3
#   before any check looks at it. A third decimal of an amount and the offset of a time are lost the same way.
# Matters: A gate on files from partners is green for values that the contract forbids; who loads the same file by
#   another reader gets other numbers.
# Instead: Declare the columns of the CSV as strings with a pattern in a contract of its own, or test the table after
#   a strict load.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check "datacontract-cli[duckdb]==1.2.8" duckdb==1.5.5
venv/bin/python - <<'PY'
import importlib.metadata
import json
import logging
import sys

from datacontract.data_contract import DataContract

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "datacontract-cli duckdb".split():
    print(package, importlib.metadata.version(package))
logging.disable(logging.CRITICAL)


def verdict(cell, column):
    open("cells.csv", "w").write(f"x\n{cell}\n")
    contract = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "urn:shop:cells", "version": "1.0.0", "status": "active",
        "servers": [{"server": "files", "type": "local", "path": "cells.csv", "format": "csv"}],
        "schema": [{"name": "cells", "properties": [{"name": "x", **column}]}],
    }
    return DataContract(data_contract_str=json.dumps(contract)).test().result.value


integer = {"logicalType": "integer", "logicalTypeOptions": {"minimum": 3}}
compare("2 as an integer of at least 3", "failed", verdict("2", integer), "failed")
compare("2.5 as an integer of at least 3", "failed", verdict("2.5", integer), "passed")
amount = {"logicalType": "number", "physicalType": "decimal(10,2)"}
compare("1.005 as decimal(10,2)", "failed", verdict("1.005", amount), "passed")
time = {"logicalType": "timestamp", "physicalType": "timestamp"}
compare("a time with an offset as timestamp", "failed", verdict("2025-01-01T00:00:00+02:00", time), "passed")
sys.exit(len(changed) > 0)
PY
