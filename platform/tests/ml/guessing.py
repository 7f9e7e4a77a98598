"""The small mesh with a domain `fore` that guesses what each site will sell, by a learner without any library."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import yaml
from mesh_platform.sql.model import Model, read_models

from ..small_mesh import START, Place, Sale, add_contract, add_domain, small_mesh

PRODUCT, DAILY = "fore.guess", "fore.daily"
NOW = START + timedelta(days=12)
GUESS = {
    "guess_id": "string required",
    "site_id": "string required",
    "expected": "decimal(12,2) required",
    "model_name": "string required",
    "model_version": "string required",
}
DAILY_SQL = """select site_id, date_trunc('day', sold_at) as day, cast(sum(amount) as decimal(18, 2)) as total
from core.fact_sales
group by site_id, date_trunc('day', sold_at)
"""
# The mean of each site, times what the parameter says: 1 is good, and the baseline expects nothing.
LEARNER = '''
"""Guesses."""
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Means:
    means: dict[str, float]

    def predict(self, frames, now, run):
        sites = sorted(self.means)
        return pa.table({
            "guess_id": [f"{run}-{site}" for site in sites],
            "site_id": sites,
            "expected": [self.means[site] for site in sites],
        })

    def loss(self, frames, first, end):
        rows = frames["fore.daily"].to_pylist()
        chosen = [row for row in rows if first <= row["day"].date() < end]
        off = [abs(float(row["total"]) - self.means.get(row["site_id"], 0.0)) for row in chosen]
        return sum(off) / len(off) if off else float("nan")


@dataclass(frozen=True)
class Guesses:
    product: str = "fore.guess"
    model_name: str = "means"
    baseline_name: str = "nothing"
    features: dict = field(default_factory=lambda: FEATURES)
    parameters: dict = field(default_factory=lambda: {"times": TIMES})
    judged_days: int = 2

    def fit(self, frames, parameters, seed):
        rows = frames["fore.daily"].to_pylist()
        totals = {}
        for row in rows:
            totals.setdefault(row["site_id"], []).append(float(row["total"]))
        return Means({site: parameters["times"] * sum(all) / len(all) for site, all in totals.items()})

    def baseline(self, frames):
        return Means({row["site_id"]: 0.0 for row in frames["fore.daily"].to_pylist()})


learner = Guesses()
'''


def guessing_mesh(root: Path) -> Place:
    """Write the mesh below `root`, with ten days of sales, built."""
    place = small_mesh(root)
    add_domain(place, "fore", site=False)
    event = {**GUESS, "sold_at": "timestamptz required"}
    table = {"event_id": "string key", **GUESS, "sold_at": "timestamptz required"}
    add_contract(place, "fore", "guess", {"guess_made": event, "guess": table})
    promise(place, 0.5)
    place.write("fore/models/guess.sql", f"select event_id, {', '.join(event)} from fore.guess__raw\n")
    daily = {"site_id": "string key", "day": "timestamptz key", "total": "decimal(18,2) required"}
    add_contract(place, "fore", "daily", {"daily": daily})
    place.write("fore/models/daily.sql", DAILY_SQL)
    write_learner(place)
    place.land("alpha", sales(10))
    place.build()
    return place


def promise(place: Place, accuracy: float | None) -> None:
    """Let the contract promise to stay within a share of the baseline's loss, or nothing."""
    path = place.root / "domains/fore/contracts/guess.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    kept = [each for each in contract["slaProperties"] if each["property"] != "accuracy"]
    promised = [{"property": "accuracy", "value": accuracy}] if accuracy else []
    path.write_text(yaml.safe_dump({**contract, "slaProperties": [*kept, *promised]}, sort_keys=False))


def write_learner(place: Place, times: float = 1.0, features: str = '{"fore.daily": "day"}') -> None:
    """Write the learner, with its parameter and what it learns from."""
    text = LEARNER.replace("TIMES", str(times)).replace("FEATURES", features)
    place.write("fore/learners/learn_guess.py", text)
    # By size and second Python would take what it compiled of an earlier one.
    shutil.rmtree(place.root / "domains/fore/learners/__pycache__", ignore_errors=True)


def sales(days: int, first: int = 0) -> Iterator[Sale]:
    """A sale on each day, of an amount that changes a little."""
    for day in range(first, first + days):
        yield Sale(day, hours=24 * day + 1, amount=Decimal(10 + day % 3))


def models(place: Place) -> dict[str, Model]:
    return read_models(place.mesh)


def noon(day: int) -> datetime:
    """Noon of a day, counted from the first."""
    return datetime(START.year, START.month, START.day, 12, tzinfo=UTC) + timedelta(days=day)
