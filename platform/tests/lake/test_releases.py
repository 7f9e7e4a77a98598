"""Whatever happens, a release names snapshots that were built from each other, and names all tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.build.build import build
from mesh_platform.errors import AttentionError, ConflictError, UsageError
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.lake.releases import Release, find_release, make_release, read_releases
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from ..small_mesh import Place, Sale, small_mesh

FACT, BUYERS = "core.fact_sales", "core.dim_buyer"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def names(place: Place) -> list[str]:
    return [release.name for release in read_releases(place.catalog)]


def heads(place: Place) -> dict[str, int]:
    found = {name: place.catalog.load_table(name).current_snapshot() for name in place.mesh.contracts}
    return {name: snapshot.snapshot_id for name, snapshot in found.items() if snapshot}


def tags(place: Place, table: str) -> dict[str, int]:
    refs = place.catalog.load_table(table).refs()
    return {name: ref.snapshot_id for name, ref in refs.items() if name != "main"}


def check(place: Place) -> None:
    """Check that every release has all tables, tagged, each built from exactly the released states of the others."""
    for release in read_releases(place.catalog):
        assert set(release.tables) == set(place.mesh.contracts)
        for table, snapshot in release.tables.items():
            assert tags(place, table)[release.name] == snapshot
            noted = read_provenance(place.catalog.load_table(table), snapshot)
            assert noted is not None
            inputs = noted[1].inputs
            assert {name: inputs[name] for name in release.tables if name in inputs}.items() <= release.tables.items()


def ask(place: Place, sql: str, as_of: str | None = None) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, as_of=as_of) as session:
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def test_a_build_of_everything_is_a_release_and_one_that_commits_nothing_is_none(place: Place):
    made: list[Release] = []

    def build_all(full: bool = False) -> None:
        build(place.mesh, place.catalog, full=full, on_release=made.append)

    build_all()
    assert made == read_releases(place.catalog)
    assert (made[0].name, dict(made[0].tables)) == ("r1", heads(place))
    build_all()
    assert names(place) == ["r1"]
    place.land("alpha", [Sale(1)])
    place.build(FACT)
    assert names(place) == ["r1"]
    build_all()
    build_all(full=True)
    assert names(place) == ["r3", "r2", "r1"]
    assert [release.name for release in made] == ["r1", "r2", "r3"]
    assert find_release(place.catalog, "r3") == heads(place)
    check(place)


def test_a_release_is_seen_as_one_whatever_was_built_since(place: Place):
    place.land("alpha", [Sale(1)])
    place.build(release=True)
    place.land("beta", [Sale(2, buyer="bob")])
    place.build(FACT)
    both = f"select (select count(*) from {FACT}) as facts, (select count(*) from {BUYERS}) as buyers"
    assert ask(place, both) == [(2, 1)]
    assert ask(place, both, "r1") == [(1, 1)]
    place.build(release=True)
    assert ask(place, both, "r1") == [(1, 1)]
    assert ask(place, both, "r2") == [(2, 2)]
    assert ask(place, "select count(*) from core.sale_v1", "r1") == [(1,)]
    assert ask(place, "select distinct release from mesh.releases order by 1", "r1") == [("r1",), ("r2",)]
    assert ask(place, f"select snapshot_id from mesh.releases where release = 'r1' and \"table\" = '{FACT}'") == [
        (find_release(place.catalog, "r1")[FACT],)
    ]


def test_what_is_not_in_a_release_says_so_where_it_is_read(place: Place):
    place.land("alpha", [Sale(1)])
    place.build(release=True)
    with pytest.raises(UsageError, match=r"alpha.sales_alpha__raw is not in release r1"):
        ask(place, "select * from alpha.sales_alpha__raw", "r1")
    for wrong in ("r2", "r10"):
        with pytest.raises(UsageError, match=rf"{wrong}: no such release. The newest are r1; 'mesh releases' lists"):
            ask(place, "select 1", wrong)


def test_before_the_first_release_there_is_none_to_see(place: Place):
    assert ask(place, "select * from mesh.releases") == []
    with pytest.raises(UsageError, match=r"r1: no such release. The newest are none: 'mesh build' makes one"):
        ask(place, "select 1", "r1")


def test_where_something_fails_there_is_no_release(place: Place):
    place.land("alpha", [Sale(1), Sale(1)])
    place.land("beta", [Sale(2)])
    with pytest.raises(AttentionError):
        place.build(release=True)
    assert names(place) == []


def test_a_release_keeps_its_snapshots_from_expiry(place: Place):
    place.build(release=True)
    kept = find_release(place.catalog, "r1")[FACT]
    place.land("alpha", [Sale(1)])
    place.build(release=True)
    with pytest.raises(ValueError, match="protected"):
        place.catalog.load_table(FACT).maintenance.expire_snapshots().by_id(kept).commit()


def test_what_is_half_tagged_is_no_release_and_the_next_build_makes_a_whole_one(place: Place):
    place.land("alpha", [Sale(1)])
    place.state.mesh("build", check=-9, MESH_FAULT="build.tagged:kill")
    assert names(place) == []
    assert tags(place, FACT).keys() == {"r1"}
    with pytest.raises(UsageError, match=r"r1: no such release"):
        ask(place, "select 1", "r1")
    # Only a few tables, as if it was killed between two of them.
    place.catalog.load_table(FACT).manage_snapshots().remove_tag("r1").commit()
    assert {built.mode for built in place.build(release=True).values()} == {"noop"}
    assert names(place) == ["r2"]
    check(place)
    for number in (1, 2):
        place.land("alpha", [Sale(10 + number)])
        place.build(release=True)
    assert names(place) == ["r4", "r3", "r2"]
    assert tags(place, BUYERS).keys() == {"r2", "r3", "r4"}
    check(place)


@pytest.mark.parametrize("point", ["build.computed", "build.committed", "build.tagged"])
def test_what_another_builder_moves_meanwhile_is_looked_at_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, point: str
):
    place.build(release=True)
    passed: list[str] = []

    def other_builder(name: str) -> None:
        passed.append(name)
        # Here the first tables are built and the last ones are not, or all are tagged already.
        if name == point and passed.count(name) == (1 if point == "build.tagged" else 3):
            place.land("alpha", [Sale(100 + len(passed))])
            place.build(release=True)

    place.land("alpha", [Sale(1)])
    monkeypatch.setattr("mesh_platform.faults.point", other_builder)
    place.build(release=True)
    monkeypatch.undo()
    check(place)
    assert find_release(place.catalog, names(place)[0]) == heads(place)
    assert len(set(names(place))) == len(names(place))


def test_what_was_built_from_a_state_that_is_gone_again_is_in_no_release(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    place.build(release=True)
    place.land("alpha", [Sale(1)])
    own: list[int] = []
    passed: list[str] = []

    def other_builder(name: str) -> None:
        passed.append(name)
        # Between our builds of the shop and of the fact, somebody else builds the shop.
        if name != "build.committed" or len(own) > 1:
            return
        sales = place.catalog.load_table("alpha.sales_alpha")
        if not own and sales.scan().count():
            own.append(heads(place)["alpha.sales_alpha"])
            place.land("alpha", [Sale(2)])
            build(place.mesh, place.catalog, ["alpha.sales_alpha"])
        elif own and place.catalog.load_table(FACT).scan().count() == 2:
            own.append(0)
            sales.manage_snapshots().rollback_to_snapshot(own[0]).commit()

    monkeypatch.setattr("mesh_platform.faults.point", other_builder)
    place.build(release=True)
    monkeypatch.undo()
    assert len(own) == 2
    assert names(place)[0] != "r1"
    check(place)


def test_of_a_table_that_moved_no_release_is_made(place: Place):
    place.build(release=True)
    old = heads(place)
    place.land("alpha", [Sale(1)])
    place.build(FACT)
    with pytest.raises(ConflictError, match=rf"{FACT}: somebody else built it since"):
        make_release(place.catalog, {FACT: old[FACT]})
    assert names(place) == ["r1"]


@pytest.mark.slow
def test_builders_at_once_make_whole_releases_with_names_of_their_own(place: Place):
    place.build(release=True)
    for turn in range(3):
        place.land("alpha", [Sale(turn)])
        processes = [place.state.start("build") for _ in range(2)]
        assert [process.wait() for process in processes] == [0, 0]
        check(place)
        assert find_release(place.catalog, names(place)[0]) == heads(place)
    assert len(names(place)) == 4
