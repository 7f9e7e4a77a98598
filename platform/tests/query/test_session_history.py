"""The version of a dimension at a fact's time, views opened on demand, and the file of views."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml
from mesh_platform.engine import duckdb
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import UsageError
from mesh_platform.query.database import write_database
from mesh_platform.query.query import run_query, views_named
from mesh_platform.query.session import open_session, view_names

from ..small_mesh import Place, Sale, add_contract, small_mesh

HISTORY = {
    "item_id": "string key",
    "version": "long key",
    "label": "string required",
    "valid_from": "timestamptz required",
    "valid_to": "timestamptz required",
}
# The lamp is renamed at noon of the first day.
VERSIONS = """select i.item_id, v.version, i.label || v.mark as label, v.valid_from, v.valid_to
from core.items as i
cross join (values
    (cast(1 as bigint), '', timestamptz '2020-01-01 00:00:00+00', timestamptz '2025-10-01 12:00:00+00'),
    (cast(2 as bigint), '!', timestamptz '2025-10-01 12:00:00+00', timestamptz '9999-12-31 00:00:00+00')
) as v (version, mark, valid_from, valid_to)
union all
select 'unknown', 1, 'Unknown item', timestamptz '2020-01-01 00:00:00+00', timestamptz '9999-12-31 00:00:00+00'
"""


def with_history(root: Path) -> Place:
    """The small mesh with a dimension of items that has two versions of each."""
    place = small_mesh(root)
    add_contract(place, "core", "dim_item", {"dim_item": HISTORY})
    place.write("core/models/dim_item.sql", VERSIONS)
    for name, part, value in (
        ("dim_item", "schema", [{"property": "mesh.history", "value": ["valid_from", "valid_to"]}]),
        ("fact_sales", "slaProperties", {"value": 24, "unit": "h", "element": "fact_sales.sold_at"}),
    ):
        path = root / "domains" / "core" / "contracts" / f"{name}.odcs.yaml"
        contract = yaml.safe_load(path.read_text())
        if part == "schema":
            contract["schema"][0]["customProperties"] = value
        else:
            contract["slaProperties"].append({"property": "freshness"} | value)
        path.write_text(yaml.safe_dump(contract, sort_keys=False))
    return place


def rows(place: Place, sql: str) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, only=views_named(place.mesh, sql)) as session:
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def test_a_resolved_fact_joins_the_version_of_its_own_time(tmp_path: Path) -> None:
    place = with_history(tmp_path)
    # The second sale is at the very millisecond of the change, one is before all versions, one has an unknown item.
    place.land("alpha", [Sale(1, 11), Sale(2, 12), Sale(3, 13), Sale(4, -24 * 365 * 9), Sale(5, 13, item="i9")])
    place.build()
    joined = rows(
        place,
        "select event_id, item_version, label from core.fact_sales__resolved f "
        "join core.dim_item d on d.item_id = f.item_id and d.version = f.item_version order by all",
    )
    assert joined == [
        ("alpha-0001", 1, "Lamp"),
        ("alpha-0002", 2, "Lamp!"),
        ("alpha-0003", 2, "Lamp!"),
        ("alpha-0004", 1, "Lamp"),
        ("alpha-0005", 1, "Unknown item"),
    ]
    assert rows(place, "select count(*) from core.fact_sales__resolved") == [(5,)]


def test_a_session_opens_what_is_asked_for_and_shows_the_rest_without_rows(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2)])
    place.build()
    with open_session(place.mesh, place.catalog, only=["core.sale_v1"]) as session:
        counts = {
            name: session.execute(f"select count(*) from {name}").fetchone()
            for name in ("core.sale_v1", "alpha.sales_alpha", "core.fact_sales", "alpha.sales_alpha__raw")
        }
    assert counts == {
        "core.sale_v1": (2,),
        "alpha.sales_alpha": (2,),
        "core.fact_sales": (0,),
        "alpha.sales_alpha__raw": (0,),
    }


def test_a_session_of_few_rows_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1)])
    setting = "select current_setting('threads')"
    with duckdb.connect_in_memory() as plain:
        cores = plain.execute(setting).fetchone()
    for few, expected in ((2, (1,)), (1, cores)):
        monkeypatch.setattr(duckdb, "_FEW", few)
        with open_session(place.mesh, place.catalog) as session:
            assert session.execute(setting).fetchone() == expected


def test_views_that_are_not_asked_for_have_their_columns(tmp_path: Path) -> None:
    place = with_history(tmp_path)
    place.land("alpha", [Sale(1, 11)])
    place.build()
    columns = "select table_schema, table_name, column_name, data_type from information_schema.columns order by all"
    found = []
    for only in (None, []):
        with open_session(place.mesh, place.catalog, only=only) as session:
            found.append(session.execute(columns).fetchall())
    assert found[0] == found[1]
    assert ("core", "fact_sales__resolved", "item_version", "BIGINT") in found[0]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('select count(*) from "CORE"."FACT_SALES"', 2),
        ("with f as (from core.fact_sales__resolved) select count(*) from f join core.dim_item using (item_id)", 2),
        (
            "select (select count(*) from core.sale_v1 where sold_at > (select min(sold_at) from alpha.sales_alpha))",
            1,
        ),
    ],
)
def test_a_query_finds_all_that_it_names(tmp_path: Path, sql: str, expected: int) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2, 1)])
    place.build()
    assert rows(place, sql) == [(expected,)]


def test_a_snapshot_of_a_table_that_the_query_does_not_name_is_still_held_to_be_one(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1)])
    place.build()
    with pytest.raises(UsageError, match="has no such snapshot"):
        open_session(place.mesh, place.catalog, only=[], as_of="core.fact_sales@1")
    with pytest.raises(UsageError, match=r"Did you mean core\.fact_sales"):
        open_session(place.mesh, place.catalog, only=[], as_of="core.fact_sale@1")


def test_the_file_of_views_reads_without_the_platform_and_is_replaced_whole(tmp_path: Path) -> None:
    place = with_history(tmp_path)
    place.land("alpha", [Sale(1, 13)])
    place.build()
    path = tmp_path / "out" / "views.duckdb"
    write_database(place.mesh, place.catalog, path)
    seen: list[set[str]] = []
    with connect({}) as reader:
        stop = threading.Event()

        def read() -> None:
            # A reader that opens the file while it is replaced finds all views, the old or the new ones.
            while not stop.is_set():
                with connect({}) as other:
                    other.execute(f"attach '{path}' as v (read_only)")
                    names = other.execute(
                        "select schema_name || '.' || view_name from duckdb_views() "
                        "where database_name = 'v' and not internal"
                    ).fetchall()
                    seen.append({name for (name,) in names})

        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(3):
            write_database(place.mesh, place.catalog, path)
        stop.set()
        thread.join()
        reader.execute(f"attach '{path}' as views (read_only)")
        assert reader.execute("select item_id, item_version, sold_at from views.core.fact_sales__resolved").fetchall()
        place.land("alpha", [Sale(2, 14)])
        place.build()
        count = "select count(*) from views.core.fact_sales"
        assert reader.execute(count).fetchone() == (1,)
    write_database(place.mesh, place.catalog, path)
    with connect({}) as reader:
        reader.execute(f"attach '{path}' as views (read_only)")
        assert reader.execute(count).fetchone() == (2,)
    assert seen
    wanted = {name for name in view_names(place.mesh) if not name.endswith(("__rejected", "__removed", "__held"))}
    assert all(names == wanted for names in seen)
    assert [other.name for other in path.parent.iterdir()] == ["views.duckdb"]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"x" * 100, b"# A README"])
def test_what_is_no_duckdb_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    place = small_mesh(tmp_path)
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no DuckDB file"):
        write_database(place.mesh, place.catalog, path)
    assert path.read_bytes() == content


def test_a_views_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    path = tmp_path / "views.duckdb"
    path.mkdir()
    with pytest.raises(UsageError, match="a folder"):
        write_database(place.mesh, place.catalog, path)
    assert not [other for other in tmp_path.iterdir() if other.name.startswith(".views")]
