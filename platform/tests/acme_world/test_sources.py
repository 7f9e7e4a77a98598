"""The events that arrive, decoded independently here, agree with the answer key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from itertools import islice, pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from acme_world.key.totals import MEASURES
from acme_world.wire import sources
from acme_world.wire.faults import SPOILT, Rates
from acme_world.wire.sources import Source
from mesh_platform.broker import Delivery
from mesh_platform.errors import UsageError
from mesh_platform.events.event import EventIds
from mesh_platform.events.producer import find_producer, sites_of
from mesh_platform.ingest.validator import validate
from mesh_platform.mesh.mesh import load_mesh

from ..company import FEEDS, NO_FAULTS, ROOT, SITES, SOURCES, arrivals, key_of

START = date(2025, 10, 27)
PAYLOAD = ["order_id", "line_number", "customer_id", "product_id", "quantity", "unit_price", "amount", "currency",
           "status", "order_time"]  # fmt: skip
ORDERS = [f"{domain}.orders_{domain.removesuffix('_warehouse')}" for domain in SITES]


def fields_of(product: str) -> set[str]:
    """The fields of an order of the product."""
    dialect = SOURCES[product].dialect
    return {dialect.rename.get(name, name) for name in (*PAYLOAD, *dialect.extra)}


def fault_of(line: bytes, fields: set[str]) -> str | None:
    """The fault of a line by the promises of the encoding alone; None for a good one."""
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


@cache
def read_rates() -> dict[str, Decimal]:
    rows = (ROOT / "domains/north_warehouse/reference/exchange_rates.csv").read_text().split()[1:]
    return {month[:7]: Decimal(rate) for _, month, rate in (row.split(",") for row in rows)}


def dollars(month: str, payload: dict[str, Any], field: str) -> Decimal:
    amount = Decimal(payload[field])
    if payload["currency"] == "CAD":
        amount = (amount * read_rates()[month]).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return amount


def change(payload: dict[str, Any]) -> int:
    """The signed change of the shelf, in any dialect."""
    if "quantity_change" in payload:
        return int(payload["quantity_change"])
    if "on_hand_after" in payload:
        return int(payload["on_hand_after"] - payload["on_hand_before"])
    units = payload["quantity"] if "quantity" in payload else (
        payload["cases"] * payload["units_per_case"] + payload["loose_units"]
    )  # fmt: skip
    return int(units if payload["direction"] == "in" else -units)


def read_measure(name: str, month: str, payload: dict[str, Any]) -> Decimal | int:
    """The contribution of one event to a sum of the key."""
    if name in ("amount_usd", "refund_amount_usd"):
        return dollars(month, payload, name.removesuffix("_usd"))
    if name == "quantity_change":
        return change(payload)
    value = payload.get(name, 0)
    return Decimal(value) if isinstance(value, str) else int(value)


def add_up(event: str, told: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Rows and sums of (month, payload) pairs, in the form of the key."""
    sums: dict[str, Any] = {}
    for name in MEASURES[event]:
        total = sum((read_measure(name, month, payload) for month, payload in told), 0)
        scale = MEASURES[event][name][1]
        sums[name] = f"{total:.{scale}f}" if scale else total
    return {"rows": len(told), "sums": sums}


@pytest.mark.parametrize(
    "rates", [NO_FAULTS, Rates(), pytest.param(Rates(0.3, 0.3, 0), marks=pytest.mark.thorough)], ids=str
)
def test_what_arrives_of_each_line_reconciles_with_the_key(rates: Rates) -> None:
    days = 7
    key = key_of(START, days, rates)
    for product, event in FEEDS.items():
        lines = [line for day in range(days) for line in arrivals(product, day, rates, START)]
        unique = set(lines)
        table = key[product]
        assert table["all"] == len(unique)
        assert table["accepted"] == table["rows"] == len(unique) - key["quarantine"][product]
        assert max(Counter(lines).values(), default=1) <= (2 if rates.duplicate else 1)
        if rates.malformed:
            continue
        events = [json.loads(line) for line in unique]
        assert len({each["event_id"] for each in events}) == len(events)
        told = [(each["event_time"][:7], each["payload"]) for each in events]
        assert add_up(event, told) == {"rows": table["rows"], "sums": table["sums"]}
        for month, total in table["by_month"].items():
            assert add_up(event, [pair for pair in told if pair[0] == month]) == total
        assert {month for month, _ in told} == table["by_month"].keys()


@pytest.mark.parametrize(
    "rates", [Rates(), pytest.param(Rates(0.2, 0.2, 0.1), marks=pytest.mark.thorough), Rates(1, 1, 0)], ids=str
)
def test_good_and_spoilt_orders_are_told_apart_as_the_key_does(rates: Rates) -> None:
    days = 6
    key = key_of(START, days, rates)
    customers: set[str] = set()
    dangling = 0
    catalogue = (ROOT / "domains/logistics_core/reference/products.csv").read_text()
    for product in ORDERS:
        lines = {line for day in range(days) for line in arrivals(product, day, rates, START)}
        spoilt = {line for line in lines if fault_of(line, fields_of(product))}
        told = [(event["event_time"][:7], event["payload"]) for event in map(json.loads, lines - spoilt)]
        table = key[product]
        assert add_up("order_created", told) == {"rows": table["rows"], "sums": table["sums"]}
        assert {month for month, _ in told} == table["by_month"].keys()
        assert key["quarantine"][product] == len(spoilt)
        customers |= {payload.get("customer_id") or payload["client_no"] for _, payload in told}
        dangling += sum(payload["product_id"] not in catalogue for _, payload in told)
    fact = key["logistics_core.fact_orders"]
    assert fact["rows"] == sum(key[product]["rows"] for product in ORDERS)
    assert fact["dangling"] == dangling > 0
    assert key["logistics_core.dim_customer"]["rows"] == len(customers) + 1
    assert key["logistics_core.dim_product"]["rows"] == len(catalogue.splitlines())


def test_malformed_lines_show_ten_faults_in_place_of_good_lines() -> None:
    product = "south_warehouse.orders_south"
    spoilt = arrivals(product, 0, Rates(0, 0, 1), START)
    good = arrivals(product, 0, NO_FAULTS, START)
    faults = Counter(fault_of(line, fields_of(product)) for line in spoilt)
    assert faults.keys() == {
        *("utf8", "json", "event_type", "id_time", "missing", "unknown", "type", "range", "digits", "status")
    }
    assert {fault_of(line, fields_of(product)) for line in good} == {None}
    assert len(set(spoilt)) == len(spoilt) == len(good)
    assert not any(b"\n" in line for line in spoilt)


def test_every_product_refuses_what_is_spoilt_and_takes_what_is_good() -> None:
    """By its own contract, for each kind of fault."""
    mesh = load_mesh(ROOT)
    now = datetime(2025, 11, 10, tzinfo=UTC)
    for contract in mesh.ingested():
        source = find_producer(mesh, contract).source
        assert isinstance(source, Source)
        assert contract.event is not None
        for rates, wrong in ((Rates(0, 0, 1), True), (NO_FAULTS, False)):
            lines = [
                line
                for day in (range(8) if contract.event.name in ("order_returned", "route_update") else range(2))
                for line in source.arrivals(
                    contract.domain,
                    sites_of(mesh),
                    root=ROOT,
                    seed=7,
                    start=START,
                    day=day,
                    rates=rates,
                    product=contract.identifier,
                    event_type=contract.event.name,
                    producer="acme_world",
                    schema_version=contract.version,
                )
            ]
            deliveries = [Delivery(line, None, tag, redelivered=False) for tag, line in enumerate(lines)]
            rejected = validate(contract, deliveries, now).rejected.to_pylist()
            assert len(rejected) == (len(lines) if wrong else 0), contract.identifier
            assert lines
            if wrong and len(lines) > 100:
                assert len({row["reason"] for row in rejected}) >= len(SPOILT) - 3


def test_a_longer_world_only_adds() -> None:
    """Each day adds to the key what arrives on it for the first time, including late lines of the previous month."""
    rates = Rates(0.2, 0.1, 0.02)
    october = []
    products = (*ORDERS, "west_warehouse.inventory_west", "logistics_core.delivery_sla")
    before = {product: set(arrivals(product, 0, rates, START)) for product in products}
    keys = [key_of(START, days, rates) for days in range(1, 8)]
    for days, (shorter, longer) in enumerate(pairwise(keys), 1):
        for product in products:
            new = set(arrivals(product, days, rates, START)) - before[product]
            assert longer[product]["all"] == shorter[product]["all"] + len(new)
            before[product] |= new
        october.append(longer["logistics_core.fact_orders"]["by_month"]["2025-10"]["rows"])
    assert october[3] < october[4] < october[5], "the days from 1 November still bring lines of October"


def test_an_event_has_one_id_on_every_way() -> None:
    for product, source in SOURCES.items():
        records = source.records(product.split(".")[0], SITES, root=ROOT, seed=7, start=START)
        prompt = [json.loads(line) for day in range(3) for line in arrivals(product, day, NO_FAULTS, START)]
        late = [json.loads(line) for day in range(6) for line in arrivals(product, day, Rates(1, 0, 0), START)]
        first = list(islice(records, len(prompt)))
        assert first == sorted(first, key=lambda record: record.time)
        ids = EventIds(product)
        live = {ids.id_of(record): dict(record.payload) for record in first}
        assert live == {event["event_id"]: event["payload"] for event in prompt}
        assert live.items() <= {event["event_id"]: event["payload"] for event in late}.items()


def test_arrivals_come_in_order_with_earlier_days_among_them() -> None:
    product = "west_warehouse.orders_west"
    lines = arrivals(product, 4, Rates(0.3, 0.3, 0), START)
    days = [json.loads(line)["event_time"][8:10] for line in lines]
    assert set(days) == {"27", "28", "29", "30", "31"}
    third = len(days) // 3
    assert all(any(day != "31" for day in part) for part in (days[:third], days[third:-third], days[-third:]))
    own = [json.loads(line)["event_time"] for line in arrivals(product, 4, NO_FAULTS, START)]
    assert own != sorted(own)
    hours = [time[:13] for time in own]
    assert sum(a > b for a, b in pairwise(hours)) < len(hours) / 20


def test_each_warehouse_speaks_its_dialect() -> None:
    def first(product: str) -> dict[str, Any]:
        told = (arrivals(product, day, NO_FAULTS, START) for day in reversed(range(6)))
        event: dict[str, Any] = json.loads(next(lines[-1] for lines in told if lines))
        return event

    payloads = {product: first(product)["payload"] for product in SOURCES if not product.endswith(".routes")}
    north, south, east, west = (payloads[product] for product in ORDERS)
    assert list(north) == PAYLOAD
    assert north["currency"] == payloads["north_warehouse.restocks_north"]["currency"] == "CAD"
    assert list(south)[2] == "client_no"
    assert list(west) == [*PAYLOAD, "loyalty_tier"]
    assert len(east["order_time"]) == len("2025-10-01T09:15:00.123")
    for payload in (north, south, east, west):
        assert payload["unit_price"][-3] == payload["amount"][-3] == "."
    for line in ("inventory", "restocks", "dispatch_logs"):
        assert "staff_no" in payloads[f"south_warehouse.{line}_south"]
        assert "employee_id" in payloads[f"north_warehouse.{line}_north"]
    ways = [[name for name in payloads[f"{region}_warehouse.inventory_{region}"] if name not in (
        "movement_id", "product_id", "movement_type", "reason", "order_id", "employee_id", "staff_no", "movement_time"
    )] for region in ("north", "south", "east", "west")]  # fmt: skip
    assert ways == [
        ["quantity_change", "inventory_available"],
        ["direction", "cases", "loose_units", "units_per_case", "inventory_available"],
        ["direction", "quantity", "inventory_available"],
        ["on_hand_before", "on_hand_after", "inventory_available"],
    ]
    assert payloads["west_warehouse.dispatch_logs_west"]["dock_door"].startswith("D-")
    assert not payloads["east_warehouse.dispatch_logs_east"]["promised_time"].endswith("Z")
    assert payloads["west_warehouse.dispatch_logs_west"]["promised_time"].endswith("Z")
    assert isinstance(payloads["logistics_core.delivery_sla"]["sla_met"], bool)
    assert payloads["ml_insights.demand_forecast"]["target_date"] == "2025-11-02"
    assert sources.sla_risk().producer == sources.demand_forecast().producer == "acme_world_draw"


def test_each_warehouse_reckons_what_is_available_by_its_own_rule() -> None:
    """The same history, with four rules."""
    rules = {
        available: [
            record.payload["inventory_available"]
            for record in islice(
                sources.inventory(available=available).records(
                    "south_warehouse", SITES, root=ROOT, seed=7, start=START
                ),
                2000,
            )
        ]
        for available in ("on_hand", "less_safety_stock", "less_promised", "plus_incoming")
    }
    on_hand, safe, promised, incoming = rules.values()
    assert min(safe) < 0 <= min(promised)
    assert all(a > b for a, b in zip(on_hand, safe, strict=True))
    assert all(a >= b for a, b in zip(on_hand, promised, strict=True))
    assert all(a <= b for a, b in zip(on_hand, incoming, strict=True))
    assert on_hand != promised
    assert on_hand != incoming


def walls(day: date) -> Iterator[tuple[datetime, datetime]]:
    """The UTC and local times of the east's orders on one UTC day of several histories."""
    for line in [line for seed in range(6) for line in arrivals(ORDERS[2], 0, NO_FAULTS, day, seed)]:
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


def test_a_dialect_of_unknown_fields_is_refused() -> None:
    with pytest.raises(UsageError, match=r"order_created: no field \['custmer_id'\].*customer_id"):
        sources.orders(rename={"custmer_id": "client_no"})
    with pytest.raises(UsageError, match="to add there are"):
        sources.returns(extra=["colour"])
    with pytest.raises(UsageError, match="quantity_change"):
        sources.inventory(rename={"quantity_change": "delta"}, counted="cases")
    source = sources.restocks(local_time=True)
    with pytest.raises(UsageError, match="has no site"):
        next(iter(source.records("logistics_core", SITES, root=ROOT, seed=7, start=START)))
