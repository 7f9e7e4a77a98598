"""Domain folders are read as a mesh, or every fault between them is reported with its fix."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
import sqlglot
import yaml
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.mesh.mesh import RESERVED, Mesh, interface_view, load_mesh
from mesh_platform.sql.relations import SITES
from mesh_platform.text import offer
from sqlglot.dialects import DuckDB

from ..small_mesh import Place, add_contract, add_domain, small_mesh

ROOT = Path(__file__).resolve().parents[3]
SALES = "domains/alpha/contracts/sales_alpha.odcs.yaml"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two shops that send sales, and `core`."""
    return small_mesh(tmp_path)


def problems(place: Place) -> list[str]:
    with pytest.raises(ContractError) as error:
        load_mesh(place.root)
    return [str(problem) for problem in error.value.problems]


def one_problem(place: Place) -> str:
    found = problems(place)
    assert len(found) == 1, found
    return found[0]


def change(place: Place, path: str, old: str, new: str) -> int:
    """Replace the last `old` in a file; return its line."""
    text = (place.root / path).read_text()
    assert old in text
    before, _, after = text.rpartition(old)
    (place.root / path).write_text(before + new + after)
    return before.count("\n") + 1


def change_column(place: Place, path: str, name: str, gone: bool = False, **words: object) -> int:
    """Change or remove a column of the table; return the line where the column, or the next one, begins."""
    file = place.root / path
    contract = yaml.safe_load(file.read_text())
    columns = contract["schema"][-1]["properties"]
    at = next(i for i, column in enumerate(columns) if column["name"] == name)
    columns[at].update(words)
    if gone:
        del columns[at]
    text = yaml.safe_dump(contract, sort_keys=False)
    file.write_text(text)
    before, _, table = text.rpartition("physicalType: table")
    starts = [i for i, line in enumerate(table.splitlines()) if line.startswith("  - name: ")]
    return before.count("\n") + 1 + starts[at]


def test_small_mesh_is_read(place: Place) -> None:
    mesh = load_mesh(place.root)
    assert list(mesh.domains) == ["alpha", "beta", "core"]
    assert set(mesh.interfaces) == {"sale.v1"}
    assert [contract.identifier for contract in mesh.implementations("sale.v1")] == [
        "alpha.sales_alpha",
        "beta.sales_beta",
    ]
    assert [contract.identifier for contract in mesh.ingested()] == ["alpha.sales_alpha", "beta.sales_beta"]
    core = mesh.domain("core")
    assert core.site is None
    kinds = {name: core.product_kind(contract) for name, contract in core.contracts.items()}
    assert kinds == {"dim_buyer": "model", "dim_item": "model", "fact_sales": "model", "items": "reference"}
    assert interface_view("core", "sale.v1") == "core.sale_v1"


def test_repository_is_good(mesh: Mesh) -> None:
    assert {"north_warehouse", "logistics_core"} <= set(mesh.domains)


# Conformance


def test_missing_column_of_an_interface(place: Place) -> None:
    change_column(place, SALES, "buyer", gone=True)
    text = (place.root / SALES).read_text()
    line = next(i for i, words in enumerate(text.splitlines(), 1) if "name: sales_alpha" in words and "- " in words)
    assert one_problem(place) == (
        f"{SALES}:{line}: lacks 'buyer' (string), which interface sale.v1 asks for. "
        "Mend the column, or drop 'mesh.implements'."
    )


def test_other_type_than_the_interface_asks(place: Place) -> None:
    line = change_column(place, SALES, "amount", physicalType="decimal(14,2)")
    expected = f"{SALES}:{line}: 'amount' is decimal(14,2); interface sale.v1 asks for decimal(12,2)."
    assert one_problem(place).startswith(expected)


def test_optional_where_the_interface_requires(place: Place) -> None:
    line = change_column(place, SALES, "site_id", required=False)
    expected = f"{SALES}:{line}: 'site_id' may be missing; interface sale.v1 requires it."
    assert one_problem(place).startswith(expected)


def test_more_columns_and_stricter_ones_conform(place: Place) -> None:
    interface = "domains/core/interfaces/sale.v1.odcs.yaml"
    change_column(place, interface, "amount", required=False)
    change_column(place, interface, "buyer", gone=True)
    load_mesh(place.root)


def test_unknown_interface_offers_what_comes_near(place: Place) -> None:
    change(place, SALES, "value: sale.v1", "value: sales.v1")
    expected = f"{SALES}:1: implements 'sales.v1', which no domain publishes. Did you mean sale.v1?"
    assert one_problem(place) == expected


def test_all_faults_against_an_interface_come_together(place: Place) -> None:
    change_column(place, SALES, "amount", physicalType="decimal(14,2)")
    change_column(place, SALES, "site_id", required=False)
    change_column(place, SALES, "buyer", gone=True)
    assert len(problems(place)) == 3


# References


def test_reference_to_an_unknown_table_offers_what_comes_near(place: Place) -> None:
    path = "domains/core/contracts/fact_sales.odcs.yaml"
    change(place, path, "dim_item.item_id", "dim_itm.item_id")
    found = one_problem(place)
    assert found.startswith(f"{path}:")
    assert (
        "'item_id' points to 'core.dim_itm.item_id', which core does not publish. Did you mean core.dim_item" in found
    )


def test_reference_into_another_domain_is_held_to_what_that_one_publishes(place: Place) -> None:
    path = "domains/core/contracts/fact_sales.odcs.yaml"
    change(place, path, "dim_item.item_id", "harbour.sales_harbour.buyer")
    assert "'harbour.sales_harbour.buyer', which harbour does not publish" in one_problem(place)
    change(place, path, "harbour.sales_harbour.buyer", "core.dim_item.item_id")
    load_mesh(place.root)


def test_reference_to_an_unknown_column_offers_columns(place: Place) -> None:
    change(place, "domains/core/contracts/fact_sales.odcs.yaml", "dim_item.item_id", "dim_item.item")
    assert one_problem(place).endswith("Did you mean item_id?")


def test_what_cannot_be_read_brings_no_further_faults(place: Place) -> None:
    change(place, "domains/core/contracts/dim_item.odcs.yaml", "v3.1.0", "v0")
    change(place, "domains/core/interfaces/sale.v1.odcs.yaml", "v3.1.0", "v0")
    assert [problem.split(":")[0].rsplit("/", 1)[1] for problem in problems(place)] == [
        "dim_item.odcs.yaml",
        "sale.v1.odcs.yaml",
    ]


# Between files


def test_same_warehouse_twice(place: Place) -> None:
    change(place, "domains/beta/domain.yaml", "WH-BETA", "WH-ALPHA")
    assert (
        one_problem(place) == "domains/beta/domain.yaml:1: warehouse_id 'WH-ALPHA' is that of alpha. Choose another."
    )


def test_same_table_twice_in_a_domain(place: Place) -> None:
    add_contract(place, "core", "dim_more", {"dim_item": {"item_id": "string key"}})
    found = one_problem(place)
    assert found.startswith("domains/core/contracts/dim_more.odcs.yaml:")
    assert "table 'dim_item' is that of domains/core/contracts/dim_item.odcs.yaml. Choose another name." in found


@pytest.mark.parametrize("sources", [(), ("models/dim_item.sql", "reference/dim_item.csv")])
def test_a_table_has_one_source_of_rows(place: Place, sources: tuple[str, ...]) -> None:
    (place.root / "domains/core/models/dim_item.sql").unlink()
    for source in sources:
        place.write(f"core/{source}", "x\n")
    found = one_problem(place)
    assert found.startswith("domains/core/contracts/dim_item.odcs.yaml:")
    assert "needs one source of its rows" in found
    assert found.endswith("Write one of domains/core/models/dim_item.sql and domains/core/reference/dim_item.csv.")


# The files of a domain


@pytest.mark.parametrize(
    ("file", "old", "new", "at_change", "words"),
    [
        ("domain.yaml", "name: alpha\nsite", "name: beta\nsite", False, "name is 'beta' in folder 'alpha'. Make"),
        ("domain.yaml", "America/New_York", "America/Newyork", True,
         "site.time_zone: Value error, 'America/Newyork' is not a time zone of the IANA database"),
        ("domain.yaml", "America/New_York", "EST+5", True, "is not a time zone"),
        ("domain.yaml", "WH-ALPHA", "alpha", True, "site.warehouse_id: String should match pattern '^WH-"),
        ("domain.yaml", "currency: USD", "currency: Dollar", True, "site.currency: String should match pattern"),
        ("domain.yaml", "opened_on: 2025-10-01", "opened_on: soon", True, "site.opened_on: Input should be a"),
        ("domain.yaml", "  city: X\n", "", False, "site.city: Field required. It has warehouse_id, name"),
        ("domain.yaml", "  city: X", "  city: ''", True, "site.city: String should have at least 1 character"),
        ("domain.yaml", "  city: X", "  town: X", True, "site.town: Extra inputs are not permitted. It has ware"),
        ("domain.yaml", "kind: source-aligned", "kind: shop", True, "kind: Input should be 'source-aligned',"),
        ("domain.yaml", "description: A test.\n", "", False, "description: Field required. It has name, kind,"),
        ("owners.yaml", "steward: t", "stewart: t", True, "stewart: Extra inputs are not permitted. It has team"),
        ("owners.yaml", "team: t", "team: 1", True, "team: Input should be a valid string"),
    ],
)  # fmt: skip
def test_faults_in_a_domains_own_files(
    place: Place, file: str, old: str, new: str, at_change: bool, words: str
) -> None:
    path = f"domains/alpha/{file}"
    line = change(place, path, old, new)
    found = problems(place)
    assert any(words in problem for problem in found), found
    assert {problem.split(":")[0] for problem in found} == {path}
    assert not at_change or any(problem.startswith(f"{path}:{line}: ") for problem in found), found


@pytest.mark.parametrize("content", [None, b"", b"[]\n", b"a: [\n", b"\xff\xfe"])
@pytest.mark.parametrize("file", ["domain.yaml", "owners.yaml"])
def test_domain_file_that_cannot_be_read_is_named(place: Place, file: str, content: bytes | None) -> None:
    path = place.root / "domains/alpha" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert one_problem(place).startswith(f"domains/alpha/{file}:")


def test_hidden_folders_and_files_are_no_domains(place: Place) -> None:
    for name in (".git", "__pycache__"):
        (place.root / "domains" / name).mkdir()
    place.write("README.md", "x")
    load_mesh(place.root)


def test_folder_without_domains_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no folder 'domains/'\. Set MESH_ROOT"):
        load_mesh(tmp_path)


# Names


def test_near_names_are_offered(place: Place) -> None:
    mesh = load_mesh(place.root)
    with pytest.raises(UsageError, match=r"alpha\.sale_alpha: no such product\. Did you mean alpha\.sales_alpha"):
        mesh.contract("alpha.sale_alpha")
    with pytest.raises(UsageError, match=r"alpa: no such domain\. Did you mean alpha\?"):
        mesh.domain("alpa")
    with pytest.raises(UsageError, match=r"zzz: no such domain\. There is alpha, beta, core\."):
        mesh.domain("zzz")
    assert offer("sales_alpha", mesh.contracts) == "Did you mean alpha.sales_alpha?"
    assert offer("x", {}) == "There is none."
    many = dict.fromkeys(f"name{number}" for number in range(40))
    assert offer("zzz", many) == f"There is {', '.join([*many][:12])} and 28 more."


def test_products_to_ingest_are_chosen_by_domain_or_name(place: Place) -> None:
    mesh = load_mesh(place.root)
    assert [c.identifier for c in mesh.ingested(("beta", "beta.sales_beta"))] == ["beta.sales_beta"]
    assert mesh.ingested(("core",)) == []
    with pytest.raises(UsageError, match=r"core\.dim_item: no event is sent for it; it is built by SQL"):
        mesh.ingested(("core.dim_item",))


def test_a_new_domain_needs_no_other_files_changed(place: Place) -> None:
    add_domain(place, "gamma", site=True)
    assert list(load_mesh(place.root).domains) == ["alpha", "beta", "core", "gamma"]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_domain_is_not_called_as_a_schema_that_is_there_already(place: Place, name: str) -> None:
    (place.root / "domains/core").rename(place.root / "domains" / name)
    file = place.root / "domains" / name / "domain.yaml"
    file.write_text(f"# A comment.\n{file.read_text().replace('name: core', f'name: {name}')}")
    line = 1 + next(i for i, text in enumerate(file.read_text().splitlines()) if text.startswith("name:"))
    told = [problem for problem in problems(place) if "that DuckDB or the platform has already" in problem]
    assert told == [
        f"domains/{name}/domain.yaml:{line}: the domain is called '{name}', a schema that DuckDB or the platform has "
        f"already. Choose another name for it and its folder, such as {name}_domain."
    ]


def test_the_reserved_names_are_those_that_duckdb_and_the_platform_have() -> None:
    connection = connect({})
    found = connection.execute(
        "select database_name from duckdb_databases() union select schema_name from duckdb_schemas()"
    ).fetchall()
    assert {name for (name,) in found} | {SITES.split(".")[0]} == RESERVED
    for name in RESERVED - {"main", "mesh"}:
        with pytest.raises(duckdb.BinderException):
            try_schema(duckdb.connect(), name)
    # Every other keyword of SQL can name a schema, in quotes.
    for (word,) in connection.execute("select keyword_name from duckdb_keywords()").fetchall():
        if word not in RESERVED:
            try_schema(connection, word)


def try_schema(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Create a schema of that name with a view, and read it. Raises what DuckDB raises."""
    connection.execute(f'create schema if not exists "{name}"')
    connection.execute(f'create view "{name}".base as select 1 as id')
    connection.execute(f'select base.id from "{name}".base')


def test_the_template_reserves_the_same_names_and_refuses_words_of_sql() -> None:
    path = ROOT / "templates/domain/domain_answers.py"
    spec = importlib.util.spec_from_file_location("domain_answers_read", path)
    assert spec is not None
    assert spec.loader is not None
    answers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(answers)
    assert answers.RESERVED == RESERVED
    for name in RESERVED:
        given = answers.propose() | {"domain": name}
        assert any("would hide what is called so already" in text for text in answers.find_problems(given)), name
    with duckdb.connect() as connection:
        words = {word for (word,) in connection.execute("select keyword_name from duckdb_keywords()").fetchall()}
        words |= {word.lower() for word in (*DuckDB.Tokenizer.KEYWORDS, *DuckDB.Parser.FUNCTIONS)}
        names = filter(answers.NAME.fullmatch, words)
        refused = {name for name in names if not is_schema_without_quotes(connection, name)}
    assert refused - answers.SQL_WORDS == set()
    for name in refused:
        assert list(answers.find_problems(answers.propose() | {"domain": name})), name


def is_schema_without_quotes(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether DuckDB and sqlglot read the name as that of a table's schema."""
    sql = f"select r.x from {name}.orders__raw as r"
    try:
        sqlglot.parse_one(sql, dialect="duckdb")
        with suppress(duckdb.CatalogException):
            connection.execute(sql)
    except (duckdb.ParserException, sqlglot.errors.SqlglotError):
        return False
    return True
