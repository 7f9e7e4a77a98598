"""Models on two engines: every model of the company returns the same rows, and a run reports each difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from spark_env import json_with_spark as run
from spark_env import sail

from conftest import ROOT

from ..small_mesh import Place, Sale, add_contract, small_mesh

# DuckDB rounds, and Spark cuts off.
ROUGH = "select item_id, cast(length(label) + 0.75::double as integer) as whole from core.items\n"
NEAR = (
    "select item_id, cast(cast(length(label) + 1000000.75::double as integer) as double) as whole from core.items\n"
)
ENTRY = {"model": "rough", "rows": "edge", "kind": "rows", "expected": "never", "reason": "One rounds, one cuts off."}

pytestmark = pytest.mark.slow


def rough_mesh(folder: Path, sql: str = ROUGH, kind: str = "int") -> Place:
    """A mesh with a model whose rows differ."""
    place = small_mesh(folder)
    add_contract(place, "core", "rough", {"rough": {"item_id": "string key", "whole": kind}})
    place.write("core/models/rough.sql", sql)
    return place


def verdict(place: Place, code: int, **entry: Any) -> tuple[str, str | None]:
    """The verdict and the kind of difference of the model, where its domain expects `entry`."""
    if entry:
        place.write("core/parity.yaml", yaml.safe_dump({"parity": [entry]}))
    (found,) = run(place.root, place.root / ".mesh", "parity", "core.rough", "--no-lake", code=code)
    assert found["rows"] > 20
    return found["verdict"], found["kind"]


def test_every_model_of_the_company_returns_the_same_rows_on_both_engines_as_the_page_says(tmp_path: Path):
    run(ROOT, tmp_path / "state", "run", "--days", "3")
    page = tmp_path / "parity.md"
    found = run(ROOT, tmp_path / "state", "parity", "--page", str(page))
    # Only the returns of one warehouse are none after three days.
    others = [(row["table"], row["source"], row["verdict"]) for row in found if row["verdict"] != "equal"]
    assert others == [("north_warehouse.returns_north", "lake", "empty")]
    assert {row["source"] for row in found} == {"edge", "lake"}
    # Sums and products that no type holds are refused by both.
    assert any(row["refused"] for row in found)
    assert page.read_text() == (ROOT / "docs" / "parity.md").read_text(), "Run 'make parity'."


def test_a_difference_fails_the_run_until_its_domain_expects_it(tmp_path: Path):
    place = rough_mesh(tmp_path)
    assert verdict(place, code=1) == ("new", "rows")
    assert verdict(place, code=0, **ENTRY) == ("expected", "rows")
    assert verdict(place, code=1, **ENTRY | {"kind": "spark"}) == ("new", "rows")
    place.write("core/models/rough.sql", ROUGH.replace("0.75", "0.25"))
    assert verdict(place, code=1) == ("cured", None)


@pytest.mark.parametrize(
    "sql",
    [
        "select item_id, 1 as whole from core.items where false\n",
        "select item_id, cast('no ' || label as integer) as whole from core.items\n",
    ],
    ids=["no row is made", "each row is refused"],
)
def test_a_model_of_which_nothing_was_compared_does_not_count_as_equal(tmp_path: Path, sql: str):
    place = rough_mesh(tmp_path, sql)
    (found,) = run(place.root, place.root / ".mesh", "parity", "core.rough", "--no-lake", code=1)
    assert (found["verdict"], found["rows"]) == ("empty", 0)


def test_doubles_may_differ_within_the_tolerance_that_is_named(tmp_path: Path):
    place = rough_mesh(tmp_path, NEAR, "double")
    assert verdict(place, code=1) == ("new", "rows")
    assert verdict(place, code=0, **ENTRY, tolerance={"whole": 1e-5}) == ("tolerated", "rows")
    assert verdict(place, code=1, **ENTRY, tolerance={"whole": 1e-9}) == ("new", "rows")


def test_a_row_that_one_engine_alone_refuses_is_a_difference(tmp_path: Path):
    # DuckDB rounds the number in a text, and Spark takes whole numbers only.
    place = rough_mesh(
        tmp_path, "select item_id, cast(left(label, 0) || '1.5' as integer) as whole from core.items\n"
    )
    assert verdict(place, code=1) == ("new", "spark")
    # DuckDB has no more than 18 digits for the product of two such decimals, which the longest label exceeds.
    product = "cast(length(label) * 1000 as decimal(12, 2)) * cast(9999999999 as decimal(12, 2))"
    whole = f"case when {product} > 0 then 1 else 0 end"
    place.write("core/models/rough.sql", f"select item_id, {whole} as whole from core.items\n")
    assert verdict(place, code=1) == ("new", "duckdb")
    assert verdict(place, code=0, **ENTRY | {"kind": "duckdb"}) == ("expected", "duckdb")


def test_rows_that_fit_alone_and_not_together_are_compared_in_part(tmp_path: Path):
    place = small_mesh(tmp_path)
    add_contract(place, "core", "rough", {"rough": {"item_id": "string key", "whole": "decimal(12,2)"}})
    total = "cast(sum(abs(amount)) as decimal(12, 2)) as whole"
    place.write("core/models/rough.sql", f"select item_id, {total} from core.fact_sales group by item_id\n")
    (found,) = run(place.root, place.root / ".mesh", "parity", "core.rough", "--no-lake")
    assert found["verdict"] == "equal"
    assert found["rows"] > 0


def test_an_address_without_a_server_is_reported_at_once(tmp_path: Path):
    place = rough_mesh(tmp_path)
    said = run(place.root, tmp_path / ".mesh", "parity", code=3, MESH_SPARK_REMOTE="sc://127.0.0.1:9/;token=hush")
    assert "sc://127.0.0.1:9: no server answers" in said
    assert "hush" not in said
    said = run(place.root, tmp_path / ".mesh", "parity", code=2, MESH_SPARK_REMOTE="127.0.0.1:9")
    assert "MESH_SPARK_REMOTE is sc://host:port" in said


def test_spark_may_be_another_process(tmp_path: Path):
    place = small_mesh(tmp_path)
    with sail() as address:
        found = run(place.root, place.root / ".mesh", "parity", "--no-lake", MESH_SPARK_REMOTE=address)
    assert {row["verdict"] for row in found} == {"equal"}


def test_a_message_has_no_personal_value_of_the_lake(tmp_path: Path):
    place = small_mesh(tmp_path)
    shape = {"event_id": "string key", "buyer": "string required pii", "whole": "int"}
    add_contract(place, "core", "rough", {"rough": shape}, roles=["boss"])
    whole = "cast(amount + 0.75::double as integer) as whole"
    place.write("core/models/rough.sql", f"select event_id, buyer, {whole} from core.fact_sales\n")
    place.land("alpha", [Sale(1, buyer="carla")])
    place.build()
    found = run(place.root, place.root / ".mesh", "parity", "core.rough", code=1)
    (lake,) = [row for row in found if row["source"] == "lake"]
    assert (lake["verdict"], lake["rows"]) == ("new", 1)
    assert "alpha-0001" in lake["details"]
    assert "carla" not in lake["details"]


def test_nor_do_the_words_in_which_spark_refuses_it(tmp_path: Path):
    place = small_mesh(tmp_path)
    add_contract(place, "core", "rough", {"rough": {"event_id": "string key", "whole": "int"}})
    # DuckDB rounds the number in a text, and Spark takes whole numbers only.
    place.write("core/models/rough.sql", "select event_id, cast(buyer as integer) as whole from core.fact_sales\n")
    place.land("alpha", [Sale(1, buyer="41.5")])
    place.build()
    found = run(place.root, place.root / ".mesh", "parity", "core.rough", code=1)
    (lake,) = [row for row in found if row["source"] == "lake"]
    assert (lake["verdict"], lake["kind"]) == ("new", "spark")
    assert "41.5" not in lake["details"]
