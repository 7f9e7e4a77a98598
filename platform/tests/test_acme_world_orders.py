"""The wire against the key: what arrives, decoded here once more and on its own, is what the key says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from acme_world.answer_key import answer_key
from acme_world.faults import Rates
from acme_world.orders import Source, order_lines
from mesh_platform.errors import UsageError
from mesh_platform.event import EventIds

ROOT = Path(__file__).parents[2]
START = date(2025, 10, 27)
PAYLOAD = [
    "order_id",
    "line_number",
    "customer_id",
    "product_id",
    "quantity",
    "unit_price",
    "amount",
    "currency",
    "status",
    "order_time",
]


@dataclass(frozen=True)
class Place:
    time_zone: str
    currency: str = "USD"


SITES = {
    "north_warehouse": Place("America/Toronto", "CAD"),
    "south_warehouse": Place("America/Chicago"),
    "east_warehouse": Place("America/New_York"),
    "west_warehouse": Place("America/Los_Angeles"),
}
SOURCES = {
    "north_warehouse": order_lines(),
    "south_warehouse": order_lines(rename={"customer_id": "client_no"}),
    "east_warehouse": order_lines(local_time=True),
    "west_warehouse": order_lines(extra=["loyalty_tier"]),
}


def arrivals(domain: str, day: int, rates: Rates, start: date = START, source: Source | None = None) -> list[bytes]:
    return (source or SOURCES[domain]).arrivals(
        domain,
        SITES[domain],
        root=ROOT,
        seed=7,
        start=start,
        day=day,
        rates=rates,
        product=product_of(domain),
        event_type="order_created",
        producer="produce_orders",
        schema_version="1.0.0",
    )


def product_of(domain: str) -> str:
    return f"{domain}.orders_{domain.removesuffix('_warehouse')}"


def fault_of(line: bytes, fields: set[str]) -> str | None:
    """What is wrong with a line, judged by the promises of the encoding alone; None for a good one."""
    try:
        event = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "utf8"
    except json.JSONDecodeError:
        return "json"
    payload = event["payload"]
    if event["event_type"] != "order_created":
        return "event_type"
    happened = datetime.fromisoformat(event["event_time"])
    if UUID(event["event_id"]).int >> 80 != (happened - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    ):
        return "id_time"
    if fields - payload.keys():
        return "missing"
    if payload.keys() - fields:
        return "unknown"
    if not isinstance(payload["quantity"], int):
        return "type"
    if payload["quantity"] < 1:
        return "range"
    if payload["quantity"] > 2**63:
        return "digits"
    if payload["status"] not in ("placed", "paid", "cancelled"):
        return "status"
    return None


def read_rates() -> dict[str, Decimal]:
    rows = (ROOT / "domains/north_warehouse/reference/exchange_rates.csv").read_text().split()[1:]
    return {month[:7]: Decimal(rate) for _, month, rate in (row.split(",") for row in rows)}


def add_up(payloads: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Rows and sums of (month, payload) pairs, in the form of the key."""
    rate = read_rates()
    dollars = Decimal(0)
    for month, payload in payloads:
        amount = Decimal(payload["amount"])
        assert amount == Decimal(payload["unit_price"]) * payload["quantity"]
        if payload["currency"] == "CAD":
            amount = (amount * rate[month]).quantize(Decimal("0.01"), ROUND_HALF_UP)
        dollars += amount
    quantity = sum(payload["quantity"] for _, payload in payloads)
    return {"rows": len(payloads), "sums": {"quantity": quantity, "amount_usd": f"{dollars:.2f}"}}


@pytest.mark.parametrize("rates", [Rates(), Rates(0.2, 0.2, 0.1), Rates(0, 0, 0), Rates(1, 1, 0)], ids=str)
def test_what_arrives_reconciles_with_the_key(rates: Rates) -> None:
    days = 9
    key = answer_key(ROOT, SITES, 7, START, days, rates)
    customers: set[str] = set()
    orphans = 0
    catalogue = (ROOT / "domains/logistics_core/reference/products.csv").read_text()
    for domain in SITES:
        fields = {SOURCES[domain].rename.get(name, name) for name in (*PAYLOAD, *SOURCES[domain].extra)}
        lines = [line for day in range(days) for line in arrivals(domain, day, rates)]
        unique = set(lines)
        spoilt = {line for line in unique if fault_of(line, fields)}
        events = [json.loads(line) for line in unique - spoilt]
        assert len({event["event_id"] for event in events}) == len(events)
        table = key[product_of(domain)]
        told = [(event["event_time"][:7], event["payload"]) for event in events]
        assert add_up(told) == {"rows": table["rows"], "sums": table["sums"]}
        assert {month for month, _ in told} == table["by_month"].keys() == {"2025-10", "2025-11"}
        for month, total in table["by_month"].items():
            assert add_up([pair for pair in told if pair[0] == month]) == total
        assert table["accepted"] == len(events)
        assert table["all"] == len(unique)
        assert key["quarantine"][product_of(domain)] == len(spoilt)
        assert max(Counter(lines).values()) == (2 if rates.duplicate else 1)
        customers |= {payload.get("customer_id") or payload["client_no"] for _, payload in told}
        orphans += sum(payload["product_id"] not in catalogue for _, payload in told)
    fact = key["logistics_core.fact_orders"]
    assert fact["rows"] == sum(key[product_of(domain)]["rows"] for domain in SITES)
    assert fact["orphans"] == orphans > 0
    assert key["logistics_core.dim_customer"]["rows"] == len(customers) + 1
    assert key["logistics_core.dim_product"]["rows"] == len(catalogue.splitlines())


def test_malformed_lines_show_ten_faults_in_place_of_good_lines() -> None:
    spoilt = arrivals("south_warehouse", 0, Rates(0, 0, 1))
    good = arrivals("south_warehouse", 0, Rates(0, 0, 0))
    fields = {"client_no", *PAYLOAD} - {"customer_id"}
    faults = Counter(fault_of(line, fields) for line in spoilt)
    assert faults.keys() == {
        *("utf8", "json", "event_type", "id_time", "missing", "unknown", "type", "range", "digits", "status")
    }
    assert {fault_of(line, fields) for line in good} == {None}
    assert len(set(spoilt)) == len(spoilt) == len(good)
    assert not any(b"\n" in line for line in spoilt)


def test_a_longer_world_only_adds() -> None:
    """Each day adds to the key what arrives on it for the first time, late lines of the month before included."""
    rates = Rates(0.2, 0.1, 0.02)
    october = []
    for days in range(1, 7):
        shorter, longer = (answer_key(ROOT, SITES, 7, START, n, rates) for n in (days, days + 1))
        for domain in SITES:
            before = {line for day in range(days) for line in arrivals(domain, day, rates)}
            new = set(arrivals(domain, days, rates)) - before
            assert longer[product_of(domain)]["all"] == shorter[product_of(domain)]["all"] + len(new)
        october.append(longer["logistics_core.fact_orders"]["by_month"]["2025-10"]["rows"])
    assert october[3] < october[4] < october[5], "the days from 1 November still bring lines of October"


def test_a_line_has_one_id_on_every_way() -> None:
    for domain, source in SOURCES.items():
        records = source.records(domain, SITES[domain], root=ROOT, seed=7, start=START)
        prompt = [json.loads(line) for day in (0, 1) for line in arrivals(domain, day, Rates(0, 0, 0))]
        late = [json.loads(line) for day in range(6) for line in arrivals(domain, day, Rates(1, 0, 0))]
        first = list(islice(records, len(prompt)))
        assert first == sorted(first, key=lambda record: record.time)
        ids = EventIds(product_of(domain))
        live = {ids.id_of(record): dict(record.payload) for record in first}
        assert live == {event["event_id"]: event["payload"] for event in prompt}
        assert live.items() <= {event["event_id"]: event["payload"] for event in late}.items()


def test_arrivals_come_in_order_with_earlier_days_among_them() -> None:
    lines = arrivals("west_warehouse", 4, Rates(0.3, 0.3, 0))
    days = [json.loads(line)["event_time"][8:10] for line in lines]
    assert set(days) == {"27", "28", "29", "30", "31"}
    third = len(days) // 3
    assert all(any(day != "31" for day in part) for part in (days[:third], days[third:-third], days[-third:]))
    own = [json.loads(line)["event_time"] for line in arrivals("west_warehouse", 4, Rates(0, 0, 0))]
    assert own != sorted(own)
    hours = [time[:13] for time in own]
    assert sum(a > b for a, b in pairwise(hours)) < len(hours) / 20


def test_each_warehouse_speaks_its_dialect() -> None:
    first = {domain: json.loads(arrivals(domain, 0, Rates(0, 0, 0))[0]) for domain in SITES}
    payloads = {domain: event["payload"] for domain, event in first.items()}
    assert list(payloads["north_warehouse"]) == PAYLOAD
    assert payloads["north_warehouse"]["currency"] == "CAD"
    assert list(payloads["south_warehouse"])[2] == "client_no"
    assert list(payloads["west_warehouse"]) == [*PAYLOAD, "loyalty_tier"]
    assert payloads["west_warehouse"]["order_time"] == first["west_warehouse"]["event_time"]
    assert len(payloads["east_warehouse"]["order_time"]) == len("2025-10-01T09:15:00.123")
    for payload in payloads.values():
        assert payload["unit_price"][-3] == payload["amount"][-3] == "."


def walls(day: date) -> Iterator[tuple[datetime, datetime]]:
    """UTC time and wall clock of the east's lines on one UTC day."""
    for line in arrivals("east_warehouse", 0, Rates(0, 0, 0), start=day):
        event = json.loads(line)
        yield datetime.fromisoformat(event["event_time"]), datetime.fromisoformat(event["payload"]["order_time"])


def test_local_time_repeats_an_hour_in_autumn_and_skips_one_in_spring() -> None:
    autumn = list(walls(date(2025, 11, 2)))
    assert {time.hour for time, wall in autumn if wall.hour == 1} == {5, 6}
    for time, wall in autumn:
        both = [wall.replace(tzinfo=ZoneInfo("America/New_York"), fold=fold) for fold in (0, 1)]
        assert time in {each.astimezone(UTC) for each in both}
    spring = list(walls(date(2026, 3, 8)))
    assert not [wall for _, wall in spring if wall.hour == 2]
    assert {wall.hour for time, wall in spring if time.hour == 7} == {3}


def test_the_key_knows_nothing_of_events() -> None:
    check = "import sys, acme_world.answer_key; print([m for m in sys.modules if m.startswith(('mesh_', 'acme_'))])"
    loaded = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout
    assert "acme_world.world" in loaded
    assert "mesh_platform.event" not in loaded
    assert "acme_world.orders" not in loaded


def test_a_dialect_of_unknown_fields_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no field \['custmer_id'\].*customer_id"):
        order_lines(rename={"custmer_id": "client_no"})
    with pytest.raises(UsageError, match="to add there are"):
        order_lines(extra=["colour"])
