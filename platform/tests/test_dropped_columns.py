"""A column that an event drops changes no id of a file that has it: the file is replayed as it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from mesh_platform.broker import Delivery
from mesh_platform.domain import load_mesh
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.ingest import Ingested, write
from mesh_platform.lake.evolution import evolve, plan_evolution
from mesh_platform.lake.keys import KnownKeys
from mesh_platform.lake.landing import landing_name
from mesh_platform.producer import read_csv, wrap
from mesh_platform.validator import validate

from .small_mesh import EVENT, SALE, START, Place, add_contract, small_mesh

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


def declare(place: Place, columns: dict[str, str], dropped: dict[str, str] | None = None) -> None:
    """Give the event of alpha these columns more, and those that it had once."""
    shapes = {"sale_made": {**EVENT, **columns}, "sales_alpha": SALE}
    add_contract(place, "alpha", "sales_alpha", shapes, partition="month(sold_at)", dropped=dropped)


def replay(place: Place, text: str) -> Ingested:
    mesh = load_mesh(place.root)
    contract = mesh.contract("alpha.sales_alpha")
    evolve(place.catalog, contract)
    path = place.root / "file.csv"
    path.write_text(text)
    records = read_csv(contract, mesh.domains["alpha"], path, lambda problem: pytest.fail(str(problem)))
    bodies = [Delivery(event.to_json(), None, 0, False) for event in wrap(contract, records, "test")]
    result = Ingested(landing_name(contract))
    write(place.catalog, contract, validate(contract, bodies, START + timedelta(days=20)), result, KnownKeys())
    return result


def test_a_file_with_dropped_columns_keeps_the_ids_of_its_lines(place: Place) -> None:
    assert replay(place, FILE).appended == 4
    for left in (["channel", "tip"], ["seats"], []):
        columns = {name: EXTRA[name] for name in left}
        declare(place, columns, {name: words for name, words in EXTRA.items() if name not in left})
        again = replay(place, FILE)
        assert (again.appended, again.duplicates, again.quarantined) == (0, 4, 0)
    landed = place.catalog.load_table("alpha.sales_alpha__raw").scan().to_arrow()
    assert sorted(landed["channel"].to_pylist(), key=str) == [None, "shop", "web", "web"]
    # What is new in such a file comes in, and without the columns.
    more = replay(place, FILE + "i3,eve,2.00,2025-10-03T10:00:00Z,web,0.5,,\n")
    assert (more.appended, more.duplicates) == (1, 4)
    landed = place.catalog.load_table("alpha.sales_alpha__raw").scan("item_id == 'i3'").to_arrow()
    assert landed["channel"].to_pylist() == [None]


def test_a_file_that_has_more_says_how_it_keeps_its_ids(place: Place) -> None:
    replay(place, FILE)
    declare(place, {})
    with pytest.raises(
        UsageError, match=r"file\.csv:1: the file has channel, tip, .*leave the file as it is, so that"
    ):
        replay(place, FILE)


def test_evolution_says_what_keeps_the_ids(place: Place) -> None:
    replay(place, FILE)
    for dropped, told in ((None, True), ({"channel": "string"}, False)):
        declare(place, {name: words for name, words in EXTRA.items() if name != "channel"}, dropped)
        (change,) = plan_evolution(place.catalog, load_mesh(place.root).contract("alpha.sales_alpha"))
        assert change.change == "drop_optional"
        assert ("'mesh.droppedColumns: {channel: string}'" in change.reason) is told


@pytest.mark.parametrize(
    ("columns", "dropped", "words"),
    [
        ({"channel": "string"}, {"channel": "string"}, "has 'channel', a name of the column 'channel'"),
        ({"way": "string <-channel"}, {"channel": "string"}, "has 'channel', a name of the column 'way'"),
        ({}, {"channel": "varchar"}, "mesh.droppedColumns has 'channel': .*Give it the physicalType"),
        ({}, ["channel"], "'mesh.droppedColumns' is .*Give it a type for each name"),
    ],
)
def test_dropped_columns_that_leave_it_open_are_refused(
    place: Place, columns: dict[str, str], dropped: dict[str, str], words: str
) -> None:
    declare(place, columns, dropped)
    with pytest.raises(ContractError, match=words):
        load_mesh(place.root)
