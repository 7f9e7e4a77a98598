"""The masks that contracts ask for: what is refused, renames, past states, stable pseudonyms."""

from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.contract.reader import read_contract
from mesh_platform.errors import UsageError
from mesh_platform.policy.pseudonyms import Salts, kept_key
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from ..every_type import every_type
from ..small_mesh import Place, Sale, small_mesh


def ask(place: Place, sql: str, **options: Any) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, **{"role": "analyst", **options}) as session:
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def masked_by(action: str, **more: object) -> dict[str, Any]:
    custom = [{"property": name, "value": value} for name, value in {"mesh.mask": action, **more}.items() if value]
    return {"classification": "pii", "customProperties": custom}


@pytest.mark.parametrize(
    ("column", "words", "message"),
    [
        (
            "code",
            masked_by("mask-to-default"),
            "mesh.mask is 'mask-to-default'. It is one of mask-alphanum, mask-to-",
        ),
        (
            "born",
            masked_by("show-last-4"),
            "'show-last-4' of 'born', a column of type date. Use mask-to-fixed-value,",
        ),
        ("price", masked_by("sha-256-global"), "a column of type decimal(12,2). Use mask-to-fixed-value, replace-wi"),
        ("name", masked_by("replace-with-null"), "'name', a required column of type string. Use mask-alphanum, ma"),
        (
            "code",
            {**masked_by("show-last-4"), "classification": "internal"},
            "of 'code', which nobody masks.",
        ),
        ("code", masked_by("show-last-4", **{"mesh.stablePseudonyms": True}), "of 'code', which has no pseudonyms."),
        ("born", masked_by("", **{"mesh.stablePseudonyms": True}), "of 'born', which has no pseudonyms. Only pseudo"),
    ],
)
def test_a_contract_is_refused_for_a_mask_that_does_not_exist_or_apply(
    tmp_path: Path, column: str, words: dict[str, Any], message: str
) -> None:
    every_type(tmp_path)
    path = tmp_path / "things.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    next(each for each in contract["schema"][0]["properties"] if each["name"] == column).update(words)
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    _, problems = read_contract(path, tmp_path, "shop")
    assert len(problems) == 1
    assert message in str(problems[0])
    # It names the line of the property, not of the column.
    text = path.read_text().splitlines()[problems[0].line - 1]
    assert "mesh." in text


def set_mask(place: Place, contract: str, column: str, **words: Any) -> None:
    path = place.root / "domains" / contract
    found = yaml.safe_load(path.read_text())
    next(each for each in found["schema"][-1]["properties"] if each["name"] == column).update(words)
    path.write_text(yaml.safe_dump(found, sort_keys=False))


FACT = "core/contracts/fact_sales.odcs.yaml"


def test_a_contract_names_the_action_of_a_column(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    set_mask(place, FACT, "buyer", **masked_by("mask-alphanum"))
    place.land("alpha", [Sale(1), Sale(2, buyer="Zoë 7, (b@c.d)")])
    place.build("core.fact_sales")
    buyers = "select distinct buyer from core.fact_sales order by 1"
    assert ask(place, buyers) == [("xxx",), ("xxxxn,x(x@x.x)",)]
    assert ask(place, buyers, role="boss") == [("Zoë 7, (b@c.d)",), ("ann",)]


def test_a_renamed_column_stays_masked_now_and_in_the_past(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1)])
    place.build()
    old = f"core.fact_sales@{place.snapshots('core.fact_sales')[0]}"
    renamed = [
        {"property": "mesh.renamedFrom", "value": ["buyer"]},
        {"property": "mesh.mask", "value": "show-first-4"},
    ]
    set_mask(place, FACT, "buyer", name="client", customProperties=renamed)
    # The contract is ahead of the table, then the table is renamed, then it is read as it was.
    assert ask(place, "select client from core.fact_sales") == [("ann",)]
    set_mask(
        place, FACT, "client", customProperties=[renamed[0], {"property": "mesh.mask", "value": "mask-alphanum"}]
    )
    assert ask(place, "select client from core.fact_sales") == [("xxx",)]
    with place.catalog.load_table("core.fact_sales").update_schema() as update:
        update.rename_column("buyer", "client")
    for at in (None, old):
        assert ask(place, "select client from core.fact_sales", as_of=at) == [("xxx",)]


def test_stable_pseudonyms_are_the_same_in_all_sessions_and_need_their_key(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    for contract in (FACT, "core/contracts/dim_buyer.odcs.yaml"):
        set_mask(place, contract, "buyer", **masked_by("sha-256-query-local", **{"mesh.stablePseudonyms": True}))
    place.land("alpha", [Sale(1)])
    place.build()
    salts = Salts(state=tmp_path / "state")
    buyers = "select buyer, (select buyer from core.dim_buyer) from core.fact_sales"
    (first,), (second,) = (ask(place, buyers, salts=Salts(state=tmp_path / "state")) for _ in range(2))
    assert first == second == (first[0], first[0])
    assert re.fullmatch("[0-9a-f]{64}", str(first[0]))
    # Columns whose contracts do not ask for it differ from session to session.
    items = "select distinct item_id from core.fact_sales"
    assert ask(place, items, salts=salts) != ask(place, items, salts=Salts(state=tmp_path / "state"))
    key = tmp_path / "state" / "pseudonyms.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    with pytest.raises(UsageError, match="this session knows no state folder"):
        ask(place, buyers)
    assert ask(place, buyers, role="boss") == [("ann", "ann")]


def test_processes_that_make_the_key_at_once_agree_on_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda _: kept_key(tmp_path / "state" / "key"), range(32))}) == 1
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["key"]
