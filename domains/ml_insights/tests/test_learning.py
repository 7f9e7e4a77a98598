"""From events to facts, to a training, its gate, predictions, their queue and facts again: `make test-ml`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

# `make test-ml`, which the gate runs, has an environment with them.
pytest.importorskip("sklearn", reason="the models' packages are not in this environment: make test-ml")

from conftest import HANG, State

PRODUCTS = {
    "ml_insights.demand_forecast": "ml_insights.fact_forecast_demand",
    "ml_insights.sla_risk": "ml_insights.fact_sla_risk",
    "ml_insights.stockout_risk": "ml_insights.fact_stockout_risks",
}


@dataclass(frozen=True)
class Company:
    """A lake with four weeks of the company. The server of `mesh` for tests needs packages that are not here."""

    state: State

    def mesh(self, *words: object) -> str:
        """What `mesh` prints on stdout."""
        started = self.state.start(*words)
        out, err = started.communicate(timeout=HANG)
        assert started.returncode == 0, f"mesh {words}: {out}\n{err}"
        return out

    def json(self, *words: object) -> Any:
        """What `mesh ... --format json` prints."""
        return json.loads(self.mesh(*words, "--format", "json"))


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, make_state: Callable[..., State]) -> Company:
    made = Company(make_state(tmp_path_factory.mktemp("company") / "state"))
    assert made.json("run", "--days", 28)["key_ok"] is True
    return made


def test_from_events_to_facts_to_a_model_to_events_to_facts(company: Company) -> None:
    trained = company.json("ml", "train")
    assert {each["product"] for each in trained} == {*PRODUCTS}
    for each in trained:
        assert each["published"], each
        assert each["loss"] < 0.9 * each["loss_of_baseline"], each
        assert each["libraries"]["scikit-learn"]
    sent = {each["product"]: each for each in company.json("ml", "predict")}
    company.mesh("ingest", "ml_insights", "--until-empty")
    company.mesh("build", "ml_insights")
    version = {each["product"]: each["training"] for each in trained}
    for product, fact in PRODUCTS.items():
        columns = "count(*)::int as rows, min(model_name) as name"
        (found,) = company.json("query", f"select {columns} from {fact} where model_version = '{version[product]}'")
        assert found == {"rows": sent[product]["events"], "name": sent[product]["model_name"]}
        assert found["rows"] > 0
    # The same clock gives the same events, which are there.
    company.json("ml", "predict", "ml_insights.stockout_risk")
    again = company.json("ingest", "ml_insights.stockout_risk", "--until-empty")
    assert [each["appended"] for each in again] == [0]
    # What a model predicts is no part of the company, and its key stays true.
    assert company.json("run")["key_ok"] is True


def test_after_another_day_and_maintenance_the_same_models_come_out(company: Company) -> None:
    company.mesh("maintain", "ml_insights")
    for each in company.json("ml", "list"):
        found = company.json("ml", "reproduce", each["training"])
        assert found["equal"], found
        assert (found["made"], found["differs"]) == (each["file"], [])
        # Two threads may add numbers in another order.
        assert company.json("ml", "reproduce", each["training"], "--threads", 2)["within"], each
