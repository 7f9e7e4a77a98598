"""A copied S3 prefix, and a copy that a REST catalog knows: refused, and relocated as far as a catalog lets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from copied_lake import NAME, content, fill, open_lake, states, use
from lake_services import object_store, rest_catalog
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.relocate import relocate
from mesh_platform.lake.catalog import find_table
from pyarrow.fs import S3FileSystem
from pyiceberg.catalog import load_catalog


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_store(tmp_path_factory.mktemp("s3")) as url:
        yield url


def test_a_copied_prefix_becomes_a_lake_of_its_own(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = {"s3.endpoint": store, "s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.region": "us-east-1"}
    old, new = "s3://lake/old ö", "s3://lake/old ö-new"

    def properties(place: str, database: str) -> dict[str, str]:
        return {"type": "sql", "uri": f"sqlite:///{tmp_path}/{database}", "warehouse": place, **s3}

    use(monkeypatch, properties(old, "old.db"))
    fill(open_lake())
    said = states(open_lake())
    files = S3FileSystem(access_key="a", secret_key="b", endpoint_override=store, region="us-east-1")
    before = content(files, "lake/old ö")
    for path, data in before.items():
        with files.open_output_stream(path.replace("ö/", "ö-new/")) as copy:
            copy.write(data)
    shutil.copy(tmp_path / "old.db", tmp_path / "new.db")

    use(monkeypatch, properties(new, "new.db"))
    with pytest.raises(
        UsageError, match=f"{new}: this lake was copied or moved, .* the files in {old}, such as those of {NAME}"
    ):
        open_lake()
    missing = next(path for path in before if path.endswith(".parquet")).replace("ö/", "ö-new/")
    data = files.open_input_stream(missing).read()
    files.delete_file(missing)
    with pytest.raises(AttentionError, match="1 is not here"):
        relocate(open_lake(copied=True))
    with files.open_output_stream(missing) as copy:
        copy.write(data)
    (done,) = relocate(open_lake(copied=True))
    assert (done.mode, done.came_from, done.location) == ("relocated", old, f"{new}/north/sales")
    assert states(open_lake()) == said
    assert [each.mode for each in relocate(open_lake())] == ["noop"]
    assert [each.mode for each in relocate(open_lake(), [old])] == ["noop"]
    left = [data for path, data in content(files, "lake/old ö-new").items() if path.endswith(".json")]
    assert not any(f"{old}/".encode() in data for data in left)
    table = open_lake().load_table(NAME)
    append_rows(table, pa.table([[9], ["b"]], schema=table.schema().as_arrow()))
    assert content(files, "lake/old ö") == before
    use(monkeypatch, properties(old, "old.db"))
    assert states(open_lake()) == said


def test_a_warehouse_whose_url_ends_early_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiceberg takes `s3://lake/a#1/north/...` for the object `a`, whatever follows."""
    for place in ("s3://lake/a#1", "s3://lake/a?b"):
        use(monkeypatch, {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": place})
        with pytest.raises(UsageError, match="must have no '#'"):
            open_lake()


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rest_catalog(tmp_path_factory.mktemp("rest")) as url:
        yield url


def test_a_copy_that_a_rest_catalog_knows_is_relocated_in_its_files(
    rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    other = load_catalog("other", type="sql", uri=f"sqlite:///{tmp_path}/other.db", warehouse=str(old))
    fill(other)
    said = states(other)
    shutil.copytree(old, new)
    at = Path(other.load_table(NAME).metadata_location).relative_to(old)

    use(monkeypatch, {"type": "rest", "uri": rest})
    catalog = open_lake()
    catalog.create_namespace("north")
    catalog.register_table(NAME, str(new / at))
    with pytest.raises(UsageError, match=f"lies outside of the table's own folder {old}/north/sales"):
        find_table(open_lake(), NAME)
    with pytest.raises(UsageError, match=f"--from /elsewhere: {NAME} comes from {old}/north/sales"):
        relocate(open_lake(copied=True), ["/elsewhere"])
    shutil.move(old, tmp_path / "gone")
    (done,) = relocate(open_lake(copied=True))
    assert (done.mode, done.came_from, done.location) == ("relocated", f"{old}/north/sales", f"{new}/north/sales")
    assert find_table(open_lake(), NAME) is not None
    assert states(open_lake()) == said
    assert [each.mode for each in relocate(open_lake(copied=True))] == ["noop"]
    with pytest.raises(UsageError, match="does not say where its own warehouse is"):
        relocate(open_lake(copied=True), [str(new)])
