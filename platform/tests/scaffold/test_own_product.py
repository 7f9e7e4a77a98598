"""A product of one's own event: valid, by the rules, finished after a kill; a bad list of fields writes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mesh_platform.cli.scaffolding import _broken_rules
from mesh_platform.errors import UsageError
from mesh_platform.events.producer import find_producer, read_csv
from mesh_platform.governance.rules.privacy import personal_sign
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.fields import read_fields
from mesh_platform.scaffold.new import new_own_product
from mesh_platform.scaffold.own_product import OwnProduct
from mesh_platform.sql.model_case import read_cases, run_case
from mesh_platform.sql.type_check import check_types

from conftest import State

# Each type, as required and optional; words of SQL and YAML; a person's address; money; names that change.
EVERY_TYPE = (
    "id:string,at:timestamptz,order:string?,on:int,many:int?,big:long,bigger:long?,weight_kg:double,share:double?,"
    "ok:boolean,maybe:boolean?,due:date,sold_on:date?,packed_time:timestamp,opened_at:timestamp?,seen_at:timestamptz?,"
    "amount:decimal(12,2)?,tiny:decimal(1,1),huge:decimal(38,0),fine:decimal(38, 38)?,email:string?,"
    "a_name_of_forty_letters_which_is_the_mos:string"
)


def make(root: Path, domain: str, fields: str = EVERY_TYPE, event: str = "pallet_scan") -> OwnProduct:
    return new_own_product(root, domain, event, fields, lambda name: bool(personal_sign(name)), _broken_rules)


def files(root: Path) -> dict[str, bytes]:
    paths = (path for path in (root / "domains").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


# A site in Chicago, and a domain without a site.
@pytest.mark.parametrize("domain", ["south_warehouse", "logistics_core"])
def test_a_product_of_every_type_fits_the_mesh_and_its_own_files(mesh_copy: Path, domain: str) -> None:
    before = files(mesh_copy)
    own = make(mesh_copy, domain)
    written = files(mesh_copy).keys() - before.keys()
    assert written == {f"domains/{domain}/{name}" for name in own.files}
    assert {name: body for name, body in files(mesh_copy).items() if name in before} == before
    mesh = load_mesh(mesh_copy)
    contract = mesh.contracts[f"{domain}.pallet_scan"]
    assert contract.event
    assert {f.name: (f.type.name, f.required) for f in contract.event.fields} == {
        f.name: (f.type.name, f.required) for f in own.fields
    }
    assert contract.event.time == "at"
    assert contract.table.by_name["email"].classification == contract.event.by_name["email"].classification == "pii"
    published = {"at_ts", "amount_usd", "packed_ts", "opened_ts", "due_date", "sold_on", "order", "on"}
    assert published <= contract.table.by_name.keys()
    assert check_types(mesh, [contract.identifier]) == []
    folder = mesh_copy / "domains" / domain
    (case,) = read_cases(folder / "tests" / "cases" / "pallet_scan.yaml", mesh_copy)
    assert run_case(mesh, case) is None
    malformed: list[object] = []
    sample = list(
        read_csv(contract, mesh.domains[domain], folder / "producers" / "pallet_scan.csv", malformed.append)
    )
    assert (len(sample), malformed) == (20, [])
    assert find_producer(mesh, contract).product == contract.identifier
    ruff = [sys.executable, "-m", "ruff", "--config", str(Path(__file__).parents[3] / "pyproject.toml")]
    script = folder / "producers" / "produce_pallet_scan.py"
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *words, str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_all_rules_hold_and_the_tests_of_the_domain_pass(
    mesh_copy: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy2(Path(__file__).parents[3] / name, mesh_copy)
    shutil.copytree(Path(__file__).parents[3] / "tests", mesh_copy / "tests")
    state = make_state(tmp_path / "state", mesh_copy)
    words = ("new", "product", "west_warehouse", "pallet_scan", "--fields", EVERY_TYPE, "--format", "json")
    told = state.mesh(*words).json
    assert told["product"] == "west_warehouse.pallet_scan"
    assert told["published_as"]["at"] == "at_ts"
    assert told["personal"] == ["email"]
    rules = state.mesh("check", "--format", "json", check=None).json
    # The copy has no .github and no documents.
    assert [each for each in rules if "pallet_scan" in each["path"]] == []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "domains/west_warehouse"],
        cwd=mesh_copy,
        env=state.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# What is wrong, and what the message must say: where, what, what is allowed or how to mend it.
BAD_FIELDS = {
    "": ("1 of 1", "it is empty", "Write it like id:string"),
    "id,at:timestamptz": ("1 of 2, 'id'", "has no type", "Write id:string"),
    "id:,at:timestamptz": ("1 of 2, 'id:'", "has no type"),
    "at:timestamptz,": ("2 of 2", "it is empty"),
    "id:strng,at:timestamptz": ("1 of 2", "type 'strng' is not one of string", "Did you mean string?"),
    "d:decimal(50,2),at:timestamptz": ("1 of 2, 'd:decimal(50,2)'", "p up to 38", "amount:decimal(12,2)"),
    "d:decimal(5,2,at:timestamptz": ("1 of 3, 'd:decimal(5'",),
    "größe:string,at:timestamptz": ("'größe' is no name", "small letters"),
    "東京:string,at:timestamptz": ("'東京' is no name",),
    "a\nb:string,at:timestamptz": ("'a\\nb:string'", "is no name"),
    "Id:string,at:timestamptz": ("'Id' is no name",),
    f"{'x' * 64}:string,at:timestamptz": ("64 letters", "40 at most"),
    "event_time:string,at:timestamptz": ("has 'event_time' already", "Choose another name"),
    "at:timestamptz,at:date": ("'at' stands twice", "Keep one"),
    "at:timestamptz,at_ts:timestamptz": ("both be published as at_ts", "Rename one"),
    "id:string": ("no field says when", "at:timestamptz"),
    "at:timestamptz?": ("no field says when",),
    "at:timestamp": ("no field says when",),
}
# What only the mesh and its rules know.
UNFIT_FIELDS = {
    "weight_kg:string,at:timestamptz": ("What ends in _kg is number",),
    "available_inventory:int,at:timestamptz": ("Call it inventory_available",),
    "at:timestamptz,at_ts_month:string": ("Rename it, or partition by another column",),
}


@pytest.mark.parametrize("fields", BAD_FIELDS)
def test_a_bad_list_of_fields_says_what_is_wrong_and_how_to_mend_it(fields: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_fields(fields, "USD")
    assert [part for part in BAD_FIELDS[fields] if part not in str(raised.value)] == [], str(raised.value)


def test_a_bad_list_of_fields_writes_nothing(mesh_copy: Path) -> None:
    before = files(mesh_copy)
    for fields, parts in {"id:strng": ("Did you mean string?",), **UNFIT_FIELDS}.items():
        with pytest.raises(UsageError) as raised:
            make(mesh_copy, "east_warehouse", fields)
        for part in parts:
            assert part in str(raised.value), (fields, str(raised.value))
    assert files(mesh_copy) == before


def test_all_problems_of_a_list_are_told_together() -> None:
    with pytest.raises(UsageError) as raised:
        read_fields("id,x:strng,at:date,at:date", "USD")
    assert str(raised.value).count("\n") == 2


def test_money_in_another_currency_is_refused_and_the_way_is_shown(mesh_copy: Path) -> None:
    with pytest.raises(UsageError, match=r"the site bills in CAD.*domains/north_warehouse"):
        make(mesh_copy, "north_warehouse", "at:timestamptz,price:decimal(8,2)")
    assert make(mesh_copy, "north_warehouse", "at:timestamptz,price_usd:decimal(8,2)")


def test_a_name_that_is_there_or_is_none_is_refused(mesh_copy: Path) -> None:
    make(mesh_copy, "east_warehouse", "at:timestamptz")
    before = files(mesh_copy)
    for domain, event, part in (
        ("east_warehouse", "pallet_scan", "contracts/pallet_scan.odcs.yaml: already exists"),
        ("east_warehouse", "pallet_scan_event", "contracts/pallet_scan.odcs.yaml: already exists"),
        ("east_warehouse", "orders_east", "contracts/orders_east.odcs.yaml: already exists"),
        ("east_warehouse", "order_created", "Leave --fields out"),
        ("east_warehouse", "größe", "is not a name"),
        ("east_warehouse", "../evil", "is not a name"),
        ("east_warehouse", "_event", "is not a name"),
        ("east_warehouse", "order", "is a word of SQL's"),
        ("east_warehouse", "east_scan", "'east_scan_event' has 'east' in its name"),
        ("east_warehouse", "fact_scan", "'fact_scan' is no modelled table"),
        ("eest_warehouse", "pallet_scan", "eest_warehouse: no such domain. Did you mean"),
    ):
        with pytest.raises(UsageError) as raised:
            make(mesh_copy, domain, "at:timestamptz", event)
        assert part in str(raised.value), (event, str(raised.value))
    assert files(mesh_copy) == before


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_product_that_is_killed_is_finished_by_the_next_call(
    mesh_copy: Path, tmp_path: Path, make_state: Callable[..., State], killed_at: int
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(mesh_copy, whole)
    make(whole, "east_warehouse", "id:string,at:timestamptz")
    state, before = make_state(tmp_path / "state", mesh_copy), load_mesh(mesh_copy).contracts.keys()
    words = ("new", "product", "east_warehouse", "pallet_scan", "--fields", "id:string,at:timestamptz")
    state.mesh(*words, check=-9, MESH_FAULT=f"template.writing:kill:{killed_at}")
    # The contract is written last, and the other files have no effect without it.
    assert load_mesh(mesh_copy).contracts.keys() == before
    state.mesh(*words)
    assert files(mesh_copy) == files(whole)
    assert "already exists" in state.mesh(*words, check=2).err
