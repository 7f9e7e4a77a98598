"""Sessions with a real SQLite catalog: all views, time travel, what a role sees, and what a query cannot read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.tables import quarantine_name, quarantine_schema
from mesh_platform.query.database import write_database
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.references import dangling_query
from pyiceberg.types import StringType

from ..small_mesh import START, Place, Sale, small_mesh


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A mesh that was built once, and that tests only read."""
    return build_sales(small_mesh(tmp_path_factory.mktemp("built")))


def build_sales(place: Place) -> Place:
    place.land("alpha", [Sale(1), Sale(2, item="i9", buyer="bob")])
    place.land("beta", [Sale(3, buyer="bob")])
    place.build()
    return place


def ask(place: Place, sql: str, **options: object) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, **options) as session:  # type: ignore[arg-type]
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def reject(place: Place) -> None:
    contract = place.mesh.contracts["alpha.sales_alpha"]
    table = ensure_table(place.catalog, quarantine_name(contract), quarantine_schema(contract))
    row: dict[str, object] = {"rejection_key": "k", "position": 0, "reason": "bad_json", "detail": "ann?"}
    row |= {"raw": b"ann", "raw_sha256": "0", "raw_bytes": 3, "rejected_at": START}
    append_rows(table, pa.Table.from_pylist([row], schema=arrow_schema(quarantine_schema(contract))))


def test_every_table_union_and_resolved_fact_has_a_view_before_and_after_the_first_build(place: Place):
    views = "select table_schema || '.' || table_name from information_schema.tables order by 1"
    expected = [
        *("alpha.sales_alpha", "alpha.sales_alpha__raw", "beta.sales_beta", "beta.sales_beta__raw"),
        *("core.dim_buyer", "core.dim_item", "core.fact_sales", "core.fact_sales__resolved", "core.items"),
        *(
            "core.sale_v1",
            "mesh.erasures",
            "mesh.releases",
            "mesh.retention",
            "mesh.scores",
            "mesh.sites",
            "mesh.trainings",
        ),
    ]
    assert ask(place, views) == [(name,) for name in expected]
    assert ask(place, "select * from core.fact_sales__resolved") == []
    reject(place)
    place.land("alpha", [Sale(1)])
    place.build()
    assert ask(place, views) == [(name,) for name in sorted([*expected, "alpha.sales_alpha__rejected"])]
    assert ask(place, "select count(*) from core.sale_v1") == [(1,)]
    assert ask(place, "select domain, opened_on from mesh.sites order by all")[0] == ("alpha", START.date())
    assert ask(place, "describe core.fact_sales")[5][:2] == ("amount", "DECIMAL(12,2)")


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve references both ways: of small facts in the query, of large ones when the session opens."""
    if request.param == "large":
        monkeypatch.setattr("mesh_platform.query.dangling.LARGE", 1)


@pytest.mark.usefixtures("size")
def test_an_inner_join_of_the_resolved_fact_keeps_every_row(built: Place):
    join = "select event_id, label from core.{} join core.dim_item using (item_id) order by all"
    assert [row[0] for row in ask(built, join.format("fact_sales"))] == ["alpha-0001", "beta-0003"]
    resolved = [("alpha-0001", "Lamp"), ("alpha-0002", "Unknown item"), ("beta-0003", "Lamp")]
    assert ask(built, join.format("fact_sales__resolved")) == resolved
    assert ask(built, join.format("fact_sales__resolved"), role="alpha") == resolved
    with open_session(built.mesh, built.catalog) as session:
        assert session.execute(dangling_query(built.mesh.contracts["core.fact_sales"])).fetchone() == (1,)


def test_as_of_a_time_every_table_is_what_its_readers_saw(place: Place):
    before = datetime.now(UTC)
    place.land("alpha", [Sale(1)])
    place.build()
    then = datetime.now(UTC)
    place.land("alpha", [Sale(2)])
    place.build()
    later = datetime.now(UTC)
    count = "select count(*), count(distinct event_id) from core.fact_sales"
    assert [ask(place, count, as_of=time) for time in (then, later, None)] == [[(1, 1)], [(2, 2)], [(2, 2)]]
    assert ask(place, count, as_of=then.replace(tzinfo=None).isoformat()) == [(1, 1)]
    with pytest.raises(UsageError, match=r"core\.dim_item: at .* it did not exist yet; its first commit was at"):
        ask(place, "select count(*) from core.dim_item", as_of=before)
    assert ask(place, "describe core.fact_sales", as_of=before) == ask(place, "describe core.fact_sales")
    snapshot = place.snapshots("core.fact_sales")[0]
    place.catalog.load_table("core.fact_sales").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    assert ask(place, count, as_of=later) == [(2, 2)]
    assert ask(place, count) == [(1, 1)]


def test_as_of_a_day_is_the_newest_release_without_later_events(place: Place):
    count, days = "select count(*) from core.fact_sales", [START.date() + timedelta(days=day) for day in range(-1, 5)]
    with pytest.raises(UsageError, match=f"day:{days[0]}: each release has later events\\. There is none"):
        ask(place, count, as_of=f"day:{days[0]}")
    for hours in (0, 49, 73):
        place.land("alpha", [Sale(hours, hours=hours)])
        place.build(release=True)
    for day, rows in zip(days[1:], (1, 1, 2, 3, 3), strict=True):
        assert ask(place, count, as_of=f"day:{day}") == [(rows,)]
    with pytest.raises(UsageError, match=f"The oldest, r1, has some of {days[1]}"):
        ask(place, count, as_of=f"day:{days[0]}")
    with pytest.raises(UsageError, match=r"no such day\. Write one such as day:2025-10-20"):
        ask(place, count, as_of="day:2025-02-30")


def test_as_of_a_snapshot_moves_that_table_alone(place: Place):
    for number in (1, 2):
        place.land("alpha", [Sale(number)])
        place.build()
    old = f"core.fact_sales@{place.snapshots('core.fact_sales')[0]}"
    counts = "select (select count(*) from core.fact_sales), (select count(*) from alpha.sales_alpha)"
    assert ask(place, counts, as_of=old) == [(1, 2)]


def test_a_state_from_before_a_new_column_is_shown_without_it(place: Place):
    place.land("alpha", [Sale(1)])
    place.build()
    old = f"core.fact_sales@{place.snapshots('core.fact_sales')[0]}"
    columns = "select column_name from (describe core.fact_sales)"
    before = ask(place, columns)
    path = place.root / "domains/core/contracts/fact_sales.odcs.yaml"
    column = "  - {name: note, logicalType: string, physicalType: string, description: A.}\n  customProperties:"
    path.write_text(path.read_text().replace("  customProperties:", column, 1))
    place.write("core/models/fact_sales.sql", "select *, 'x' as note from core.sale_v1")
    with place.catalog.load_table("core.fact_sales").update_schema() as update:
        update.add_column("note", StringType())
    place.build()
    assert ask(place, "select note from core.fact_sales") == [("x",)]
    assert ask(place, columns, as_of=old) == before
    assert ask(place, columns) == [*before, ("note",)]
    assert ask(place, "select event_id from core.fact_sales__resolved", as_of=old) == [("alpha-0001",)]


def test_a_time_whose_state_has_expired_is_refused_where_it_is_read(place: Place):
    # A build of all tables would make a release, which keeps its snapshots.
    place.land("alpha", [Sale(1)])
    place.build("core")
    then = datetime.now(UTC)
    place.land("alpha", [Sale(2)])
    place.build("core")
    table = place.catalog.load_table("core.fact_sales")
    table.maintenance.expire_snapshots().by_id(place.snapshots("core.fact_sales")[0]).commit()
    with pytest.raises(UsageError, match=r"core.fact_sales: what it was at .* has expired; the oldest state kept is"):
        ask(place, "select * from core.fact_sales", as_of=then)
    assert ask(place, "select count(*) from alpha.sales_alpha", as_of=then) == [(1,)]


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("yesterday", "yesterday: it is a time of commits such as 20.*Z, a release such as r3"),
        ("core.fact_sale@1", "no table 'core.fact_sale'. Did you mean core.fact_sales"),
        ("core.fact_sales@1", r"core.fact_sales has no such snapshot. It has \d+ of 20"),
        ("core.fact_sales@x", r"core.fact_sales has no such snapshot. It has \d+ of 20"),
    ],
)
def test_a_wrong_as_of_says_what_there_is(built: Place, as_of: str, message: str):
    with pytest.raises(UsageError, match=message):
        open_session(built.mesh, built.catalog, as_of=as_of)


def test_a_large_fact_is_compared_with_what_its_dimension_lacks_and_looked_up_in_no_dimension(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("mesh_platform.query.dangling.LARGE", 1)
    build_sales(place)
    resolved = "select item_id from core.fact_sales__resolved order by all"
    view = "select sql from duckdb_views() where view_name = 'fact_sales__resolved'"
    cache = StateCache(tmp_path / "counted.json")
    for role in (None, "alpha"):
        with open_session(place.mesh, place.catalog, role=role, cache=cache) as session:
            text = session.execute(view).fetchone()
            rows = session.execute(resolved).fetchall()
        assert "dim_item" not in str(text)
        assert ("i9" in str(text)) is (role is None)
        assert [row[0] for row in rows].count("unknown") == 1
        assert ([row[0] for row in rows] == ["i1", "i1", "unknown"]) is (role is None)
    # The result is cached for this state, and computed again for another.
    place.land("alpha", [Sale(4, item="i8")])
    place.build()
    with open_session(place.mesh, place.catalog, cache=StateCache(tmp_path / "counted.json")) as session:
        assert session.execute(resolved).fetchall() == [("i1",), ("i1",), ("unknown",), ("unknown",)]
        assert "i8" in str(session.execute(view).fetchone())
    # With many of them, each row is looked up.
    monkeypatch.setattr("mesh_platform.query.dangling._MOST", 1)
    with open_session(place.mesh, place.catalog) as session:
        assert session.execute(resolved).fetchall() == [("i1",), ("i1",), ("unknown",), ("unknown",)]
        assert "dim_item" in str(session.execute(view).fetchone())


@pytest.mark.usefixtures("size")
def test_a_role_sees_pseudonyms_where_its_contract_does_not_list_it(place: Place):
    build_sales(place)
    reject(place)
    ann, bob = (sha256(name.encode()).hexdigest() for name in ("ann", "bob"))
    who = "select distinct buyer from {} order by all"
    for role in (None, "boss"):
        assert ask(place, who.format("core.fact_sales"), role=role) == [("ann",), ("bob",)]
    for table in ("core.fact_sales", "core.fact_sales__resolved", "alpha.sales_alpha__raw"):
        hidden = {buyer for (buyer,) in ask(place, who.format(table), role="beta")}
        assert len(hidden) == 2
        assert all(re.fullmatch("[0-9a-f]{64}", buyer) for buyer in hidden)
        # Somebody with a list of names must not identify pseudonyms by hashing the list.
        assert not hidden & {ann, bob}
    # A union shows each shop's rows as that shop's contract does.
    union = [buyer for (buyer,) in ask(place, who.format("core.sale_v1"), role="beta")]
    assert len(union) == 3
    assert "bob" in union
    assert "ann" not in union
    both = "select distinct buyer from core.fact_sales intersect select buyer from alpha.sales_alpha__raw"
    assert len(ask(place, both, role="beta")) == 2
    assert ask(place, who.format("alpha.sales_alpha__raw"), role="alpha") == [("ann",), ("bob",)]
    join = "select count(*) from core.fact_sales join core.dim_buyer using (buyer)"
    assert ask(place, join, role="beta") == [(3,)]
    sent = "select reason, detail, raw from alpha.sales_alpha__rejected"
    assert ask(place, sent, role="beta") == [("bad_json", "XXXXXXXX", b"")]
    assert ask(place, sent, role="alpha") == [("bad_json", "ann?", b"ann")]
    with pytest.raises(UsageError, match=r"--role bos: no contract knows this role. Did you mean boss\?"):
        open_session(place.mesh, place.catalog, role="bos")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("copy (select 1) to '/tmp/x.csv'", "mesh query reads only.*this is COPY"),
        ("attach '/tmp/x.db'", "mesh query reads only.*this is ATTACH"),
        ("create table t as select 1", "mesh query reads only.*this is CREATE"),
        ("insert into mesh.sites select * from mesh.sites", "mesh query reads only.*this is INSERT"),
        ("set enable_external_access = true", "mesh query reads only.*this is SET"),
        ("select 1; select 2", "mesh query reads only.*this is SELECT, SELECT"),
        ("-- nothing", "mesh query reads only.*this is nothing"),
        ("pragma database_list", "mesh query reads only"),
        ("select * from read_text('/etc/passwd')", r"reads views only, not read_text\(\)"),
        ("select (select max(content) from read_text('/etc/passwd'))", r"reads views only, not read_text\(\)"),
        ("from query('select 1')", r"reads views only, not query\(\)"),
        ("from '/etc/passwd'", "/etc/passwd: no such view"),
        ('from "/etc/x".csv', "no such view"),
        ("select buyr from core.fact_sales", 'Candidate bindings: "buyer"'),
        ("from core.fact_sale", "Did you mean core.fact_sales"),
        ("selec 1", "syntax error"),
    ],
)
def test_a_query_reads_views_and_nothing_else(built: Place, sql: str, message: str):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        ask(built, sql)


def test_a_role_cannot_read_past_its_views(built: Place):
    (path, *_) = built.files("core.fact_sales")
    file = path.removeprefix("file://")
    for sql in (
        f"select * from '{file}'",
        f"select * from read_parquet('{file}')",
        f"select * from iceberg_scan('{built.catalog.load_table('core.fact_sales').metadata_location}')",
        f'select * from (with "{file}" as (select 1) select 1), "{file}"',
    ):
        with pytest.raises(UsageError, match=r"no such view|reads views only"):
            ask(built, sql, role="beta")


def test_a_locked_session_itself_reaches_no_other_file(built: Place, tmp_path: Path):
    with open_session(built.mesh, built.catalog) as session:
        for sql in (
            "select * from read_text('/etc/passwd')",
            f"copy (select 1) to '{tmp_path / 'out.csv'}'",
            f"attach '{tmp_path / 'out.db'}'",
            "set enable_external_access = true",
            "install httpfs",
        ):
            with pytest.raises(duckdb.Error, match=r"disabled|locked"):
                session.execute(sql)
        assert session.execute("select count(*) from core.fact_sales").fetchall() == [(3,)]
    assert not list(tmp_path.glob("out*"))


def test_a_session_keeps_its_state_while_builds_go_on(place: Place):
    build_sales(place)
    with open_session(place.mesh, place.catalog) as session:
        place.land("alpha", [Sale(7, 24)])
        place.build()
        count = "select count(*), max(sold_at) from core.fact_sales"
        assert [tuple(row.values()) for row in run_query(session, count).to_pylist()] == [(3, START)]
    assert ask(place, count) == [(4, START + timedelta(days=1))]


@pytest.mark.parametrize("kind", ["list", "data"])
def test_a_table_with_a_file_that_is_gone_is_named_when_its_view_is_made_or_read(place: Place, kind: str) -> None:
    build_sales(place)
    table = place.catalog.load_table("alpha.sales_alpha")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    path = {
        "list": lambda: snapshot.manifest_list,
        "data": lambda: next(iter(table.scan().plan_files())).file.file_path,
    }[kind]()
    Path(path.removeprefix("file://")).unlink()
    with pytest.raises(AttentionError, match="missing or damaged"):
        ask(place, "select * from alpha.sales_alpha")


def test_a_file_of_views_is_not_called_as_a_domain(built: Place, tmp_path: Path) -> None:
    # DuckDB names the database after the file, so alpha.sales_alpha would be ambiguous.
    for name in ("alpha.duckdb", "Alpha.db", "alpha.2025.duckdb"):
        with pytest.raises(UsageError, match="DuckDB would confuse the file with the domain"):
            write_database(built.mesh, built.catalog, tmp_path / name)
    write_database(built.mesh, built.catalog, tmp_path / "views.duckdb")


def test_a_domain_called_views_has_a_file_of_views(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    for path in [*(place.root / "domains").rglob("*.yaml"), *(place.root / "domains").rglob("*.sql")]:
        path.write_text(re.sub(r"\balpha\b", "views", path.read_text()).replace("sales_alpha", "sales_views"))
    for path in (place.root / "domains/alpha").rglob("*sales_alpha*"):
        path.rename(path.with_name(path.name.replace("sales_alpha", "sales_views")))
    (place.root / "domains/alpha").rename(place.root / "domains/views")
    write_database(place.mesh, place.catalog, tmp_path / "all.duckdb")
    assert (tmp_path / "all.duckdb").exists()
