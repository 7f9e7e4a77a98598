"""A model reads what its domain may read, and nothing of a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.errors import AttentionError, ContractError, UsageError
from mesh_platform.ml.features import check_features, columns_read, pin, read_frames
from mesh_platform.ml.learner import find_learner, find_learners
from mesh_platform.ml.train import train

from ..small_mesh import Place, add_contract
from .guessing import DAILY, NOW, PRODUCT, guessing_mesh, models, promise, write_learner


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return guessing_mesh(tmp_path)


def check(place: Place) -> None:
    check_features(place.mesh, models(place), find_learner(place.mesh, PRODUCT))


@pytest.mark.parametrize(
    "table", ["alpha.sales_alpha", "alpha.sales_alpha__raw", "fore.guess__raw", "core.dim_buyer"]
)
def test_a_table_that_the_domain_may_not_read_and_one_that_nobody_publishes_are_refused(
    place: Place, table: str
) -> None:
    write_learner(place, features=f'{{"{table}": "sold_at"}}')
    with pytest.raises(
        ContractError, match=rf"learn_guess.py:1: learns from '{table}', which fore may not read. A SQL"
    ):
        check(place)
    with pytest.raises(ContractError, match="may not read"):
        train(place.mesh, models(place), place.catalog, PRODUCT, NOW)


def test_what_another_domain_publishes_may_be_read_once_a_model_of_the_domain_reads_it(place: Place) -> None:
    write_learner(place, features='{"core.fact_sales": "sold_at"}')
    check(place)


def test_personal_data_never_reaches_a_model(place: Place) -> None:
    write_learner(place, features='{"core.fact_sales": "sold_at"}')
    assert columns_read(place.mesh, "core.fact_sales") == ["event_id", "site_id", "sold_at", "amount"]
    frames = read_frames(place.mesh, place.catalog, pin(place.catalog, find_learner(place.mesh, PRODUCT)))
    assert frames["core.fact_sales"].column_names == ["event_id", "site_id", "sold_at", "amount"]


@pytest.mark.parametrize("made", ["buyer", "upper(buyer)", "max(buyer)"])
def test_a_feature_that_is_made_from_personal_data_without_saying_so_is_refused(place: Place, made: str) -> None:
    columns = {"site_id": "string key", "day": "timestamptz key", "who": "string required"}
    add_contract(place, "fore", "daily", {"daily": columns})
    group = "" if "max" in made else ", buyer"
    sql = f"select site_id, sold_at as day, {made} as who from core.fact_sales group by site_id, sold_at{group}\n"
    place.write("fore/models/daily.sql", sql)
    with pytest.raises(
        ContractError, match=r"'who' of fore.daily is made from personal data, core.fact_sales.buyer."
    ):
        check(place)
    # With its classification it is masked for all, and the model does without.
    add_contract(place, "fore", "daily", {"daily": {**columns, "who": "string required pii"}})
    check(place)
    assert columns_read(place.mesh, DAILY) == ["site_id", "day"]


def test_a_script_that_declares_no_learner_or_one_of_another_domain_is_named(place: Place) -> None:
    script = "fore/learners/learn_guess.py"
    whole = (place.root / "domains" / script).read_text()
    place.write(script, "learner = 1\n")
    with pytest.raises(ContractError, match="declares no learner with product, model_name"):
        find_learners(place.mesh)
    place.write(script, "import a_library_that_is_not_here\n")
    with pytest.raises(ContractError, match=r"learn_guess.py:1: ModuleNotFoundError: .* Import the model"):
        find_learners(place.mesh)
    place.write(script, whole.replace('"fore.guess"', '"core.fact_sales"'))
    with pytest.raises(ContractError, match=r"learns 'core.fact_sales', which is no product of fore with an event"):
        find_learners(place.mesh)
    place.write(script, whole)
    promise(place, None)
    with pytest.raises(ContractError, match=r"learns 'fore.guess', whose contract promises no accuracy. Add"):
        find_learners(place.mesh)
    promise(place, 0.9)
    with pytest.raises(UsageError, match=r"fore.gues: no model is learned for it. Did you mean fore.guess\?"):
        find_learner(place.mesh, "fore.gues")


def test_code_that_fails_or_lacks_a_library_says_so_in_its_own_words(place: Place) -> None:
    path = place.root / "domains/fore/learners/learn_guess.py"
    whole = path.read_text()
    path.write_text(whole.replace("totals = {}", "import a_library_that_is_not_here"))
    with pytest.raises(
        UsageError, match=r"No module named 'a_library_that_is_not_here'. 'make .venv-ml/done' installs"
    ):
        train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    path.write_text(whole.replace("totals = {}", "totals = 1 / 0"))
    with pytest.raises(AttentionError, match="ZeroDivisionError"):
        train(place.mesh, models(place), place.catalog, PRODUCT, NOW)


def test_the_process_of_a_model_knows_no_address_and_no_key_of_the_lake(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BROKER_URL", "amqp://secret")
    monkeypatch.setenv("PYICEBERG_CATALOG__OTHER__URI", "secret")
    path = place.root / "domains/fore/learners/learn_guess.py"
    path.write_text(path.read_text().replace("totals = {}", "import os; raise ValueError(sorted(os.environ))"))
    with pytest.raises(AttentionError, match="ValueError") as failed:
        train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    assert "OMP_NUM_THREADS" in str(failed.value)
    assert not any(word in str(failed.value) for word in ("MESH_", "PYICEBERG"))
