"""Renaming a column changes no event: earlier files and events are recognised under either name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.broker import Delivery
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import read_contract
from mesh_platform.errors import UsageError
from mesh_platform.events.event import EventIds, Record
from mesh_platform.events.producer import read_csv, wrap
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.ingest.ingest import Ingested, replay_rejected, write
from mesh_platform.ingest.validator import validate
from mesh_platform.lake.evolution import evolve
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from conftest import draws

from ..every_type import check, envelope, every_type, lines_of, shop
from ..small_mesh import EVENT, FACT_SQL, SALE, SALES_SQL, START, Place, add_contract, small_mesh

CONTRACT = "alpha/contracts/sales_alpha.odcs.yaml"
FILE = """item_id,buyer,amount,sold_at
i1,ann,1.50,2025-10-01T10:00:00Z
i1,ann,1.50,2025-10-01T10:00:00Z
i2,bob,20.00,2025-10-02T11:00:00.123456Z
"""
NOW = START + timedelta(days=20)


def renamed(name: str, *earlier: str, id_name: str | None = None) -> dict[str, Any]:
    """The settings of a renamed column; `earlier` are its former names, newest first."""
    custom: list[dict[str, Any]] = [{"property": "mesh.renamedFrom", "value": [*earlier]}] if earlier else []
    custom += [{"property": "mesh.idName", "value": id_name}] if id_name else []
    return {"name": name, "customProperties": custom}


def ids_of_file(contract: Contract, folder: Path, text: str) -> list[str]:
    path = folder / "file.csv"
    path.write_text(text)
    records = read_csv(contract, shop(folder), path, lambda problem: pytest.fail(str(problem)))
    return [event.event_id for event in wrap(contract, records, "test")]


# Ids


def test_a_file_has_the_ids_of_before_under_each_of_its_headers(tmp_path: Path) -> None:
    rows = "Lamp,new,2025-10-01T14:00:00Z\nLamp,new,2025-10-01T14:00:00Z\n"
    before = ids_of_file(every_type(tmp_path), tmp_path, f"name,state,at\n{rows}")
    for contract in (
        every_type(tmp_path, name=renamed("label", "name")),
        every_type(tmp_path, name=renamed("title", "label", "name")),
        every_type(tmp_path, name=renamed("title", "label", "name"), at=renamed("made", "at"), time="made"),
    ):
        assert contract.event is not None
        names = contract.event.by_name
        time = contract.event.time
        for label in [each for each in ("title", "label", "name") if each in names or each != "title"]:
            if label in names or label in contract.event.former_names:
                assert ids_of_file(contract, tmp_path, f"{label},state,at\n{rows}") == before
                assert ids_of_file(contract, tmp_path, f"{label},state,{time}\n{rows}") == before


def test_a_file_with_a_column_under_two_names_is_refused(tmp_path: Path) -> None:
    contract = every_type(tmp_path, name=renamed("title", "label", "name"))
    for header in ("title,name,at", "label,name,at", "name,title,at"):
        with pytest.raises(
            UsageError, match=r"file\.csv:1: the file has .* and .*, which are one column of shop\.things"
        ):
            ids_of_file(contract, tmp_path, f"{header}\na,b,2025-10-01T14:00:00Z\n")


def test_names_that_change_places_keep_their_ids(tmp_path: Path) -> None:
    text = "name,state,code,at\nLamp,new,A-12,2025-10-01T14:00:00Z\n"
    before = ids_of_file(every_type(tmp_path), tmp_path, text)
    swapped = every_type(tmp_path, name={**renamed("code", id_name="name")}, code={**renamed("name", id_name="code")})
    turned = "code,state,name,at\nLamp,new,A-12,2025-10-01T14:00:00Z\n"
    assert ids_of_file(swapped, tmp_path, turned) == before


def test_a_name_that_comes_back_for_another_column_makes_no_equal_ids(tmp_path: Path) -> None:
    before = every_type(tmp_path)
    # `code` is called `sku` now, and a new column is called `code`.
    state = renamed("code", id_name="code_2")
    after = every_type(tmp_path, code=renamed("sku", id_name="code"), state={**state})
    row = "Lamp,A-12,2025-10-01T14:00:00Z\n"
    as_code = ids_of_file(before, tmp_path, f"name,code,at\n{row}")
    assert ids_of_file(after, tmp_path, f"name,sku,at\n{row}") == as_code
    assert ids_of_file(after, tmp_path, f"name,code,at\n{row.replace('A-12', 'new')}") != ids_of_file(
        after, tmp_path, f"name,sku,at\n{row.replace('A-12', 'A-1')}"
    )
    assert after.event is not None
    give = EventIds("s", after.event.names_in_ids)
    assert give.id_of(Record(START, {"code": "x"})) != give.id_of(Record(START, {"sku": "x"}))


NAMES = st.permutations(["a", "b", "c", "d"])


@settings(deadline=None, max_examples=draws(100))
@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(st.integers(), min_size=4, max_size=4))
def test_ids_survive_any_row_of_renames(history: list[list[str]], values: list[int]) -> None:
    first, now = history[0], history[-1]
    names = dict(zip(now, first, strict=True))
    before = EventIds("s").id_of(Record(START, dict(zip(first, values, strict=True))))
    assert EventIds("s", names).id_of(Record(START, dict(zip(now, values, strict=True)))) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": renamed("label", "code")}, "'label' was 'code', which is a property too.*'mesh.idName: code'"),
        ({"name": renamed("label", "old"), "code": renamed("code", "old")}, "'code' was 'old', and so was 'label'"),
        ({"name": renamed("label", id_name="code")}, "'code' and 'label' are both called 'code' in ids.*code_2"),
        ({"name": renamed("name", id_name="")}, ""),
        ({"at": {"customProperties": [{"property": "mesh.ambiguousTime", "value": "later"}]}},
         "mesh.ambiguousTime of 'at', which is timestamptz. Only a local time"),
        ({"wall": {"customProperties": [{"property": "mesh.ambiguousTime", "value": "first"}]}},
         "mesh.ambiguousTime is 'first'. It is one of earlier, later, reject."),
        ({"wall": {"customProperties": [{"property": "mesh.nonexistentTime", "value": "later"}]}},
         "mesh.nonexistentTime is 'later'. It is one of shift, reject."),
    ],
)  # fmt: skip
def test_a_contract_that_leaves_it_open_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    if not words:
        changes = {"name": {"customProperties": [{"property": "mesh.idName", "value": ""}]}}
        words = "mesh.idName is empty"
    with pytest.raises(AssertionError):
        every_type(tmp_path, **changes)
    _, problems = read_contract(tmp_path / "things.odcs.yaml", tmp_path, "shop")
    assert re.search(words, " ".join(map(str, problems))), problems


# Events on their way


def test_an_event_of_before_lands_under_the_new_name(tmp_path: Path) -> None:
    old = every_type(tmp_path)
    lines = lines_of(old, [Record(START, {"name": "Lamp", "price": "1.5", "at": "2025-10-01T00:00:00.000Z"})])
    new = every_type(tmp_path, name=renamed("title", "label", "name"), price=renamed("cost", "price"))
    now = json.loads(lines[0])
    now["payload"] = {"title": "Lamp", "cost": "1.5", "at": "2025-10-01T00:00:00.000Z"}
    half = json.loads(lines[0])
    half["payload"] = {"label": "Lamp", "cost": "1.5", "at": "2025-10-01T00:00:00.000Z"}
    found = check(new, lines[0], json.dumps(now).encode(), json.dumps(half).encode())
    assert found.rejected.to_pylist() == []
    first, *others = found.accepted.drop_columns("ingested_at").to_pylist()
    assert (first["title"], str(first["cost"])) == ("Lamp", "1.50")
    assert others == [first, first]


def test_an_event_with_a_field_under_two_names_is_quarantined(tmp_path: Path) -> None:
    contract = every_type(tmp_path, name=renamed("title", "label", "name"))
    for payload in ({"title": None, "name": "a"}, {"label": "a", "name": "a"}):
        sent = envelope(**{"name": ..., **payload})
        (row,) = check(contract, json.dumps(sent).encode()).rejected.to_pylist()
        assert row["reason"] == "duplicate_key"
        assert "is a former name of 'title', which stands there too." in row["detail"]


def test_a_name_that_nobody_had_is_still_unknown(tmp_path: Path) -> None:
    contract = every_type(tmp_path, name=renamed("title", "name"))
    (row,) = check(contract, json.dumps(envelope(name=..., heading="a")).encode()).rejected.to_pylist()
    assert (row["reason"], row["field"]) == ("unknown_field", "heading")


# Tables


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def rename(place: Place, name: str, *, event: bool = True, table: bool = True) -> None:
    """Rename the column `buyer` of alpha, in its event, its table, or both."""
    sent = {name if event and column == "buyer" else column: words for column, words in EVENT.items()}
    sold = {name if table and column == "buyer" else column: words for column, words in SALE.items()}
    sent |= {name: f"{EVENT['buyer']} <-buyer"} if event else {}
    sold |= {name: f"{SALE['buyer']} <-buyer"} if table else {}
    add_contract(place, "alpha", "sales_alpha", {"sale_made": sent, "sales_alpha": sold}, partition="month(sold_at)")
    column = f"r.{name if event else 'buyer'} as {name if table else 'buyer'}"
    place.write("alpha/models/sales_alpha.sql", SALES_SQL.format(domain="alpha").replace("r.buyer", column))


def send(place: Place, domain: str, bodies: Sequence[bytes]) -> Ingested:
    contract = place.mesh.contract(f"{domain}.sales_{domain}")
    validated = validate(contract, [Delivery(body, None, 0, False) for body in bodies], NOW)
    result = Ingested(landing_name(contract))
    write(place.catalog, contract, validated, result, IdIndex(), NOW.timestamp())
    return result


def replay(place: Place, domain: str, text: str) -> Ingested:
    mesh = load_mesh(place.root)
    contract = mesh.contract(f"{domain}.sales_{domain}")
    path = place.root / "file.csv"
    path.write_text(text)
    records = read_csv(contract, mesh.domains[domain], path, lambda problem: pytest.fail(str(problem)))
    return send(place, domain, [event.to_json() for event in wrap(contract, records, "test")])


def totals(place: Place, table: str, amount: str = "amount") -> list[dict[str, Any]]:
    with open_session(place.mesh, place.catalog) as session:
        sql = f"select count(*) as n, count(distinct event_id) as ids, sum({amount}) as usd from {table}"
        return run_query(session, sql).to_pylist()


@pytest.mark.parametrize(("event", "table"), [(True, True), (True, False), (False, True)])
def test_a_replay_after_a_rename_appends_nothing(place: Place, event: bool, table: bool) -> None:
    assert replay(place, "alpha", FILE).appended == 3
    place.build("alpha.sales_alpha")
    before = totals(place, "alpha.sales_alpha")
    rename(place, "customer", event=event, table=table)
    evolve(place.catalog, place.mesh.contract("alpha.sales_alpha"))
    again = replay(place, "alpha", FILE)
    assert (again.appended, again.duplicates) == (0, 3)
    if event:
        under = replay(place, "alpha", FILE.replace("buyer", "customer"))
        assert (under.appended, under.duplicates, under.quarantined) == (0, 3, 0)
    for full in (False, True):
        place.build("alpha.sales_alpha", full=full)
        assert totals(place, "alpha.sales_alpha") == before


def test_what_was_quarantined_for_its_old_name_gets_in(place: Place) -> None:
    old = place.mesh.contract("alpha.sales_alpha")
    records = [Record(START, {"item_id": "i1", "buyer": "ann", "amount": "1.00", "sold_at": START})]
    lines = [event.to_json() for event in wrap(old, records, "test")]
    # A contract whose columns do not declare their former names, as before that was possible.
    strict = place.root / "domains" / CONTRACT
    rename(place, "customer")
    known = strict.read_text()
    strict.write_text(known.replace("mesh.renamedFrom", "not.renamedFrom"))
    assert send(place, "alpha", lines).quarantined == 1
    strict.write_text(known)
    contract = place.mesh.contract("alpha.sales_alpha")
    (result,) = replay_rejected(place.catalog, [contract], lambda: NOW)
    assert (result.appended, result.quarantined) == (1, 0)
    assert send(place, "alpha", lines).duplicates == 1
    found = place.catalog.load_table("alpha.sales_alpha__raw").scan(selected_fields=("customer",)).to_arrow()
    assert found.to_pylist() == [{"customer": "ann"}]


def test_an_interface_and_all_that_implement_it_rename_a_column(place: Place) -> None:
    for domain in ("alpha", "beta"):
        assert replay(place, domain, FILE).appended == 3
    place.build()
    tables = ("core.sale_v1", "core.fact_sales")
    before = [totals(place, table) for table in tables]
    buyers = place.rows("core.dim_buyer")

    def call(columns: dict[str, str]) -> dict[str, str]:
        return {
            ("price" if name == "amount" else name): words + (" <-amount" if name == "amount" else "")
            for name, words in columns.items()
        }

    for domain in ("alpha", "beta"):
        shapes = {"sale_made": call(EVENT), f"sales_{domain}": call(SALE)}
        add_contract(
            place, domain, f"sales_{domain}", shapes, partition="month(sold_at)", implements="sale.v1", roles=[domain]
        )
        place.write(
            f"{domain}/models/sales_{domain}.sql", SALES_SQL.format(domain=domain).replace("r.amount", "r.price")
        )
    add_contract(place, "core", "sale.v1", {"sale": call(SALE)}, folder="interfaces")
    fact = call(SALE) | {"item_id": "string required pii ->dim_item.item_id", "buyer": "string required pii"}
    add_contract(place, "core", "fact_sales", {"fact_sales": fact}, partition="month(sold_at)", roles=["boss"])
    place.write("core/models/fact_sales.sql", FACT_SQL.replace("amount", "price"))
    sql = place.root / "domains/core/models/dim_buyer.sql"
    sql.write_text(sql.read_text().replace("amount", "price"))
    for name in ("alpha.sales_alpha", "beta.sales_beta", "core.fact_sales"):
        evolve(place.catalog, place.mesh.contract(name))
    for text in (FILE, FILE.replace("amount", "price")):
        for domain in ("alpha", "beta"):
            again = replay(place, domain, text)
            assert (again.appended, again.duplicates) == (0, 3)
    for full in (False, True):
        place.build(full=full)
        assert [totals(place, table, "price") for table in tables] == before
        assert place.rows("core.dim_buyer") == buyers
