#!/usr/bin/env bash
# Expected: `datacontract breaking` fails when a contract promises consumers less than before.
# Happens: A freshness of 1 hour that becomes 1 day, and a contract that is retired, are INFO and exit code 0; a
#   decimal(10,2) that widens to decimal(12,2) is an ERROR and exit code 1.
# Matters: As the gate of a pull request it stops the harmless change and lets the service level go.
# Instead: Compare slaProperties and status in a check of your own, and keep the command for columns.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check datacontract-cli==1.2.8
venv/bin/python - <<'PY'
import importlib.metadata
import subprocess
import sys

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "datacontract-cli".split():
    print(package, importlib.metadata.version(package))
contract = """apiVersion: v3.1.0
kind: DataContract
id: urn:shop:orders
name: orders
version: 1.0.0
status: active
schema:
- name: orders
  properties:
  - {name: amount, logicalType: number, physicalType: "decimal(10,2)", required: true}
slaProperties:
- {property: freshness, value: 1, unit: h}
"""
open("before.yaml", "w").write(contract)
for old, new, expected, recorded in (
    ("required: true", "required: false", 1, 1),
    ("decimal(10,2)", "decimal(12,2)", 0, 1),
    ("unit: h", "unit: d", 1, 0),
    ("status: active", "status: retired", 1, 0),
):
    open("after.yaml", "w").write(contract.replace(old, new))
    done = subprocess.run(["venv/bin/datacontract", "breaking", "before.yaml", "after.yaml"], capture_output=True)
    compare(f"{old} -> {new}: exit code", expected, done.returncode, recorded)
sys.exit(len(changed) > 0)
PY
