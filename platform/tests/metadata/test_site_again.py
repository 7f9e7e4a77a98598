"""A second build of the catalog writes, byte for byte, what a first one would, and reads only what changes touch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.cache import cache as cache_module
from mesh_platform.cache.cache import Cache
from mesh_platform.cli.metadata import _read_lake as read_lake
from mesh_platform.errors import ContractError
from mesh_platform.metadata.site import build as site_build
from mesh_platform.metadata.site import sources, whole, write
from mesh_platform.metadata.site.build import Place as Site
from mesh_platform.metadata.site.build import build_site
from mesh_platform.metadata.site.write import MANIFEST
from mesh_platform.settings import Settings

from ..small_mesh import Place, Sale, add_contract, add_dashboard, small_mesh
from ..written_once import write_once
from .openmetadata.published import edit_column, edit_contract

_CHAIN = 8


@pytest.fixture(autouse=True)
def every_mesh_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only builds of large meshes go by notes."""
    monkeypatch.setattr(whole, "MANY", 0)


def mesh_with_a_chain(root: Path) -> Place:
    """The small mesh, with a term, and with models that read each other in a row."""
    write_once(_write, root)
    return Place(root)


def _write(root: Path) -> None:
    place = small_mesh(root)
    place.write("core/glossary.yaml", yaml.safe_dump({"terms": {"amount": {"definition": "What a buyer pays."}}}))
    link = [{"url": "../glossary.yaml#amount", "type": "businessDefinition"}]
    edit_column(
        place, "core/contracts/fact_sales", "amount", lambda found: {**found, "authoritativeDefinitions": link}
    )
    for number in range(_CHAIN):
        add_contract(
            place, "core", f"link_{number}", {f"link_{number}": {"item_id": "string key", "label": "string"}}
        )
        before = f"core.link_{number - 1}" if number else "core.dim_item"
        place.write(f"core/models/link_{number}.sql", f"select item_id, label from {before}\n")
    add_dashboard(
        place, f"select label, amount from core.fact_sales__resolved join core.link_{_CHAIN - 1} using (item_id)"
    )


def built(place: Place, name: str = "site") -> str:
    """Build the catalog; why it cannot be built, or nothing."""
    state = place.root / ".state" / name
    try:
        site = Site(place.root, place.root / name, state / "notes")
        build_site(site, Cache(state / "cache"), None)
    except ContractError as error:
        return str(error)
    return ""


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".catalog."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def check_as_a_first_build(place: Place) -> None:
    again = built(place)
    for name in ("first", ".state/first"):
        shutil.rmtree(place.root / name, ignore_errors=True)
    assert again == built(place, "first")
    if not again:
        assert content(place.root / "site") == content(place.root / "first")


Edit = Callable[[Place, int], None]
_NAMES = ("fact_sales", "dim_buyer", "dim_item", "items", *(f"link_{number}" for number in range(_CHAIN)))
PRODUCTS = ("alpha/contracts/sales_alpha", *(f"core/contracts/{name}" for name in _NAMES))


def _contract(edit: Callable[[dict[str, Any], int], None]) -> Edit:
    def do(place: Place, number: int) -> None:
        path = place.root / "domains" / f"{PRODUCTS[number % len(PRODUCTS)]}.odcs.yaml"
        if path.exists():
            edit_contract(place, PRODUCTS[number % len(PRODUCTS)], lambda contract: edit(contract, number))

    return do


def _describe(contract: dict[str, Any], number: int) -> None:
    contract["description"]["purpose"] = f"Purpose {number}."


def _describe_column(contract: dict[str, Any], number: int) -> None:
    contract["schema"][-1]["properties"][0]["description"] = f"Column {number}."


def _add_column(contract: dict[str, Any], number: int) -> None:
    new = {"name": f"new_{number}", "logicalType": "string", "physicalType": "string", "description": "New."}
    contract["schema"][-1]["properties"].append(new)


def _rename_column(contract: dict[str, Any], number: int) -> None:
    contract["schema"][-1]["properties"][number % 2]["name"] = f"name_{number % 3}"


def _drop_column(contract: dict[str, Any], number: int) -> None:
    # A contract without columns is no edit of a mesh: the edits after it would have none to change.
    if len(contract["schema"][-1]["properties"]) > 2:
        contract["schema"][-1]["properties"].pop()


def _retype(contract: dict[str, Any], number: int) -> None:
    contract["schema"][-1]["properties"][-1] |= {
        "logicalType": "integer",
        "physicalType": ("int", "long")[number % 2],
    }


def _personal(contract: dict[str, Any], number: int) -> None:
    contract["schema"][-1]["properties"][0]["classification"] = ("pii", "internal")[number % 2]


def _refer(contract: dict[str, Any], number: int) -> None:
    contract["schema"][-1]["properties"][0]["relationships"] = [
        {"to": ("items.item_id", "dim_item.label")[number % 2]}
    ]


def _retire(contract: dict[str, Any], number: int) -> None:
    contract["status"] = ("retired", "active")[number % 2]


def _version(contract: dict[str, Any], number: int) -> None:
    contract["version"] = f"1.{number}.0"


def _read_another(place: Place, number: int) -> None:
    sources = ("core.items", "core.dim_item", "core.link_0", f"core.link_{(number + 3) % _CHAIN}", "core.none",
               "(select site_id as item_id, buyer as label from core.sale_v1)",
               "(select buyer as item_id, item_id as label from alpha.sales_alpha__raw)")  # fmt: skip
    sql = f"select item_id, label from {sources[number % len(sources)]} as source\n"
    place.write(f"core/models/link_{number % _CHAIN}.sql", sql)


def _break_sql(place: Place, number: int) -> None:
    words = ("select from where", "select item_id, nothing as label, x from core.items", "select 1; select 2")
    place.write(f"core/models/link_{number % _CHAIN}.sql", words[number % 3])


def _add_product(place: Place, number: int) -> None:
    name = f"more_{number % 3}"
    add_contract(place, "core", name, {name: {"item_id": "string key"}})
    place.write(f"core/models/{name}.sql", f"select item_id from core.link_{number % _CHAIN}\n")


def _remove_product(place: Place, number: int) -> None:
    for path in (f"contracts/more_{number % 3}.odcs.yaml", f"models/more_{number % 3}.sql"):
        (place.root / "domains" / "core" / path).unlink(missing_ok=True)


def _domain(place: Place, number: int) -> None:
    text = (place.root / "domains/core/domain.yaml").read_text()
    place.write("core/domain.yaml", text.replace("A test", f"A test {number}"))


def _owner(place: Place, number: int) -> None:
    names = dict.fromkeys(("team", "steward", "contact", "on_call"), f"t{number % 2}")
    place.write("core/owners.yaml", yaml.safe_dump(names))


def _interface(place: Place, number: int) -> None:
    edit_contract(place, "core/interfaces/sale.v1", lambda contract: _describe_column(contract, number))


def _chart(place: Place, number: int) -> None:
    sources = ("core.fact_sales join core.dim_item using (item_id)", f"core.link_{number % _CHAIN}, core.sale_v1")
    place.write("core/dashboards/sales/datasets/sales.sql", f"select label, amount from {sources[number % 2]}\n")


def _page(place: Place, number: int) -> None:
    pages = sorted((place.root / "site").rglob("*.html"))
    page = pages[number % len(pages)]
    page.write_text("edited") if number % 2 else page.unlink()


def _touch(place: Place, number: int) -> None:
    os.utime(place.root / "domains" / f"{PRODUCTS[number % len(PRODUCTS)]}.odcs.yaml")


EDITS: dict[str, Edit] = {
    **{edit.__name__: _contract(edit) for edit in (_describe, _describe_column, _add_column, _rename_column,
       _drop_column, _retype, _personal, _refer, _retire, _version)},
    **{edit.__name__: edit for edit in (_read_another, _break_sql, _add_product, _remove_product, _domain, _owner,
       _interface, _chart, _page, _touch)},
}  # fmt: skip


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, 60)), min_size=1, max_size=3),
        min_size=1,
        max_size=6,
    )
)
def test_after_any_changes_each_byte_is_that_of_a_first_build(
    tmp_path_factory: pytest.TempPathFactory, builds: list[list[tuple[str, int]]]
) -> None:
    place = mesh_with_a_chain(tmp_path_factory.mktemp("mesh"))
    assert built(place) == ""
    for edits in builds:
        for name, number in edits:
            EDITS[name](place, number)
        check_as_a_first_build(place)
    shutil.rmtree(place.root)


# Changes of one contract or model, none of which makes the mesh invalid.
SMALL = {
    "words": lambda place: EDITS["_describe"](place, 6),
    "a column": lambda place: EDITS["_add_column"](place, 6),
    "another type": lambda place: EDITS["_retype"](place, 7),
    "another source": lambda place: EDITS["_read_another"](place, 9),
    "SQL without lineage": lambda place: place.write("core/models/link_4.sql", "select item_id, x from core.items"),
    "a page by hand": lambda place: EDITS["_page"](place, 21),
    "a file that says the same": lambda place: EDITS["_touch"](place, 4),
}


@pytest.mark.parametrize("change", SMALL)
def test_after_a_small_change_the_mesh_is_not_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    SMALL[change](place)
    with monkeypatch.context() as patch:
        patch.setattr(site_build, "read_facts", lambda *_: pytest.fail("it reads the whole mesh"))
        assert built(place) == ""
    check_as_a_first_build(place)


def test_sql_that_is_mended_fails_no_more(tmp_path: Path) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    for sql, is_failing in (("select item_id, x from core.items", True), ("select * from core.items", False)):
        place.write("core/models/link_4.sql", sql)
        check_as_a_first_build(place)
        assert (b"core.link_4" in content(place.root / "site")["attention.html"]) is is_failing


def test_a_change_that_keeps_the_size_and_the_time_of_a_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All files count as settled, so that only their sizes and times are looked at.
    monkeypatch.setattr(sources, "_TICK_NS", -(10**12))
    place = mesh_with_a_chain(tmp_path)
    built(place)
    file = place.root / "domains" / f"{PRODUCTS[6]}.odcs.yaml"
    before = file.stat()
    file.write_text(file.read_text().replace("A test.", "A tent."))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    check_as_a_first_build(place)
    assert b"A tent." in content(place.root / "site")["products/core.link_1.html"]


def test_a_domain_without_files_is_an_error_in_a_second_build_too(tmp_path: Path) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    (place.root / "domains" / "empty").mkdir()
    assert "domains/empty/domain.yaml" in built(place)
    check_as_a_first_build(place)


def test_commits_of_a_lake_between_builds_are_in_the_pages_and_notes_of_builds_without_it_stay_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLOCK", "2025-10-05T00:00:00Z")
    place = mesh_with_a_chain(tmp_path)
    settings = Settings(root=place.root)
    built(place)

    def check_with_lake() -> None:
        pages = []
        for name in ("lake", "first lake"):
            state = place.root / ".state" / name.split()[0]
            cache = Cache(state / "cache") if name == "lake" else Cache()
            shutil.rmtree(place.root / "first lake", ignore_errors=True)
            site = Site(place.root, place.root / name, state / "notes" if name == "lake" else tmp_path / "none")
            assert build_site(site, cache, partial(read_lake, settings, cache, settings.now)).has_read_lake
            pages.append(content(place.root / name))
        assert pages[0] == pages[1]

    for number in range(3):
        place.land("alpha", [Sale(number)])
        place.build("alpha.sales_alpha")
        check_with_lake()
        EDITS["_describe"](place, 5 + number)
        check_with_lake()
        check_as_a_first_build(place)


@pytest.mark.parametrize("torn", ["notes", "cache"])
@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_what_a_build_left_damaged_only_costs_time(tmp_path: Path, torn: str, damage: bytes | None) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    file = place.root / ".state" / "site" / torn
    file.write_bytes(file.read_bytes()[:-9] if damage is None else damage)
    EDITS["_describe"](place, 6)
    check_as_a_first_build(place)


def test_another_version_of_the_platform_makes_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    reads = []
    whole_mesh = site_build.read_facts
    monkeypatch.setattr(site_build, "read_facts", lambda *given: reads.append(1) or whole_mesh(*given))
    built(place)
    assert reads == []
    monkeypatch.setattr(cache_module, "_version", lambda: "another")
    built(place)
    assert reads == [1]


def test_two_folders_of_one_mesh_do_not_take_each_others_notes_for_their_own(tmp_path: Path) -> None:
    place = mesh_with_a_chain(tmp_path)
    state = place.root / ".state" / "site"
    for number in range(3):
        for name in ("one", "two"):
            EDITS["_describe"](place, 5 + number)
            EDITS["_add_column"](place, 20 + number)
            build_site(Site(place.root, place.root / name, state / "notes"), Cache(state / "cache"), None)
            number += 10
            shutil.rmtree(place.root / "first", ignore_errors=True)
            built(place, "first")
            assert content(place.root / name) == content(place.root / "first")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(4))
def test_a_build_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    place = mesh_with_a_chain(tmp_path)
    built(place)
    EDITS["_add_column"](place, 6)
    whole_write, written = write.write_whole, []

    def stop(path: Path, text: bytes) -> None:
        if path.name != MANIFEST:
            if len(written) == after:
                raise Killed
            written.append(path)
        whole_write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(write, "write_whole", stop)
        with pytest.raises(Killed):
            built(place)
    # The change is undone, and another one made.
    edit_contract(place, PRODUCTS[6], lambda contract: contract["schema"][-1]["properties"].pop())
    EDITS["_describe"](place, 7)
    check_as_a_first_build(place)
