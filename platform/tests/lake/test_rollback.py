"""Rollback: events removed from a landing table are in its ledger and are not accepted again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.errors import ConflictError, UnavailableError, UsageError
from mesh_platform.iceberg.append import Appended, append_new
from mesh_platform.lake import ledger
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.ledger import removed_keys
from mesh_platform.lake.rollback import RolledBack, roll_back
from mesh_platform.lake.tables import landing_schema

from ..small_mesh import Place, Sale, small_mesh

RAW, LEDGER, REJECTED = (f"alpha.sales_alpha__{kind}" for kind in ("raw", "removed", "rejected"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def back(place: Place, snapshot_id: int, table: str = RAW) -> RolledBack:
    return roll_back(place.mesh, place.catalog, table, snapshot_id)


def ids(place: Place, table: str = RAW) -> list[object]:
    return [row[0] for row in place.rows(table, "event_id")]


def named(*numbers: int) -> list[object]:
    return [f"alpha-{number:04}" for number in numbers]


def replay(place: Place, numbers: Iterable[int], in_between: Callable[[], object] = lambda: None) -> Appended:
    """Land these sales as ingest does; `in_between` is called once, between loading the table and the commit."""
    contract = place.mesh.contracts["alpha.sales_alpha"]
    shape = landing_schema(contract)
    sent = [Sale(number) for number in numbers]
    columns = {
        "event_id": [f"alpha-{sale.number:04}" for sale in sent],
        **{name: [sale.time for sale in sent] for name in ("event_time", "sold_at", "ingested_at")},
        **{name: ["x"] * len(sent) for name in ("item_id", "buyer", "producer", "schema_version")},
        "amount": [sale.amount for sale in sent],
    }
    schema = arrow_schema(shape)
    rows = pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema)
    refused, left = removed_keys(place.catalog, LEDGER), [in_between]

    def refused_later(new: pa.Table) -> pa.Array:
        keys = refused(new)
        if left:
            left.pop()()
        return keys

    return append_new(lambda: ensure_table(place.catalog, RAW, shape), rows, "event_id", "event_time", refused_later)


def test_what_leaves_goes_into_the_ledger_and_no_replay_brings_it_back(place: Place) -> None:
    first = place.land("alpha", [Sale(1), Sale(2)])
    second = place.land("alpha", [Sale(3), Sale(4)])
    assert back(place, first) == RolledBack(RAW, first, second, removed=2)
    assert (ids(place), ids(place, LEDGER)) == (named(1, 2), named(3, 4))
    done = replay(place, [2, 3, 4, 5])
    assert (done.appended, done.duplicates) == (1, 3)
    assert ids(place) == named(1, 2, 5)


def test_forward_again_brings_back_what_had_left(place: Place) -> None:
    first = place.land("alpha", [Sale(1)])
    second = place.land("alpha", [Sale(2)])
    back(place, first)
    assert back(place, second).removed == 0
    assert ids(place) == named(1, 2)
    assert replay(place, [1, 2]).appended == 0
    assert back(place, first).removed == 1
    assert ids(place, LEDGER) == named(2)


def test_to_where_it_is_removes_nothing(place: Place) -> None:
    here = place.land("alpha", [Sale(1)])
    assert back(place, here) == RolledBack(RAW, here, here, 0)
    assert ids(place) == named(1)


def test_rows_that_land_during_a_rollback_are_in_the_ledger(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.land("alpha", [Sale(1)])
    place.land("alpha", [Sale(2)])
    interrupt(monkeypatch, [lambda: place.land("alpha", [Sale(3)])])
    assert back(place, first).removed == 2
    assert (ids(place), ids(place, LEDGER)) == (named(1), named(2, 3))


def test_a_table_that_never_rests_is_not_rolled_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.land("alpha", [Sale(1)])
    place.land("alpha", [Sale(2)])
    landings = [lambda number=number: place.land("alpha", [Sale(number)]) for number in range(10, 20)]
    interrupt(monkeypatch, landings)
    with pytest.raises(ConflictError, match="Stop ingest for this table, then roll back again"):
        back(place, first)
    assert ids(place) == named(1, 2, 10, 11, 12, 13, 14)


def test_an_append_under_way_sees_the_rollback(place: Place) -> None:
    first = place.land("alpha", [Sale(1)])
    place.land("alpha", [Sale(2)])
    done = replay(place, [2, 3], in_between=lambda: back(place, first))
    assert (done.appended, done.duplicates) == (1, 1)
    assert (ids(place), ids(place, LEDGER)) == (named(1, 3), named(2))


def test_a_rollback_that_ended_half_way_is_done_by_another(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.land("alpha", [Sale(1)])
    place.land("alpha", [Sale(2)])
    interrupt(monkeypatch, [lambda: (_ for _ in ()).throw(OSError("disk gone"))])
    with pytest.raises(UnavailableError, match=r"disk gone.*roll back again"):
        back(place, first)
    assert (ids(place), ids(place, LEDGER)) == (named(1, 2), named(2))
    assert replay(place, [2]).appended == 0
    assert back(place, first).removed == 1
    assert (ids(place), ids(place, LEDGER)) == (named(1), named(2))


def test_an_unknown_table_or_snapshot_is_wrong_use(place: Place) -> None:
    here = place.land("alpha", [Sale(1)])
    with pytest.raises(UsageError, match=rf"{RAW}: no snapshot 7; the newest are {here}\."):
        back(place, 7)
    with pytest.raises(UsageError, match=r"nowhere\.at_all: no such table"):
        back(place, here, "nowhere.at_all")
    assert ids(place) == named(1)


@pytest.mark.parametrize("table", [LEDGER, REJECTED])
def test_what_holds_acknowledged_events_alone_is_not_set_back(place: Place, table: str) -> None:
    with pytest.raises(UsageError, match="a quarantine and a ledger only grow"):
        back(place, 1, table)


def test_another_table_goes_back_without_a_ledger(place: Place) -> None:
    place.land("alpha", [Sale(1)])
    place.build("alpha.sales_alpha")
    (first,) = place.snapshots("alpha.sales_alpha")
    place.land("alpha", [Sale(2)])
    place.build("alpha.sales_alpha")
    assert back(place, first, "alpha.sales_alpha").removed == 0
    assert len(ids(place, "alpha.sales_alpha")) == 1


def interrupt(monkeypatch: pytest.MonkeyPatch, actions: list[Callable[[], object]]) -> None:
    """Call one of `actions` after each write of the ledger, before the table's current snapshot changes."""
    real, left = ledger.append_new, iter(actions)

    def append_then_act(*arguments: Any) -> Appended:
        done = real(*arguments)
        next(left, lambda: None)()
        return done

    monkeypatch.setattr(ledger, "append_new", append_then_act)
