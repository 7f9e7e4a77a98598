"""Run SQL with Spark, by Spark Connect: on a server of yours, or on Sail, a server in this process.

Its packages are in requirements/spark.txt; nothing else imports them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mesh_platform.errors import AttentionError, UnavailableError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_MISSING = "{} is not installed here. Run 'make .venv-spark/done', then .venv-spark/bin/mesh; or install {}."
_PORT = 15002
_SECONDS = 10


class Spark:
    """A session of Spark in UTC. Its temporary views last until it ends."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def show(self, name: str, rows: pa.Table) -> None:
        """Let SQL read `rows` as `name`, a name without dots. They are sent to the server."""
        # Without a schema, empty tables have none, and a local time is taken for an instant.
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
        self._session.createDataFrame(rows, schema).createOrReplaceTempView(name)

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a SELECT.

        Raises AttentionError, with Spark's own words, if Spark refuses the query or a row.
        """
        from pyspark.errors import PySparkException

        try:
            return self._session.sql(sql).toArrow()
        except PySparkException as error:
            text = " ".join(str(error).partition("\n\nJVM stacktrace")[0].split())
            raise AttentionError(f"Spark says: {type(error).__name__}: {text}.") from error


@contextmanager
def spark_session(remote: str = "") -> Iterator[Spark]:
    """Lend a session on the server at `remote`, such as `sc://host:15002`; by default on Sail, on loopback.

    Raises UsageError for another form of address, and UnavailableError if a package is missing or no server answers.
    """
    # Sail logs to stderr, and reads this when its module is loaded.
    os.environ.setdefault("RUST_LOG", "error")
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UnavailableError(_MISSING.format("Spark's client", "requirements/spark.txt")) from error
    with _sail() if not remote else _given(remote) as address:
        try:
            session = SparkSession.builder.remote(address).create()
            session.conf.set("spark.sql.session.timeZone", "UTC")
            session.conf.set("spark.sql.ansi.enabled", "true")
        except PySparkException as error:
            shown = _without_token(address)
            raise UnavailableError(f"{shown}: Spark does not answer: {error}. Start it, then run again.") from error
        try:
            yield Spark(session)
        finally:
            session.stop()


@contextmanager
def _given(remote: str) -> Iterator[str]:
    """Check the address first, because Spark's client tries to connect for ten minutes."""
    try:
        parts = urlsplit(remote)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host = None
    if not host or parts.scheme != "sc":
        raise UsageError(f"{_without_token(remote)}: no address of Spark Connect. Write sc://host:port.")
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        shown = _without_token(remote)
        raise UnavailableError(f"{shown}: no server answers: {error}. Start it, or correct the address.") from error
    yield remote


def _without_token(address: str) -> str:
    """Return an address for messages. Its parameters, as in `sc://host:15002/;token=...`, go into no log."""
    return address.partition(";")[0]


@contextmanager
def _sail() -> Iterator[str]:
    try:
        from pysail.spark import SparkConnectServer
    except ImportError as error:
        raise UnavailableError(_MISSING.format("Sail", "requirements/spark.txt")) from error
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        host, port = server.listening_address
        yield f"sc://{host}:{port}"
    finally:
        server.stop()
