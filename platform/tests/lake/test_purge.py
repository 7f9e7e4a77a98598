"""A dropped column is purged once no state shows it, and its name can then be reused in another type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mesh_platform.contract.schema_change import left_over
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import AttentionError, ContractError
from mesh_platform.iceberg import expiry
from mesh_platform.lake import purge as purging
from mesh_platform.lake.catalog import present_schema
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.purge import plan_purge, purge
from mesh_platform.lake.rollback import roll_back
from mesh_platform.lake.tables import landing_schema

from ..changed_contract import PRODUCT, RAW, evolve_alpha, land, say
from ..small_mesh import EVENT, SALE, Place, small_mesh
from .test_evolution import SQL, ask

TEXT = {"note": "string pii"}
NUMBER = {"note": "int"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A mesh whose contract had a text column `note` with a value, and has dropped it."""
    place = small_mesh(tmp_path)
    say_note(place, TEXT)
    land(place, 1, note="secret")
    place.build(PRODUCT)
    say_note(place, {})
    evolve_alpha(place)
    return place


def say_note(place: Place, note: dict[str, str]) -> None:
    say(place, EVENT | note, SALE | note)
    columns = "".join(f", r.{name}" for name in note)
    sql = SQL.replace(", {columns}", "{columns}").replace("\n    {columns}", "{columns}")
    place.write("alpha/models/sales_alpha.sql", sql.format(columns=columns))


def purge_alpha(place: Place, **options: bool) -> set[tuple[str, str, str]]:
    done = purge(place.catalog, place.mesh.contract(PRODUCT), **options)
    return {(change.table, change.change, change.field) for change in done}


def pass_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expire all states except the current one and those that are needed."""
    with monkeypatch.context() as later:
        later.setattr(expiry, "NEWEST", 1)
        later.setattr(expiry, "_marks", lambda now, lifetime: [])
        maintain(place.mesh, place.catalog)


def test_the_name_is_free_in_another_type_and_old_rows_read_null(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = place.files(RAW)
    with pytest.raises(AttentionError, match="No column was purged"):
        purge_alpha(place)
    place.build(PRODUCT)
    pass_time(place, monkeypatch)
    assert purge_alpha(place) == {(RAW, "purge", "note"), (PRODUCT, "purge", "note")}
    assert purge_alpha(place) == set()
    say_note(place, NUMBER)
    assert {change.change for change in evolve_alpha(place)} == {"add"}
    land(place, 2, note=7)
    built = place.build(PRODUCT)[PRODUCT]
    # Only the new row was written.
    assert files < place.files(RAW)
    expected = [("alpha-0001", None), ("alpha-0002", 7)]
    assert ask(place, f"select event_id, note from {PRODUCT} order by 1") == expected
    assert ask(place, f"select event_id, note from {RAW} order by 1") == expected
    for name in (RAW, PRODUCT):
        table = place.catalog.load_table(name)
        rows = table.scan(selected_fields=("event_id", "note")).to_arrow().to_pylist()
        assert sorted((row["event_id"], row["note"]) for row in rows) == expected
        with connect({}) as outside:
            scan = f"iceberg_scan('{table.metadata_location}')"
            assert outside.execute(f"select event_id, note from {scan} order by 1").fetchall() == expected
            assert outside.execute(f"select event_id from {scan} where note = 7").fetchall() == [("alpha-0002",)]
    # A state from before the column shows no column of that name, and no value of the old one.
    before = place.snapshots(RAW)[0]
    columns = ask(place, f"select column_name from (describe {RAW})", as_of=f"{RAW}@{before}")
    assert ("note",) not in columns
    rows_before = place.rows(PRODUCT)
    place.build(PRODUCT, full=True)
    assert place.rows(PRODUCT) == rows_before
    assert built.snapshot_id is not None
    roll_back(place.mesh, place.catalog, RAW, before)
    assert ask(place, f"select event_id, note from {RAW}") == [("alpha-0001", None)]


def test_merging_files_leaves_the_values_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def files_with_the_value() -> int:
        found = 0
        with connect({}) as outside:
            for path in place.files(RAW):
                names = [row[0] for row in outside.execute(f"describe from read_parquet('{path}')").fetchall()]
                found += "note" in names
        return found

    land(place, 2)
    with pytest.raises(AttentionError):
        purge_alpha(place)
    place.build(PRODUCT)
    # A kept file still has it until it is merged.
    monkeypatch.setattr("mesh_platform.lake.maintain.compact", lambda load: purging_nothing())
    pass_time(place, monkeypatch)
    monkeypatch.undo()
    purge_alpha(place)
    assert files_with_the_value() == 2
    pass_time(place, monkeypatch)
    assert files_with_the_value() == 0
    assert len(place.rows(RAW)) == 2


def purging_nothing() -> object:
    from mesh_platform.iceberg.compaction import Compacted

    return Compacted()


def test_a_state_that_shows_it_keeps_it_and_is_named_with_its_time(place: Place) -> None:
    shown = place.snapshots(RAW)[-1]
    with pytest.raises(AttentionError) as error:
        purge_alpha(place)
    told = str(error.value)
    until = datetime.now(UTC) + timedelta(days=7)
    assert (
        f"{RAW}: has note (string), which the contract lacks; snapshot {shown} shows it until {until:%Y-%m-%d}"
        in told
    )
    assert f"{PRODUCT}: has note" in told
    assert "run 'mesh build' and 'mesh maintain' then, and purge again" in told
    # The first call made a state that does not show it; the next makes none.
    heads = place.snapshots(RAW), place.snapshots(PRODUCT)
    with pytest.raises(AttentionError):
        purge_alpha(place)
    assert (place.snapshots(RAW), place.snapshots(PRODUCT)) == heads
    assert {built.mode for built in place.build(PRODUCT).values()} == {"noop"}
    # The contract can still restore it with its values.
    say_note(place, TEXT)
    evolve_alpha(place)
    place.build(PRODUCT, full=True)
    assert ask(place, f"select note from {PRODUCT}") == [("secret",)]


def test_a_release_keeps_it_unless_that_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    say_note(place, TEXT)
    evolve_alpha(place)
    place.build(release=True)
    say_note(place, {})
    evolve_alpha(place)
    land(place, 2)
    place.build(release=True)
    pass_time(place, monkeypatch)
    with pytest.raises(AttentionError, match="r1 shows it for good; --despite-releases purges it all the same"):
        purge_alpha(place)
    # First the lifetime also keeps the state; later only the release does.
    with pytest.raises(AttentionError, match="shows it until"):
        purge_alpha(place, despite_releases=True)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=8)

    monkeypatch.setattr(purging, "datetime", Later)
    with pytest.raises(AttentionError, match="the contract lacks; r1 shows it for good"):
        purge_alpha(place)
    planned = plan_purge(place.catalog, place.mesh.contract(PRODUCT), despite_releases=True)
    assert {(change.table, change.breaking) for change in planned} == {(PRODUCT, False), (RAW, False)}
    assert (PRODUCT, "purge", "note") in purge_alpha(place, despite_releases=True)
    say_note(place, NUMBER)
    evolve_alpha(place)
    assert ask(place, f"select event_id from {PRODUCT}", as_of="r1") == [("alpha-0001",)]
    assert ("note",) not in ask(place, f"select column_name from (describe {PRODUCT})", as_of="r1")


def test_another_type_at_once_is_refused_with_the_way_out_and_purge_then_does_both(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_note(place, NUMBER)
    with pytest.raises(ContractError, match=f"dropped once; it says int.*'mesh evolve {PRODUCT} --purge'"):
        evolve_alpha(place)
    with pytest.raises(AttentionError, match=f"'mesh evolve {PRODUCT} --purge'"):
        place.build(PRODUCT)
    planned = plan_purge(place.catalog, place.mesh.contract(PRODUCT))
    assert {(change.change, change.breaking) for change in planned} == {("purge", True), ("add", False)}
    say_note(place, {})
    with pytest.raises(AttentionError):
        purge_alpha(place)
    place.build(PRODUCT)
    pass_time(place, monkeypatch)
    say_note(place, NUMBER)
    tables = (RAW, PRODUCT)
    assert purge_alpha(place) == {(name, kind, "note") for name in tables for kind in ("purge", "add")}
    land(place, 2, note=7)
    place.build(PRODUCT)
    assert ask(place, f"select note from {PRODUCT} order by note") == [(7,), (None,)]


def test_what_breaks_anyway_purges_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_time(place, monkeypatch)
    say(place, EVENT | {"more": "string required"}, SALE)
    with pytest.raises(ContractError, match="lacks more"):
        purge_alpha(place)
    assert "note" in {field.name for field in place.catalog.load_table(RAW).schema().fields}


def test_a_column_that_the_contract_has_or_requires_is_never_left_over(place: Place) -> None:
    shape = present_schema(place.catalog.load_table(RAW))
    assert [field.name for field in left_over(shape, landing_schema(place.mesh.contract(PRODUCT)))] == ["note"]
    say_note(place, TEXT)
    assert left_over(shape, landing_schema(place.mesh.contract(PRODUCT))) == []


def test_a_purge_that_was_killed_half_way_is_finished_by_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AttentionError):
        purge_alpha(place)
    place.build(PRODUCT)
    pass_time(place, monkeypatch)

    def stop(point: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(purging.faults, "point", stop)
        with pytest.raises(KeyboardInterrupt):
            purge_alpha(place)
    purge_alpha(place)
    assert not {name for name in (RAW, PRODUCT) if "note" in place.catalog.load_table(name).schema().column_names}


def test_a_column_dropped_in_the_edit_that_takes_another_one_up_again_is_no_one_elses_commit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_note(place, {"extra": "string"})
    evolve_alpha(place)
    land(place, 2, extra="x")
    place.build(PRODUCT)
    pass_time(place, monkeypatch)
    # Evolving is refused because the type changed, so `extra` is not marked as dropped yet.
    say_note(place, NUMBER)
    before = place.snapshots(RAW)
    with pytest.raises(AttentionError, match=r"has extra(.|\n)*leave the new column of that name out"):
        purge_alpha(place)
    assert len(place.snapshots(RAW)) <= len(before) + 1
    say_note(place, {})
    place.build(PRODUCT)
    pass_time(place, monkeypatch)
    assert {name for _, change, name in purge_alpha(place) if change == "purge"} == {"note", "extra"}
