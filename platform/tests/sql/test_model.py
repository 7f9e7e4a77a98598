"""SQL models analysed without data: inputs, types, build order, and whether new rows can be appended."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mesh_platform.errors import ContractError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.model import Model, build_order, driving_inputs, read_models, read_query
from mesh_platform.sql.type_check import check_types

from ..small_mesh import FACT_SQL, Place, small_mesh

_ABD = ("n.a", "n.b", "n.d")
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def test_models_of_this_repository_keep_their_contracts():
    assert check_types(load_mesh(REPOSITORY)) == []


def test_a_sound_mesh_has_no_problems_and_the_column_order_is_free(place: Place):
    place.write(
        "core/models/fact_sales.sql", "select amount, sold_at, site_id, buyer, item_id, event_id from core.sale_v1;"
    )
    assert check_types(place.mesh) == []


def test_all_wrong_columns_of_all_models_are_told_together_with_their_lines(place: Place):
    place.write(
        "core/models/dim_buyer.sql",
        "select\n    buyer,\n    sum(1) as sales,\n    1 as more\nfrom core.fact_sales\ngroup by buyer",
    )
    place.write("core/models/dim_item.sql", "-- a comment\nselect\n    item_id,\n    lable as label\nfrom core.items")
    problems = [str(problem) for problem in check_types(place.mesh)]
    assert len(problems) == 4, problems
    path = "domains/core/models/dim_buyer.sql"
    assert any(p.startswith(f"{path}:3: column 'sales' is HUGEINT; the contract (") for p in problems)
    assert any("says long. Write cast(... as bigint) as sales." in p for p in problems)
    assert any(
        p.startswith(f"{path}:4: column 'more' is not in the contract. Drop it, or add it to ") for p in problems
    )
    assert any(p.startswith(f"{path}:2: column 'total' (DECIMAL(18,2)) of the contract is not") for p in problems)
    assert any(p.startswith("domains/core/models/dim_item.sql:4: DuckDB says: ") and '"lable"' in p for p in problems)


def test_a_local_time_where_the_contract_says_an_instant_asks_for_its_zone_and_no_cast(place: Place):
    sql = place.root / "domains" / "core" / "models" / "fact_sales.sql"
    place.write("core/models/fact_sales.sql", sql.read_text().replace("sold_at", "sold_at::timestamp as sold_at"))
    (problem,) = check_types(place.mesh)
    assert "column 'sold_at' is TIMESTAMP; " in problem.message
    assert problem.fix == "Write timezone(zone, ...) as sold_at, with the time zone that the local time is in."


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "select *\nfrom core.fact_sale",
            ":2: reads 'core.fact_sale', which is no relation of the mesh. Did you mean",
        ),
        ("select * from items", ":1: reads 'items', which is no relation of the mesh."),
        ("select item_id,\nfrom from core.items", ":2: DuckDB says: Parser Error"),
        ("select (\n1 as item_id", ":2: cannot be read: "),
        ("select 1; select 2", ":1: is not one query. A model is one SELECT"),
        ("drop table core.items", ":1: is not one query."),
        (
            "select item_id,\n  cast(now() as varchar) as label from core.items",
            ":2: calls NOW(), which answers otherwise",
        ),
        ("select 'a' as item_id, content as label from read_text('/etc/hostname')", "DuckDB says: "),
        # DuckDB's tables have these columns, relations of the mesh do not.
        ("select item_id,\n  cast(rowid as varchar) as label from core.items", ":2: DuckDB says: Binder Error"),
        (
            "select item_id,\n  cast(i.rowid as varchar) as label from core.items as i",
            ":2: DuckDB says: Binder Error",
        ),
        ("select item_id,\n  filename as label from core.items", ":2: DuckDB says: Binder Error"),
    ],
)
def test_a_model_that_cannot_be_built_is_told_where_and_why(place: Place, sql: str, expected: str):
    place.write("core/models/dim_item.sql", sql)
    (problem,) = check_types(place.mesh)
    assert problem.path == "domains/core/models/dim_item.sql"
    assert expected.lower() in str(problem).lower()


@pytest.mark.parametrize(
    ("sql", "line", "words"),
    [
        ("select item_id, from from", 1, "Expected table name, at 'from' in column 22."),
        ("select item_id\nfrom core.items where (", 2, "a part of the query is missing, at '(' in column 23."),
        ("select item_id,\n label x y\nfrom core.items", 2, "unexpected words, at 'y' in column 10."),
        (
            "select case when label then label\nfrom core.items",
            1,
            "Expected END after CASE, at 'label' in column 29.",
        ),
        ("select 'abc as item_id from core.items", 1, ": a text, a quoted name or a comment in it has no end."),
    ],
)
def test_the_words_about_syntax_are_plain_and_have_line_and_column(place: Place, sql: str, line: int, words: str):
    place.write("core/models/dim_item.sql", sql)
    (problem,) = check_types(place.mesh)
    assert str(problem).startswith(f"domains/core/models/dim_item.sql:{line}: cannot be read: ")
    assert words in str(problem)
    assert not re.search("[Tt]oken|sqlglot|<class", str(problem))


def test_names_of_ctes_are_no_inputs_and_a_union_is_one(place: Place):
    place.write("core/models/dim_item.sql", "with items as (select * from core.items) select * from items")
    models = read_models(place.mesh)
    assert models["core.dim_item"].inputs == ("core.items",)
    assert models["core.fact_sales"].inputs == ("core.sale_v1",)
    assert models["alpha.sales_alpha"].inputs == ("alpha.sales_alpha__raw", "mesh.sites")


def test_order_puts_implementations_before_what_reads_their_union(place: Place):
    order = build_order(place.mesh, read_models(place.mesh))
    assert sorted(order) == sorted(place.mesh.contracts)
    for before, after in (("alpha.sales_alpha", "core.fact_sales"), ("beta.sales_beta", "core.fact_sales")):
        assert order.index(before) < order.index(after)
    assert order.index("core.fact_sales") < order.index("core.dim_buyer")


def test_a_cycle_is_named(place: Place):
    place.write("core/models/fact_sales.sql", FACT_SQL.rstrip() + " semi join core.dim_buyer using (buyer)")
    with pytest.raises(ContractError) as error:
        build_order(place.mesh, read_models(place.mesh))
    assert "core.dim_buyer" in str(error.value)
    assert "core.fact_sales" in str(error.value)
    assert error.value.problems == check_types(place.mesh)
    # It does not block tables that read neither.
    assert build_order(place.mesh, read_models(place.mesh), ["core.dim_item"]) == ["core.dim_item"]
    assert check_types(place.mesh, ["core.dim_item", "core.items"]) == []


def test_an_order_of_some_goes_by_what_lies_between_them(place: Place):
    models = read_models(place.mesh)
    assert build_order(place.mesh, models, ["core.dim_buyer", "alpha.sales_alpha"]) == [
        "alpha.sales_alpha",
        "core.dim_buyer",
    ]


@pytest.mark.parametrize(
    ("sql", "driving"),
    [
        ("select a.x, b.y from n.a left join n.b on a.k = b.k where a.x > 1", ("n.a",)),
        ("select upper(x) as x from n.a where k not in (select k from n.b) order by x", ("n.a",)),
        ("select x from n.a, n.b", ("n.a",)),
        ("select a.x from n.a right join n.b on a.k = b.k", ()),
        ("select a.x from n.a full join n.b on a.k = b.k", ()),
        ("select x from n.a where x > (select avg(x) from n.a)", ()),
        ("select x, (select count(*) from n.b) as n from n.a", ()),
        ("select l.x from n.a as l join n.a as r on l.k = r.k", ()),
        ("select x, sum(y) as y from n.a group by x", ()),
        ("select distinct x from n.a", ()),
        ("select x from n.a limit 3", ()),
        ("select x, row_number() over (order by x) as n from n.a", ()),
        ("select x from n.a qualify rank() over (order by x) = 1", ()),
        ("select kurtosis_pop(x) as x from n.a", ()),
        ("select x from n.a union all select x from n.b", ("n.a", "n.b")),
        (
            "select x from n.a union all by name select x from n.b join n.c using (k) union all select 1 from n.d",
            _ABD,
        ),
        ("select x from n.a where x > 1 union all select y from n.a where y > 1", ("n.a",)),
        ("select x from n.a union select x from n.b", ()),
        ("select x from n.a union all select x from n.b limit 3", ()),
        ("select x from n.a union all select x from n.b order by x", ()),
        ("select x from n.a union all (select x from n.b)", ()),
        ("select x from n.a union all select sum(x) from n.b", ()),
        ("select x from n.a union all select 1", ()),
        ("select x from n.a union all select b.x from n.b join n.a using (k)", ()),
        ("with c as (select 1 as x) select x from n.a union all select x from n.b", ()),
        ("select x from n.a except all select x from n.b", ()),
        ("with c as (select x from n.a) select x from c", ()),
        ("select x from (select x from n.a)", ()),
        ("select x from n.a using sample 10", ()),
        ("select 1 as x", ()),
    ],
)
def test_only_queries_that_work_row_by_row_are_driven_by_their_first_table(
    sql: str, driving: tuple[str, ...], place: Place
):
    model = Model(place.mesh.contracts["core.dim_item"], "m.sql", sql, read_query(sql).mentions)
    assert driving_inputs(model) == driving


READ = """
import sys
from pathlib import Path
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.model import build_order, read_models
mesh = load_mesh(Path(sys.argv[1]))
assert build_order(mesh, read_models(mesh))
print({"pyarrow", "duckdb", "pyiceberg"} & sys.modules.keys())
"""


def test_a_mesh_and_its_models_are_read_without_the_lake():
    command = [sys.executable, "-c", READ, str(Path(__file__).parents[3])]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"
