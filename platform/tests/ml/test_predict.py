"""Predictions travel as events through the product's queue into its table, with the model and its training."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from mesh_platform.broker import connect
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.ingest.ingest import Ingested, ingest
from mesh_platform.ml.predict import Predicted, predict
from mesh_platform.ml.train import train

from ..small_mesh import Place
from .guessing import NOW, PRODUCT, guessing_mesh, models, write_learner


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return guessing_mesh(tmp_path)


def predicted(place: Place, days: int = 0) -> Predicted:
    with connect(place.state.settings.broker) as broker:
        now = NOW + timedelta(days=days)
        return predict(place.mesh, models(place), place.catalog, broker, PRODUCT, now)


def ingested(place: Place) -> Ingested:
    contract = place.mesh.contracts[PRODUCT]
    with connect(place.state.settings.broker) as broker:
        (done,) = ingest(place.catalog, broker, [contract], lambda: NOW + timedelta(days=2), until_empty=True)
    return done


def test_predictions_reach_the_table_once_with_their_model_and_training(place: Place) -> None:
    with pytest.raises(UsageError, match=r"fore.guess: no model is in use. 'mesh ml train fore.guess' trains one."):
        predicted(place)
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    sent = predicted(place)
    assert (sent.model_name, sent.model_version, sent.events) == ("means", "t1", 1)
    assert (ingested(place).appended, predicted(place).events) == (1, 1)
    again = ingested(place)
    assert (again.appended, again.duplicates) == (0, 1)
    predicted(place, days=1)
    assert ingested(place).appended == 1
    place.build(PRODUCT)
    rows = place.rows(PRODUCT, "guess_id", "site_id", "expected", "model_name", "model_version")
    expected = rows[0][2]
    assert rows == [
        (f"t1-{day}T000000-WH-ALPHA", "WH-ALPHA", expected, "means", "t1") for day in ("20251013", "20251014")
    ]


def test_a_model_that_predicts_other_columns_than_the_event_has_sends_nothing(place: Place) -> None:
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    path = place.root / "domains/fore/learners/learn_guess.py"
    path.write_text(path.read_text().replace('"expected": [', '"hoped": ['))
    with pytest.raises(AttentionError, match=r"predictions lack expected and have hoped in excess. Its events take"):
        predicted(place)
    assert ingested(place).deliveries == 0


def test_a_model_that_was_held_back_does_not_predict(place: Place) -> None:
    write_learner(place, times=9)
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    with pytest.raises(UsageError, match="no model is in use"):
        predicted(place)
