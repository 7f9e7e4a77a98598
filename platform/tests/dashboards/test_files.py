"""The DuckDB files of dashboards: whole states, replaced, masked, and closed by DuckDB itself."""

from __future__ import annotations

import ast
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from mesh_platform.dashboards.files import current_file, follow_lake, write_files
from mesh_platform.policy.pseudonyms import Salts
from mesh_platform.query.session import open_session
from superset_tries import Try, tries

from ..small_mesh import Place, Sale, small_mesh

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "platform/src/mesh_platform/dashboards/assets/superset_config.py"
# Python alone has variables that SQL could name.
TRIES = [*tries(), Try("read a variable of Python", "from TRIES", "does not exist")]


def guard() -> dict[str, str]:
    """What Superset's settings give DuckDB; they need Superset to be imported."""
    for node in ast.parse(CONFIG.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "GUARD":
            return dict(ast.literal_eval(node.value))
    raise AssertionError("no GUARD")


def read(folder: Path, role: str, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(current_file(folder, role)), read_only=True, config=guard()) as connection:
        return connection.execute(sql).fetchall()


def filled(root: Path) -> Place:
    """A mesh of two shops with three sales of two buyers."""
    place = small_mesh(root)
    place.land("alpha", [Sale(1), Sale(2, buyer="bob")])
    place.land("beta", [Sale(3, buyer="bob")])
    place.build()
    return place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return filled(tmp_path)


def write(place: Place, folder: Path) -> int:
    return write_files(place.mesh, place.catalog, folder, datetime.now(UTC))


def test_a_file_has_what_a_session_of_the_role_shows_and_no_personal_data(place: Place, tmp_path: Path) -> None:
    write(place, tmp_path)
    for role in ("analyst", "steward", *(d.site.warehouse_id for d in place.mesh.domains.values() if d.site)):
        key = (tmp_path / "pseudonyms.key").read_bytes()
        with open_session(place.mesh, place.catalog, role=role, salts=Salts(key)) as session:
            for table in ("core.fact_sales", "core.fact_sales__resolved", "core.dim_buyer", "mesh.sites"):
                sql = f"select * from {table} order by all"
                assert read(tmp_path, role, sql) == session.execute(sql).fetchall(), (role, table)
        assert b"bob" not in current_file(tmp_path, role).read_bytes()
        joined = "select count(*) from core.fact_sales join core.dim_buyer using (buyer)"
        assert read(tmp_path, role, joined) == read(tmp_path, role, "select count(*) from core.fact_sales")


def test_only_changed_tables_are_read_again_and_an_open_reader_keeps_its_state(place: Place, tmp_path: Path) -> None:
    count = "select count(*) from core.fact_sales"
    assert write(place, tmp_path) == 3
    with duckdb.connect(str(current_file(tmp_path, "analyst")), read_only=True, config=guard()) as reader:
        buyers = "select distinct buyer from core.fact_sales order by 1"
        before = reader.execute(buyers).fetchall()
        assert write(place, tmp_path) == 0
        place.land("beta", [Sale(4)])
        place.build()
        assert write(place, tmp_path) == 2
        assert reader.execute(count).fetchall() == [(3,)]
        assert read(tmp_path, "analyst", count) == [(4,)]
        assert {*before} <= {*read(tmp_path, "analyst", buyers)}


def test_a_file_stays_for_readers_who_know_its_name_however_old_it_is(place: Place, tmp_path: Path) -> None:
    write(place, tmp_path)
    old = current_file(tmp_path, "analyst")
    os.utime(old, (1, 1))
    write(place, tmp_path)
    assert current_file(tmp_path, "analyst") != old
    assert old.exists()
    os.utime(old, (1, 1))
    write(place, tmp_path)
    assert not old.exists()


def test_what_is_not_committed_is_never_in_a_file(place: Place, tmp_path: Path) -> None:
    write(place, tmp_path)
    place.land("alpha", [Sale(5)])
    # Landed and not built: the fact is as before.
    write(place, tmp_path)
    assert read(tmp_path, "analyst", "select count(*) from core.fact_sales") == [(3,)]
    assert read(tmp_path, "analyst", "select sum(events) from mesh.arrivals") == [(4,)]


def test_the_follower_writes_after_a_commit_of_anybody_and_not_without_one(place: Place, tmp_path: Path) -> None:
    written: list[int] = []
    looks = iter(range(6))

    def stopped() -> bool:
        look = next(looks, None)
        if look == 2:
            place.land("alpha", [Sale(6)])
            place.build()
        return look is None

    follow_lake(lambda: place.mesh, place.catalog, tmp_path, lambda: datetime.now(UTC), stopped, written.append)
    assert len(written) == 2
    assert read(tmp_path, "analyst", "select count(*) from core.fact_sales") == [(4,)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of each role in its folder `data`."""
    folder = tmp_path_factory.mktemp("tried")
    write(filled(folder), folder / "data")
    return folder


@pytest.mark.parametrize("tried", TRIES, ids=[tried.what for tried in TRIES])
def test_duckdb_itself_refuses_what_leaves_the_file(written: Path, tried: Try) -> None:
    with pytest.raises(duckdb.Error, match=tried.answer):
        read(written / "data", "analyst", tried.sql.replace("STATE", str(written)))
    assert {*written.rglob("*out*")} | {*written.rglob("*other*")} == set()
