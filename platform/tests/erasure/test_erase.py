"""Erasing a person from a small mesh: nothing is left, nothing else changes, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.erasure import erase as module
from mesh_platform.erasure.erase import Lake, Result, erase, plan, read_value
from mesh_platform.erasure.targets import find_targets
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.erasures import read_erasures
from mesh_platform.lake.releases import read_releases
from mesh_platform.lake.rollback import roll_back
from mesh_platform.query.session import open_session
from mesh_platform.sql.model import find_models
from raw_decoder import places_of

from ..kills import kills
from ..small_mesh import Place, Sale, small_mesh
from ..sql.test_audit import CHEAP, HOLD, rule

GONE = "Åsa-4711"
OTHERS = ("ann", "bob", f"{GONE}9", "x" + GONE)
TABLES = (
    "alpha.sales_alpha__raw",
    "alpha.sales_alpha",
    "beta.sales_beta__raw",
    "beta.sales_beta",
    "core.fact_sales",
    "core.dim_buyer",
)


def fill(place: Place) -> None:
    """Two shops over three months, a release between, and a merge of files."""
    buyers = (*OTHERS, GONE)
    for part in range(3):
        for shop in ("alpha", "beta"):
            numbers = range(part * 20, part * 20 + 20)
            sales = [Sale(n, hours=37 * n, buyer=buyers[n % (5 if shop == "alpha" or part else 4)]) for n in numbers]
            place.land(shop, sales)
        place.build(release=True)
    compact(lambda: place.catalog.load_table("alpha.sales_alpha"))


def lake_of(place: Place) -> Lake:
    settings = place.state.settings
    return Lake(place.mesh, open_catalog(settings), settings.state_dir, settings.broker)


def remove(place: Place, request: str = "R1", **changes: Any) -> Result:
    return erase(lake_of(place), "buyer", read_value("buyer", GONE), request, "me", "asked", **changes)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the filled lake, `lake`, and a copy of it, `kept`."""
    folder = tmp_path_factory.mktemp("erasure")
    place = small_mesh(folder / "lake")
    fill(place)
    place.close()
    shutil.copytree(folder / "lake", folder / "kept")
    return folder


@pytest.fixture
def place(filled: Path) -> Place:
    """The filled lake, as it was; files name each other by path, so it is always in one place."""
    Place(filled / "lake").close()
    shutil.rmtree(filled / "lake")
    shutil.copytree(filled / "kept", filled / "lake")
    return Place(filled / "lake")


def without(place: Place) -> dict[str, list[tuple[object, ...]]]:
    """The rows of each table, but those of the person; the totals of others do not depend on theirs."""
    return {name: [row for row in place.rows(name) if GONE not in row] for name in TABLES}


def test_the_columns_are_found_by_name_and_lineage(place: Place) -> None:
    found = find_targets(place.mesh, find_models(place.mesh)[0], "buyer")
    at = {target.name: target for target in found.tables if target.mesh_table}
    assert {*TABLES} <= at.keys()
    assert at["core.fact_sales"].follows == {"alpha.sales_alpha", "beta.sales_beta"}
    assert at["core.dim_buyer"].follows == set()
    names = list(at)
    # Each after all that it can be computed from.
    assert sorted(TABLES, key=names.index) == [*TABLES[::2][:2], *TABLES[1:4:2], *TABLES[4:]]
    with pytest.raises(UsageError, match="byer: no column has that name"):
        find_targets(place.mesh, find_models(place.mesh)[0], "byer")


def test_the_person_is_gone_and_all_other_rows_are_as_before(place: Place) -> None:
    before = without(place)
    planned = plan(lake_of(place), "buyer", read_value("buyer", GONE))
    there = {name: sum(GONE in row for row in place.rows(name)) for name in TABLES}
    assert {each.table: each.rows for each in planned.tables} == there
    assert min(there.values()) > 0
    assert planned.releases == ("r3", "r2", "r1")
    result = remove(place)
    assert {name: counts["rows"] for name, counts in result.tables.items()} == there
    assert result.releases == planned.releases
    assert result.refs == planned.refs
    assert result.proof["found"] == 0
    assert without(place) == before
    assert {name: sum(GONE in row for row in place.rows(name)) for name in TABLES} == dict.fromkeys(TABLES, 0)
    # What is left is what a build of all makes of what is left.
    assert {built.mode for built in place.build().values()} == {"noop"}
    place.build(full=True)
    assert without(place) == before
    (erasure,) = read_erasures(place.catalog)
    assert (erasure.request, erasure.by, erasure.ended_at is not None) == ("R1", "me", True)
    assert read_releases(place.catalog)[0].name == "r4"
    voided = place.state.mesh("query", "--as-of", "r2", "select count(*) from core.fact_sales", check=None)
    assert "core.fact_sales: its state in release r2 is gone" in voided.err
    assert place.state.json("query", "--as-of", "r2", "select count(*) as n from core.dim_item")


def test_no_byte_of_the_person_is_left_in_the_state_folder(place: Place, tmp_path: Path) -> None:
    """By a decoder that knows nothing of the platform, on a lake without the two that have longer names."""
    other = small_mesh(tmp_path / "lake")
    for shop in ("alpha", "beta"):
        other.land(shop, [Sale(n, 37 * n, buyer=(GONE, "ann", "bob")[n % 3]) for n in range(40)])
        other.build(release=True)
    state = other.root / ".mesh"
    (state / "company.log").write_text(f"sold to {GONE}, gladly\n")
    (state / "counted.json").write_text(f'{{"{GONE}": 1}}')
    product = other.mesh.contracts["alpha.sales_alpha"]
    with connect(other.state.settings.broker) as broker:
        broker.declare([queue_of(product)])
        lines = [b'{"payload": {"buyer": "%s"}}' % name.encode() for name in (GONE, "ann")]
        bodies = [b"\n".join(lines), lines[0], lines[1], b"not json: " + GONE.encode()]
        broker.publish(queue_of(product), [Message(body, str(n)) for n, body in enumerate(bodies)], lambda _: None)
    assert {where.split("/")[0].split(":")[0] for where in places_of(state, GONE)} >= {
        "warehouse",
        "company.log",
        "counted.json",
        "broker.db",
    }
    result = remove(other)
    assert result.messages == 3
    assert places_of(state, GONE) == []
    assert (state / "company.log").read_text() == f"sold to {'*' * len(GONE.encode())}, gladly\n"
    with connect(other.state.settings.broker) as broker, broker.consume(queue_of(product).name, 10) as consumer:
        assert [each.body for each in consumer.receive(10, 1.0)] == [lines[1], lines[1]]
    assert stat.S_IMODE(os.stat(state / "erasure.key").st_mode) == 0o600


def test_held_rows_and_the_index_of_keys_lose_the_person(tmp_path: Path) -> None:
    other = small_mesh(tmp_path / "lake")
    rule(other, {**CHEAP, "customProperties": HOLD})
    held, keys = "core.fact_sales__held", other.root / ".mesh" / "keys"
    for part in range(2):
        sales = [Sale(10 * part + n, buyer=name, amount=Decimal("0.10")) for n, name in enumerate((GONE, "ann"))]
        other.land("alpha", [*sales, Sale(10 * part + 5, buyer=GONE, amount=Decimal("7.00"))])
        other.build()
    fact = str(other.catalog.load_table("core.fact_sales").metadata.table_uuid)
    (keys / fact).mkdir(parents=True, exist_ok=True)
    (keys / fact / "an-index").write_bytes(b"hashes")
    assert [GONE in row for row in other.rows(held)] == [True, False, True, False]
    result = remove(other)
    assert result.tables[held]["rows"] == 2
    assert [row[0] for row in other.rows(held, "event_id")] == ["alpha-0001", "alpha-0011"]
    assert not (keys / fact / "an-index").exists()
    assert places_of(other.root / ".mesh", GONE) == []
    # The product names that state of its held rows.
    assert {built.mode for built in other.build().values()} == {"noop"}
    with open_session(other.mesh, other.catalog) as session:
        assert session.execute(f"select count(*) from {held}").fetchone() == (2,)


def test_a_request_that_ended_is_not_made_again_and_its_name_not_used_for_another(place: Place) -> None:
    first = remove(place)
    heads = {name: place.snapshots(name) for name in TABLES}
    assert remove(place) == first
    assert {name: place.snapshots(name) for name in TABLES} == heads
    with pytest.raises(UsageError, match="R1: that request is about another value"):
        erase(lake_of(place), "buyer", read_value("buyer", OTHERS[2]), "R1", "me", "asked")
    with pytest.raises(UsageError, match="--reason: has the value"):
        erase(lake_of(place), "buyer", read_value("buyer", GONE), "R2", "me", f"{GONE} asked")
    for short in ("42", "ann", "12345"):
        with pytest.raises(UsageError, match="too short"):
            read_value("buyer", short)


def test_no_rollback_brings_the_person_back(place: Place) -> None:
    before = {name: place.snapshots(name) for name in TABLES}
    remove(place)
    for name, numbers in before.items():
        for number in numbers:
            table = place.catalog.load_table(name)
            if table.metadata.snapshot_by_id(number) is None:
                with pytest.raises(UsageError, match="no snapshot"):
                    roll_back(place.mesh, place.catalog, name, number)
            else:
                roll_back(place.mesh, place.catalog, name, number)
                assert not any(GONE in row for row in place.rows(name))


def test_rows_that_come_meanwhile_are_erased_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not ask, between the first cleaning and the proof, costs a round."""
    calls = []
    real = module.clean_state_files

    def clean(*given: Any) -> Any:
        if not calls:
            place.land("beta", [Sale(900, 5, buyer=GONE), Sale(901, 5, buyer="ann")])
            place.build()
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(module, "clean_state_files", clean)
    remove(place)
    assert len(calls) == 2
    assert not any(GONE in row for name in TABLES for row in place.rows(name))
    assert ("beta-0901",) in place.rows("core.fact_sales", "event_id")


def test_a_build_that_read_before_the_erasure_cannot_commit_after_it(place: Place) -> None:
    place.land("beta", [Sale(900, 5, buyer=GONE)])
    outputs = {name: place.catalog.load_table(name) for name in TABLES}
    remove(place)
    for name, table in outputs.items():
        assert current_snapshot_id(place.catalog.load_table(name)) != current_snapshot_id(table)


def test_a_value_in_a_column_that_should_not_have_it_keeps_the_request_open(place: Place) -> None:
    place.land("beta", [Sale(900, 5, item=GONE)])
    with pytest.raises(AttentionError, match=r"R1: the value is still found(?s:.*): item_id"):
        remove(place)
    assert [each.ended_at for each in read_erasures(place.catalog)] == [None]


POINTS = ("requested", "queued", "written", "committed", "expired", "removed", "built", "cleaned", "proved")


@kills("erase", POINTS, (1, 2, 3, 5, 7, 9), of_commits=(2, 5), often=2, others=pytest.mark.thorough)
def test_what_was_killed_is_finished_by_the_same_call(place: Place, point: str, number: int) -> None:
    before = without(place)
    there = {name: sum(GONE in row for row in place.rows(name)) for name in TABLES}
    words = ("erase", "--where", f"buyer={GONE}", "--request", "R1", "--by", "me", "--reason", "asked")
    killed = place.state.mesh(*words, check=None, MESH_FAULT=f"{point}:kill:{number}")
    # A point that is passed less often was not reached, and the request ended.
    assert killed.code in (0, -9, 137), killed.err
    again = place.state.json(*words)
    assert without(place) == before
    assert {name: sum(GONE in row for row in place.rows(name)) for name in TABLES} == dict.fromkeys(TABLES, 0)
    assert {name: counts["rows"] for name, counts in again["tables"].items()} == there
    assert again["releases"] == ["r3", "r2", "r1"]
    (listed,) = place.state.json("erasures")
    assert listed["ended_at"]
