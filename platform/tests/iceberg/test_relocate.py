"""A copied or moved lake is refused until `relocate` makes it a lake of its own; the original is not touched."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.expiry import expire
from mesh_platform.iceberg.orphan_files import find_orphans, remove_orphans
from mesh_platform.iceberg.place import within
from mesh_platform.iceberg.relocate import relocate
from mesh_platform.lake.catalog import find_table, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import TableAlreadyExistsError
from pyiceberg.table import Table

from ..moved_lake import (
    NAME,
    add,
    describe,
    make_lake,
    open_lake,
    refusal,
    relocated,
    stop_at,
    tree,
    warehouse,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lake(tmp_path_factory.mktemp("shared") / "öst #1 100%20 'x'")


@pytest.fixture
def original(shared: Path) -> Iterator[Path]:
    """A lake that all tests share and none changes."""
    before = tree(shared)
    yield shared
    assert tree(shared) == before


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[..., Path]:
    """Copies a state folder to a folder with a given name."""
    return lambda original, name="copy": Path(shutil.copytree(original, tmp_path / name))


def test_a_copy_is_refused_with_both_places_and_what_to_do(copy_of: Callable[..., Path], original: Path) -> None:
    copy = copy_of(original)
    before = tree(copy)
    message = refusal(copy)
    assert message.startswith(f"{warehouse(copy)}: this lake was copied or moved")
    assert f"names the files in {warehouse(original)}, such as those of north.sales." in message
    assert "mesh relocate" in message
    assert tree(copy) == before
    assert UsageError.exit_code == 2


def test_a_relocated_copy_says_what_the_original_says_and_goes_its_own_way(
    copy_of: Callable[..., Path], original: Path
) -> None:
    before, said = tree(original), describe(open_lake(original), original)
    copy = copy_of(original)
    done = relocated(copy)
    assert [(each.table, each.mode, each.came_from, each.location, each.snapshots) for each in done] == [
        (name, "relocated", warehouse(original), f"{warehouse(copy)}/{name.replace('.', '/')}", snapshots)
        for name, snapshots in ((NAME, 4), ("south.sales", 3))
    ]
    assert all(each.rewritten > 7 for each in done)
    assert describe(open_lake(copy), copy) == said
    after = tree(copy)
    assert [each.mode for each in relocated(copy)] == ["noop", "noop"]
    assert tree(copy) == after

    catalog = open_lake(copy)
    add(catalog.load_table(NAME), 100, 3)
    maintain(lambda: catalog.load_table(NAME))
    assert catalog.load_table(NAME).scan(snapshot_id=tagged(copy)).to_arrow().num_rows == 8
    # The copy's history names no old paths, so no file that readers still need is an orphan.
    assert tree(original) == before
    assert describe(open_lake(original), original) == said


def tagged(state: Path) -> int:
    return open_lake(state).load_table(NAME).refs()["r1"].snapshot_id


def maintain(load: Callable[[], object]) -> None:
    """Compact, expire, and remove orphans of any age."""
    now = datetime.now(UTC)
    assert compact(load).files > 0  # type: ignore[arg-type]
    expire(load, timedelta(0), lambda: (), now)  # type: ignore[arg-type]
    removed: list[int] = []
    remove_orphans(load, now + timedelta(hours=1), removed.append)  # type: ignore[arg-type]
    assert removed


@pytest.mark.parametrize("name", ["ö 和 #1", "100%[x]*", "a%20b {0}"])
def test_places_of_any_name(copy_of: Callable[..., Path], original: Path, name: str) -> None:
    said = describe(open_lake(original), original)
    first = copy_of(original, name)
    relocated(first)
    second = copy_of(first, f"{name} again")
    relocated(second)
    assert describe(open_lake(second), second) == describe(open_lake(first), first) == said


@pytest.mark.parametrize(
    ("location", "place", "lies"),
    [
        ("/a/lake/t", "/a/lake", True),
        ("/a/lake", "/a/lake/", True),
        ("/a/lake2/t", "/a/lake", False),
        ("/a/lake", "/a/lake/t", False),
        ("file:///a/lake/t", "/a/lake", True),
        ("file:/a/lake/t", "file:///a/lake", True),
        ("/a b/ü#%20/t", "file:///a b/ü#%20/", True),
        ("/a b/ü# /t", "/a b/ü#%20", False),
        ("s3a://b/lake/t", "s3://b/lake/", True),
        ("s3://b/lake-old/t", "s3://b/lake", False),
        ("s3://b/lake", "/b/lake", False),
    ],
)
def test_borders_of_a_path_count(location: str, place: str, lies: bool) -> None:
    assert within(location, place) == lies


def test_old_places_may_be_given_as_state_folder_or_warehouse(copy_of: Callable[..., Path], original: Path) -> None:
    for number, old in enumerate((str(original), warehouse(original), f"file://{warehouse(original)}/")):
        copy = copy_of(original, f"copy{number}")
        assert {each.mode for each in relocated(copy, old)} == {"relocated"}
        open_lake(copy)
        # If the old place is given again, everything is examined and nothing is found.
        assert {each.mode for each in relocated(copy, old)} == {"noop"}


def test_a_place_that_is_not_the_old_one_is_refused(copy_of: Callable[..., Path], original: Path) -> None:
    copy = copy_of(original)
    before = tree(copy)
    with pytest.raises(UsageError, match=re.escape(f"north.sales lies in {warehouse(original)}. Name that")):
        relocated(copy, "/elsewhere")
    with pytest.raises(UsageError, match="one lies in the other"):
        relocated(copy, f"{warehouse(copy)}/old", warehouse(original))
    assert tree(copy) == before


def test_tables_of_several_places_and_of_unknown_ones(copy_of: Callable[..., Path], original: Path) -> None:
    said = describe(open_lake(original), original)
    copy = copy_of(original)
    with sqlite3.connect(copy / "catalog.db") as catalog:
        catalog.execute(
            "UPDATE iceberg_tables SET metadata_location = replace(metadata_location, ?, '/gone/lake') "
            "WHERE table_namespace = 'south'",
            [warehouse(original)],
        )
    places = ", ".join(sorted(["/gone/lake", warehouse(original)]))
    with pytest.raises(UsageError, match=re.escape(f"several places: {places}")):
        relocated(copy)
    assert {each.mode for each in relocated(copy, "/gone/lake", warehouse(original))} == {"relocated"}
    assert describe(open_lake(copy), copy) == said

    odd = copy_of(original, "odd")
    with sqlite3.connect(odd / "catalog.db") as catalog:
        catalog.execute("UPDATE iceberg_tables SET table_name = 'sold' WHERE table_namespace = 'south'")
    with pytest.raises(UsageError, match=r"south\.sold: .* Name that with --from"):
        relocated(odd)
    assert {each.table for each in relocated(odd, str(original))} == {NAME, "south.sold"}


def files_named(state: Path) -> dict[str, Path]:
    """Return a file of each kind that a table's states need."""
    table = open_lake(state).load_table(NAME)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    (manifest, *_) = snapshot.manifests(table.io)
    return {
        "metadata": Path(table.metadata_location),
        "list": Path(snapshot.manifest_list),
        "manifest": Path(manifest.manifest_path),
        "data": Path(next(iter(table.scan().plan_files())).file.file_path),
    }


@pytest.mark.parametrize("kind", ["metadata", "list", "manifest", "data"])
@pytest.mark.parametrize("how", ["missing", "half", "empty"])
def test_a_torn_copy_is_refused_before_anything_is_changed(
    copy_of: Callable[..., Path], original: Path, kind: str, how: str
) -> None:
    copy = copy_of(original)
    torn = copy / files_named(original)[kind].relative_to(original)
    content = torn.read_bytes()
    torn.unlink()
    if how != "missing":
        torn.write_bytes(content[: len(content) // 2] if how == "half" else b"")
    before = tree(copy)
    with pytest.raises(AttentionError) as raised:
        relocated(copy)
    assert f"  north.sales: {torn}" in str(raised.value)
    assert "Nothing was changed" in str(raised.value)
    assert tree(copy) == before
    torn.write_bytes(content)
    assert {each.mode for each in relocated(copy)} == {"relocated"}


def test_avro_cut_between_two_blocks_is_torn(copy_of: Callable[..., Path], original: Path) -> None:
    copy = copy_of(original)
    named = files_named(original)
    for kind in ("manifest", "list"):
        torn = copy / named[kind].relative_to(original)
        content = torn.read_bytes()
        # Its header ends with the sync marker that ends each block.
        torn.write_bytes(content[: content.index(content[-16:]) + 16])
        with pytest.raises(AttentionError, match=str(torn)):
            relocated(copy)
        torn.write_bytes(content)


def test_former_metadata_may_be_gone_and_is_rewritten_where_it_is_not(
    copy_of: Callable[..., Path], original: Path
) -> None:
    copy = copy_of(original)
    log = open_lake(original).load_table(NAME).metadata.metadata_log
    first, second = (copy / Path(entry.metadata_file).relative_to(original) for entry in log[:2])
    first.unlink()
    relocated(copy)
    assert str(original) + "/" not in second.read_text()
    table = open_lake(copy).load_table(NAME)
    assert [entry.metadata_file for entry in table.metadata.metadata_log][:2] == [str(first), str(second)]
    assert find_orphans(table, datetime.now(UTC) - timedelta(hours=1)) == {}


POINTS = ["relocate.noted", *(f"relocate.replaced:{n}" for n in (1, 9, 20)), "relocate.rewritten"]


@pytest.mark.parametrize("point", [*POINTS, "commit.pointing:1", "commit.pointing:2"])
def test_killed_at_any_point_it_is_refused_and_the_next_call_finishes(
    copy_of: Callable[..., Path], original: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, before = describe(open_lake(original), original), tree(original)
    copy = copy_of(original)
    stop_at(copy, point, monkeypatch)
    message = refusal(copy)
    assert "mesh relocate" in message
    assert ("has not ended" in message) == (point != "commit.pointing:1")
    assert {each.mode for each in relocated(copy)} == {"relocated"}
    assert describe(open_lake(copy), copy) == said
    assert {each.mode for each in relocated(copy)} == {"noop"}
    assert tree(original) == before


def test_links_to_the_original_are_not_followed(copy_of: Callable[..., Path], original: Path, tmp_path: Path) -> None:
    before = tree(original)
    copy = copy_of(original)
    data = copy / "warehouse" / "south" / "sales" / "data"
    shutil.rmtree(data)
    data.symlink_to(original / "warehouse" / "south" / "sales" / "data")
    with pytest.raises(UsageError, match="by another name or by a link"):
        relocated(copy)
    whole = tmp_path / "whole"
    whole.mkdir()
    shutil.copy(original / "catalog.db", whole)
    (whole / "warehouse").symlink_to(original / "warehouse")
    assert "was copied or moved" in refusal(whole)
    with pytest.raises(UsageError, match="by another name or by a link"):
        relocated(whole)
    assert tree(original) == before


def test_hard_links_to_the_original_are_broken(original: Path, tmp_path: Path) -> None:
    before, said = tree(original), describe(open_lake(original), original)
    copy = Path(shutil.copytree(original, tmp_path / "copy", copy_function=os.link))
    with pytest.raises(UsageError, match=r"copy/catalog\.db: it has another name too \(a hard link\)"):
        relocated(copy)
    assert tree(original) == before
    (copy / "catalog.db").unlink()
    shutil.copy(original / "catalog.db", copy)
    relocated(copy)
    assert describe(open_lake(copy), copy) == said
    assert tree(original) == before


@pytest.mark.parametrize(
    "linked", ["catalog.db", "broker.db", "lineage.jsonl", "*.parquet", "*.avro", "*.metadata.json"]
)
def test_a_file_that_is_a_link_to_the_original_is_refused(
    copy_of: Callable[..., Path], original: Path, tmp_path: Path, linked: str
) -> None:
    copy = copy_of(original)
    file = next(iter(sorted(copy.rglob(linked))), copy / linked)
    target = original / file.relative_to(copy)
    if not target.exists():
        # The lake of these tests has only a catalog and a warehouse.
        target = tmp_path / linked
        target.touch()
        file.touch()
    file.unlink()
    file.symlink_to(target)
    before = tree(original)
    with pytest.raises(UsageError, match=rf"{re.escape(str(file))}: it is a link to .*[Nn]othing was changed"):
        relocated(copy)
    assert tree(original) == before
    file.unlink()
    shutil.copy(target, file)
    assert {each.mode for each in relocated(copy)} == {"relocated"}


def test_a_catalog_that_is_named_by_a_uri_of_sqlite_is_relocated(
    copy_of: Callable[..., Path], original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(original)
    # The files in the current folder are not the lake's.
    (tmp_path / "notes").symlink_to(copy)
    monkeypatch.chdir(tmp_path)
    catalog = load_catalog("mesh", uri="sqlite:///file:copy/catalog.db?uri=true", warehouse=str(warehouse(copy)))
    assert {each.mode for each in relocate(catalog)} == {"relocated"}


def test_a_warehouse_written_as_a_url_is_the_same_place(original: Path) -> None:
    catalog = load_catalog("mesh", uri=f"sqlite:///{original}/catalog.db", warehouse=f"file://{original}/warehouse/")
    assert {each.mode for each in relocate(catalog)} == {"noop"}


def register_copy(original: Path, other: Path) -> Path:
    """Copy a table into another lake, and register it there; its metadata file, relative to the state folder."""
    catalog = open_lake(other)
    shutil.copytree(original / "warehouse" / "north", other / "warehouse" / "north")
    catalog.create_namespace("north")
    at = Path(open_lake(original).load_table(NAME).metadata_location).relative_to(original)
    catalog.register_table(NAME, str(other / at))
    return at


def test_a_table_registered_from_a_copy_is_refused_and_relocated(original: Path, tmp_path: Path) -> None:
    """The files of a table were copied, and its metadata file registered in a new, correct catalog."""
    before = tree(original)
    said = describe(open_lake(original), original)[NAME]
    other = tmp_path / "other"
    at = register_copy(original, other)
    with pytest.raises(UsageError, match=rf"{NAME}: its metadata file {other / at} lies outside of the table's own"):
        find_table(open_catalog(Settings(root=other.parent, state=other)), NAME)
    (done,) = relocated(other)
    assert (done.mode, done.came_from) == ("relocated", f"{warehouse(original)}/north/sales")
    assert find_table(open_lake(other), NAME) is not None
    assert describe(open_lake(other), other)[NAME] == said
    assert tree(original) == before


class Keeping:
    """A catalog of one table that keeps the metadata that it has read, as some REST catalogs do."""

    name, properties = "mesh", dict[str, str]()

    def __init__(self, own: Catalog) -> None:
        self._own, self._kept = own, own.load_table(NAME)
        self.list_namespaces = own.list_namespaces
        self.fails: Exception | None = None

    def list_tables(self, _namespace: object) -> list[tuple[str, ...]]:
        return [self._kept.name()]

    def load_table(self, _name: object) -> Table:
        return self._kept

    def register_table(self, name: str, _metadata: str, overwrite: bool) -> None:
        assert overwrite
        if self.fails:
            raise self.fails
        self._kept = self._own.load_table(name)


def test_only_a_catalog_that_refuses_asks_for_the_table_to_be_dropped(original: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other"
    register_copy(original, copy)
    keeping = Keeping(open_lake(copy))
    catalog = cast("Catalog", keeping)
    keeping.fails = ConnectionError("refused")
    with pytest.raises(UnavailableError, match=r"^the lake does not answer \(refused\)\. .* then relocate again\.$"):
        relocate(catalog)
    keeping.fails = TableAlreadyExistsError("it is there")
    with pytest.raises(AttentionError, match=r"again \(it is there\)\. Drop the table"):
        relocate(catalog)
    keeping.fails = None
    relocate(catalog)
    assert find_table(catalog, NAME) is not None
    assert catalog.load_table(NAME).location() == f"{warehouse(copy)}/north/sales"


def test_a_lake_that_is_where_it_was_is_not_touched(original: Path, tmp_path: Path) -> None:
    before = tree(original)
    done = relocated(original)
    assert [(each.mode, each.rewritten, each.came_from) for each in done] == [("noop", 0, None)] * 2
    assert tree(original) == before
    assert relocated(tmp_path / "new") == []
