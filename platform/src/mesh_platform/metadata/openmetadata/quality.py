"""What contracts promise of tables: their data contracts, and a test case for each rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from mesh_platform.contract.contract import Contract
from mesh_platform.contract.field_reader import CLASSIFICATIONS
from mesh_platform.contract.quality_rule import OnFailure, Rule
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.openmetadata.kinds import Entity, Ref, contract_fqn, quoted, rule_definition
from mesh_platform.sql.audit import Check, table_checks
from mesh_platform.sql.references import references

# The cases that are not of a rule, by the table that they are of: what `mesh status` says there.
REFUSED, DANGLING, ACCURACY = "refused events", "references", "accuracy"
# Nobody reviews here what was reviewed as a change of the contract.
_STATUS = {"active": "Approved"}
_OTHERWISE: Mapping[OnFailure, str] = {
    "block": "else nothing is published",
    "hold": "rows that break it are held back",
    "warn": "else the build warns",
}
_PARAMETERS = {"bound": "What the number must be.", "otherwise": "What becomes of rows that break it."}
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def definition(namespace: str) -> Entity:
    """Return the definition of which all test cases of the mesh are; builds run them, and OpenMetadata does not."""
    name = rule_definition(namespace)
    parameters = [
        {"name": each, "dataType": "STRING", "description": words, "required": False}
        for each, words in _PARAMETERS.items()
    ]
    body = {
        "name": name,
        "description": "A rule of a contract of the mesh. Builds check it, and the mesh sends their results.",
        "entityType": "TABLE",
        "testPlatforms": ["Other"],
        "provider": "automation",
        "parameterDefinition": parameters,
    }
    return Entity("testDefinition", quoted(name), body)


def promises(mesh: Mesh, tables: Mapping[str, Entity], namespace: str) -> Iterator[Entity]:
    """Yield the data contract and the test cases of each product; `tables` has their tables by name."""
    for name, contract in mesh.contracts.items():
        if name in tables:
            yield _data_contract(contract, tables[name], namespace)
    for name, contract in mesh.contracts.items():
        if name not in tables:
            continue
        for case, check in named_checks(mesh, contract).items():
            words = f"{_capital(check.subject)} {check.bound}; {_OTHERWISE[check.on_failure]}."
            yield _case(tables[name], case, words, str(check.bound), _OTHERWISE[check.on_failure], namespace)
        if references(contract):
            words = "Each reference has a row in its dimension."
            yield _case(tables[name], DANGLING, words, "must be 0", "such rows show as unknown", namespace)
        if contract.accuracy is not None:
            words = "The model in use loses no more than the promised share of what its baseline loses."
            bound = f"must be at most {contract.accuracy}"
            yield _case(tables[name], ACCURACY, words, bound, "the baseline predicts instead", namespace)
        if landing := tables.get(landing_name(contract)) if contract.event else None:
            words = "No event waits in quarantine."
            yield _case(landing, REFUSED, words, "must be 0", "such events are in quarantine", namespace)


def named_checks(mesh: Mesh, contract: Contract) -> dict[str, Check]:
    """Return the checks of a product by the names of their test cases, which differ."""
    found: dict[str, Check] = {}
    for check in table_checks(mesh, contract):
        # The words of a check without a name say what is wrong with a row.
        never = "never: " if check.name == check.words and check.bound.allows_none else ""
        # OpenMetadata allows no "::" in names.
        name = never + " ".join(check.name.split()).replace("::", ":")[:200]
        while name in (*found, DANGLING, ACCURACY):
            name += "'"
        found[name] = check
    return found


def case_fqn(table: str, name: str) -> str:
    """Return the full name of a test case of the table with this full name."""
    return f"{table}.{quoted(name)}"


def _case(table: Entity, name: str, words: str, bound: str, otherwise: str, namespace: str) -> Entity:
    values = [{"name": "bound", "value": bound}, {"name": "otherwise", "value": otherwise}]
    body = {
        "name": name,
        "description": words,
        "testDefinition": Ref("testDefinition", quoted(rule_definition(namespace))),
        "entityLink": f"<#E::table::{table.fqn}>",
        "parameterValues": values,
    }
    return Entity("testCase", case_fqn(table.fqn, name), body)


def _data_contract(contract: Contract, table: Entity, namespace: str) -> Entity:
    body = {
        "name": namespace,
        "displayName": f"{contract.identifier} {contract.version}",
        "description": contract.description,
        "entity": Ref("table", table.fqn),
        "entityStatus": "Deprecated" if contract.deprecated else _STATUS.get(contract.status, "Draft"),
        "schema": table.body["columns"],
        "odcsQualityRules": [_odcs_rule(rule) for rule in contract.table.rules],
        "owners": table.body.get("owners", []),
        "sla": _sla(contract),
        "security": _security(contract, namespace),
    }
    return Entity("dataContract", contract_fqn(table.fqn, namespace), body)


def _sla(contract: Contract) -> dict[str, Any]:
    """The promises that OpenMetadata has units for: the others are None."""
    fresh, latency, days = contract.freshness, contract.latency, contract.retention.days
    return {
        "refreshFrequency": None if not fresh or fresh % _HOUR else _span("interval", fresh),
        "maxLatency": None if not latency else _span("value", latency),
        "retention": {"period": days, "unit": "day"},
        "columnName": contract.freshness_column,
    }


def _span(name: str, span: timedelta) -> dict[str, Any]:
    for unit, size in (("day", _DAY), ("hour", _HOUR)):
        if not span % size:
            return {name: span // size, "unit": unit}
    return {name: -(-span // timedelta(minutes=1)), "unit": "minute"}


def _security(contract: Contract, namespace: str) -> dict[str, Any]:
    """The strictest class of the columns, and who may read what is personal."""
    classes = {field.classification for field in contract.table.fields}
    policy = {"accessPolicy": f"{namespace}_pii", "identities": [*contract.roles]}
    return {
        "dataClassification": next((each for each in reversed(CLASSIFICATIONS) if each in classes), None),
        "policies": [policy] if "pii" in classes else [],
    }


def _odcs_rule(rule: Rule) -> dict[str, Any]:
    numbers = [float(number) for number in rule.bound.numbers]
    several = len(rule.columns) > 1
    arguments = {"validValues": [*rule.values], "pattern": rule.pattern}
    arguments["properties"] = [*rule.columns] if several else []
    found = {
        "type": "sql" if rule.metric == "sql" else "library",
        "metric": None if rule.metric == "sql" else rule.metric,
        "name": rule.name,
        "description": rule.description,
        "query": rule.query,
        "column": rule.columns[0] if rule.columns and not several else None,
        "arguments": {name: value for name, value in arguments.items() if value},
        "unit": "percent" if rule.percent else "rows",
        rule.bound.operator: numbers if len(numbers) > 1 else numbers[0],
        "customProperties": {"mesh.onFailure": rule.on_failure},
    }
    return {name: value for name, value in found.items() if value not in (None, "", {})}


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
