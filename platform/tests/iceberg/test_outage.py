"""Outages, damage and faults in the code are told apart."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from mesh_platform.broker import Broker, Message, connect, queue_of
from mesh_platform.broker.rabbit_connection import explain as explain_rabbit
from mesh_platform.broker.rabbit_connection import parse_url
from mesh_platform.cli import main
from mesh_platform.errors import AttentionError, MeshError, UnavailableError
from mesh_platform.iceberg import append, commit
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.outage import answering, explain
from mesh_platform.ingest.ingest import Ingested, ingest
from mesh_platform.lake.catalog import arrow_schema, ensure_table, find_table, open_catalog
from mesh_platform.lake.evolution import evolve
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.rollback import roll_back
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.settings import Settings
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.exceptions import AMQPConnectionError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitStateUnknownException,
    ForbiddenError,
    OAuthError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationError,
)
from pyiceberg.table import Table
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout
from sqlalchemy.exc import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from ..changed_contract import say
from ..maintained import make_table, open_lake, put
from ..small_mesh import EVENT, SALE, Place, Sale, small_mesh

ALPHA, RAW = "alpha.sales_alpha", "alpha.sales_alpha__raw"
OUTAGES = (
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError("When reading information for key 'k': AWS Error NETWORK_CONNECTION during HeadObject operation"),
    TimeoutError("timed out"),
    ConnectionResetError("reset"),
    NoConnection("refused"),
    ReadTimeout("Read timed out."),
    ServerError("500"),
    ServiceUnavailableError("503"),
    TooManyRequestsError("429"),
    CommitStateUnknownException("504"),
    OperationalError("s", {}, Exception("database is locked")),
    InterfaceError("s", {}, Exception("connection already closed")),
    duckdb.IOException("IO Error: Connection error for HTTP HEAD"),
)
REFUSALS = (
    ForbiddenError("no right"),
    UnauthorizedError("no such user"),
    OAuthError("no token"),
    OSError("When reading information for key 'k': AWS Error ACCESS_DENIED during HeadObject operation"),
    OSError("When uploading part for key 'k': AWS Error UNKNOWN (HTTP status 403): InvalidAccessKeyId"),
    duckdb.HTTPException("HTTP Error: HTTP GET error reading 'http://store/k' (HTTP 403 Forbidden)"),
)
DAMAGES = (
    FileNotFoundError(errno.ENOENT, "Failed to open local file 'x.parquet'"),
    DatabaseError("s", {}, Exception("database disk image is malformed")),
    OperationalError("s", {}, Exception("no such table: iceberg_tables")),
    OSError("Could not open Parquet input source '<Buffer>': Couldn't deserialize thrift: invalid"),
    pa.ArrowInvalid("Could not open Parquet input source '<Buffer>': Parquet file size is 0 bytes"),
    duckdb.IOException('IO Error: Cannot open file "x.avro": No such file or directory'),
)
FAULTS = (
    TypeError("unsupported operand"),
    KeyError("x"),
    AttributeError("x"),
    ValueError("x"),
    AssertionError(),
    pa.ArrowInvalid("Casting from timestamp would lose data"),
    ValidationError("x"),
    BadRequestError("malformed"),
    ProgrammingError("s", {}, Exception("syntax")),
    IntegrityError("s", {}, Exception("unique")),
    OSError(errno.ENAMETOOLONG, "File name too long"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
)


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
def test_an_outage_says_what_fails_why_and_how_to_mend_it(error: Exception) -> None:
    found = explain(error, "shop.sales", "the lake does not answer", "Mend it, then run again.")
    assert isinstance(found, UnavailableError)
    reason = str(error).splitlines()[0].rstrip(".")
    assert str(found) == f"shop.sales: the lake does not answer ({reason}). Mend it, then run again."


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
def test_a_refusal_is_told_as_one_and_asks_for_another_key(error: Exception) -> None:
    found = explain(error, "shop.sales", "the lake does not answer", "Mend it, then run again.")
    assert isinstance(found, UnavailableError)
    assert str(found).startswith("shop.sales: access is refused (")
    assert "'mesh grants'" in str(found)
    assert "does not answer" not in str(found)


@pytest.mark.parametrize("error", DAMAGES, ids=repr)
def test_damage_is_no_outage(error: Exception) -> None:
    found = explain(error, "shop.sales", "the lake does not answer", "Mend it, then run again.")
    assert isinstance(found, AttentionError)
    assert str(found).startswith("shop.sales: a file that is needed is missing or damaged (")


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_any_other_error_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, answering("", "the lake fails", "Mend it."):
        raise error
    assert caught.value is error


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoil(content: bytes) -> bytes:
    third = len(content) // 3
    return content[:third] + bytes(255 - byte for byte in content[third : third + 40]) + content[third + 40 :]


@pytest.mark.parametrize("way", [None, cut, spoil, lambda content: b"", lambda content: bytes(len(content))])
@pytest.mark.parametrize("kind", ["metadata", "list", "manifest", "data"])
def test_a_file_of_a_table_that_is_gone_or_damaged_is_told_as_that(
    tmp_path: Path, kind: str, way: Callable[[bytes], bytes] | None
) -> None:
    table = make_table(open_lake(tmp_path))()
    put(table, 1)
    table.refresh()
    snapshot = table.current_snapshot()
    assert snapshot is not None
    location = {
        "metadata": lambda: table.metadata_location,
        "list": lambda: snapshot.manifest_list,
        "manifest": lambda: snapshot.manifests(table.io)[0].manifest_path,
        "data": lambda: next(iter(table.scan().plan_files())).file.file_path,
    }[kind]()
    path = Path(location.removeprefix("file://"))
    if way is None:
        path.unlink()
    else:
        path.write_bytes(way(path.read_bytes()))
    with pytest.raises(AttentionError, match="a file that is needed is missing or damaged"):
        read_all(open_lake(tmp_path), ".".join(table.name()))


@answering("", "the lake does not answer", "Mend it.")
def read_all(catalog: Catalog, name: str) -> None:
    table = find_table(catalog, name)
    assert table is not None
    table.scan().to_arrow()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def wrong(*arguments: Any, **options: Any) -> Any:
    raise TypeError("unsupported operand type(s)")


def append_one(place: Place) -> None:
    contract = place.mesh.contracts[ALPHA]
    shape = landing_schema(contract)
    schema = arrow_schema(shape)
    found = place.catalog.load_table(RAW).scan().to_arrow().slice(0, 1)
    new = pa.array(["alpha-9999"], schema.field("event_id").type)
    rows = found.select(schema.names).cast(schema)
    rows = rows.set_column(schema.names.index("event_id"), schema.field("event_id"), new)

    def load() -> Table:
        return ensure_table(place.catalog, landing_name(contract), shape)

    append_new(load, rows, "event_id", "event_time")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (append, "commit_files"),
        (append, "write_files"),
        (append, "current_snapshot_id"),
        (commit.CheapTransaction, "commit_transaction"),
    ],
)
def test_a_fault_in_an_append_is_no_outage_and_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, target: object, name: str
) -> None:
    place.land("alpha", [Sale(1)])
    monkeypatch.setattr(append.time, "sleep", lambda seconds: pytest.fail("it was tried again"))
    with monkeypatch.context() as broken:
        broken.setattr(target, name, wrong)
        with pytest.raises(TypeError, match="unsupported operand"):
            append_one(place)
    append_one(place)
    assert sorted(place.rows(RAW, "event_id")) == [("alpha-0001",), ("alpha-9999",)]


@pytest.mark.parametrize("method", ["load_table", "create_table", "create_namespace"])
def test_a_fault_in_the_catalog_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    place = small_mesh(tmp_path)
    contract = place.mesh.contracts[ALPHA]
    catalog = open_catalog(Settings(root=tmp_path, state=Path("another")))
    monkeypatch.setattr(catalog, method, wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        ensure_table(catalog, landing_name(contract), landing_schema(contract))


def test_a_fault_while_a_catalog_is_opened_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_platform.iceberg.connection._outlive_power_loss", wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        open_catalog(Settings(root=tmp_path, state=Path("state")))


def test_a_fault_in_evolve_is_no_outage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.land("alpha", [Sale(1)])
    say(place, EVENT | {"note": "string"}, SALE)
    monkeypatch.setattr("mesh_platform.lake.evolution._change_schema", wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        evolve(place.catalog, place.mesh.contracts[ALPHA])


def test_a_fault_in_a_rollback_is_no_outage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.land("alpha", [Sale(1)])
    place.land("alpha", [Sale(2)])
    monkeypatch.setattr(Table, "manage_snapshots", wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        roll_back(place.mesh, place.catalog, RAW, first)


def test_a_fault_in_a_build_is_no_outage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.land("alpha", [Sale(1)])
    monkeypatch.setattr("mesh_platform.build.table.replace_files", wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        place.build(ALPHA)


def test_a_fault_in_maintenance_is_no_outage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.land("alpha", [Sale(1)])
    monkeypatch.setattr("mesh_platform.lake.maintain.compact", wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        maintain(place.mesh, place.catalog, [RAW])


def test_an_outage_while_a_table_is_maintained_leaves_the_others_to_be_maintained(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.land("alpha", [Sale(1)])

    def full(*arguments: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mesh_platform.lake.maintain.compact", full)
    done = maintain(place.mesh, place.catalog, [RAW])
    assert [each.failed for each in done] == [True]
    assert "the storage fails ([Errno 28] No space left on device). Mend it, then maintain again." in str(
        done[0].skipped
    )


@pytest.fixture
def broker(place: Place) -> Iterator[Broker]:
    with connect(f"sqlite:///{place.root}/broker.db") as broker:
        yield broker


def run(place: Place, broker: Broker) -> Ingested:
    contract = place.mesh.contracts[ALPHA]
    (result,) = ingest(place.catalog, broker, [contract], lambda: datetime.now(UTC), until_empty=True)
    return result


@pytest.mark.parametrize(
    "target",
    [
        "iceberg.append.commit_files",
        "ingest.ingest.append_new",
        "ingest.ingest.validate",
        "lake.catalog.compare",
        "iceberg.append.current_snapshot_id",
    ],
)
def test_a_fault_in_ingest_acknowledges_nothing(
    place: Place, broker: Broker, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    queue = queue_of(place.mesh.contracts[ALPHA])
    broker.declare([queue])
    broker.publish(queue, [Message(b"no json", "m1"), Message(b"neither", "m2")], lambda message: None)
    with monkeypatch.context() as broken:
        broken.setattr(f"mesh_platform.{target}", wrong)
        with pytest.raises(TypeError, match="unsupported operand"):
            run(place, broker)
    assert broker.depth(queue.name) == 2
    assert run(place, broker).quarantined == 2
    assert broker.depth(queue.name) == 0


def test_a_fault_of_a_callback_is_no_outage_of_rabbitmq() -> None:
    parameters = parse_url("amqp://guest:guest@127.0.0.1:1/")
    fault = TypeError("unsupported operand")
    assert explain_rabbit(fault, parameters) is fault
    assert isinstance(explain_rabbit(AMQPConnectionError("gone"), parameters), UnavailableError)
    assert isinstance(explain_rabbit(AMQPConnectionError(OSError("refused")), parameters), UnavailableError)
    assert isinstance(explain_rabbit(MeshError("known"), parameters), MeshError)
    # The error of pika for a server that accepts a connection and never answers.
    assert isinstance(explain_rabbit(AMQPConnectorStackTimeout("silent"), parameters), UnavailableError)


SCRIPT = """
from mesh_platform import cli
cli.faults.check = lambda: {}["x"]
cli.main(["status"])
"""


def test_the_command_line_says_of_a_fault_that_it_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("KeyError: this is a fault in the code, not in your data")


LONG = "p" * 300


@pytest.mark.parametrize(
    ("words", "settings", "named"),
    [
        (["views", "/proc/x.duckdb"], {}, "/proc/x.duckdb: cannot be written"),
        (["views", f"/tmp/{LONG}"], {}, f"/tmp/{LONG}: "),
        (["catalog", "build", "--no-lake", "--out", "/proc/x"], {}, "/proc/x: cannot be written"),
        (["catalog", "build", "--no-lake", "--out", f"/tmp/{LONG}"], {}, f"/tmp/{LONG}: cannot be written"),
        (["export", "odps", "all", "--out", "/proc/x"], {}, "/proc/x: cannot be written"),
        (["export", "odps", "all", "--out", "/dev/null"], {}, "/dev/null: cannot be written"),
        (["export", "openmetadata", "--out", "/proc/x"], {}, "/proc/x: cannot be written"),
        (["status"], {"MESH_STATE": f"/tmp/{LONG}"}, f"/tmp/{LONG}: File name too long"),
        (["status"], {"MESH_ROOT": f"/tmp/{LONG}"}, f"/tmp/{LONG}/domains: File name too long"),
    ],
)
def test_a_path_that_the_call_names_is_no_fault_in_the_code(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    settings: dict[str, str],
    named: str,
) -> None:
    place.catalog.create_namespace_if_not_exists("alpha")
    for name, value in ({"MESH_ROOT": str(place.root)} | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2, told
    assert told.splitlines()[-1].startswith(named)
    assert "Traceback" not in told


def test_an_output_that_is_full_is_no_fault_in_the_code() -> None:
    command = [sys.executable, "-c", "from mesh_platform.cli import main; main(['faults', 'list'])"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        3,
        "a file or the output: No space left on device. Mend that disk, then run again.\n",
    )
