"""Reading contracts: an ODCS file, of v3.1 or v3.2, as a `Contract`, or all of its faults together.

Settings for which ODCS has no field are customProperties named `mesh.*`; docs/contracts.md lists them. This module
reads the contract as a whole; `schema_reader`, `field_reader`, `link_reader`, `event_reader` and `sla_reader` read
its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from mesh_platform.contract.contract import LEVELS, STATUSES, Contract, TableSchema
from mesh_platform.contract.event_reader import read_oldest_version
from mesh_platform.contract.odcs import find_faults, plain, version_faults
from mesh_platform.contract.reading import Reading
from mesh_platform.contract.schema_reader import read_schema
from mesh_platform.contract.sla_reader import (
    check_freshness_promised,
    check_sla_names,
    read_accuracy,
    read_calendar,
    read_duration,
    read_freshness_column,
    read_time_travel,
)
from mesh_platform.contract.yaml_document import Document, parse, read_text
from mesh_platform.errors import Problem
from mesh_platform.text import counted, shown

SUFFIX = ".odcs.yaml"
_DESCRIPTION = ("purpose", "limitations", "usage", "authoritativeDefinitions", "customProperties")
_CUSTOM: Mapping[str, type] = {
    **dict.fromkeys(("mesh.implements", "mesh.timeTravel", "mesh.level", "mesh.demands", "mesh.oldestVersion"), str),
    "mesh.maintain": bool,
    "mesh.calendar": dict,
}


def read_contract(path: Path, root: Path, domain: str) -> tuple[Contract | None, list[Problem]]:
    """Read the contract of `domain` at `path`, and every problem in it; with a problem, the contract is None."""
    text = read_text(path, root)
    if isinstance(text, Problem):
        return None, [text]
    expected_name = shown(path, path.parent).removesuffix(SUFFIX)
    contract, problems = _read_text(text, shown(path, root), expected_name, domain)
    return contract, [*problems]


# For the same reason as that of `parse`.
@lru_cache(maxsize=1024)
def _read_text(text: str, label: str, expected_name: str, domain: str) -> tuple[Contract | None, tuple[Problem, ...]]:
    document = parse(text, label)
    if isinstance(document, Problem):
        return None, (document,)
    return read_document_as_contract(Document(label, plain(document.data), document.lines), expected_name, domain)


def read_document_as_contract(
    document: Document, expected_name: str, domain: str
) -> tuple[Contract | None, tuple[Problem, ...]]:
    """Read a document of JSON values as the contract `expected_name` of `domain`, or all problems in it."""
    problems = find_faults(document)
    reading = Reading(document, domain, is_odcs=not problems)
    problems += reading.part(lambda: [*version_faults(document)]) or []
    contract = reading.part(_read, reading, expected_name)
    # One fault in a place is enough, and that of ODCS comes first. An anchored part is read more than once.
    faults = {problem.line for problem in problems}
    problems += [problem for problem in reading.problems if problem.line not in faults]
    return (None, tuple(sorted(set(problems)))) if problems else (contract, ())


def _read(reading: Reading, expected_name: str) -> Contract | None:
    """The contract; None where there are problems."""
    table, event = _read_schemas(reading)
    custom = reading.part(reading.custom, reading.data, (), _CUSTOM) or {}
    time_travel = read_time_travel(reading, custom.get("mesh.timeTravel"))
    _check_names(reading, expected_name)
    _check_status(reading)
    check_sla_names(reading)
    freshness, retention, latency = (
        reading.part(read_duration, reading, name) for name in ("freshness", "retention", "latency")
    )
    level, demands = (
        reading.one_of(reading.data, (), name, custom.get(name), LEVELS) for name in ("mesh.level", "mesh.demands")
    )
    oldest = read_oldest_version(reading, custom.get("mesh.oldestVersion"), event is not None)
    accuracy = reading.part(read_accuracy, reading, event is not None)
    if event:
        check_freshness_promised(reading)
    column = read_freshness_column(reading, table) if freshness and table else None
    calendar = reading.part(read_calendar, reading, custom.get("mesh.calendar"))
    purpose = _read_purpose(reading)
    if reading.problems or not reading.is_odcs or table is None:
        return None
    return Contract(
        path=reading.document.label,
        domain=reading.domain,
        name=reading.data["name"],
        version=reading.data["version"],
        description=purpose.strip(),
        table=table,
        event=event,
        freshness=freshness,
        freshness_column=column,
        retention=retention or timedelta(days=365 * 10),
        implements=custom.get("mesh.implements"),
        roles=tuple(role["role"] for role in reading.data.get("roles") or []),
        retired=reading.data.get("status") == "retired",
        time_travel=time_travel,
        latency=latency,
        accuracy=accuracy,
        level=level or LEVELS[0],
        demands=demands,
        oldest_version=oldest,
        expires=retention is not None,
        maintained=custom.get("mesh.maintain") is not False,
        status=reading.data["status"],
        id=reading.data["id"],
        calendar=calendar,
    )


def _read_schemas(reading: Reading) -> tuple[TableSchema | None, TableSchema | None]:
    """The table and the event, as far as they could be read; reports other numbers of them."""
    schema = reading.data.get("schema") or []
    _check_kinds(reading, schema)
    parts = [reading.part(read_schema, reading, i, item) for i, item in enumerate(schema)]
    found = dict(reversed([part for part in parts if part]))
    return found.get("table"), found.get("event")


def _check_kinds(reading: Reading, schema: Sequence[Any]) -> None:
    kinds = [item.get("physicalType") if isinstance(item, dict) else None for item in schema]
    fits = kinds.count("table") == 1 and kinds.count("event") <= 1
    if set(kinds) <= {"table", "event"} and not fits:
        reading.add(
            ("schema",),
            f"has {counted(kinds.count('table'), 'schema')} of physicalType 'table' and "
            f"{kinds.count('event')} of 'event'.",
            "A contract has one table, and one event where producers send it.",
        )
    reading.knows_all = reading.is_odcs and fits and len(kinds) == kinds.count("table") + kinds.count("event")


def _check_names(reading: Reading, expected_name: str) -> None:
    for key, expected in (("name", expected_name), ("domain", reading.domain)):
        if reading.data.get(key) != expected:
            message = f"{key} is '{reading.data.get(key)}', the file's place says '{expected}'."
            reading.add((key,), message, "Make them equal.")


def _check_status(reading: Reading) -> None:
    status = reading.data.get("status")
    if status not in STATUSES:
        reading.add(("status",), f"status is '{status}'.", f"It is one of {', '.join(STATUSES)}.")


def _read_purpose(reading: Reading) -> str:
    description = reading.data.get("description") or {}
    for key in sorted(set(description) - set(_DESCRIPTION)):
        # ODCS leaves this part open.
        fix = f"What may stand here is {', '.join(_DESCRIPTION)}."
        reading.add(("description", key), f"description.{key} is not known.", fix)
    purpose: str = description.get("purpose") or ""
    if not purpose:
        reading.add(("description",), "has no description.purpose.", "Say in a sentence what the product is for.")
    return purpose
