"""What the tasks of models do: a model that is held back wakes nobody, and a broken promise alerts its owner."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.utils.types import DagRunType
from mesh_platform.dags import pipelines, tasks
from mesh_platform.dags.pipelines import Pipelines
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.sql.model import read_models

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


def test_new_rows_train_a_model_once_for_as_many_days_as_it_is_judged_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def woken(days: int) -> str:
        """What a commit does that makes the features have so many days."""
        place.land("alpha", sales(days - len(built), len(built)))
        built.extend(range(days - len(built)))
        place.build("alpha.sales_alpha", "core.fact_sales", DAILY)
        monkeypatch.setenv("MESH_CLOCK", noon(days).isoformat())
        try:
            return str(tasks.train_model(place.mesh, PRODUCT, woken=True)["name"])
        except AirflowSkipException as error:
            return str(error)

    built = [*range(10)]
    assert woken(10) == "t1"
    assert "too few days are new" in woken(11)
    # A model is judged on two days. One that is held back counts as a training, too.
    write_learner(place, times=5)
    assert "t2 is held back" in woken(12)
    assert "too few days are new" in woken(13)
    # Whoever asks for a training gets it.
    with pytest.raises(AirflowSkipException, match=r"t3 is held back"):
        tasks.train_model(place.mesh, PRODUCT)


@pytest.mark.parametrize("kind", DagRunType)
def test_only_a_run_that_tables_triggered_asks_whether_a_training_is_due(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: DagRunType
) -> None:
    dag = Pipelines(place.mesh, read_models(place.mesh), place.mesh.domains["fore"]).train()
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == [DAILY]
    (task,) = dag.tasks
    asked: list[bool] = []
    monkeypatch.setattr(pipelines, "get_current_context", lambda: {"dag_run": SimpleNamespace(run_type=kind)})
    monkeypatch.setattr(tasks, "train_model", lambda mesh, product, woken: asked.append(woken))
    task.python_callable()
    assert asked == [kind is DagRunType.ASSET_TRIGGERED]


def test_new_rows_alone_raise_no_error_of_what_is_not_there_yet(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLOCK", noon(2).isoformat())
    # Two days are over, which a model would be judged on.
    with pytest.raises(AirflowSkipException, match="too few days are new"):
        tasks.train_model(place.mesh, PRODUCT, woken=True)
    with pytest.raises(AttentionError, match="have no days before the last 2"):
        tasks.train_model(place.mesh, PRODUCT)
    monkeypatch.setenv("MESH_CLOCK", NOW.isoformat())
    text = (place.root / "domains/fore/learners/learn_guess.py").read_text()
    place.write("fore/learners/learn_guess.py", text.replace("        totals = {}", "        import absent"))
    with pytest.raises(AirflowSkipException, match="absent"):
        tasks.train_model(place.mesh, PRODUCT, woken=True)
    with pytest.raises(UsageError, match="absent"):
        tasks.train_model(place.mesh, PRODUCT)


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
