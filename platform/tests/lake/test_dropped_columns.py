"""An event dropping a column does not change ids: a file that still has the column can be replayed unchanged."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from mesh_platform.broker import Delivery
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.events.producer import read_csv, wrap
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.ingest.ingest import Ingested, write
from mesh_platform.ingest.validator import validate
from mesh_platform.lake.evolution import evolve, plan_evolution
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import load_mesh

from ..events.test_renamed_events import ids_of_file
from ..every_type import every_type
from ..small_mesh import EVENT, SALE, START, Place, add_contract, small_mesh

EXTRA = {"channel": "string", "tip": "decimal(8,2)", "paid_at": "timestamptz", "seats": "int"}
FILE = """item_id,buyer,amount,sold_at,channel,tip,paid_at,seats
i1,ann,1.50,2025-10-01T10:00:00Z,web,0.5,2025-10-01T12:00:00.123456+02:00,07
i1,ann,1.50,2025-10-01T10:00:00Z,shop,,,
i1,ann,1.50,2025-10-01T10:00:00Z,,,,
i2,bob,20.00,2025-10-02T11:00:00Z,web,1,2025-10-02T11:00:00Z,2
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = small_mesh(tmp_path)
    declare(found, EXTRA)
    return found


def declare(place: Place, columns: dict[str, str]) -> None:
    """Add these columns to the event of alpha."""
    shapes = {"sale_made": {**EVENT, **columns}, "sales_alpha": SALE}
    add_contract(place, "alpha", "sales_alpha", shapes, partition="month(sold_at)")


def without(*dropped: str) -> dict[str, str]:
    return {name: f"{words} dropped" if name in dropped else words for name, words in EXTRA.items()}


def replay(place: Place, text: str) -> Ingested:
    mesh = load_mesh(place.root)
    contract = mesh.contract("alpha.sales_alpha")
    evolve(place.catalog, contract)
    path = place.root / "file.csv"
    path.write_text(text)
    records = read_csv(contract, mesh.domains["alpha"], path, lambda problem: pytest.fail(str(problem)))
    bodies = [Delivery(event.to_json(), None, 0, False) for event in wrap(contract, records, "test")]
    result = Ingested(landing_name(contract))
    validated = validate(contract, bodies, START + timedelta(days=20))
    write(place.catalog, contract, validated, result, IdIndex(), START.timestamp())
    return result


def landed(place: Place, column: str, condition: str = "amount > 0") -> list[object]:
    rows = place.catalog.load_table("alpha.sales_alpha__raw").scan(condition).to_arrow()
    return sorted(rows[column].to_pylist(), key=str)


def test_a_file_with_dropped_columns_keeps_the_ids_of_its_lines(place: Place) -> None:
    assert replay(place, FILE).appended == 4
    for dropped in (["paid_at", "seats"], ["channel", "tip", "paid_at"], EXTRA):
        declare(place, without(*dropped))
        again = replay(place, FILE)
        assert (again.appended, again.duplicates, again.quarantined) == (0, 4, 0)
    assert landed(place, "channel") == [None, "shop", "web", "web"]
    # New events in such a file are accepted, without the columns.
    more = replay(place, FILE + "i3,eve,2.00,2025-10-03T10:00:00Z,web,0.5,,\n")
    assert (more.appended, more.duplicates) == (1, 4)
    assert landed(place, "channel", "item_id == 'i3'") == [None]
    # The contract restores the column.
    declare(place, EXTRA)
    assert replay(place, FILE).appended == 0
    assert replay(place, FILE.replace("i2", "i4")).appended == 1
    assert landed(place, "channel", "item_id == 'i4'") == ["web"]


def test_a_file_that_has_more_says_how_it_keeps_its_ids(place: Place) -> None:
    replay(place, FILE)
    declare(place, {})
    with pytest.raises(
        UsageError, match=r"file\.csv:1: the file has channel, .*leave the file as it is, .*dropped: true"
    ):
        replay(place, FILE)


def test_evolution_says_what_keeps_the_ids(place: Place) -> None:
    replay(place, FILE)
    gone = {name: words for name, words in EXTRA.items() if name != "channel"}
    renamed = gone | {"way": "string <-channel dropped"}
    for columns, told in ((gone, True), (without("channel"), False), (renamed, False)):
        declare(place, columns)
        (change,) = plan_evolution(place.catalog, load_mesh(place.root).contract("alpha.sales_alpha"))
        assert change.change == "drop_optional"
        assert ("'mesh.dropped: true'" in change.reason) is told


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"channel": "string dropped", "way": "string <-channel"}, "'way' was 'channel', which is a property too"),
        ({"channel": "varchar dropped"}, "property 'channel': type 'varchar' is not one of"),
    ],
)
def test_dropped_columns_that_leave_it_open_are_refused(place: Place, columns: dict[str, str], words: str) -> None:
    declare(place, columns)
    with pytest.raises(ContractError, match=words):
        load_mesh(place.root)


def test_what_is_dropped_is_a_column_of_an_event_and_not_its_time(place: Place) -> None:
    shapes = {"sale_made": EVENT, "sales_alpha": SALE | {"note": "string dropped"}}
    add_contract(place, "alpha", "sales_alpha", shapes, partition="month(sold_at)")
    with pytest.raises(ContractError, match=r"'mesh\.dropped' is not known here"):
        load_mesh(place.root)
    declare(place, {"sold_at": "timestamptz required dropped"})
    with pytest.raises(ContractError, match=r"mesh\.eventTime is 'sold_at'"):
        load_mesh(place.root)


def test_a_local_time_that_is_dropped_is_read_as_it_was(tmp_path: Path) -> None:
    """The clock shows 01:30 twice; which of the two it was still determines the id."""
    wall = {"customProperties": [{"property": "mesh.ambiguousTime", "value": "earlier"}]}
    gone = {"customProperties": [*wall["customProperties"], {"property": "mesh.dropped", "value": True}]}
    text = "name,state,at,wall\nLamp,new,2025-11-02T14:00:00Z,2025-11-02T01:30:00\n"
    assert ids_of_file(every_type(tmp_path, wall=gone), tmp_path, text) == ids_of_file(
        every_type(tmp_path, wall=wall), tmp_path, text
    )


def test_renames_drops_and_ids_of_the_first_name(tmp_path: Path) -> None:
    text = "name,state,code,at\nLamp,new,A-12,2025-11-02T14:00:00Z\n"
    before = ids_of_file(every_type(tmp_path), tmp_path, text)
    for code in (
        {"name": "sku", "customProperties": [{"property": "mesh.renamedFrom", "value": ["code"]}]},
        {"name": "sku", "customProperties": [{"property": "mesh.idName", "value": "code"}]},
    ):
        code["customProperties"].append({"property": "mesh.dropped", "value": True})
        contract = every_type(tmp_path, code=code)
        assert ids_of_file(contract, tmp_path, text.replace("code", "sku")) == before
        if "renamedFrom" in str(code):
            assert ids_of_file(contract, tmp_path, text) == before
