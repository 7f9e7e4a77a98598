"""A change of a contract is applied where no promise breaks, else refused with its line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.errors import AttentionError, ContractError
from mesh_platform.mesh.mesh import load_mesh

from ..changed_contract import PRODUCT, RAW, ensure, evolve_alpha, plan_alpha, say
from ..small_mesh import EVENT, SALE, Place, small_mesh


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.mark.parametrize(
    ("column", "before", "after", "change", "breaking"),
    [
        ("note", None, "string", "add", False),
        ("note", None, "string required", "add_required", True),
        ("n", "int", "long", "widen", False),
        ("n", "long", "int", "retype", True),
        ("n", "int", "decimal(10,0)", "retype", True),
        ("n", "int", "double", "retype", True),
        ("n", "decimal(12,2)", "decimal(18,2)", "widen", False),
        ("n", "decimal(12,2)", "decimal(11,2)", "retype", True),
        ("n", "decimal(12,2)", "decimal(18,3)", "retype", True),
        ("n", "decimal(12,2)", "decimal(12,1)", "retype", True),
        ("n", "string required", "string", "relax_required", False),
        ("n", "string", "string required", "require", True),
        ("n", "string", None, "drop_optional", False),
        ("n", "string required", None, "drop_required", True),
    ],
)
def test_a_change_of_a_column_is_applied_or_refused(
    place: Place, column: str, before: str | None, after: str | None, change: str, breaking: bool
):
    def with_column(words: str | None) -> dict[str, str]:
        return EVENT | ({column: words} if words else {})

    say(place, with_column(before), SALE)
    ensure(place)
    say(place, with_column(after), SALE)
    metadata = place.catalog.load_table(RAW).metadata_location
    (found,) = plan_alpha(place)
    assert (found.table, found.change, found.field, found.breaking) == (RAW, change, column, breaking)
    # A plan changes nothing.
    assert place.catalog.load_table(RAW).metadata_location == metadata
    if breaking:
        contract = place.mesh.contract(PRODUCT)
        assert contract.event is not None
        line = contract.event.by_name[column].line if after else contract.event.line
        with pytest.raises(ContractError, match=rf"sales_alpha.odcs.yaml:{line}: the table {RAW} .*version 2"):
            evolve_alpha(place)
        assert place.catalog.load_table(RAW).metadata_location == metadata
        with pytest.raises(AttentionError, match=r"Put the contract back as it was, or publish .* version 2"):
            ensure(place)
        return
    if change != "drop_optional":
        with pytest.raises(AttentionError, match=f"Run 'mesh evolve {PRODUCT}'"):
            ensure(place)
    assert evolve_alpha(place) == [found]
    ensure(place)
    assert evolve_alpha(place) == []


def test_the_key_and_the_partitions_of_the_events_are_kept(place: Place):
    ensure(place)
    say(place, EVENT, SALE | {"event_id": "string required", "item_id": "string key"})
    (changed,) = plan_alpha(place)
    assert (changed.table, changed.change, changed.was, changed.field) == (
        PRODUCT,
        "change_key",
        "event_id",
        "item_id",
    )
    assert changed.breaking
    say(place, EVENT, SALE)
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    text = path.read_text().replace(
        "- property: mesh.eventTime",
        "- {property: mesh.partition, value: [month(event_time)]}\n  - property: mesh.eventTime",
    )
    path.write_text(text)
    (changed,) = plan_alpha(place)
    assert (changed.table, changed.change, changed.breaking) == (RAW, "repartition", True)


def test_a_table_from_before_keys_were_noted_gets_its_own(place: Place):
    ensure(place)
    with place.catalog.load_table(PRODUCT).update_schema() as update:
        update.set_identifier_fields()
    ensure(place)
    assert [change.change for change in evolve_alpha(place)] == ["set_key"]
    assert place.catalog.load_table(PRODUCT).schema().identifier_field_names() == {"event_id"}
    assert evolve_alpha(place) == []


def test_nothing_is_applied_where_one_table_would_break(place: Place):
    ensure(place)
    say(place, EVENT | {"note": "string"}, SALE | {"note": "string required"})
    before = place.catalog.load_table(RAW).metadata_location
    with pytest.raises(ContractError) as error:
        evolve_alpha(place)
    assert [problem.message for problem in error.value.problems] == [
        f"the table {PRODUCT} lacks note (string), which is required; rows that are there have no value for it."
    ]
    assert place.catalog.load_table(RAW).metadata_location == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{property: mesh.renamedFrom, value: item_id}", "'mesh.renamedFrom' is 'item_id'. Give it a list."),
        ("{property: mesh.renamedFrom, value: [buyer]}", "'item_id' was 'buyer', which is a property too."),
        ("{property: mesh.renamed, value: [x]}", "'mesh.renamed' is not known here. .* mesh.renamedFrom"),
    ],
)
def test_a_rename_that_says_nothing_is_a_fault_of_the_contract(place: Place, words: str, said: str):
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    at = "  - name: item_id\n"
    assert at in path.read_text()
    path.write_text(path.read_text().replace(at, f"{at}    customProperties: [{words}]\n", 1))
    with pytest.raises(ContractError, match=said):
        load_mesh(place.root)


def test_a_column_is_not_renamed_to_what_a_dropped_one_is_called(place: Place):
    say(place, EVENT | {"load": "int", "speed": "int"}, SALE)
    ensure(place)
    say(place, EVENT | {"speed": "int"}, SALE)
    evolve_alpha(place)
    say(place, EVENT | {"load": "int <-speed"}, SALE)
    (found,) = [change for change in plan_alpha(place) if change.breaking]
    assert (found.change, found.field, found.was) == ("rename", "load", "speed")
    assert "still has a column load" in found.reason
    with pytest.raises(ContractError, match="Choose another name"):
        evolve_alpha(place)
