"""Reading what a contract says of its event: its time, its oldest accepted version, and names of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mesh_platform.contract.contract import LANDING_COLUMNS, Field
from mesh_platform.contract.reading import Reading, custom_place
from mesh_platform.contract.version import parse_version, read_version
from mesh_platform.contract.yaml_document import Place


def check_event_time(
    reading: Reading, place: Place, data: Mapping[str, Any], time: str | None, fields: Sequence[Field]
) -> None:
    """Report a mesh.eventTime that names no required timestamp among `fields`; None is reported already."""
    instants = [f.name for f in fields if f.type.logical == "timestamp" and f.required]
    if time not in (*instants, *reading.unread) and time is not None and reading.knows_all:
        allowed = " or ".join(instants) or "there is none"
        fix = f"Name the required timestamp that says when it happened: {allowed}."
        reading.add(custom_place(data, place, "mesh.eventTime"), f"mesh.eventTime is '{time}'.", fix)


def check_event_column(reading: Reading, place: Place, name: str) -> None:
    """Report a property of an event with the name of a column that ingest adds."""
    if name in LANDING_COLUMNS:
        fix = f"Choose another name than {', '.join(LANDING_COLUMNS)}."
        reading.add((*place, "name"), f"property '{name}' is a column of each landing table already.", fix)


def read_oldest_version(reading: Reading, text: str | None, has_event: bool) -> str | None:
    """The oldest accepted version of events; None where the contract does not say."""
    if text is None:
        return None
    place = custom_place(reading.data, (), "mesh.oldestVersion")
    oldest, own = parse_version(text), read_version(str(reading.data.get("version")))
    if not has_event:
        reading.add(place, "mesh.oldestVersion is of events, and the contract has none.", "Remove it.")
    elif oldest is None or (own is not None and oldest > own):
        fix = f"Name three numbers up to the contract's own version, {reading.data.get('version')}."
        reading.add(place, f"mesh.oldestVersion is '{text}'.", fix)
    return text
