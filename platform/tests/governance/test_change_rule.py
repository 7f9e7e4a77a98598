"""The rule `change`: versions follow from the changes, and only readers that consented may break."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..changed_mesh import ALPHA, FACT, INTERFACE, Repository, drop, new_repository, version
from ..contract_edits import EVENT, adds, all_of, custom, drops, promises, sets
from ..small_mesh import add_contract

REPORT = "domains/insight/contracts/report.odcs.yaml"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def to(text: str) -> Any:
    return lambda data: version(data, text)


def agree(repository: Repository, domain: str = "insight", **facts: object) -> None:
    """Write a consent of the domain, by default to version 2.0.0 of core.fact_sales."""
    given = {"product": "core.fact_sales", "version": "2.0.0", "by": "A. Reader", "date": "2026-02-01"}
    words = given | {"reason": "We do not read it."} | facts
    entry = ", ".join(f"{key}: {value}" for key, value in words.items())
    repository.place.write(f"{domain}/consents.yaml", f"consents:\n  - {{{entry}}}\n")


def loosen(repository: Repository) -> None:
    """A change that breaks readers but no SQL."""
    repository.edit(FACT, all_of(sets("amount", required=False), to("2.0.0")))


@pytest.mark.parametrize(
    ("edit", "least"),
    [
        (sets("amount", 0, required=True, description="B."), "1.2.4"),
        (adds(), "1.3.0"),
        (adds(EVENT, required=True), "2.0.0"),
    ],
)
def test_the_version_must_be_at_least_what_the_change_asks_for(repository: Repository, edit: Any, least: str):
    repository.edit(ALPHA, to("1.2.3"))
    repository.commit()
    repository.edit(ALPHA, edit)
    (problem,) = repository.problems()
    assert (problem.path, problem.line) == (ALPHA, 5)
    assert problem.message.startswith("version 1.2.3 stays, and the change is ")
    assert f"Write version: {least}, or undo it." in problem.fix
    numbers = [int(n) for n in least.split(".")]
    repository.edit(ALPHA, to("1.2.4" if least != "1.2.4" else "1.2.3"))
    assert repository.problems()
    for enough in (least, f"{numbers[0]}.{numbers[1]}.{numbers[2] + 5}", "7.0.0"):
        repository.edit(ALPHA, to(enough))
        assert repository.problems() == []
    repository.edit(ALPHA, to("1.2.2"))
    (problem,) = repository.problems()
    assert (problem.message, problem.fix) == (
        "version goes back from 1.2.3 to 1.2.2.",
        f"Write {least}, or a higher one.",
    )


def test_a_version_that_goes_up_for_nothing_is_a_problem(repository: Repository):
    repository.edit(ALPHA, to("1.0.1"))
    (problem,) = repository.problems()
    assert problem.message == "version goes from 1.0.0 to 1.0.1, and nothing changed."
    # Changed SQL is a reason for a new version.
    repository.place.write("alpha/models/sales_alpha.sql", "-- other words\nselect 1")
    assert repository.problems() == []
    repository.git("checkout", "-q", ".")
    repository.edit(ALPHA, to("0.9.0"))
    repository.commit()
    repository.edit(ALPHA, to("1.0.0"))
    assert repository.problems() == []


def test_comments_and_the_order_of_keys_are_no_change(repository: Repository):
    data = yaml.safe_load((repository.root / ALPHA).read_text())
    text = yaml.safe_dump(data, sort_keys=True, width=60)
    (repository.root / ALPHA).write_text(f"# A comment.\n{text}")
    assert repository.problems() == []


@pytest.mark.parametrize("text", ["1.0", "v2", "latest", "1.0.0-rc.1"])
def test_a_version_is_three_numbers(repository: Repository, text: str):
    repository.edit(ALPHA, to(text))
    (problem,) = repository.problems()
    assert (problem.path, problem.line, problem.message) == (ALPHA, 5, f"version is '{text}'.")


def test_a_breaking_change_asks_each_domain_that_reads_it(repository: Repository):
    loosen(repository)
    (problem,) = repository.problems()
    assert problem.path == FACT
    assert (
        "core.fact_sales breaks for 'insight', which reads it (domains/insight/models/report.sql)" in problem.message
    )
    assert (
        "publish it as fact_sales_v2 next to this one (docs/evolution.md), or ask t (t) to add to "
        "domains/insight/consents.yaml" in problem.fix
    )
    # The fix of the problem has the text to write.
    entry = problem.fix.partition(" - {")[2].rpartition("}")[0]
    entry = entry.replace("<who>", "A. Reader").replace("<why you can bear it>", "We do not read it.")
    repository.place.write("insight/consents.yaml", f"consents:\n  - {{{entry}}}\n")
    assert repository.problems() == []
    assert repository.problems(rule="consent") == []
    # It stays valid for later versions that do not break.
    repository.edit(FACT, to("2.3.1"))
    assert repository.problems() == []
    repository.edit(FACT, to("3.0.0"))
    assert len(repository.problems()) == 1


@pytest.mark.parametrize(
    ("facts", "stale"), [({"version": "1.9.9"}, 1), ({"version": "3.0.0"}, 0), ({"product": "core.dim_item"}, 1)]
)
def test_a_consent_to_something_else_is_none(repository: Repository, facts: dict[str, object], stale: int):
    loosen(repository)
    agree(repository, **facts)
    assert len(repository.problems()) == 1
    assert len(repository.problems(rule="consent")) == stale


def test_a_consent_of_somebody_else_is_none(repository: Repository):
    loosen(repository)
    agree(repository, "alpha")
    assert len(repository.problems()) == 1
    (stale,) = repository.problems(rule="consent")
    assert (stale.severity, stale.message) == ("warning", "consents to core.fact_sales, which alpha does not read.")


def test_an_old_version_beside_it_needs_no_consent(repository: Repository):
    text = (repository.root / FACT).read_text()
    loosen(repository)
    old = text.replace("name: fact_sales", "name: fact_sales_v1").replace(
        "fact_sales.sold_at", "fact_sales_v1.sold_at"
    )
    repository.place.write("core/contracts/fact_sales_v1.odcs.yaml", old)
    repository.place.write(
        "core/models/fact_sales_v1.sql", (repository.root / "domains/core/models/fact_sales.sql").read_text()
    )
    assert repository.problems() == []
    assert repository.assessed()["core.fact_sales"].beside == "core.fact_sales_v1"
    # A version that promises less than the old one does not count.
    repository.edit("domains/core/contracts/fact_sales_v1.odcs.yaml", sets("buyer", required=False))
    assert len(repository.problems()) == 1


def test_readers_of_a_union_are_asked_only_about_what_it_shows(repository: Repository):
    repository.edit(ALPHA, adds())
    repository.commit()
    repository.edit(ALPHA, all_of(drops("note"), to("2.0.0")))
    assert repository.problems("main") == []
    repository.edit(ALPHA, promises("retention", 1, "y"))
    (problem,) = repository.problems("main")
    assert (
        "alpha.sales_alpha breaks for 'core', which reads it (domains/core/models/fact_sales.sql)" in problem.message
    )


def test_what_producers_send_is_no_affair_of_readers(repository: Repository):
    repository.edit(ALPHA, all_of(adds(EVENT, required=True), to("2.0.0")))
    assert repository.assessed()["alpha.sales_alpha"].kind == "breaking"
    assert repository.problems() == []


def test_an_interface_asks_who_reads_the_union(repository: Repository):
    repository.place.write("insight/models/report.sql", "select event_id, amount from core.sale_v1")
    repository.commit()
    repository.edit(INTERFACE, all_of(sets("amount", required=False), to("2.0.0")))
    (problem,) = repository.problems()
    assert "core.sale_v1 breaks for 'insight'" in problem.message
    assert "publish it as sale.v2 next to this one" in problem.fix
    agree(repository, product="core.sale_v1")
    assert repository.problems() == []
    assert repository.problems(rule="consent") == []


def test_dashboards_are_readers(repository: Repository):
    repository.git("rm", "-q", "-r", "domains/insight/models", "domains/insight/contracts")
    repository.place.write(
        "insight/dashboards/sales.json", '{"sql": "select amount from \\"core\\".\\"fact_sales\\""}'
    )
    repository.commit()
    loosen(repository)
    (problem,) = repository.problems()
    assert "breaks for 'insight', which reads it (domains/insight/dashboards/sales.json)" in problem.message
    agree(repository)
    assert repository.problems() == []
    # A dashboard of a removed table shows nothing, whoever consented.
    (repository.root / FACT).unlink()
    (problem,) = repository.problems()
    assert (problem.path, problem.message[:21]) == ("domains/insight/dashboards/sales.json", "shows core.fact_sales")


def test_a_product_that_is_removed_is_missed_by_who_reads_the_union(repository: Repository):
    shutil.rmtree(repository.root / "domains/alpha")
    (problem,) = repository.problems()
    assert problem.path == ALPHA
    assert (
        "alpha.sales_alpha breaks for 'core', which reads it (domains/core/models/fact_sales.sql): it is removed"
        in problem.message
    )
    assert "Let another product of alpha implement sale.v1, or ask" in problem.fix
    agree(repository, "core", product="alpha.sales_alpha")
    assert repository.problems() == []
    assert repository.problems(rule="consent") == []
    repository.commit()
    # The consent is no longer needed.
    (stale,) = repository.problems(rule="consent")
    assert stale.message == "consents to alpha.sales_alpha, which nobody publishes."


def test_version_2_takes_the_place_of_version_1_as_the_guide_says(repository: Repository):
    text = (repository.root / ALPHA).read_text()
    two = text.replace("sales_alpha", "sales_alpha_v2").replace("sale_made", "sale_made_v2").replace("1.0.0", "2.0.0")
    repository.place.write("alpha/contracts/sales_alpha_v2.odcs.yaml", two)
    sql = (repository.root / "domains/alpha/models/sales_alpha.sql").read_text()
    repository.place.write("alpha/models/sales_alpha_v2.sql", sql.replace("sales_alpha__raw", "sales_alpha_v2__raw"))
    repository.edit("domains/alpha/contracts/sales_alpha_v2.odcs.yaml", custom("mesh.implements", None))
    repository.edit(ALPHA, all_of(lambda data: data.update(status="deprecated"), to("1.0.1")))
    assert repository.problems() == []
    repository.commit()
    repository.edit(
        "domains/alpha/contracts/sales_alpha_v2.odcs.yaml", all_of(custom("mesh.implements", "sale.v1"), to("2.1.0"))
    )
    repository.edit(ALPHA, all_of(custom("mesh.implements", None), to("1.1.0")))
    assert repository.problems() == []
    repository.commit()
    repository.edit(ALPHA, lambda data: data.update(status="retired"))
    (repository.root / "domains/alpha/models/sales_alpha.sql").unlink()
    assert repository.problems() == []
    assert repository.problems(rule="sql") == []


def test_a_file_may_have_another_name_and_the_product_stays_the_same(repository: Repository):
    repository.git("mv", FACT, "domains/core/contracts/sold.odcs.yaml")
    repository.edit("domains/core/contracts/sold.odcs.yaml", lambda data: data.update(name="sold", version="1.0.1"))
    assert repository.assessed()["core.fact_sales"].kind == "cosmetic"
    assert repository.problems() == []
    # Another table is another product, and the old one is gone.
    repository.edit("domains/core/contracts/sold.odcs.yaml", lambda data: data["schema"][0].update(name="sold"))
    kinds = {name: each.change.is_gone for name, each in repository.assessed().items()}
    assert kinds == {"core.fact_sales": True, "core.sold": False}


@pytest.mark.parametrize("now", [True, False])
def test_half_a_file_now_or_then_is_not_compared(repository: Repository, now: bool):
    text = (repository.root / ALPHA).read_text()
    half = text[: len(text) // 2]
    if now:
        (repository.root / ALPHA).write_text(half)
    else:
        (repository.root / ALPHA).write_text(half)
        repository.commit()
        (repository.root / ALPHA).write_text(text)
    assert repository.problems() == []
    assert repository.assessed() == {}
    assert bool(repository.problems(rule="contract")) == now


def test_a_domain_that_cannot_be_read_is_not_one_that_is_gone(repository: Repository):
    repository.place.write("core/domain.yaml", "name: [")
    repository.edit(FACT, drops("amount"))
    assert repository.problems() == []


@pytest.mark.parametrize(
    "text",
    [
        "consents: [",
        "consents:\n  - {product: x}\n",
        "- 1",
        "",
        "consents:\n  - {product: a.b, version: 2, by: x, date: 2026-02-01, reason: long enough}",
        "consents:\n  - {product: a.b, version: two, by: x, date: 2026-02-01, reason: long enough}",
    ],
)
def test_a_wrong_file_of_consents_is_a_problem(repository: Repository, text: str):
    repository.place.write("insight/consents.yaml", text)
    problems = repository.problems(rule="domain-files")
    assert problems
    assert {each.path for each in problems} == {"domains/insight/consents.yaml"}
    assert {each.severity for each in problems} == {"error"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"version": "2.0.0"}, ""),
        ({"version": "1.0.0"}, ""),
        ({"version": "0.9.0"}, "and it is 1.0.0 already"),
        ({"version": "3.0.0"}, "that comes after another one"),
        ({"version": "2.0.0", "date": "2024-01-01"}, "which has not come in a year"),
        ({"product": "core.fact_sale"}, "which nobody publishes"),
        ({"product": "core.items"}, "which insight does not read"),
    ],
)
def test_a_consent_is_to_something(repository: Repository, facts: dict[str, object], words: str):
    agree(repository, **facts)
    problems = repository.problems(rule="consent")
    assert [words in each.message for each in problems] == ([True] if words else [])
    assert {each.severity for each in problems} <= {"warning"}


def test_a_new_product_is_compared_with_nothing(repository: Repository):
    add_contract(repository.place, "core", "extra", {"extra": {"item_id": "string key"}})
    assert repository.assessed()["core.extra"].kind is None
    assert repository.problems() == []
    repository.edit(REPORT, lambda data: drop(data, "twice"))
    assert [problem.path for problem in repository.problems()] == [REPORT]
