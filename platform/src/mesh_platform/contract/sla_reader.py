"""Reading the promises of a contract: freshness, latency, retention, accuracy and time travel."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from mesh_platform.contract.calendar import WEEKDAYS, Calendar
from mesh_platform.contract.contract import TIME_TRAVEL, TableSchema
from mesh_platform.contract.reading import Reading, custom_place

_KEPT = ("freshness", "latency", "retention", "accuracy")
# Hours of each unit.
_UNITS = {"h": 1, "d": 24, "m": 24 * 30, "y": 24 * 365}


def check_sla_names(reading: Reading) -> None:
    """Report SLA properties that nothing keeps, and repeated ones."""
    names = []
    for i, item in enumerate(reading.data.get("slaProperties") or []):
        name = item["property"]
        if name not in _KEPT:
            fix = f"What may be promised is {', '.join(_KEPT)}."
            reading.add(("slaProperties", i, "property"), f"nothing keeps the promise '{name}'.", fix)
        elif name in names:
            reading.add(("slaProperties", i), f"'{name}' is promised twice.", "Keep one of them.")
        names.append(name)


def read_duration(reading: Reading, name: str) -> timedelta | None:
    """The duration of the SLA property `name`; None where there is none, or its value is wrong."""
    for i, item in enumerate(reading.data.get("slaProperties") or []):
        if item["property"] != name:
            continue
        hours = _UNITS.get(str(item.get("unit")))
        if hours is None or not isinstance(item["value"], int | float) or not 0 < item["value"] <= 1000:
            reading.add(
                ("slaProperties", i, "value"),
                f"{name} is '{item['value']}{item.get('unit', '')}'.",
                f"Give a number up to 1000 and a unit out of {', '.join(_UNITS)} (hours, days, months, years).",
            )
            return None
        return timedelta(hours=item["value"] * hours)
    return None


def read_accuracy(reading: Reading, has_event: bool) -> float | None:
    """The share of its baseline's loss that a model promises to stay within; None where it promises none."""
    for i, item in enumerate(reading.data.get("slaProperties") or []):
        if item["property"] != "accuracy":
            continue
        value = item["value"]
        if not has_event:
            message = "accuracy is promised of a product without an event, and models predict events."
            reading.add(("slaProperties", i), message, "Promise it where the model's predictions are sent.")
        elif not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
            fix = "Give the share of its baseline's loss that the model stays within, above 0 and at most 1."
            reading.add(("slaProperties", i, "value"), f"accuracy is '{value}'.", fix)
        else:
            return float(value)
    return None


def read_time_travel(reading: Reading, value: str | None) -> timedelta:
    """How far back past states can be read, by the value of mesh.timeTravel."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})([hdmy])", value) if value is not None else None
    if value is not None and not found:
        fix = f"Write a number and a unit out of {', '.join(_UNITS)} (hours, days, months, years), such as 7d."
        reading.add(custom_place(reading.data, (), "mesh.timeTravel"), f"mesh.timeTravel is '{value}'.", fix)
    return timedelta(hours=int(found[1]) * _UNITS[found[2]]) if found else TIME_TRAVEL


def read_calendar(reading: Reading, value: dict[str, Any] | None) -> Calendar | None:
    """The calendar of mesh.calendar, by which freshness is measured."""
    if value is None:
        return None
    place = custom_place(reading.data, (), "mesh.calendar")
    if not any(item["property"] == "freshness" for item in reading.data.get("slaProperties") or []):
        reading.add(place, "mesh.calendar is of freshness, and the contract promises none.", "Remove it.")
    days, holidays = value.get("workdays", WEEKDAYS), value.get("holidays", [])
    if set(value) - {"workdays", "holidays"} or not isinstance(days, list | tuple) or not isinstance(holidays, list):
        fix = "Write {workdays: [mon, tue, wed, thu, fri], holidays: [2025-12-25]}, or one of the two."
        reading.add(place, f"mesh.calendar is {value}.", fix)
        return None
    if not days or any(day not in WEEKDAYS for day in days):
        fix = f"Name one or more of {', '.join(WEEKDAYS)}."
        reading.add(place, f"mesh.calendar has the workdays {list(days)}.", fix)
        return None
    try:
        return Calendar(frozenset(days), frozenset(date.fromisoformat(str(day)) for day in holidays))
    except ValueError:
        reading.add(place, f"mesh.calendar has the holidays {holidays}.", "Write each as a date such as 2025-12-25.")
        return None


def check_freshness_promised(reading: Reading) -> None:
    """Report that a contract with an event promises no freshness."""
    if not any(item["property"] == "freshness" for item in reading.data.get("slaProperties") or []):
        fix = "Add {property: freshness, value: 24, unit: h, element: <table>.<timestamp column>}."
        reading.add(("slaProperties",), "promises no freshness.", fix)


def read_freshness_column(reading: Reading, table: TableSchema) -> str | None:
    """The column of `table` by which its freshness is measured; None where it is unknown or wrong."""
    for i, item in enumerate(reading.data["slaProperties"]):
        if item["property"] == "freshness":
            owner, _, column = str(item.get("element")).partition(".")
            field = table.by_name.get(column)
            if owner == table.name and field and field.type.name == "timestamptz":
                return column
            if column in reading.unread or not reading.knows_all:
                return None
            instants = [f"{table.name}.{f.name}" for f in table.fields if f.type.name == "timestamptz"]
            fix = f"Name the column that it is measured by: {' or '.join(instants) or 'a timestamptz'}."
            reading.add(("slaProperties", i), f"freshness has the element '{item.get('element')}'.", fix)
    return None
