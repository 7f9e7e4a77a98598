"""`mesh doctor`: whether each service that the settings name answers, in which version, and what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import uuid4

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import MeshError, UnavailableError
from mesh_platform.settings import Settings
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_PATIENCE_S = 5
_MEND = "Start it, or correct PYICEBERG_CATALOG__MESH__*, then run again."
_NONE_YET = "not there yet; the first command that needs it makes it"


class Service(NamedTuple):
    """One service: where it is, without any secret, and how to ask it. `ask` returns what it says of itself."""

    name: str
    where: str
    ask: Callable[[], str]


@click.command(short_help="Ask each service whether it answers, and say what to do.")
@format_option
def doctor(output_format: str) -> None:
    """Ask each service that the settings name whether it answers, in which version, and say what to do if not.

    \b
    mesh doctor

    It asks the broker, the catalog and the storage of the lake, and, where they are set, RabbitMQ's management API,
    Spark, OpenMetadata and Airflow. In the storage it writes, reads and removes one small file. It creates nothing
    else.

    Exit code 3: one does not answer. Exit code 1: one refuses, or is of a version that the mesh is not made for.
    """
    asked = [*services(read_settings())]
    # At once: one that does not answer takes half a minute to be sure.
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = [*pool.map(_answer, asked)]
    rows = [
        {"service": service.name, "where": service.where, "ok": code == 0, "says": says}
        for service, (code, says) in zip(asked, answers, strict=True)
    ]
    if output_format == "json":
        write_json(rows)
    else:
        write_table(rows)
    sys.exit(max(code for code, _ in answers))


def _answer(service: Service) -> tuple[int, str]:
    """The exit code that a service asks for, and what it says or what is wrong with it."""
    try:
        return 0, service.ask()
    except MeshError as error:
        return error.exit_code, str(error)


def services(settings: Settings) -> Iterator[Service]:
    """Yield the services that settings name, in the order in which an event needs them."""
    yield Service("platform", str(settings.state_dir), lambda: _platform(settings))
    yield Service("broker", _place(settings.broker), lambda: _broker(settings))
    if settings.rabbitmq_admin_url.get_secret_value():
        url = settings.rabbitmq_admin_url.get_secret_value()
        yield Service("rabbitmq management", _place(url), lambda: _management(url))
    if not settings.has_lake:
        yield Service("lake", str(settings.state_dir), lambda: _NONE_YET)
    else:
        properties = _lake_properties(settings)
        yield Service("catalog", _place(properties.get("uri", "")), lambda: _catalog(settings))
        yield Service("storage", properties.get("warehouse", ""), lambda: _storage(settings, properties))
    if remote := settings.spark_remote.get_secret_value():
        # A parameter of the address can be a token.
        yield Service("spark", _place(remote.partition(";")[0]), lambda: _spark(remote))
    if settings.openmetadata_url:
        yield Service("openmetadata", _place(settings.openmetadata_url), lambda: _openmetadata(settings))
    port = settings.state_dir / "airflow" / "port"
    if port.exists():
        url = f"http://127.0.0.1:{port.read_text().strip()}"
        yield Service("airflow", url, lambda: _airflow(url))


def _place(url: str) -> str:
    """A URL without user and password; the path of a file as it is."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl() if parts.netloc else url


def _platform(settings: Settings) -> str:
    folder = next(each for each in (settings.state_dir, *settings.state_dir.parents) if each.exists())
    free = shutil.disk_usage(folder).free / 1e9
    parts = [f"{name} {version(name)}" for name in ("pyiceberg", "duckdb", "pyarrow")]
    return f"Python {sys.version.split()[0]}, {', '.join(parts)}; {free:.0f} GB free"


def _broker(settings: Settings) -> str:
    from mesh_platform.broker import connect
    from mesh_platform.mesh.mesh import load_mesh

    if settings.broker.startswith("sqlite:") and not Path(settings.broker.removeprefix("sqlite:///")).exists():
        return _NONE_YET
    queues = [contract.identifier for contract in load_mesh(settings.root).ingested()]
    with connect(settings.broker) as broker:
        depths = broker.depths(queues)
    return f"{len(depths)} of {len(queues)} queues, {counted(sum(depths.values()), 'message waits', 'messages wait')}"


def _spark(remote: str) -> str:
    from mesh_platform.engine.spark import spark_session

    with spark_session(remote) as spark:
        return spark.name


def _management(url: str) -> str:
    from mesh_platform.access.rabbitmq import Management

    found = Management(url).get("overview") or {}
    return f"RabbitMQ {found.get('rabbitmq_version', 'of unknown version')}"


def _lake_properties(settings: Settings) -> Mapping[str, str]:
    from mesh_platform.iceberg.connection import catalog_settings
    from mesh_platform.lake.catalog import CATALOG, embedded_properties

    found = catalog_settings(CATALOG)
    return {name: str(value) for name, value in found.items()} or embedded_properties(settings)


def _catalog(settings: Settings) -> str:
    from mesh_platform.iceberg.outage import answering
    from mesh_platform.lake.catalog import open_catalog

    with answering("", "the catalog does not answer", _MEND):
        catalog: Catalog = open_catalog(settings)
        names = [".".join(name) for name in catalog.list_namespaces()]
    return f"{type(catalog).__name__.removeprefix('Timed')}, namespaces: {', '.join(names) or 'none'}"


def _storage(settings: Settings, properties: Mapping[str, str]) -> str:
    from pyiceberg.io import load_file_io

    from mesh_platform.iceberg.outage import answering
    from mesh_platform.lake.catalog import open_catalog

    with answering("", "the storage does not answer", _MEND):
        catalog: Catalog = open_catalog(settings)
        # A catalog with several warehouses names them, and says where each is.
        warehouse = catalog.properties.get("default-base-location") or properties["warehouse"]
        files = load_file_io({**catalog.properties, **properties}, warehouse)
        place = f"{warehouse.rstrip('/')}/doctor-{uuid4().hex}"
        with files.new_output(place).create() as out:
            out.write(b"doctor")
        with files.new_input(place).open() as file:
            read = file.read()
        files.delete(place)
    if read != b"doctor":
        raise UnavailableError(f"{place}: other bytes came back than were written. Mend the storage.")
    return "a file was written, read and removed"


def _openmetadata(settings: Settings) -> str:
    from mesh_platform.metadata.openmetadata.client import check_server, client_of

    found = check_server(client_of(settings, attempts=2))
    return f"OpenMetadata {found['version']}, token {found['token']}"


def _airflow(url: str) -> str:
    try:
        with urlopen(f"{url}/api/v2/monitor/health", timeout=_PATIENCE_S) as answer:
            return f"healthy ({answer.status})"
    except OSError as error:
        raise UnavailableError(f"{url}: no answer ({error}). Start it with 'scripts/airflow start'.") from None
