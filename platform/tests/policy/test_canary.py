"""Values planted in each personal column are found nowhere but where their owner reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.cli import mesh as command
from mesh_platform.errors import UsageError
from mesh_platform.settings import Settings

from ..build.test_held import BOB
from ..small_mesh import Place, add_dashboard, small_mesh
from ..sql.test_audit import rule

PRODUCT = "alpha.sales_alpha"
CANARIES = BUYER, HELD, REFUSED = "canary-buyer-3f9a", "bcanary-held-77c1", "canary-refused-51d0"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = small_mesh(tmp_path_factory.mktemp("canary") / "mesh")
    add_dashboard(place)
    rule(place, BOB, column="buyer")
    return place


@pytest.fixture(scope="module")
def run(place: Place) -> Iterator[Run]:
    """Commands on a lake with the canaries, in this process; they report to OpenLineage, into a file."""
    run = Run(place)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.env.items():
            patch.setenv(name, value)
        sold = [f"i1,{buyer},1.00,2025-10-01T10:00:00Z\n" for buyer in (BUYER, HELD)]
        (place.root / "sales.csv").write_text("".join(["item_id,buyer,amount,sold_at\n", *sold]))
        run("produce", PRODUCT, "replay", str(place.root / "sales.csv"))
        queue = queue_of(place.mesh.contract(PRODUCT))
        with connect(Settings(root=place.root, state=place.root / ".mesh").broker) as broker:
            broker.publish(queue, [Message(json.dumps({"buyer": REFUSED}).encode(), "m1")], lambda message: None)
        run("ingest", "--until-empty")
        run("build")
        yield run


class Run:
    """Runs commands, and keeps what they print."""

    def __init__(self, place: Place) -> None:
        self.root, self.printed = place.root, ""
        self.env = {
            "MESH_ROOT": str(place.root),
            "MESH_STATE": str(place.root / ".mesh"),
            "OPENLINEAGE__TRANSPORT__TYPE": "file",
            "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(place.root / "lineage"),
        }

    def __call__(self, *words: str, code: int | None = 0) -> Result:
        done = CliRunner().invoke(command, words)
        assert code is None or done.exit_code == code, (words, done.output, done.exception)
        self.printed += done.output + str(done.exception or "")
        return done


def found_in(text: bytes | str) -> list[str]:
    """The canaries in bytes or text."""
    data = text.encode() if isinstance(text, str) else text
    return [each for each in CANARIES if each.encode() in data]


def files_with_canaries(folder: Path) -> dict[str, list[str]]:
    """The files below a folder that have canaries, as they are and as DuckDB reads its own files."""
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        text = path.read_bytes()
        if path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as reader:
                names = reader.execute("select table_schema || '.' || table_name from information_schema.tables")
                text += str([reader.execute(f"from {name}").fetchall() for (name,) in names.fetchall()]).encode()
        if canaries := found_in(text):
            found[str(path.relative_to(folder))] = canaries
    return found


def test_the_owner_finds_every_canary(run: Run) -> None:
    tables = ("alpha.sales_alpha__raw", "alpha.sales_alpha__rejected", "core.fact_sales__held")
    rows = [CliRunner().invoke(command, ["query", "--role", "owner", f"from {table}"]).stdout for table in tables]
    assert found_in("".join(rows)) == [*CANARIES]


def test_no_role_finds_one(run: Run) -> None:
    everything = "select table_schema || '.' || table_name as name from information_schema.tables order by 1"
    names = [row["name"] for row in json.loads(run("query", "--format", "json", everything).stdout)]
    assert {"alpha.sales_alpha__raw", "core.fact_sales__held", "core.fact_sales__resolved"} <= {*names}
    for role in ("analyst", "steward", "WH-ALPHA", "WH-BETA"):
        for name in names:
            done = run("query", "--role", role, "--format", "json", f"from {name}", code=None)
            assert not found_in(done.output), (role, name)


# Five harmless tries of each way around a mask; docs/personal-data.md lists the ways.
WAYS = {
    "other words for a column": [
        "with all_of_it as (select * from core.fact_sales) select buyer::varchar as plain from all_of_it",
        "select f::varchar as line from core.fact_sales as f",
        "select columns('b.*') from core.fact_sales",
        "unpivot (select buyer, item_id from core.fact_sales) on columns(*)",
        "select unnest(f) from (select f from core.fact_sales as f)",
    ],
    "functions of the value": [
        "select decode(encode(buyer)) from core.fact_sales",
        "select list_transform([buyer], lambda x: x || '') from core.fact_sales",
        "select to_json(f) from core.fact_sales as f",
        "select reverse(reverse(buyer)), unhex(hex(buyer)) from core.fact_sales",
        "select regexp_extract(buyer, '.*') from core.fact_sales",
    ],
    "aggregates, windows and order": [
        "select min(buyer), max(buyer), mode(buyer), any_value(buyer) from core.fact_sales",
        "select list(x.buyer) over () from core.fact_sales__resolved as x",
        "select histogram(buyer), approx_top_k(buyer, 3) from core.fact_sales",
        "select string_agg(buyer, ' ' order by buyer) from core.dim_buyer",
        "select arg_max(buyer, amount), first(buyer) from core.fact_sales",
    ],
    "other relations with the same values": [
        "select buyer from core.fact_sales__held",
        "select buyer from alpha.sales_alpha__raw",
        "select buyer from core.sale_v1 union select raw::varchar from alpha.sales_alpha__rejected",
        "select detail, raw from alpha.sales_alpha__rejected",
        "select * from core.fact_sales as f positional join core.dim_buyer as d",
    ],
    "what DuckDB says of its views": [
        "select view_definition from information_schema.views",
        "select sql from duckdb_views()",
        "select * from pg_catalog.pg_views",
        "select * from duckdb_columns()",
        "show all tables",
    ],
    "statistics": [
        "summarize core.fact_sales",
        "select stats from pragma_storage_info('core.fact_sales')",
        "select stats(buyer) from core.fact_sales",
        "select approx_quantile(length(buyer), 0.5), entropy(buyer) from core.fact_sales",
        "explain analyze from core.fact_sales",
    ],
    "messages of errors": [
        "select buyer::int from core.fact_sales",
        "select error(buyer) from core.fact_sales",
        "select buyer::timestamp from core.dim_buyer",
        "select strptime(buyer, '%Y') from core.fact_sales",
        "select json_extract(buyer::json, '$.a') from core.fact_sales",
    ],
    "files of the lake": [
        "select * from read_parquet('{state}/**/*.parquet')",
        "select upper_bounds from iceberg_metadata('{state}')",
        "from '{state}/warehouse/core/fact_sales/data/a.parquet'",
        "select content from read_text('{state}/broker.db')",
        "from glob('{state}/**')",
    ],
    "SQL in a text": [
        "from query('select buyer from core.dim_buyer')",
        "from query_table('core.fact_sales')",
        "select * from duckdb_prepared_statements()",
        "from json_execute_serialized_sql(json_serialize_sql('select buyer from core.fact_sales'))",
        "select current_query()",
    ],
    "other statements": [
        "copy core.fact_sales to '{state}/copy.csv'",
        "create table copy as from core.fact_sales",
        "attach '{state}/catalog.db' as lake (type sqlite)",
        "set enable_external_access = true",
        "select 1; from core.fact_sales",
    ],
    "the functions of pseudonyms": [
        "select mesh_pseudonym_session_string(buyer) from core.fact_sales",
        "select mesh_pseudonym_session_string('a')",
        "select \"MESH_PSEUDONYM_session_string\"('a')",
        "select main.mesh_pseudonym_session_string('a')",
        "select list_transform(['a'], lambda x: mesh_pseudonym_session_string(x))",
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_around_a_mask_lead_nowhere(run: Run, way: str) -> None:
    assert len(WAYS[way]) == 5
    for sql in WAYS[way]:
        done = run("query", sql.replace("{state}", run.env["MESH_STATE"]), code=None)
        assert not found_in(done.output + str(done.exception or "")), sql
        if way in ("files of the lake", "other statements", "the functions of pseudonyms"):
            assert isinstance(done.exception, UsageError), sql


@pytest.mark.parametrize(
    "condition",
    [
        "buyer = {}",
        "buyer like {} || '%'",
        "starts_with(buyer, left({}, 3))",
        "buyer in ({})",
        "sha256(buyer) = sha256({})",
    ],
)
def test_a_guess_is_not_confirmed(run: Run, condition: str) -> None:
    sql = f"select count(*) as n from core.fact_sales where {condition}"
    counts = [json.loads(run("query", "--format", "json", sql.format(f"'{each}'")).stdout) for each in (BUYER, "zzz")]
    assert counts == [[{"n": 0}]] * 2


def test_a_past_state_and_another_role_are_masked_too(run: Run) -> None:
    snapshot = Place(run.root).snapshots("core.fact_sales")[0]
    for words in (
        ("--as-of", f"core.fact_sales@{snapshot}"),
        ("--as-of", "2099-01-01"),
        ("--as-of", "r1"),
        ("--role", "WH-BETA"),
        ("--role", "steward"),
    ):
        done = run("query", *words, "from core.fact_sales", code=None)
        assert not found_in(done.output), words


def test_samples_of_the_catalog_are_masked_even_where_they_show_a_column(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What else keeps personal values out of pages, the lineage of columns, is off here.
    monkeypatch.setattr("mesh_platform.metadata.site.facts.hidden_columns", lambda graph: frozenset())
    run("catalog", "build", "--out", str(tmp_path / "site"))
    page = (tmp_path / "site/products/core.dim_buyer.html").read_text()
    assert re.search(r"<td>[0-9a-f]{64}<", page), "no pseudonym is shown"
    assert files_with_canaries(tmp_path) == {}


def test_what_is_written_for_others_has_none(run: Run, tmp_path: Path) -> None:
    run("views", str(tmp_path / "views.duckdb"))
    run("dbt", "export", str(tmp_path / "dbt"), "--role", "analyst", "--database", str(tmp_path / "dbt.duckdb"))
    run("catalog", "build", "--out", str(tmp_path / "site"))
    run("dashboards", "html", str(tmp_path / "pages"))
    run("dashboards", "data")
    run("restrictions", "--format", "json")
    run("export", "odps", str(tmp_path / "odps"), code=None)
    for words in (("status",), ("explain", "core.dim_buyer"), ("explain", PRODUCT), ("history", "core.fact_sales")):
        run(*words)
    run("releases")
    run("lineage", "core.dim_buyer")
    # A rule that nothing may break stops the build, and says so.
    rule(Place(run.root), {**BOB, "name": "all but b", "customProperties": []}, column="buyer")
    stopped = run("build", "--full", "core.fact_sales", code=None)
    assert stopped.exit_code != 0, stopped.output
    assert files_with_canaries(tmp_path) == {}
    assert found_in(run.printed) == [], [line for line in run.printed.splitlines() if found_in(line)]
    state = run.root / ".mesh"
    tables = {"alpha", "beta", "core", "mesh"}
    outside = {name for name in files_with_canaries(state) if not tables & {*Path(name).parts}}
    assert outside == set()
    events = b"".join(path.read_bytes() for path in run.root.glob("lineage*"))
    assert b"core.fact_sales" in events
    assert not found_in(events)
