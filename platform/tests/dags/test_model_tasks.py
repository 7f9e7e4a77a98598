"""What the tasks of models do: a model that is held back wakes nobody, and a broken promise alerts its owner."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from mesh_platform.dags import tasks
from mesh_platform.errors import AttentionError

from ..ml.guessing import DAILY, NOW, PRODUCT, guessing_mesh, noon, promise, sales, write_learner
from ..small_mesh import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = guessing_mesh(tmp_path)
    promise(place, 0.001)
    monkeypatch.setenv("MESH_CLOCK", NOW.isoformat())
    return place


def test_a_model_that_is_held_back_is_a_skipped_task_so_that_nothing_waits_for_it(place: Place) -> None:
    write_learner(place, times=5)
    with pytest.raises(AirflowSkipException, match=r"fore.guess: t1 is held back: it loses"):
        tasks.train_model(place.mesh, PRODUCT)
    for task in (tasks.score_model, tasks.predict_events):
        with pytest.raises(AirflowSkipException, match="no model is in use"):
            task(place.mesh, PRODUCT)


def test_a_broken_promise_fails_the_task_and_the_baseline_predicts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tasks.train_model(place.mesh, PRODUCT)["name"] == "t1"
    assert tasks.predict_events(place.mesh, PRODUCT)["model_name"] == "means"
    place.land("alpha", sales(4, 10))
    place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
    monkeypatch.setenv("MESH_CLOCK", noon(14).isoformat())
    with pytest.raises(AttentionError, match=r"t1 lost .*, which is more than 0.001 of the .* of its baseline"):
        tasks.score_model(place.mesh, PRODUCT)
    assert tasks.predict_events(place.mesh, PRODUCT)["model_name"] == "nothing"
