"""A model is held to the promise of its contract as actuals come in; if it breaks that, its baseline predicts."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from mesh_platform.broker import connect
from mesh_platform.lake.scores import Score, models_in_use, read_scores
from mesh_platform.ml.predict import Predicted, predict
from mesh_platform.ml.score import score
from mesh_platform.ml.train import train

from ..small_mesh import Place, Sale
from .guessing import DAILY, NOW, PRODUCT, guessing_mesh, models, noon, sales


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A model in use that promises to stay within half of its baseline's loss."""
    place = guessing_mesh(tmp_path)
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    return place


def scored(place: Place, now: datetime) -> Score | None:
    return score(place.mesh, models(place), place.catalog, PRODUCT, now)


def predicted(place: Place, now: datetime) -> Predicted:
    with connect(place.state.settings.broker) as broker:
        return predict(place.mesh, models(place), place.catalog, broker, PRODUCT, now)


def sold(place: Place, first: int, days: int, amount: int | None = None) -> datetime:
    """Sales on some days, of one amount or the usual ones, built; the noon after them."""
    chosen = list(sales(days, first))
    if amount is not None:
        chosen = [Sale(sale.number, sale.hours, amount=Decimal(amount)) for sale in chosen]
    place.land("alpha", chosen)
    place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
    return noon(first + days)


def test_a_model_is_scored_on_the_days_after_those_that_it_was_judged_on(place: Place) -> None:
    # The ten days were there when it was trained, and one more is too few.
    assert scored(place, NOW) is None
    assert scored(place, sold(place, 10, 1)) is None
    now = sold(place, 11, 3)
    found = scored(place, now)
    assert found is not None
    assert (found.training, found.promised, found.kept) == ("t1", 0.5, True)
    assert (found.first_day, found.end_day) == (noon(10).date(), noon(14).date())
    assert found.loss < 2 < 9 < found.loss_of_baseline
    assert read_scores(place.catalog) == [found]
    assert predicted(place, now).model_name == "means"


def test_a_model_that_breaks_its_promise_makes_way_for_its_baseline_until_it_keeps_it(place: Place) -> None:
    now = sold(place, 10, 4, amount=1)
    found = scored(place, now)
    assert found is not None
    assert not found.kept
    assert models_in_use(place.catalog)[PRODUCT].fell_back
    sent = predicted(place, now)
    assert (sent.model_name, sent.model_version) == ("nothing", "t1")
    # A training is published by its own merits, and then counts.
    later = sold(place, 14, 28)
    found = scored(place, later)
    assert found is not None
    assert found.kept
    assert found.first_day == (later - timedelta(days=28)).date()
    assert predicted(place, later).model_name == "means"


def test_a_broken_promise_is_an_error_of_the_command_and_shows_in_the_status(place: Place) -> None:
    now = sold(place, 10, 4, amount=1)
    clock = {"MESH_CLOCK": now.isoformat()}
    place.build(PRODUCT)
    before = place.state.json("status", PRODUCT, **clock)
    assert [(each["model"], each["accurate"]) for each in before] == [("means", None)]
    done = place.state.mesh("ml", "score", "fore.guess", check=1, **clock)
    assert "fore.guess: t1 lost 9.8750 from 2025-10-11 to before 2025-10-15, which is more than 0.5 of" in done.err
    after = place.state.json("status", PRODUCT, **clock)
    assert [(each["model"], each["accurate"]) for each in after] == [("nothing", False)]
    shown = place.state.mesh("status", PRODUCT, **clock).out
    assert shown.splitlines()[-1].split() == [PRODUCT, "nothing", "no"]
