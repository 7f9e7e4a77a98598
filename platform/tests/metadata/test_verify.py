"""`mesh catalog verify` finds and names each kind of difference, finds none where there is none, and only reads."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from mesh_platform.cli import mesh as command
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.metadata.site.write import MANIFEST
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, LongType, NestedField, StringType

from ..small_mesh import Place, Sale, small_mesh
from .openmetadata.double import TOKEN
from .openmetadata.published import edit_column, edit_contract, entities_of, owned_mesh, server

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mesh with its lake and its catalog, which no test changes."""
    place = small_mesh(tmp_path_factory.mktemp("built") / "mesh")
    place.land("alpha", [Sale(1), Sale(2)])
    place.land("beta", [Sale(1)])
    place.build()
    call(place, "build")
    return place.root


@pytest.fixture
def place(built: Path) -> Place:
    """The same mesh; what a test does to its lake is undone by `restored`."""
    return Place(built)


@pytest.fixture(autouse=True)
def restored(built: Path, tmp_path: Path) -> Any:
    """Put all files of the mesh back as they were, at the same place, which the tables name."""
    shutil.copytree(built, tmp_path / "kept", symlinks=True)
    yield
    Place(built).close()
    shutil.rmtree(built)
    shutil.copytree(tmp_path / "kept", built, symlinks=True)


def call(place: Place, *words: str, **more: str) -> str:
    done = CliRunner().invoke(command, ("catalog", *words), env={"MESH_ROOT": str(place.root), **more})
    # The command leaves its catalogs to the end of its process, which is that of all tests here.
    gc.enable()
    gc.collect()
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == (1 if words[0] == "verify" and done.stdout not in ("", "[]\n") else 0), done.output
    return done.stdout


def verify(place: Place, *words: str, **more: str) -> Found:
    found: Found = json.loads(call(place, "verify", "--format", "json", *words, **more))
    return found


def state(folder: Path) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_untouched_mesh_has_no_difference_and_nothing_is_written(place: Place) -> None:
    before = state(place.root)
    assert verify(place) == []
    assert call(place, "verify") == ""
    assert state(place.root) == before


def test_a_later_look_finds_no_difference_because_ages_are_as_of_the_build(place: Place) -> None:
    assert verify(place, MESH_CLOCK="2039-01-01T00:00:00Z") == []


def _schema(edit: Callable[[Any], object]) -> Callable[[Table], None]:
    def do(table: Table) -> None:
        with table.update_schema(allow_incompatible_changes=True) as update:
            edit(update)

    return do


def _unpartition(table: Table) -> None:
    with table.update_spec() as update:
        update.remove_field("sold_at_month")


def _sort(table: Table) -> None:
    with table.update_sort_order() as update:
        update.asc("buyer", IdentityTransform())


def _retry(table: Table) -> None:
    with table.transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})


def _early(table: Table) -> None:
    rows = table.scan().to_arrow().slice(0, 1)
    place = rows.column_names.index("sold_at")
    early = pa.array([datetime(1969, 12, 31, tzinfo=UTC)], rows["sold_at"].type)
    append_rows(table, rows.set_column(place, rows.schema.field(place), early))


# What is done to a table by pyiceberg; what is said of it, what is expected, what is found, and how to mend it.
PLANTED: dict[str, tuple[str, Callable[[Table], None], str, str | None, str | None, str]] = {
    "a column more": ("core.items", _schema(lambda update: update.add_column("extra", LongType())),
                      "has extra, which the contract lacks", None, "extra long", "mesh evolve core.items"),
    "a column less": ("core.dim_buyer", _schema(lambda update: update.delete_column("total")),
                      "lacks total", "total decimal(18,2)", None, "version 2"),
    "another name": ("core.dim_buyer", _schema(lambda update: update.rename_column("total", "sum")),
                     "requires sum, which the contract lacks", None, "sum decimal(18,2)", "version 2"),
    "another type": ("core.fact_sales",
                     _schema(lambda update: update.update_column("amount", field_type=DecimalType(14, 2))),
                     "amount as decimal(14,2), the contract says decimal(12,2)", "amount decimal(12,2)",
                     "amount decimal(14,2)", "version 2"),
    "no longer required": ("core.dim_item", _schema(lambda update: update.make_column_optional("label")),
                           "does not require label", "required", "optional", "version 2"),
    "another comment": ("alpha.sales_alpha__raw", _schema(lambda update: update.update_column("buyer", doc="Who.")),
                        "describes buyer in other words", "'A.'", "'Who.'", "mesh evolve alpha.sales_alpha"),
    "no key": ("core.items", _schema(lambda update: update.set_identifier_fields()),
               "notes no key", "item_id", None, "mesh evolve core.items"),
    "no partition": ("core.fact_sales", _unpartition, "is partitioned by nothing", "month(sold_at)", "nothing",
                     "then 'mesh build core.fact_sales'"),
    "rows before 1970": ("core.fact_sales", _early, "has rows before 1970 in partitions by month(sold_at)", "none",
                         "some", "Partition by year(sold_at)"),
    "a sort order": ("core.fact_sales", _sort, "has a sort order", None, "buyer", "pyiceberg"),
    "another property": ("core.fact_sales", _retry, "has another commit.retry.num-retries", "0", "4",
                         "mesh maintain core.fact_sales"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_done_to_a_table_is_found_and_named(place: Place, kind: str) -> None:
    name, plant, what, expected, there, mend = PLANTED[kind]
    plant(place.catalog.load_table(name))
    (found,) = [each for each in verify(place) if each["where"] == "lake" and what in each["what"]]
    assert (found["name"], found["expected"], found["found"]) == (name, expected, there)
    assert found["product"] == name.removesuffix("__raw")
    assert mend in found["mend"]
    assert {each["name"] for each in verify(place) if each["where"] == "lake"} == {name}


@pytest.mark.parametrize("kind", ["a column more", "another comment", "no key"])
def test_the_command_that_is_named_mends_it(place: Place, kind: str) -> None:
    name, plant, *_ = PLANTED[kind]
    plant(place.catalog.load_table(name))
    (found,) = [each for each in verify(place) if each["where"] == "lake"]
    words = found["mend"].removeprefix("Run '").removesuffix("'.").split()
    assert words[0] == "mesh"
    done = CliRunner().invoke(command, words[1:], env={"MESH_ROOT": str(place.root)})
    assert done.exit_code == 0, done.output
    assert [each for each in verify(place) if each["where"] == "lake"] == []


def test_a_table_that_no_contract_names_and_one_that_is_missing_are_found(place: Place) -> None:
    catalog: Catalog = place.catalog
    catalog.create_table("core.stray", Schema(NestedField(1, "x", StringType())))
    catalog.create_namespace("elsewhere")
    catalog.create_table("elsewhere.stray", Schema(NestedField(1, "x", StringType())))
    catalog.drop_table("core.dim_buyer")
    found = {each["name"]: each for each in verify(place) if each["where"] == "lake"}
    assert found.keys() == {"core.stray", "elsewhere.stray", "core.dim_buyer"}
    assert "no contract names" in found["core.stray"]["what"]
    assert "mesh build core.dim_buyer" in found["core.dim_buyer"]["mend"]


def test_a_changed_contract_shows_in_the_lake_and_in_the_pages_until_both_are_brought_in_step(place: Place) -> None:
    edit_column(place, "core/contracts/dim_buyer", "sales", lambda column: {**column, "description": "How many."})
    found = {(each["where"], each["name"]): each for each in verify(place)}
    lake = found["lake", "core.dim_buyer"]
    assert (lake["expected"], lake["found"]) == ("'How many.'", "'A.'")
    page = found["catalog", "products/core.dim_buyer.html"]
    assert (page["what"], page["product"], page["expected"]) == ("is stale", "core.dim_buyer", "'How many.'")
    call(place, "build")
    assert {each["where"] for each in verify(place)} == {"lake"}
    assert (
        CliRunner().invoke(command, ["evolve", "core.dim_buyer"], env={"MESH_ROOT": str(place.root)}).exit_code == 0
    )
    call(place, "build")
    assert verify(place) == []


def test_changed_sql_and_new_rows_make_pages_stale(place: Place) -> None:
    place.write("core/models/dim_item.sql", "select upper(item_id) as item_id, label from core.items\n")
    stale = {each["name"] for each in verify(place) if each["what"] == "is stale"}
    assert "products/core.dim_item.html" in stale
    assert "products/core.dim_buyer.html" not in stale
    call(place, "build")
    place.land("beta", [Sale(7)])
    stale = {each["name"] for each in verify(place) if each["what"] == "is stale"}
    assert "products/beta.sales_beta.html" in stale
    assert "products/core.dim_item.html" not in stale


PAGE = "products/core.fact_sales.html"


def test_a_page_that_was_changed_deleted_or_left_over_is_found_and_the_next_build_mends_it(place: Place) -> None:
    folder = place.root / ".mesh" / "catalog"
    edited = folder / PAGE
    edited.write_text(edited.read_text().replace("Contract", "Agreement", 1))
    (folder / "search.js").unlink()
    shutil.rmtree(place.root / "domains" / "beta")
    (place.root / "domains/core/contracts/dim_buyer.odcs.yaml").unlink()
    (place.root / "domains/core/models/dim_buyer.sql").unlink()
    found = {each["name"]: each for each in verify(place) if each["where"] == "catalog"}
    assert found["search.js"]["what"] == "is missing"
    assert found["products/core.dim_buyer.html"]["what"] == "is of something that is gone"
    assert found["products/core.dim_buyer.html"]["product"] == "core.dim_buyer"
    assert {each["mend"] for each in found.values()} == {"Run 'mesh catalog build'."}
    call(place, "build")
    assert [each for each in verify(place) if each["where"] == "catalog"] == []


@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_page_changed_by_hand_is_found_even_with_its_old_size_and_time(place: Place, is_hidden: bool) -> None:
    edited = place.root / ".mesh" / "catalog" / PAGE
    before = edited.stat()
    edited.write_text(edited.read_text().replace("<h2>Columns", "<h2>columnS", 1))
    if is_hidden:
        os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = verify(place)
    assert (found["where"], found["name"], found["what"]) == ("catalog", PAGE, "was changed by hand")
    assert ("Columns" in found["expected"], "columnS" in found["found"]) == (True, True)
    if is_hidden:
        assert found["mend"].startswith("Delete it, then run")
        edited.unlink()
    call(place, "build")
    assert verify(place) == []


def test_without_a_catalog_there_is_one_difference_that_names_the_folder(place: Place, tmp_path: Path) -> None:
    (found,) = verify(place, "--out", str(tmp_path / "none"))
    assert (found["where"], found["name"], found["found"]) == ("catalog", str(tmp_path / "none"), None)
    assert f"mesh catalog build --out {tmp_path / 'none'}" in found["mend"]
    (place.root / ".mesh" / "catalog" / MANIFEST).write_text("{")
    (found,) = verify(place)
    assert found["mend"].startswith("Remove it")


def test_without_a_lake_none_is_made(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    call(place, "build")
    before = state(place.root)
    assert verify(place) == []
    assert state(place.root) == before
    assert not (place.root / ".mesh" / "catalog.db").exists()


def test_people_read_one_line_for_each_difference(place: Place) -> None:
    _retry(place.catalog.load_table("core.fact_sales"))
    (line,) = call(place, "verify").splitlines()
    assert line.startswith("lake: core.fact_sales has another commit.retry.num-retries; expected 0, found 4. ")


def test_openmetadata_is_compared_where_it_is_set(tmp_path: Path) -> None:
    place = owned_mesh(tmp_path)
    call(place, "build")
    with server() as held:
        address = {"MESH_OPENMETADATA_URL": held.url, "MESH_OPENMETADATA_TOKEN": TOKEN}
        missing = verify(place, **address)
        assert {(each["where"], each["what"]) for each in missing} == {("openmetadata", "is missing")}
        held.publish(entities_of(place))
        assert verify(place, **address) == []

        def describe(contract: dict[str, Any]) -> None:
            contract["description"]["purpose"] = "Another purpose."

        edit_contract(place, "core/contracts/items", describe)
        call(place, "build")
        found = verify(place, **address)
        assert found
        for each in found:
            assert each["where"] == "openmetadata"
            assert "description" in each["what"]
            assert each["mend"] == "Run 'mesh catalog publish --to openmetadata'."
