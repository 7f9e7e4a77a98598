"""A file in an object store takes one request to write, and an Avro file at most one to read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flaky_proxy import Faults, Proxy, flaky_proxy
from lake_services import object_store
from mesh_platform.iceberg.durable_io import DurableFileIO, replace_file
from pyarrow.fs import S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with object_store(tmp_path_factory.mktemp("s3")) as url, flaky_proxy(url) as proxy:
        yield proxy


@pytest.fixture
def properties(store: Proxy) -> dict[str, str]:
    store.seen.clear()
    return {
        "s3.endpoint": store.url,
        "s3.access-key-id": "a",
        "s3.secret-access-key": "b",
        "s3.region": "us-east-1",
        "s3.connect-timeout": "7",
    }


def write(io: PyArrowFileIO, location: str, content: bytes) -> int:
    output = io.new_output(location)
    with output.create(overwrite=True) as file:
        file.write(content[:5])
        file.write(content[5:])
    return len(output)


@pytest.mark.parametrize("name", ["a b.parquet", "ö.avro", "v1.metadata.json"])
def test_a_file_is_written_in_one_request_and_its_size_is_known(
    store: Proxy, properties: dict[str, str], name: str
) -> None:
    assert write(DurableFileIO(properties), f"s3://lake/one/{name}", b"0123456789") == 10
    assert [method for method, _ in store.seen] == ["PUT"]
    plain = PyArrowFileIO(properties).new_input(f"s3://lake/one/{name}")
    assert len(plain) == 10
    with plain.open() as file:
        assert file.read() == b"0123456789"


def test_a_large_file_is_written_in_parts(store: Proxy, properties: dict[str, str]) -> None:
    content = bytes(range(256)) * 4096 * 24
    assert write(DurableFileIO(properties), "s3://lake/large.parquet", content) == len(content)
    assert len(store.seen) > 3
    with PyArrowFileIO(properties).new_input("s3://lake/large.parquet").open() as file:
        assert file.read() == content


def test_an_avro_file_that_was_written_or_read_is_not_fetched_again(store: Proxy, properties: dict[str, str]) -> None:
    write(DurableFileIO(properties), "s3://lake/written.avro", b"written")
    write(PyArrowFileIO(properties), "s3://lake/other.avro", b"of another process")
    store.seen.clear()
    for _ in range(2):
        assert read(properties, "written") == b"written"
        assert read(properties, "other") == b"of another process"
    assert [method for method, _ in store.seen] == ["HEAD", "GET"]


def test_an_avro_file_that_this_process_replaces_has_its_new_content(
    store: Proxy, properties: dict[str, str]
) -> None:
    io = DurableFileIO(properties)
    write(io, "s3://lake/moved.avro", b"before")
    replace_file(io, "s3://lake/moved.avro", b"after")
    assert read(properties, "moved") == b"after"


def test_a_file_that_the_store_refuses_is_not_taken_for_written(store: Proxy, properties: dict[str, str]) -> None:
    store.faults = Faults("403", times=9)
    try:
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            write(DurableFileIO(properties), "s3://lake/refused.avro", b"refused")
    finally:
        store.faults = Faults()
    with pytest.raises(FileNotFoundError):
        read(properties, "refused")


def test_a_file_whose_replacement_fails_is_read_again(store: Proxy, properties: dict[str, str]) -> None:
    io = DurableFileIO(properties)
    write(io, "s3://lake/again.avro", b"before")
    write(PyArrowFileIO(properties), "s3://lake/again.avro", b"after")
    store.faults = Faults("403", times=9)
    try:
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            write(io, "s3://lake/again.avro", b"neither")
    finally:
        store.faults = Faults()
    assert read(properties, "again") == b"after"


def test_all_tables_of_a_process_share_the_connections_of_their_settings(properties: dict[str, str]) -> None:
    def file_system(**changes: str) -> object:
        return DurableFileIO({**properties, **changes}).fs_by_scheme("s3", "lake")

    assert file_system(table="another") is file_system()
    other = file_system(**{"s3.access-key-id": "c"})
    assert other is not file_system()
    assert isinstance(other, S3FileSystem)
    # What the properties say is what pyiceberg makes of them.
    _, (made,) = other.__reduce__()
    _, (plain,) = PyArrowFileIO({**properties, "s3.access-key-id": "c"}).fs_by_scheme("s3", "lake").__reduce__()
    assert made == plain | {"allow_delayed_open": True}


def test_a_retry_strategy_of_ones_own_is_kept(properties: dict[str, str]) -> None:
    own = {**properties, "s3.retry-strategy-impl": "pyarrow.fs.AwsDefaultS3RetryStrategy"}
    assert DurableFileIO(own).fs_by_scheme("s3", "lake") is not DurableFileIO(own).fs_by_scheme("s3", "lake")


def read(properties: dict[str, str], name: str) -> bytes:
    with DurableFileIO(properties).new_input(f"s3://lake/{name}.avro").open() as file:
        return file.read()
