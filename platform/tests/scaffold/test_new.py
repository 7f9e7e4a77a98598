"""New domains and products are valid, and refused ones leave no files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.new import new_domain, new_product, propose_answers, template_drift
from mesh_platform.scaffold.template_version import Templates
from mesh_platform.sql.type_check import check_types

from conftest import State

ROOT = Path(__file__).parents[3]
# The events that have a template, each with the interface that its product implements.
LINES = {
    "dispatch_log_event": "dispatch_log.v1",
    "inventory_movement": "inventory_movement.v1",
    "inventory_restock_event": "restock.v1",
    "order_created": "order.v1",
    "order_error_event": "order_error.v1",
    "order_returned": "return.v1",
}


def make_domain(root: Path, name: str, **given: str) -> Path:
    return new_domain(root, propose_answers(root, name, given))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("domains", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file and folder below `root` with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if "__pycache__" not in path.parts
    }


def refusal(root: Path, name: str, **answers: str) -> str:
    """The message for a refused domain; asserts that no file was left."""
    before = tree(root)
    given = {"kind": "source-aligned", "team": "T", "steward": "S", "events": "order_created"} | answers
    with pytest.raises(UsageError) as raised:
        make_domain(root, name, **given)
    assert tree(root) == before
    return str(raised.value)


def test_a_new_warehouse_is_a_valid_part_of_the_mesh(root: Path) -> None:
    folder = make_domain(
        root,
        "central_warehouse",
        kind="source-aligned",
        team="Central Ops",
        steward="Kim Lee",
        events="order_created",
        city="Omaha",
        time_zone="America/Chicago",
        opened_on="2025-02-03",
    )
    assert folder == root / "domains" / "central_warehouse"
    mesh = load_mesh(root)
    domain = mesh.domains["central_warehouse"]
    assert domain.site is not None
    assert (domain.site.warehouse_id, domain.site.region, domain.site.city) == ("WH-CENTRAL", "central", "Omaha")
    assert str(domain.site.opened_on) == "2025-02-03"
    assert domain.owners.contact == "central-warehouse@acme.example"
    assert domain.owners.on_call == "#central-warehouse-on-call"
    assert mesh.contract("central_warehouse.orders_central") in mesh.implementations("order.v1")
    assert template_drift(mesh) == []


def test_a_warehouse_of_all_events_implements_every_interface_and_its_sql_fits(root: Path) -> None:
    make_domain(root, "central_warehouse", team="T", steward="S", events=",".join(LINES))
    mesh = load_mesh(root)
    made = mesh.domains["central_warehouse"].contracts.values()
    assert {contract.event.name: contract.implements for contract in made if contract.event} == LINES
    assert check_types(mesh) == []


@pytest.mark.parametrize("kind", ["aggregate", "consumer-aligned"])
def test_other_kinds_have_neither_a_site_nor_events(root: Path, kind: str) -> None:
    make_domain(root, "price_insights", kind=kind, team="Data Science", steward="Kim Lee", events="none")
    domain = load_mesh(root).domains["price_insights"]
    assert (domain.kind, domain.site, dict(domain.contracts)) == (kind, None, {})


@pytest.mark.parametrize(
    "text",
    [
        'O\'Brien & "Sons"',
        "{{ 7 * 7 }} {% raw %} {# no #}",
        "{{ cookiecutter.__class__ }}",
        "Groß-Ähre 東京 😀 \u200dزبان",
        "back\\slash \\n: #, [a] {b} - & * ! | > % @ `",
        "yes",
        "1e3",
        "null",
        "a: b",
    ],
)
def test_what_people_are_called_comes_out_as_it_was_given(root: Path, text: str) -> None:
    make_domain(
        root,
        "central_warehouse",
        kind="source-aligned",
        team=text,
        steward=text,
        contact="&{{7*7}}#%@acme.example",
        on_call=text,
        city=text,
    )
    domain = load_mesh(root).domains["central_warehouse"]
    assert domain.site is not None
    owners = domain.owners
    assert {owners.team, owners.steward, owners.on_call, domain.site.city} == {text}
    assert owners.contact == "&{{7*7}}#%@acme.example"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Central",
        "central-warehouse",
        "central warehouse",
        "_central",
        "central__warehouse",
        "4th_warehouse",
        "../evil",
        "/tmp/evil",
        "a/b",
        ".",
        "..",
        "o'brien",
        '"; import os',
        "{{ 7*7 }}",
        "{{cookiecutter.team}}",
        "größe",
        "central\n",
        "x" * 51,
    ],
)
def test_what_is_no_name_is_refused(root: Path, name: str) -> None:
    assert "letter" in refusal(root, name)


@pytest.mark.parametrize("name", ["platform", "json", "class", "match", "pyarrow", "mesh_platform", "null", "on"])
def test_a_name_that_means_something_already_is_refused(root: Path, name: str) -> None:
    assert f"'{name}_warehouse'" in refusal(root, name)


def test_a_domain_that_stands_is_refused(root: Path) -> None:
    assert "domains/north_warehouse exists already" in refusal(root, "north_warehouse")


def test_a_warehouse_id_that_stands_is_refused(root: Path) -> None:
    message = refusal(root, "north", events="none")
    assert "'WH-NORTH' is that of north" in message


def test_owners_who_reach_nobody_are_refused(root: Path) -> None:
    message = refusal(root, "central_warehouse", team="TBD", steward="none", contact="Central Ops")
    for part in ("team is 'TBD'", "steward is 'none'", "contact is 'Central Ops'. Give one e-mail address"):
        assert part in message, message


def test_all_problems_are_told_together_with_what_comes_near(root: Path) -> None:
    message = refusal(
        root,
        "Bad Name",
        kind="source-alined",
        team=" ",
        steward="a\nb",
        events="order_creatd",
        country="usa",
        time_zone="America/Chcago",
        currency="dollar",
        opened_on="20250101",
    )
    for part in (
        "domain 'Bad Name'",
        "Did you mean source-aligned",
        "team is empty",
        "steward 'a\\nb' has a control character",
        "Did you mean order_created or order_returned?",
    ):
        assert part in message, message
    message = refusal(
        root, "good", country="usa", time_zone="America/Chcago", currency="dollar", opened_on="20250101"
    )
    for part in ("country 'usa'", "Did you mean America/Chicago", "currency 'dollar'", "opened_on '20250101'"):
        assert part in message, message


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_another_currency_is_refused_where_there_is_money_and_the_way_is_shown(root: Path, line: str) -> None:
    make_domain(
        root, "central_warehouse", kind="source-aligned", team="T", steward="S", events="none", currency="CAD"
    )
    make_domain(root, "model_warehouse", team="T", steward="S", events=line)
    (model,) = load_mesh(root).domains["model_warehouse"].contracts.values()
    assert model.event
    if "currency" not in model.event.by_name:
        assert new_product(root, "central_warehouse", line)
        return
    message = refusal(root, "western_warehouse", events=line, currency="CAD")
    assert "bills in USD alone" in message
    assert "domains/north_warehouse" in message
    with pytest.raises(UsageError, match="bills in USD alone"):
        new_product(root, "central_warehouse", line)


def test_events_need_a_site(root: Path) -> None:
    assert "needs a site" in refusal(root, "price_insights", kind="aggregate")


def test_a_mesh_with_faults_grows_no_further(root: Path) -> None:
    (root / "domains/east_warehouse/owners.yaml").write_text("team: only\n")
    before = tree(root)
    with pytest.raises(ContractError, match=r"east_warehouse/owners\.yaml"):
        make_domain(root, "central_warehouse", kind="source-aligned", team="T", steward="S", events="none")
    assert tree(root) == before


@pytest.mark.parametrize("line", LINES)
def test_a_product_is_added_to_a_domain_once(root: Path, line: str) -> None:
    folder = make_domain(root, "central_warehouse", kind="source-aligned", team="T", steward="S", events="none")
    made = new_product(root, "central_warehouse", line)
    assert all(path.is_file() for path in made)
    (contract,) = load_mesh(root).domains["central_warehouse"].contracts.values()
    assert contract.implements == LINES[line]
    script = {"order_errors_central": "errors_central"}.get(contract.name, contract.name)
    assert {str(path.relative_to(folder)) for path in made} == {
        f"contracts/{contract.name}.odcs.yaml",
        f"models/{contract.name}.sql",
        f"producers/{contract.name}.csv",
        f"producers/produce_{script}.py",
        f"tests/cases/{contract.name}.yaml",
    }
    before = tree(root)
    with pytest.raises(UsageError, match="already exists"):
        new_product(root, "central_warehouse", line)
    with pytest.raises(UsageError, match="Did you mean order_created"):
        new_product(root, "central_warehouse", "orders_created")
    with pytest.raises(UsageError, match="Did you mean central_warehouse"):
        new_product(root, "centrl_warehouse", line)
    assert tree(root) == before


@pytest.mark.parametrize("kind", ["source-aligned", "aggregate", "consumer-aligned"])
def test_what_domains_are_held_against_is_what_is_written(root: Path, kind: str) -> None:
    folder = make_domain(root, "new_domain", kind=kind, team="T", steward="S")
    record = yaml.safe_load((folder / "template.yaml").read_text())
    with Templates(root) as templates:
        assert record["version"] == templates.today.version
        managed = templates.today.managed(record["answers"])
    assert sorted(managed) == [
        "__init__.py",
        "dags/new_domain_pipelines.py",
        "tests/__init__.py",
        "tests/test_domain.py",
    ]
    assert {name: (folder / name).read_text() for name in managed} == managed


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 3, 5, 6])
def test_a_new_product_that_is_killed_is_finished_by_the_next_call(
    root: Path, tmp_path: Path, make_state: Callable[..., State], killed_at: int
) -> None:
    mesh = make_state(tmp_path.parent / f"{tmp_path.name}-state", root)
    folder = make_domain(root, "central_warehouse", team="T", steward="S", events="none")
    before = load_mesh(root)
    fault = f"template.writing:kill:{killed_at}"
    mesh.mesh("new", "product", "central_warehouse", "order_returned", check=-9, MESH_FAULT=fault)
    # The contract is written last, and the other files have no effect without it.
    assert load_mesh(root).contracts.keys() - before.contracts.keys() == (
        {"central_warehouse.returns_central"} if killed_at == 6 else set()
    )
    assert "order_returned" not in (folder / "template.yaml").read_text()
    mesh.mesh("new", "product", "central_warehouse", "order_returned")
    done = tree(root)
    shutil.rmtree(folder)
    make_domain(root, "central_warehouse", team="T", steward="S", events="none")
    new_product(root, "central_warehouse", "order_returned")
    assert tree(root) == done


@pytest.mark.parametrize("at", ["keep", "rename"])
def test_a_new_domain_that_is_killed_leaves_nothing(root: Path, at: str) -> None:
    before = tree(root)
    killing = f"""
import os, signal, sys
from pathlib import Path
from mesh_platform.scaffold import new
from mesh_platform.scaffold.template_version import Template, Templates

die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if {at!r} == "rename":
    Path.rename = die
else:
    Templates.keep = die
root = Path({str(root)!r})
new.new_domain(root, new.propose_answers(root, "central_warehouse", dict()))
"""
    assert subprocess.run([sys.executable, "-c", killing], check=False, env=dict(os.environ)).returncode == -9
    left = [path for path in tree(root) if path not in before]
    assert all(path.startswith("domains/.new-") for path in left), left
    assert "central_warehouse" not in load_mesh(root).domains
    make_domain(root, "central_warehouse", team="T", steward="S")
    assert not list((root / "domains").glob(".*")), "what the killed one left is still there"


def test_two_at_once_make_one_domain_and_two_products_are_both_recorded(
    root: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    mesh = make_state(tmp_path.parent / f"{tmp_path.name}-state", root)
    command = ("new", "domain", "central_warehouse", "--events", "none", "--no-input", "--team")
    both = [mesh.start(*command, team) for team in ("One", "Two")]
    told = [each.communicate()[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 2], told
    assert any("exists already" in words or "appeared meanwhile" in words for words in told), told
    events = ["order_created", "order_returned"]
    calls = [mesh.start("new", "product", "central_warehouse", event) for event in events]
    assert [call.communicate() and call.returncode for call in calls] == [0, 0]
    record = yaml.safe_load((root / "domains/central_warehouse/template.yaml").read_text())
    assert sorted(record["answers"]["events"].split(",")) == sorted(events)
    assert len(load_mesh(root).domains["central_warehouse"].contracts) == 2


def test_what_was_not_given_is_asked_for_once_the_rest_is_right(
    root: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    mesh = make_state(tmp_path.parent / f"{tmp_path.name}-state", root)
    asked = mesh.start("new", "domain", stdin=subprocess.PIPE)
    out, err = asked.communicate("harbor_warehouse\n\nHarbor Ops\nKim Lee\norder_created\n")
    assert asked.returncode == 0, err
    for part in ("Name,", "Kind [source-aligned]", "Team", "Steward", "Events [order_created]"):
        assert part in out, out
    for step in ("pytest domains/harbor_warehouse", "mesh check --fix", "mesh run --domain harbor_warehouse"):
        assert f"\n  {step}\n" in out, out
    assert load_mesh(root).domains["harbor_warehouse"].owners.steward == "Kim Lee"
    refused = mesh.mesh("new", "domain", "Bad Name", "--team", " ", check=2)
    assert "Kind" not in refused.out, "asked, though what was given is wrong already"
    assert "domain 'Bad Name' is not a name" in refused.err
    assert "team is empty" in refused.err
    assert "mesh new domain NAME" in mesh.mesh("new", "domain", "--no-input", check=2).err
    offered = mesh.mesh("new", "product", "harbor_warehouse", check=2).err
    assert all(line in offered for line in LINES)
