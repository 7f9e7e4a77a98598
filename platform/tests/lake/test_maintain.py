"""Maintenance of all tables while others work: whatever is needed stays, and builds are not affected."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from mesh_platform.errors import ConflictError, UsageError
from mesh_platform.iceberg import expiry
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.lake.maintain import Maintained, maintain
from mesh_platform.lake.releases import RELEASES, find_release
from mesh_platform.lake.rollback import roll_back
from mesh_platform.lake.tables import all_tables
from mesh_platform.query.database import write_database
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from ..maintained import files_of, on_disk, rows_of
from ..small_mesh import Place, Sale, small_mesh

RAW, SALES, FACT, BUYERS = "alpha.sales_alpha__raw", "alpha.sales_alpha", "core.fact_sales", "core.dim_buyer"
NOW = timedelta(0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expire everything except the current state and what is needed."""
    monkeypatch.setattr(expiry, "NEWEST", 1)
    monkeypatch.setattr(expiry, "_marks", lambda now, lifetime: [])


def run_maintenance(place: Place, *tables: str, dry_run: bool = False) -> dict[str, Maintained]:
    done = maintain(place.mesh, place.catalog, tables, dry_run, NOW)
    assert not [maintained for maintained in done if maintained.failed]
    return {maintained.table: maintained for maintained in done}


def contents(place: Place) -> dict[str, object]:
    """Return the rows of every table."""
    return {name: rows_of(table) for name, table in tables(place.catalog)}


def tables(catalog: Catalog) -> Iterator[tuple[str, Table]]:
    for namespace in catalog.list_namespaces():
        for name in catalog.list_tables(namespace):
            yield ".".join(name), catalog.load_table(name)


def heads_of(place: Place) -> dict[str, object]:
    return {name: table.metadata.current_snapshot_id for name, table in tables(place.catalog)}


def modes(place: Place, *names: str) -> dict[str, str]:
    return {name: built.mode for name, built in place.build(*names).items()}


def land_and_build(place: Place, numbers: Iterable[int]) -> None:
    for number in numbers:
        place.land("alpha", [Sale(number, number * 7), Sale(number + 500, buyer="bob")])
        place.land("beta", [Sale(number, 800)])
        place.build(release=True)


def test_all_tables_are_maintained_and_the_next_build_has_nothing_to_do(place: Place, few: None) -> None:
    land_and_build(place, range(3))
    before = contents(place)
    done = run_maintenance(place)
    assert (
        set(done)
        == {name for name, _ in tables(place.catalog)}
        <= {RELEASES, *(table.name for table in all_tables(place.mesh))}
    )
    assert done[RAW].compacted > 2
    assert done[FACT].compacted > 2
    assert done[RAW].expired > 0
    assert done["mesh.releases"].compacted == 3
    assert contents(place) == before
    heads = heads_of(place)
    assert set(modes(place).values()) == {"noop"}
    # A table whose inputs have the same rows does not change, so its downstream tables do not either.
    assert {name for name, head in heads_of(place).items() if head != heads[name]} <= {"mesh.releases"}
    place.land("alpha", [Sale(7)])
    assert modes(place)[SALES] == modes(place, FACT)[FACT].replace("noop", "incremental") == "incremental"
    assert modes(place) == dict.fromkeys(place.mesh.contracts, "noop")


def test_a_table_knows_what_it_was_built_from_when_only_its_newest_snapshot_is_left(place: Place, few: None) -> None:
    for number in range(3):
        # A build of some tables makes no release, which would keep its snapshots.
        place.land("alpha", [Sale(number)])
        place.build(SALES)
    for _ in range(3):
        run_maintenance(place)
    head = heads_of(place)[SALES]
    assert modes(place, SALES)[SALES] == "noop"
    assert heads_of(place)[SALES] == head
    place.land("alpha", [Sale(7)])
    assert modes(place, SALES)[SALES] == "incremental"


def test_a_build_over_compactions_takes_each_row_once(place: Place, few: None) -> None:
    land_and_build(place, range(2))
    place.land("alpha", [Sale(20)])
    run_maintenance(place)
    place.land("alpha", [Sale(21)])
    run_maintenance(place)
    place.land("alpha", [Sale(22)])
    built = place.build()
    # Some snapshots in between have expired; comparing the rows still finds the new ones.
    assert (built[SALES].mode, built[SALES].rows, built[FACT].rows) == ("incremental", 3, 3)
    numbers = sorted(str(row[0]) for row in place.rows(FACT, "event_id") if str(row[0]).startswith("alpha"))
    assert numbers == [f"alpha-{n:04}" for n in (0, 1, 20, 21, 22, 500, 501)]


def test_no_needed_state_expires(place: Place, few: None) -> None:
    land_and_build(place, range(2))
    both = f"select (select count(*) from {FACT}) as facts, (select count(*) from {BUYERS}) as buyers"
    with open_session(place.mesh, place.catalog, as_of="r1") as session:
        before = run_query(session, both).to_pylist()
    for number in range(30, 34):
        place.land("alpha", [Sale(number)])
    output = place.catalog.load_table(SALES)
    built = read_provenance(output, output.metadata.current_snapshot_id)
    assert built is not None
    run_maintenance(place)
    run_maintenance(place)
    assert built[1].inputs[RAW] in place.snapshots(RAW)
    for table, snapshot in find_release(place.catalog, "r1").items():
        assert snapshot in place.snapshots(table)
    with open_session(place.mesh, place.catalog, as_of="r1") as session:
        assert run_query(session, both).to_pylist() == before
    assert modes(place)[SALES] == "incremental"


def test_what_is_held_back_stays_with_its_table(place: Place, few: None) -> None:
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    rule = (
        "  quality:\n  - name: no bob\n    type: sql\n    mustBe: 0\n"
        "    query: SELECT COUNT(*) FROM ${object} WHERE buyer = 'bob'\n"
        "    customProperties: [{property: mesh.onFailure, value: quarantine}]\n"
    )
    text = path.read_text()
    at = text.rindex("  customProperties:\n  - property: mesh.partition")
    path.write_text(text[:at] + rule + text[at:])
    for number in range(3):
        place.land("alpha", [Sale(number), Sale(number + 500, buyer="bob")])
        place.build(release=True)
    held = f"select count(*) as n from {SALES}__held"
    done = run_maintenance(place)
    assert "not compacted" in str(done[f"{SALES}__held"].skipped)
    with open_session(place.mesh, place.catalog) as session:
        assert run_query(session, held).to_pylist() == [{"n": 3}]
    with open_session(place.mesh, place.catalog, as_of="r1") as session:
        assert run_query(session, held).to_pylist() == [{"n": 1}]
    place.land("alpha", [Sale(4), Sale(504, buyer="bob")])
    assert modes(place, SALES)[SALES] == "incremental"
    with open_session(place.mesh, place.catalog) as session:
        assert run_query(session, held).to_pylist() == [{"n": 4}]


def test_a_dry_run_changes_no_byte_and_says_what_a_run_then_does(place: Place, few: None) -> None:
    land_and_build(place, range(2))
    before = digest(place.root / ".mesh")
    said = run_maintenance(place, dry_run=True)
    assert digest(place.root / ".mesh") == before
    done = run_maintenance(place)
    assert {name: t.compacted for name, t in said.items()} == {name: t.compacted for name, t in done.items()}
    assert sum(t.expired for t in said.values()) > 0


def digest(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_file_of_views_serves_on(place: Place, few: None, tmp_path: Path) -> None:
    import duckdb
    from mesh_platform.engine.duckdb import connect

    land_and_build(place, range(2))
    write_database(place.mesh, place.catalog, tmp_path / "views.duckdb")
    maintain(place.mesh, place.catalog)
    place.land("alpha", [Sale(9)])
    maintain(place.mesh, place.catalog)
    with connect(place.catalog.properties) as session:
        session.execute(f"ATTACH '{tmp_path / 'views.duckdb'}' AS views (READ_ONLY)")
        assert session.execute(f"SELECT count(*) FROM views.{RAW}").fetchone() == (4,)
        assert isinstance(session, duckdb.DuckDBPyConnection)


def test_a_kill_at_every_point_leaves_the_rows_and_the_next_run_the_rest(place: Place) -> None:
    land_and_build(place, range(2))
    before = contents(place)
    for fault in ("maintain.written", "maintain.committed", "maintain.expired", "maintain.committed"):
        place.land("alpha", [])
        place.state.mesh("maintain", check=-signal.SIGKILL, MESH_ORPHAN_AGE_S="0", MESH_FAULT=f"{fault}:kill")
        assert contents(place) == before
    place.state.mesh("maintain", MESH_ORPHAN_AGE_S="0")
    run_maintenance(place)
    assert contents(place) == before
    for name, table in tables(place.catalog):
        named = {
            os.path.abspath(task.file.file_path)
            for snapshot in table.snapshots()
            for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
        }
        assert {path for path in on_disk(table) if path.endswith(".parquet")} == named, name


@pytest.mark.slow
def test_two_maintainers_landing_and_builds_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "NEWEST", 5)
    land_and_build(place, range(2))
    enough = threading.Event()
    errors: list[BaseException] = []

    def go_on(work: object) -> None:
        try:
            while not enough.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    workers = [lambda: maintain(place.mesh, place.catalog), lambda: maintain(place.mesh, place.catalog), place.build]
    threads = [threading.Thread(target=go_on, args=(work,)) for work in workers]
    for thread in threads:
        thread.start()
    numbers = range(50, 90)
    for number in numbers:
        for _ in range(20):
            with suppress(ConflictError):
                place.land("alpha", [Sale(number)])
                break
    enough.set()
    for thread in threads:
        thread.join()
    assert not [error for error in errors if "committed first" not in str(error)]
    place.build()
    run_maintenance(place)
    landed = sorted(str(row[0]) for row in place.rows(RAW, "event_id"))
    assert landed == sorted({f"alpha-{n:04}" for n in (*range(2), *(n + 500 for n in range(2)), *numbers)})
    facts = sorted(str(row[0]) for row in place.rows(FACT, "event_id") if str(row[0]).startswith("alpha"))
    assert facts == landed
    assert len(files_of(place.catalog.load_table(RAW))) <= 12


def test_an_expired_state_is_told_and_a_rollback_to_a_kept_one_works(place: Place, few: None) -> None:
    first = place.land("alpha", [Sale(1)])
    place.build("core", "alpha")
    second = place.land("alpha", [Sale(2)])
    place.land("alpha", [Sale(3)])
    run_maintenance(place)
    assert (first in place.snapshots(RAW), second in place.snapshots(RAW)) == (True, False)
    with pytest.raises(UsageError, match=r"no snapshot \d+, or no more: of before .* only some are kept"):
        roll_back(place.mesh, place.catalog, RAW, second)
    with pytest.raises(UsageError, match=r"has no such snapshot \(of before .* only some are kept\)"):
        open_session(place.mesh, place.catalog, as_of=f"{RAW}@{second}")
    assert roll_back(place.mesh, place.catalog, RAW, first).removed == 2
    assert modes(place, SALES)[SALES] == "noop"


def test_an_unknown_table_is_wrong_use(place: Place) -> None:
    place.land("alpha", [Sale(1)])
    with pytest.raises(UsageError, match=r"alpha\.sales: no such table or domain\. Did you mean alpha\.sales_alpha"):
        maintain(place.mesh, place.catalog, ["alpha.sales"])
    assert [maintained.table for maintained in maintain(place.mesh, place.catalog, ["alpha"])] == [RAW]
