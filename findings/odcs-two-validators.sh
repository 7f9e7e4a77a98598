#!/usr/bin/env bash
# Expected: The package of the Open Data Contract Standard has a JSON schema and pydantic models of the same format,
#   and both give one verdict.
# Happens: The models refuse an unknown key at the top (extra=forbid) and pass over one everywhere below; they drop it
#   when they write the file. A column without a name, a rule without an operator or with an unknown metric, a
#   contract without a version: the schema refuses, the models accept.
# Matters: Who loads contracts by the models believes that they are validated: a typo in 'required' or 'mustBe' turns
#   a check off, and one load-and-save removes it.
# Instead: Validate each file by schema.json of the package before the models read it.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check open-data-contract-standard==3.2.0 jsonschema==4.26.0
venv/bin/python - <<'PY'
import copy
import importlib.metadata
import importlib.resources
import json
import sys

import jsonschema
from open_data_contract_standard.model import OpenDataContractStandard

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


for package in "open-data-contract-standard jsonschema".split():
    print(package, importlib.metadata.version(package))
schema = json.loads(importlib.resources.files("open_data_contract_standard").joinpath("schema.json").read_text())
validator = jsonschema.validators.validator_for(schema)(schema)
rule = {"type": "library", "metric": "rowCount"}
contract = {
    "apiVersion": "v3.2.0", "kind": "DataContract", "id": "urn:shop:orders", "version": "1.0.0", "status": "active",
    "schema": [{"name": "orders", "properties": [{"name": "id", "logicalType": "string"}]}],
}


def verdicts(change):
    changed_contract = copy.deepcopy(contract)
    change(changed_contract, changed_contract["schema"][0])
    try:
        OpenDataContractStandard.model_validate(changed_contract)
        models = "accept"
    except ValueError:
        models = "refuse"
    return ["accept" if validator.is_valid(changed_contract) else "refuse", models]


for case, change, recorded in (
    ("the contract itself", lambda c, table: None, ["accept", "accept"]),
    ("unknown key at the top", lambda c, table: c.update(requird=True), ["refuse", "refuse"]),
    ("unknown key at a column", lambda c, table: table["properties"][0].update(requird=True), ["refuse", "accept"]),
    ("mustBeGreatrThan in a rule", lambda c, table: table.update(quality=[{**rule, "mustBeGreatrThan": 0}]), ["refuse", "accept"]),
    ("a rule that asks for nothing", lambda c, table: table.update(quality=[rule]), ["refuse", "accept"]),
    ("unknown logicalType", lambda c, table: table["properties"][0].update(logicalType="decimal"), ["refuse", "accept"]),
    ("a column without a name", lambda c, table: table["properties"][0].pop("name"), ["refuse", "accept"]),
    ("no version", lambda c, table: c.pop("version"), ["refuse", "accept"]),
):
    compare(f"{case}: schema, models", [recorded[0]] * 2, verdicts(change), recorded)
contract["schema"][0]["properties"][0]["requird"] = True
saved = OpenDataContractStandard.model_validate(contract).to_yaml()
compare("the unknown key after load and save", "kept, or an error", "kept" if "requird" in saved else "gone", "gone")
sys.exit(len(changed) > 0)
PY
