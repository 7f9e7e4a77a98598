"""`mesh diff`: what a change of contracts and SQL reaches through the SQL of all domains, and who must consent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mesh_platform.cli import mesh

from ..changed_mesh import ALPHA, FACT, TODAY, Repository, new_repository, version
from ..contract_edits import EVENT, all_of, drops, sets

FACT_SQL = "core/models/fact_sales.sql"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def call(repository: Repository, *words: str) -> Result:
    settings = {"MESH_ROOT": str(repository.root), "MESH_CLOCK": f"{TODAY}T00:00:00Z"}
    return CliRunner().invoke(mesh, ["diff", *words], env=settings)


def diff(repository: Repository, *words: str) -> Any:
    done = call(repository, *words, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def reached(entry: Any) -> dict[str, set[str | None]]:
    tables: dict[str, set[str | None]] = {}
    for each in entry["reaches"]:
        tables.setdefault(each["table"], set()).add(each["column"])
    return tables


def test_a_column_is_followed_through_unions_and_domains(repository: Repository):
    repository.edit(ALPHA, sets("amount", required=False))
    (entry,) = diff(repository)["contracts"]
    assert reached(entry) == {
        "core.sale_v1": {"amount"},
        "core.fact_sales": {"amount"},
        "core.fact_sales__resolved": {"amount"},
        "core.dim_buyer": {"total"},
        "insight.report": {"twice"},
    }
    assert [owner["domain"] for owner in entry["owners"]] == ["core", "insight"]
    assert all(owner["team"] and owner["contact"] for owner in entry["owners"])
    assert (entry["kind"], entry["old_version"], entry["new_version"], entry["least_version"]) == (
        *("breaking", "1.0.0", "1.0.0", "2.0.0"),
    )
    (consent,) = entry["consents"]
    assert consent == {
        "domain": "core", "version": "2.0.0", "given": False, "reads_in": ["domains/core/models/fact_sales.sql"],
    }  # fmt: skip


def test_a_column_that_is_gone_reaches_what_came_of_it(repository: Repository):
    """Even if the present SQL no longer reads it, and its old name does not occur."""
    repository.edit(FACT, all_of(drops("amount"), lambda data: version(data, "2.0.0")))
    repository.place.write(FACT_SQL, "select event_id, item_id, buyer, site_id, sold_at from core.sale_v1\n")
    repository.place.write(
        "insight/models/report.sql", "select event_id, item_id, buyer, sold_at from core.fact_sales\n"
    )
    repository.edit("domains/insight/contracts/report.odcs.yaml", drops("twice"))
    entries = {entry["product"]: entry for entry in diff(repository)["contracts"]}
    assert reached(entries["core.fact_sales"]) == {
        "core.fact_sales__resolved": {"amount"},
        "core.dim_buyer": {"total"},
        "insight.report": {"twice"},
    }


def test_a_renamed_column_is_followed_under_both_names(repository: Repository):
    earlier = [{"property": "mesh.renamedFrom", "value": ["amount"]}]
    repository.edit(FACT, sets("amount", name="price", customProperties=earlier))
    repository.place.write("insight/models/report.sql", "select event_id, price * 2 as twice from core.fact_sales\n")
    (entry,) = diff(repository)["contracts"]
    assert reached(entry) == {
        "core.fact_sales__resolved": {"amount", "price"},
        "core.dim_buyer": {"total"},
        "insight.report": {"twice"},
    }


def test_what_stands_in_a_condition_reaches_the_rows(repository: Repository):
    repository.place.write(
        "insight/models/report.sql", "select event_id, buyer from core.fact_sales where amount > 1\n"
    )
    repository.commit()
    repository.edit(FACT, sets("amount", required=False))
    (entry,) = diff(repository, "--base", "main")["contracts"]
    assert reached(entry)["insight.report"] == {None}
    assert "insight.report (which rows it has)" in call(repository, "--base", "main").stdout


def test_a_column_of_the_event_is_followed_from_the_landing_table(repository: Repository):
    repository.edit(ALPHA, sets("buyer", EVENT, required=False))
    (entry,) = diff(repository)["contracts"]
    assert reached(entry) == {
        "alpha.sales_alpha": {"buyer"},
        "core.sale_v1": {"buyer"},
        "core.fact_sales": {"buyer"},
        "core.fact_sales__resolved": {"buyer"},
        "core.dim_buyer": {"buyer"},
        "insight.report": {"buyer"},
    }
    assert entry["consents"] == []


def test_a_product_that_is_gone_reaches_by_all_its_columns(repository: Repository):
    (repository.root / ALPHA).unlink()
    entry = diff(repository)["contracts"][0]
    assert entry["status"] == "removed"
    assert reached(entry)["insight.report"] == {"event_id", "item_id", "buyer", "sold_at", "twice"}


def test_a_dimension_that_is_gone_and_a_renamed_column_break_no_views_of_the_report(repository: Repository):
    """The views of the mesh as it is do not fit what they read; the report is made by the mesh as it was."""
    for path in ("contracts/dim_item.odcs.yaml", "models/dim_item.sql"):
        (repository.root / "domains/core" / path).unlink()
    repository.edit(ALPHA, sets("buyer", name="purchaser"))
    entries = {entry["product"]: entry for entry in diff(repository)["contracts"]}
    assert reached(entries["core.dim_item"])["core.fact_sales__resolved"] == {"item_id"}
    assert reached(entries["alpha.sales_alpha"])["core.sale_v1"] == {"buyer"}


def test_rows_alone_are_counted_as_such(repository: Repository):
    repository.place.write("insight/models/report.sql", "select event_id from core.fact_sales where amount > 1\n")
    repository.commit()
    repository.edit(FACT, sets("amount", required=False))
    assert "0 column" not in call(repository, "--base", "main", "--format", "markdown").stdout


def test_dashboards_are_named_that_show_what_is_reached(repository: Repository):
    repository.place.write("insight/dashboards/a.yaml", "sql: select twice from insight.report\n")
    repository.place.write("insight/dashboards/b.sql", 'select "twice" from "insight"."report"\n')
    repository.place.write("insight/dashboards/other_column.sql", "select buyer from insight.report\n")
    repository.place.write(
        "insight/dashboards/other_table.sql", "select twice from insight.report_2, an.insight.report\n"
    )
    repository.edit(FACT, sets("amount", required=False))
    (entry,) = diff(repository)["contracts"]
    assert entry["dashboards"] == ["domains/insight/dashboards/a.yaml", "domains/insight/dashboards/b.sql"]


def write_forty_charts(repository: Repository, dataset: str, metric: str) -> None:
    """A dashboard of `insight` with forty charts, of which only `chart_7` shows `metric` of the SELECT `dataset`."""
    folder = "insight/dashboards/forty"
    names = [f"chart_{number}" for number in range(40)]
    rows = "".join(f"  - [{{chart: {name}, width: 12, height: 20}}]\n" for name in names)
    files = {"dashboard.yaml": f"dashboard_title: Forty\ndescription: Much.\nrows:\n{rows}"}
    for number, name in enumerate(names):
        params = "{metric: special}" if number == 7 else "{metrics: [sales], groupby: [item_id]}"
        kind, source = ("big_number_total", "own") if number == 7 else ("table", "sales")
        about = f"slice_name: {name}\nviz_type: {kind}\ndataset: {source}\nparams: {params}\n"
        files[f"charts/{name}.yaml"] = about
    files["datasets/sales.yaml"] = "description: Sales.\nmetrics: {sales: {expression: count(*)}}\n"
    files["datasets/own.yaml"] = f"description: Own.\nmetrics: {{special: {{expression: {metric}}}}}\n"
    files |= {"datasets/sales.sql": "select * from core.fact_sales\n", "datasets/own.sql": f"{dataset}\n"}
    for path, text in files.items():
        repository.place.write(f"{folder}/{path}", text)


@pytest.mark.parametrize(
    ("dataset", "metric"),
    [
        ("select * from core.fact_sales", "sum(amount)"),
        ("select amount * 2 as doubled from core.fact_sales__resolved", "max(doubled)"),
        ("select item_id from core.fact_sales where amount > 1", "count(*)"),
    ],
    ids=["in a metric", "in the SQL of its dataset", "as rows only"],
)
def test_of_forty_charts_the_one_that_a_change_breaks_is_named(
    repository: Repository, dataset: str, metric: str
) -> None:
    repository.place.write("core/models/dim_buyer.sql", "select buyer, 1 as sales, 1 as total from core.fact_sales\n")
    repository.place.write(
        "insight/models/report.sql", "select event_id, item_id, buyer, sold_at from core.fact_sales\n"
    )
    write_forty_charts(repository, dataset, metric)
    repository.commit()
    settings = {"MESH_ROOT": str(repository.root), "MESH_CLOCK": f"{TODAY}T00:00:00Z"}
    rule = ["check", "--rule", "charts", "--format", "json"]
    assert "chart_" not in CliRunner().invoke(mesh, rule, env=settings).stdout
    repository.edit(FACT, all_of(drops("amount"), lambda data: version(data, "2.0.0")))
    entry = next(each for each in diff(repository)["contracts"] if each["product"] == "core.fact_sales")
    assert (entry["charts"], entry["dashboards"]) == (["insight.forty.chart_7"], ["insight.forty"])
    assert "insight" in {owner["domain"] for owner in entry["owners"]}
    assert "shown in  insight.forty (chart_7)" in call(repository).stdout
    assert {*re.findall(r"chart_\d+", CliRunner().invoke(mesh, rule, env=settings).stdout)} == {"chart_7"}
    for name in (*entry["charts"], *entry["dashboards"]):
        explained = CliRunner().invoke(mesh, ["explain", name], env=settings)
        assert (explained.exit_code, explained.stdout.split()[0]) == (0, name)


def test_a_dataset_that_a_change_breaks_breaks_all_its_charts(repository: Repository) -> None:
    write_forty_charts(repository, "select * from core.fact_sales", "sum(amount)")
    own = "insight/dashboards/forty/datasets/sales.sql"
    repository.place.write(own, "select item_id, amount from core.fact_sales\n")
    repository.commit()
    repository.edit(FACT, drops("amount"))
    (entry,) = diff(repository)["contracts"]
    assert len(entry["charts"]) == 40


@pytest.mark.parametrize(
    ("sql", "columns", "rows"),
    [
        (
            "select event_id, item_id, buyer, site_id, sold_at, amount + 1 as amount from core.sale_v1",
            {"amount"},
            False,
        ),
        (
            "with s as (select *, upper(buyer) as b from core.sale_v1)"
            " select event_id, item_id, b as buyer, site_id, sold_at, amount from s",
            {"event_id", "item_id", "buyer", "site_id", "sold_at", "amount"},
            True,
        ),
        ("select event_id, item_id, buyer, site_id, sold_at, amount from core.sale_v1 where amount > 0", set(), True),
    ],
)
def test_changed_sql_names_the_columns_that_come_about_otherwise(
    repository: Repository, sql: str, columns: set[str], rows: bool
):
    repository.place.write(FACT_SQL, sql)
    (entry,) = diff(repository)["models"]
    assert (entry["table"], entry["status"], entry["rows"], entry["told"]) == (
        "core.fact_sales",
        "changed",
        rows,
        True,
    )
    assert set(entry["columns"]) == columns
    assert reached(entry)["core.dim_buyer"] >= {"total"}


def test_another_layout_of_sql_is_no_change(repository: Repository):
    sql = "-- Other words.\nSELECT event_id, item_id, buyer,\n  site_id, sold_at, amount FROM core.sale_v1;\n"
    repository.place.write(FACT_SQL, sql)
    assert diff(repository)["models"] == []
    assert call(repository).stdout.endswith("No contract and no SQL changed.\n")


@pytest.mark.parametrize("sql", ["select (", "", "select 1; select 2", "drop table x"])
def test_sql_that_cannot_be_read_is_told_as_such(repository: Repository, sql: str):
    repository.place.write(FACT_SQL, sql)
    (entry,) = diff(repository)["models"]
    assert (entry["status"], entry["told"]) == ("changed", False)
    assert "which columns it computes differently is unknown" in call(repository).stdout
    repository.commit()
    repository.git("checkout", "-q", "HEAD~1", "--", f"domains/{FACT_SQL}")
    assert [each["told"] for each in diff(repository)["models"]] == [False]


def test_sql_that_is_new_or_gone(repository: Repository):
    repository.place.write("core/models/extra.sql", "select 1")
    (repository.root / "domains/insight/models/report.sql").unlink()
    found = {each["path"]: each["status"] for each in diff(repository)["models"]}
    assert found == {"domains/core/models/extra.sql": "new", "domains/insight/models/report.sql": "removed"}


def test_markdown_is_a_table_that_no_words_of_a_contract_break(repository: Repository):
    nasty = "^(a|b)<script>_x_`$"
    repository.edit(ALPHA, sets("item_id", logicalTypeOptions={"pattern": nasty}, required=False))
    text = call(repository, "--format", "markdown").stdout
    lines = text.splitlines()
    assert lines[2] == "| changed | version | change | reaches | consent |"
    row = "| `alpha.sales_alpha` | 1.0.0, must be 2.0.0 | **breaking** | 4 columns in 4 tables | **core: missing** |"
    assert re.sub(r"\d columns? in \d tables?", "4 columns in 4 tables", lines[4]) == row
    assert "<script" not in text
    assert text.count("<details>") == text.count("</details>") == 1
    assert r"  - additive: 'item_id' must match ^(a\|b)&lt;script>\_x\_\`$" in text


def test_half_a_file_is_told_as_not_compared(repository: Repository):
    (repository.root / ALPHA).write_text("apiVersion: v3")
    assert diff(repository)["not_compared"] == [ALPHA]
    for words in ((), ("--format", "markdown")):
        assert "is not compared" in call(repository, *words).stdout


def test_it_fails_only_where_it_cannot_run(repository: Repository, tmp_path: Path):
    done = call(repository, "--base", "nowhere")
    assert done.exit_code != 0
    assert done.stdout == ""
    assert "--base nowhere: git knows no such commit here." in str(done.exception)
    assert done.exception is not None
    assert getattr(done.exception, "exit_code", None) == 2
    (repository.root / ".git").rename(tmp_path / "away")
    assert diff(repository) == {"base": None, "contracts": [], "models": [], "not_compared": []}
    assert "nothing to compare with" in call(repository).stdout


def test_comments_are_no_change(repository: Repository):
    path = repository.root / ALPHA
    path.write_text(f"# A comment.\n{path.read_text()}")
    assert diff(repository)["contracts"] == []
