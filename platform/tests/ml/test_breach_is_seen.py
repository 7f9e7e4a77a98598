"""A breach of the promise of accuracy is seen where people look: in the catalog, OpenMetadata and the dashboard."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.lake.scores import read_scores, record_score
from mesh_platform.lake.trainings import read_trainings, record_training
from mesh_platform.metadata.openmetadata.kinds import Record
from mesh_platform.metadata.openmetadata.lake_records import LakeRecords
from mesh_platform.ml.score import score
from mesh_platform.ml.train import train
from mesh_platform.query.health import add_health
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.chart_query import chart_sql

from ..metadata.openmetadata.published import entities_of
from ..metadata.test_site import Read, site
from ..small_mesh import Place, Sale
from .guessing import DAILY, NOW, PRODUCT, guessing_mesh, models, noon

HEALTH = Path(__file__).parents[3] / "domains/logistics_core/dashboards/product_health"
LATER = noon(14)
CASE = f"mesh.mesh.{PRODUCT}.accuracy"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A model that learned of sales of ten, and lost all that it promised when they fell to one."""
    place = guessing_mesh(tmp_path)
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    place.land("alpha", [Sale(day, hours=24 * day + 1, amount=Decimal(1)) for day in range(10, 14)])
    place.build("alpha.sales_alpha", "core.fact_sales", DAILY, PRODUCT)
    shutil.copytree(HEALTH, place.root / "domains/core/dashboards/product_health")
    found = score(place.mesh, models(place), place.catalog, PRODUCT, LATER)
    assert found is not None
    assert not found.kept
    return place


def mend(place: Place) -> None:
    """A later score keeps the promise."""
    (broken,) = read_scores(place.catalog)
    record_score(place.catalog, replace(broken, loss=0.0, kept=True, scored_at=LATER + timedelta(hours=1)))


def records(place: Place) -> list[Record]:
    reports = place.root / ".mesh/lineage.jsonl"
    return LakeRecords(place.mesh, place.catalog, "mesh", LATER, StateCache(), reports).all()


def result(place: Place) -> dict[str, Any]:
    """What OpenMetadata is told of the promise."""
    (found,) = [record.body() for record in records(place) if record.of.fqn == CASE]
    return dict(found)


def number(place: Place, chart: str) -> Any:
    """The number of a chart of the steward's dashboard."""
    dashboard = place.mesh.dashboards["core.product_health"]
    with open_session(place.mesh, place.catalog, only=[]) as session:
        add_health(session, place.mesh, place.catalog, LATER)
        return session.execute(chart_sql(dashboard, chart)).fetchone()


def test_the_catalog_lists_it_and_the_page_of_the_product_says_so(place: Place) -> None:
    files = site(place)
    said = "t1 lost 9.8750 from 2025-10-11 to before 2025-10-15, which is more than 0.5 of the 1.0000 of its baseline"
    shown = Read(files["attention.html"]).text.replace(" ", "")
    assert f"Inaccurate{PRODUCT}{said}, which predicts instead".replace(" ", "") in shown
    assert "a model that broke its promise" in Read(files["index.html"]).text
    text = Read(files[f"products/{PRODUCT}.html"]).text
    assert f"nothing predicts. The promise of accuracy is broken: {said}" in text
    assert "Promised accuracy at most 0.5 of the loss of its baseline" in text
    mend(place)
    files = site(place)
    assert "Inaccurate" not in Read(files["attention.html"]).text
    text = Read(files[f"products/{PRODUCT}.html"]).text
    assert "means predicts. The promise of accuracy is kept: t1 lost 0.0000" in text


def test_its_test_case_in_openmetadata_fails_until_it_is_kept_or_a_model_is_published(place: Place) -> None:
    (case,) = [each for each in entities_of(place) if each.fqn == CASE]
    assert case.body["parameterValues"][0] == {"name": "bound", "value": "must be at most 0.5"}
    found = result(place)
    assert (found["testCaseStatus"], found["timestamp"]) == ("Failed", LATER.timestamp() * 1000)
    assert found["result"].startswith("t1 lost 9.8750")
    assert found["testResultValue"] == [{"name": "number", "value": "9.875"}]
    mend(place)
    assert result(place)["testCaseStatus"] == "Success"
    (old,) = read_trainings(place.catalog)
    record_training(place.catalog, replace(old, trained_at=LATER + timedelta(days=1)), b"")
    found = result(place)
    assert (found["testCaseStatus"], found["result"]) == ("Success", "t2 was not scored yet")
    assert found["timestamp"] == (LATER + timedelta(days=1)).timestamp() * 1000


def test_the_dashboard_of_the_steward_counts_it(place: Place) -> None:
    assert number(place, "inaccurate_models") == (1,)
    mend(place)
    assert number(place, "inaccurate_models") == (0,)
