"""The truth: determinism, independence of domains, demand, prices."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from acme_world.answer_key import answer_key
from acme_world.demand import Demand
from acme_world.faults import Rates, parse_rates, plan_faults
from acme_world.reference import read_exchange_rates
from acme_world.world import OrderLines, World
from mesh_platform.errors import UsageError

ROOT = Path(__file__).parents[2]
START = date(2025, 10, 1)


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
FINGERPRINT = """
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from acme_world.world import World
world = World(Path(sys.argv[1]), 7, date(2025, 10, 1))
site = SimpleNamespace(time_zone="America/Toronto", currency="CAD")
for day in map(int, sys.argv[2].split(",")):
    lines = world.order_lines("north_warehouse", site, day)
    print(day, sha256(repr([column.tolist() for column in list(vars(lines).values())[2:]]).encode()).hexdigest())
"""


def fingerprints(days: str) -> set[str]:
    command = [sys.executable, "-c", FINGERPRINT, str(ROOT), days]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def same(one: OrderLines, other: OrderLines) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_a_day_is_the_same_in_every_process_and_order() -> None:
    assert fingerprints("0,1,5,40") == fingerprints("40,5,0,1")
    assert fingerprints("5") < fingerprints("4,5")


def test_seed_start_and_domain_each_give_another_history() -> None:
    world, site = World(ROOT, 7, START), SITES["south_warehouse"]
    lines = world.order_lines("south_warehouse", site, 3)
    assert not same(lines, World(ROOT, 8, START).order_lines("south_warehouse", site, 3))
    assert not same(lines, world.order_lines("west_warehouse", site, 3))
    assert not same(lines, World(ROOT, 7, START - timedelta(days=3)).order_lines("south_warehouse", site, 6))


def test_warehouses_have_good_days_of_their_own() -> None:
    """What is left of the number of orders after the expected demand does not go together between domains."""
    world, left = World(ROOT, 7, START), []
    for domain, site in SITES.items():
        demand = Demand(domain, world.products)
        days = [world.order_lines(domain, site, day) for day in range(60)]
        expected = [demand.expect(lines.day, day).sum() for day, lines in enumerate(days)]
        left.append(np.log([(lines.line_number == 1).sum() for lines in days]) - np.log(expected))
    together = np.corrcoef(left)[np.triu_indices(len(SITES), 1)]
    assert np.abs(together).max() < 0.5


def test_a_fifth_warehouse_leaves_the_others_as_they_were() -> None:
    four = answer_key(ROOT, SITES, 7, START, 5, Rates())
    five = answer_key(ROOT, {"fifth_warehouse": Place("Europe/Lisbon"), **SITES}, 7, START, 5, Rates())
    for domain in SITES:
        product = f"{domain}.orders_{domain.removesuffix('_warehouse')}"
        assert four[product] == five[product]
        assert four["quarantine"][product] == five["quarantine"][product]
    fifth = five["fifth_warehouse.orders_fifth"]
    assert five["logistics_core.fact_orders"]["rows"] == four["logistics_core.fact_orders"]["rows"] + fifth["rows"]
    assert five["logistics_core.dim_warehouse"] == {"rows": 6}


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_sixty_days_of_four_warehouses_have_some_110_000_lines(seed: int) -> None:
    world = World(ROOT, seed, START)
    days = [world.order_lines(domain, site, day) for domain, site in SITES.items() for day in range(60)]
    total = sum(len(lines) for lines in days)
    assert 105_000 < total < 115_000
    unknown = sum(int((~np.isin(lines.product_id, world.products.product_id)).sum()) for lines in days)
    assert 0.0005 < unknown / total < 0.0015


def test_the_lines_of_an_order_agree_and_lie_inside_their_utc_day() -> None:
    world = World(ROOT, 7, START)
    for domain, site in SITES.items():
        for day in range(10):
            lines = world.order_lines(domain, site, day)
            midnight = int(datetime(2025, 10, 1 + day, tzinfo=UTC).timestamp()) * 1000
            assert ((lines.ordered_at > midnight) & (lines.ordered_at < midnight + 86_400_000)).all()
            assert (np.diff(lines.ordered_at) >= 0).all()
            assert (lines.amount == lines.quantity * lines.unit_price).all()
            orders, sizes = np.unique(lines.order_id, return_counts=True)
            assert orders[0] == f"{domain.split('_')[0].upper()}-202510{1 + day:02d}-000001"
            assert set(sizes.tolist()) == {1, 2, 3, 4, 5}
            assert [*lines.line_number] == [n for size in sizes for n in range(1, size + 1)]
            for column in (lines.customer_id, lines.status, lines.ordered_at):
                assert len(np.unique(np.char.add(lines.order_id, column.astype(str)))) == len(orders)
            assert len(set(zip(lines.order_id, lines.product_id, strict=True))) == len(lines)


def test_the_base_of_customers_grows_and_few_buy_much() -> None:
    world, site = World(ROOT, 7, START), SITES["west_warehouse"]
    bought: list[str] = []
    tier: dict[str, str] = {}
    for day in range(60):
        lines = world.order_lines("west_warehouse", site, day)
        bought += lines.customer_id[lines.line_number == 1].tolist()
        for customer, of in zip(lines.customer_id.tolist(), lines.loyalty_tier.tolist(), strict=True):
            assert tier.setdefault(customer, of) == of
    early, late = set(bought[: len(bought) // 2]), set(bought[len(bought) // 2 :])
    assert max(late) > max(early)
    counts = np.sort(np.unique(bought, return_counts=True)[1])[::-1]
    assert counts[: len(counts) // 5].sum() > 0.4 * counts.sum()
    assert set(tier.values()) == {"standard", "silver", "gold", "platinum"}


@pytest.mark.parametrize("start", [date(1990, 1, 1), date(1996, 2, 28), date(2024, 2, 28), date(2027, 12, 30)])
def test_any_start_gives_lines(start: date) -> None:
    key = answer_key(ROOT, SITES, 7, start, 4, Rates())
    assert key["logistics_core.fact_orders"]["rows"] > 3000


def test_billed_prices_and_their_dollars_are_exact() -> None:
    """Recomputed with Decimal from the catalogue, the rates, and the factors of region and promotion."""
    world, site = World(ROOT, 7, START), SITES["north_warehouse"]
    rates = read_exchange_rates(ROOT, "north_warehouse", "CAD")
    demand, listed = Demand("north_warehouse", world.products), world.products.list_price.tolist()
    cent = Decimal("0.01")
    for day in (0, 30, 31, 45):
        lines = world.order_lines("north_warehouse", site, day)
        rate = Decimal(rates.rate_on(lines.day)) / 1_000_000
        in_dollars = [Decimal(p) / 100 * demand._price / 1000 * int(100 - d) / 100
                      for p, d in zip(listed, demand.discounts(lines.day), strict=True)]  # fmt: skip
        billed = {str(i): (p / rate).quantize(cent, ROUND_HALF_UP)
                  for i, p in zip(world.products.product_id, in_dollars, strict=True)}  # fmt: skip
        for n in range(len(lines)):
            price, amount = Decimal(int(lines.unit_price[n])) / 100, Decimal(int(lines.amount[n])) / 100
            if (product := str(lines.product_id[n])) in billed:
                assert price == billed[product]
            dollars = Decimal(int(lines.amount_usd[n])) / 100
            assert dollars == (amount * rate).quantize(cent, ROUND_HALF_UP)


def test_nothing_sells_before_its_launch() -> None:
    world, site = World(ROOT, 7, date(2025, 11, 1)), SITES["west_warehouse"]
    launched = dict(zip(world.products.product_id.tolist(), world.products.launched.tolist(), strict=True))
    puppet = next(product for product, day in launched.items() if day == date(2025, 11, 10).toordinal())
    sold = [world.order_lines("west_warehouse", site, day).product_id for day in range(40)]
    assert not np.isin(puppet, np.concatenate(sold[:9]))
    assert np.isin(puppet, np.concatenate(sold[9:]))


def test_sales_have_season_weekday_promotion_and_differ_by_region() -> None:
    shares = {}
    for domain in ("east_warehouse", "west_warehouse"):
        world = World(ROOT, 7, date(2024, 1, 1))
        products = world.products
        units = np.zeros((364, len(products.product_id)))
        promoted = np.zeros((364, len(products.product_id)), dtype=bool)
        for day in range(364):
            lines = world.order_lines(domain, SITES[domain], day)
            known = lines.product_id[~np.char.startswith(lines.product_id, "P-9")]
            units[day] = np.bincount(np.searchsorted(products.product_id, known), minlength=units.shape[1])
            promoted[day] = Demand(domain, products).discounts(lines.day) > 0
        garden, toys = products.category == "Garden", products.category == "Toys"
        assert units[121:152, garden].sum() > 2 * units[330:361, garden].sum()
        assert units[330:361, toys].sum() > 2 * units[152:183, toys].sum()
        by_weekday = units.sum(axis=1).reshape(52, 7).sum(axis=0)
        assert by_weekday[5] > 1.2 * by_weekday[6]
        assert 0.1 < promoted.mean() < 0.15
        assert units[promoted].mean() > 1.3 * units[~promoted].mean()
        shares[domain] = units.sum(axis=0) / units.sum()
        shares[f"{domain} promoted"] = promoted
    assert np.abs(shares["east_warehouse"] - shares["west_warehouse"]).sum() > 0.3
    assert (shares["east_warehouse promoted"] != shares["west_warehouse promoted"]).any()


def test_a_higher_rate_keeps_the_faults_of_a_lower_one() -> None:
    low = plan_faults(7, START, "east_warehouse", 3, 5000, Rates(0.02, 0.01, 0.005))
    high = plan_faults(7, START, "east_warehouse", 3, 5000, Rates(0.2, 0.1, 0.005))
    worse = plan_faults(7, START, "east_warehouse", 3, 5000, Rates(0.02, 0.01, 0.05))
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
    def whole(rates: Rates) -> int:
        return answer_key(ROOT, SITES, 7, START, 8, rates)["logistics_core.fact_orders"]["all"]  # type: ignore[no-any-return]

    none = whole(Rates(0, 0, 0))
    assert whole(Rates(0, 0.5, 0.3)) == none
    late = World(ROOT, 7, START)
    assert none == sum(len(late.order_lines(domain, site, day)) for domain, site in SITES.items() for day in range(8))


def test_wrong_use_says_what_is_allowed() -> None:
    assert parse_rates("late=0.5, malformed=0") == Rates(late=0.5, malformed=0)
    assert parse_rates("") == Rates()
    for text, message in [("late", "has no number"), ("lost=1", "late, duplicate, malformed"), ("late=2", "0 to 1")]:
        with pytest.raises(UsageError, match=message):
            parse_rates(text)
    with pytest.raises(UsageError, match=r"south_warehouse/reference/exchange_rates\.csv"):
        World(ROOT, 7, START).order_lines("south_warehouse", Place("America/Chicago", "MXN"), 0)
    with pytest.raises(UsageError, match="seed -1"):
        World(ROOT, -1, START)
    with pytest.raises(UsageError, match="later day"):
        World(ROOT, 1, date(1980, 1, 1)).order_lines("south_warehouse", SITES["south_warehouse"], 0)
