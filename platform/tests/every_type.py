"""A contract with a field of every type, optional and bounded ones among them, and good lines for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from mesh_platform.broker import Delivery
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import read_contract
from mesh_platform.contract.types import parse_type
from mesh_platform.events.event import EventIds, Record
from mesh_platform.events.producer import wrap
from mesh_platform.ingest.validator import Validated, validate
from mesh_platform.mesh.mesh import Domain, Owners, Site

NOW = datetime(2025, 11, 1, tzinfo=UTC)
ID = "0199b4d3-2c3a-7b1e-8f00-5d1c0f2a9b11"
PAYLOAD: dict[str, Any] = {
    "name": 'Lamp, "red"\nof Zoë',
    "code": "A-12",
    "state": "new",
    "small": 7,
    "big": -9_000_000_000,
    "ratio": 0.5,
    "flag": True,
    "price": "19.90",
    "huge": "-12345678901234567890123456789012345678",
    "tiny": "0.0000001",
    "born": "2025-10-01",
    "wall": "2025-10-01T10:03:12.250",
    "at": "2025-10-01T14:03:12.250Z",
}
TYPES: dict[str, dict[str, Any]] = {
    "name": {"physicalType": "string", "required": True},
    "code": {"physicalType": "string", "logicalTypeOptions": {"pattern": "^[A-Z]-[0-9]+$"}},
    "state": {
        "physicalType": "string",
        "quality": [{"metric": "invalidValues", "arguments": {"validValues": ["new", "old"]}, "mustBe": 0}],
    },
    "small": {"physicalType": "int", "logicalTypeOptions": {"minimum": -5, "maximum": 100}},
    "big": {"physicalType": "long"},
    "ratio": {"physicalType": "double", "logicalTypeOptions": {"maximum": 1.5}},
    "flag": {"physicalType": "boolean"},
    "price": {"physicalType": "decimal(12,2)", "logicalTypeOptions": {"minimum": 0}},
    "huge": {"physicalType": "decimal(38,0)"},
    "tiny": {"physicalType": "decimal(9,7)"},
    "born": {"physicalType": "date"},
    "wall": {"physicalType": "timestamp"},
    "at": {"physicalType": "timestamptz", "required": True},
}


def every_type(folder: Path, time: str = "at", **changes: dict[str, Any]) -> Contract:
    """The contract `shop.things`; `time` is its event's time column, and `changes` replace parts of its fields."""
    fields = [
        {"name": name, "logicalType": parse_type(words["physicalType"]).logical, "description": "A.", **words}
        | changes.get(name, {})
        for name, words in TYPES.items()
    ]
    table = {"name": "id", "logicalType": "string", "physicalType": "string", "description": "A.", "required": True}
    contract = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "urn:shop:things",
        "name": "things",
        "version": "1.2.0",
        "status": "active",
        "domain": "shop",
        "description": {"purpose": "A test."},
        "schema": [
            {
                "name": "thing_made",
                "physicalType": "event",
                "description": "A row.",
                "properties": fields,
                "customProperties": [{"property": "mesh.eventTime", "value": time}],
            },
            {
                "name": "things",
                "physicalType": "table",
                "description": "A row.",
                "properties": [table, {**fields[-1], "name": "made_at"}],
            },
        ],
        "slaProperties": [
            {"property": "freshness", "value": 24, "unit": "h", "element": "things.made_at"},
            {"property": "retention", "value": 2, "unit": "y"},
        ],
    }
    path = folder / "things.odcs.yaml"
    path.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    found, problems = read_contract(path, folder, "shop")
    assert found, problems
    return found


def shop(folder: Path, zone: str = "America/New_York") -> Domain:
    """A domain with a site in `zone` and nothing else."""
    site = Site(
        warehouse_id="WH-SHOP",
        name="Shop",
        region="x",
        city="X",
        country="US",
        time_zone=zone,
        currency="USD",
        opened_on=date(2000, 1, 1),
    )
    owners = Owners(team="t", steward="t", contact="t", on_call="t")
    return Domain("shop", "source-aligned", "A test.", folder, site, owners, {}, {})


def envelope(number: int = 0, **payload: Any) -> dict[str, Any]:
    """A good envelope as a dict; `number` makes its id, and a payload field that is `...` is left out."""
    fields = {name: value for name, value in {**PAYLOAD, **payload}.items() if value is not ...}
    time = datetime.fromisoformat(PAYLOAD["at"])
    return {
        "event_id": EventIds(f"test {number}").id_of(Record(time, {})),
        "event_type": "thing_made",
        "event_time": PAYLOAD["at"],
        "producer": "test",
        "schema_version": "1.2.0",
        "payload": fields,
    }


def line(number: int = 0, **payload: Any) -> bytes:
    """A line of NDJSON, good unless `payload` makes it bad."""
    return json.dumps(envelope(number, **payload), ensure_ascii=False).encode()


GOOD = [line(number, name=str(number)) for number in range(3)]


def written(field: str, text: str | bytes) -> bytes:
    """A good line but for the JSON text of one field of the payload."""
    return line(**{field: "@@"}).replace(b'"@@"', text.encode() if isinstance(text, str) else text)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A good line but for a change of its envelope."""
    data = envelope()
    change(data)
    return json.dumps(data).encode()


def check(contract: Contract, *bodies: bytes) -> Validated:
    """The outcome of one message for each body."""
    return validate(contract, [Delivery(body, f"m{i}", i, False) for i, body in enumerate(bodies)], NOW)


def lines_of(contract: Contract, records: Iterable[Record]) -> list[bytes]:
    """The records as NDJSON."""
    return [event.to_json() for event in wrap(contract, records, "test")]
