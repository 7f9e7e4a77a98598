"""The truth of sales: determinism, independence of domains, demand, prices."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from acme_world.truth.attempts import draw_attempts
from acme_world.truth.demand import Demand
from acme_world.truth.goods import list_goods
from acme_world.truth.lines import LINES, ORDERS, Events
from acme_world.truth.reference import read_exchange_rates, read_products
from acme_world.truth.world import World, open_world
from acme_world.wire.faults import Rates, parse_rates, plan_faults
from mesh_platform.errors import UsageError

from ..company import FEEDS, FIFTH, ROOT, SITES, Place, column, key_of, told

START = date(2025, 10, 1)
# The other tests look at the days of the first, too.
SEEDS = [7, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))]
FINGERPRINT = """
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from acme_world.truth.lines import LINES
from acme_world.truth.world import World
world = World(Path(sys.argv[1]), 7, date(2025, 10, 1))
sites = {
    region + "_warehouse": SimpleNamespace(warehouse_id="WH-" + region.upper(), time_zone=zone, currency="USD")
    for region, zone in (("south", "America/Chicago"), ("west", "America/Los_Angeles"))
}
for day in map(int, sys.argv[2].split(",")):
    for line in LINES.values():
        events = world.events(line, "south_warehouse", sites, day)
        columns = [events.at.tolist(), *(events[name].tolist() for name in sorted(events.columns))]
        print(day, line.event, sha256(repr(columns).encode()).hexdigest())
"""


def fingerprints(days: str) -> set[str]:
    command = [sys.executable, "-c", FINGERPRINT, str(ROOT), days]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def same(one: Events, other: Events) -> bool:
    return np.array_equal(one.at, other.at) and all(np.array_equal(one[name], other[name]) for name in one.columns)


def test_a_day_is_the_same_in_every_process_and_order() -> None:
    forwards = fingerprints("0,1,5,20")
    assert forwards == fingerprints("20,5,0,1")
    assert len(forwards) == 4 * len(LINES)
    assert fingerprints("5") < forwards


def test_seed_start_and_domain_each_give_another_history() -> None:
    world = World(ROOT, 7, START)
    orders = world.events(ORDERS, "south_warehouse", SITES, 3)
    assert not same(orders, World(ROOT, 8, START).events(ORDERS, "south_warehouse", SITES, 3))
    assert not same(orders, world.events(ORDERS, "west_warehouse", SITES, 3))
    earlier = World(ROOT, 7, START - timedelta(days=3))
    assert not same(orders, earlier.events(ORDERS, "south_warehouse", SITES, 6))


def test_days_long_ago_are_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acme_world.truth.warehouse.KEPT_DAYS", 3)
    forgetful = World(ROOT, 7, START)
    first = {line: forgetful.events(line, "east_warehouse", SITES, 0) for line in LINES.values()}
    forgetful.events(ORDERS, "east_warehouse", SITES, 6)
    for line, events in first.items():
        assert forgetful.events(line, "east_warehouse", SITES, 0) is not events
        assert same(forgetful.events(line, "east_warehouse", SITES, 0), events)


def test_warehouses_have_good_days_of_their_own() -> None:
    """The deviations of orders from the expected demand are not correlated between domains."""
    world, left = open_world(ROOT, 7, START), []
    for domain in SITES:
        demand = Demand(domain, world.company.products)
        days = told(world, ORDERS, domain, 60)
        expected = [demand.expect(START + timedelta(days=day), day).sum() for day in range(60)]
        left.append(np.log([len(np.unique(orders["order_id"])) for orders in days]) - np.log(expected))
    together = np.corrcoef(left)[np.triu_indices(len(SITES), 1)]
    assert np.abs(together).max() < 0.5


def test_a_fifth_warehouse_leaves_the_others_as_they_were() -> None:
    """It rents, so the lines of the whole company do not change either."""
    own = {"harbour_warehouse.orders_harbour": "order_created", "harbour_warehouse.dispatch": "dispatch_log_event"}
    four = key_of(START, 5, Rates())
    five = key_of(START, 5, Rates(), sites={**FIFTH, **SITES}, feeds={**own, **FEEDS})
    for product in FEEDS:
        assert four[product] == five[product]
        assert four["quarantine"][product] == five["quarantine"][product]
    for fact, product in (("orders", "orders_harbour"), ("dispatch_logs", "dispatch")):
        name = f"logistics_core.fact_{fact}"
        fifth = five[f"harbour_warehouse.{product}"]["rows"]
        assert five[name]["rows"] == four[name]["rows"] + fifth
        assert fifth > 500
    assert five["logistics_core.dim_warehouse"]["rows"] == 6
    assert five["logistics_core.fact_dispatch_logs"]["dangling"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_sixty_days_of_four_warehouses_have_some_110_000_lines(seed: int) -> None:
    world = open_world(ROOT, seed, START)
    sold = np.concatenate([column(told(world, ORDERS, domain, 60), "product_id") for domain in SITES])
    assert 105_000 < len(sold) < 115_000
    assert 0.0005 < (~np.isin(sold, world.company.products.product_id)).mean() < 0.0015


def test_the_lines_of_an_order_agree_and_lie_inside_their_utc_day() -> None:
    world = open_world(ROOT, 7, START)
    for domain in SITES:
        orders, sizes = np.unique(column(told(world, ORDERS, domain, 10), "order_id"), return_counts=True)
        assert set(sizes.tolist()) == {1, 2, 3, 4, 5}
        for day, lines in enumerate(told(world, ORDERS, domain, 10)):
            midnight = int(datetime(2025, 10, 1 + day, tzinfo=UTC).timestamp()) * 1000
            assert ((lines.at > midnight) & (lines.at < midnight + 86_400_000)).all()
            assert (np.diff(lines.at) >= 0).all()
            assert (lines["amount"] == lines["quantity"] * lines["unit_price"]).all()
            orders = np.unique(lines["order_id"])
            assert all(each.startswith(f"{domain.split('_')[0].upper()}-202510{1 + day:02d}-") for each in orders)
            numbered = np.char.add(np.char.add(lines["order_id"], " "), lines["line_number"].astype(str))
            assert len(np.unique(numbered)) == len(lines)
            assert lines["line_number"].max() <= 5
            for values in (lines["customer_id"], lines["status"], lines.at):
                assert len(np.unique(np.char.add(lines["order_id"], values.astype(str)))) == len(orders)
            assert len(set(zip(lines["order_id"], lines["product_id"], strict=True))) == len(lines)


def test_the_base_of_customers_grows_and_few_buy_much() -> None:
    days = told(open_world(ROOT, 7, START), ORDERS, "west_warehouse", 60)
    tier: dict[str, str] = {}
    for customer, of in zip(column(days, "customer_id"), column(days, "loyalty_tier"), strict=True):
        assert tier.setdefault(customer, of) == of
    _, first = np.unique(column(days, "order_id"), return_index=True)
    bought = column(days, "customer_id")[np.sort(first)].tolist()
    early, late = set(bought[: len(bought) // 2]), set(bought[len(bought) // 2 :])
    assert max(late) > max(early)
    counts = np.sort(np.unique(bought, return_counts=True)[1])[::-1]
    assert counts[: len(counts) // 5].sum() > 0.4 * counts.sum()
    assert set(tier.values()) == {"standard", "silver", "gold", "platinum"}


def test_billed_prices_and_their_dollars_are_exact() -> None:
    """Recomputed with Decimal from the catalogue, the rates, and the factors of region and promotion."""
    world = open_world(ROOT, 7, START)
    rates = read_exchange_rates(ROOT, "north_warehouse", "CAD")
    products = world.company.products
    demand, listed = Demand("north_warehouse", products), products.list_price.tolist()
    site = SITES["north_warehouse"]
    anomalies = [each for day in range(60) for each in world.anomalies("north_warehouse", site, day)]
    planted = {order for each in anomalies if each.kind == "price_glitch" for order in each.ids}
    cent, checked = Decimal("0.01"), 0
    for index in (0, 30, 31, 45):
        day = START + timedelta(days=index)
        lines = world.events(ORDERS, "north_warehouse", SITES, index)
        rate = Decimal(rates.rate_on(day)) / 1_000_000
        in_dollars = [Decimal(p) / 100 * demand._price / 1000 * int(100 - d) / 100
                      for p, d in zip(listed, demand.discounts(day), strict=True)]  # fmt: skip
        billed = {str(i): (p / rate).quantize(cent, ROUND_HALF_UP)
                  for i, p in zip(products.product_id, in_dollars, strict=True)}  # fmt: skip
        for n in range(len(lines)):
            price, amount = Decimal(int(lines["unit_price"][n])) / 100, Decimal(int(lines["amount"][n])) / 100
            if (product := str(lines["product_id"][n])) in billed and lines["order_id"][n] not in planted:
                assert price == billed[product]
                checked += 1
            dollars = Decimal(int(lines["amount_usd"][n])) / 100
            assert dollars == (amount * rate).quantize(cent, ROUND_HALF_UP)
    assert checked > 1000


def test_nothing_sells_before_its_launch() -> None:
    world = World(ROOT, 7, date(2025, 11, 1))
    products = world.company.products
    launched = dict(zip(products.product_id.tolist(), products.launched.tolist(), strict=True))
    puppet = next(product for product, day in launched.items() if day == date(2025, 11, 10).toordinal())
    sold = [orders["product_id"] for orders in told(world, ORDERS, "west_warehouse", 40)]
    assert not np.isin(puppet, np.concatenate(sold[:9]))
    assert np.isin(puppet, np.concatenate(sold[9:]))


def test_sales_have_season_weekday_promotion_and_differ_by_region() -> None:
    shares = {}
    for domain in ("east_warehouse", "west_warehouse"):
        start = date(2024, 1, 1)
        products = read_products(ROOT)
        demand, goods = Demand(domain, products), list_goods(products)
        units = np.zeros((364, len(products.product_id)))
        promoted = np.zeros((364, len(products.product_id)), dtype=bool)
        for day in range(364):
            lines = draw_attempts(demand, goods, domain, SITES[domain].time_zone, 7, start, day, 1_000_000)
            units[day] = np.bincount(lines.product, minlength=len(goods))[: goods.known]
            promoted[day] = demand.discounts(start + timedelta(days=day)) > 0
        garden, toys = products.category == "Garden", products.category == "Toys"
        assert units[121:152, garden].sum() > 2 * units[330:361, garden].sum()
        assert units[330:361, toys].sum() > 2 * units[152:183, toys].sum()
        by_weekday = units.sum(axis=1).reshape(52, 7).sum(axis=0)
        assert by_weekday[5] > 3 * by_weekday[6]
        assert 0.1 < promoted.mean() < 0.15
        assert units[promoted].mean() > 1.3 * units[~promoted].mean()
        shares[domain] = units.sum(axis=0) / units.sum()
        shares[f"{domain} promoted"] = promoted
    assert np.abs(shares["east_warehouse"] - shares["west_warehouse"]).sum() > 0.3
    assert (shares["east_warehouse promoted"] != shares["west_warehouse promoted"]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_last_week_foretells_sales_better_than_the_mean_of_all_days(seed: int) -> None:
    """Over eight weeks, of each warehouse and each category there, by a fifth of the mean absolute error or more."""
    world = open_world(ROOT, seed, START)
    goods = world.company.goods
    categories = dict(zip(goods.product_id.tolist(), goods.category.tolist(), strict=True))
    names = sorted(set(categories.values()) - {""})
    for domain in SITES:
        units = np.zeros((56, len(names) + 1))
        for day, orders in enumerate(told(world, ORDERS, domain, 56)):
            of = np.array([categories[product] for product in orders["product_id"].tolist()])
            units[day, -1] = orders["quantity"].sum()
            units[day, :-1] = [orders["quantity"][of == name].sum() for name in names]
        mean_so_far = np.cumsum(units, axis=0) / np.arange(1, 57)[:, None]
        naive = np.abs(units[7:] - units[:-7]).mean(axis=0)
        assert (naive < 0.8 * np.abs(units[7:] - mean_so_far[6:-1]).mean(axis=0)).all()


def test_a_higher_rate_keeps_the_faults_of_a_lower_one() -> None:
    low = plan_faults(7, START, "east_warehouse.orders_east", 3, 5000, Rates(0.02, 0.01, 0.005))
    high = plan_faults(7, START, "east_warehouse.orders_east", 3, 5000, Rates(0.2, 0.1, 0.005))
    worse = plan_faults(7, START, "east_warehouse.orders_east", 3, 5000, Rates(0.02, 0.01, 0.05))
    assert (high.arrival_delay[low.arrival_delay > 0] == low.arrival_delay[low.arrival_delay > 0]).all()
    assert (high.duplicate_delay[low.duplicate_delay >= 0] == low.duplicate_delay[low.duplicate_delay >= 0]).all()
    assert (worse.malformed[low.malformed > 0] == low.malformed[low.malformed > 0]).all()
    assert (high.malformed == low.malformed).all()
    assert 0.17 < (high.arrival_delay > 0).mean() < 0.23
    assert set(high.arrival_delay.tolist()) == {0, 1, 2, 3}
    assert set(high.duplicate_delay.tolist()) == {-1, 0, 1, 2}
    assert set(worse.malformed.tolist()) == set(range(11))
    struck = worse.malformed > 0
    assert not (worse.arrival_delay[struck] > 0).any()
    assert (worse.duplicate_delay[struck] == -1).all()


def test_rates_never_change_the_truth() -> None:
    none = key_of(START, 8)
    spoilt = key_of(START, 8, Rates(0, 0.5, 0.3))
    world = open_world(ROOT, 7, START)
    for product, event in FEEDS.items():
        happened = sum(len(events) for events in told(world, LINES[event], product.split(".")[0], 8))
        assert none[product]["all"] == none[product]["rows"] == spoilt[product]["all"] == happened


# After the tests that share the world of START: a few worlds are kept.
@pytest.mark.parametrize("start", [date(1990, 1, 1), date(1996, 2, 28), date(2024, 2, 28), date(2027, 12, 30)])
def test_any_start_gives_lines(start: date) -> None:
    key = key_of(start, 4, Rates())
    assert key["logistics_core.fact_orders"]["rows"] > 3000
    assert all(key[product]["rows"] for product in FEEDS if not product.endswith(".routes"))


def test_wrong_use_says_what_is_allowed() -> None:
    assert parse_rates("late=0.5, malformed=0") == Rates(late=0.5, malformed=0)
    assert parse_rates("") == Rates()
    for text, message in [("late", "has no number"), ("lost=1", "late, duplicate, malformed"), ("late=2", "0 to 1")]:
        with pytest.raises(UsageError, match=message):
            parse_rates(text)
    with pytest.raises(UsageError, match=r"south_warehouse/reference/exchange_rates\.csv"):
        World(ROOT, 7, START).warehouse("south_warehouse", Place("WH-SOUTH", "America/Chicago", "MXN"))
    with pytest.raises(UsageError, match="seed -1"):
        World(ROOT, -1, START)
    with pytest.raises(UsageError, match="later day"):
        World(ROOT, 1, date(1980, 1, 1)).events(ORDERS, "south_warehouse", SITES, 0)
    with pytest.raises(UsageError, match=r"logistics_core/domain\.yaml: has no site"):
        World(ROOT, 1, START).events(ORDERS, "logistics_core", SITES, 0)
