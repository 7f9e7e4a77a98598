"""Run SQL with Spark, by Spark Connect: on a server of yours, or on Sail, a server in this process.

Its packages are in requirements/spark.txt; nothing else imports them.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
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
# The client waits 50 ms before it asks again, then four times as long each time: 17 s in all. By default: 10 minutes.
_RETRIES = 5
# What Spark and Sail say of a session or a query that they no longer know, because they were started anew.
_FORGOTTEN = ("INVALID_HANDLE", "operation not found")


class Spark:
    """A session of Spark in UTC. Its temporary views last until it ends.

    Its methods raise AttentionError, with Spark's own words, if Spark refuses a query or a row, and UnavailableError
    if it does not answer.
    """

    def __init__(self, session: Any, address: str) -> None:
        self._session, self._address = session, address

    @property
    def name(self) -> str:
        """The engine and its version; of Sail, the version of Spark that it stands for."""
        with _asking(self._address):
            return f"Spark {self._session.version}"

    def register(self, name: str, rows: pa.Table) -> None:
        """Let SQL read `rows` as `name`, a name without dots. They are sent to the server."""
        # Without a schema, empty tables have none, and a local time is taken for an instant.
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
        with _asking(self._address):
            self._session.createDataFrame(rows, schema).createOrReplaceTempView(name)

    def view(self, name: str, query: str) -> None:
        """Let SQL read a SELECT as `name`, a name without dots. Its tables are looked up now, and read later."""
        with _asking(self._address):
            self._session.sql(query).createOrReplaceTempView(name)

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a SELECT."""
        with _asking(self._address):
            return self._session.sql(sql).toArrow()


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
        from pyspark.sql.connect.client.retries import DefaultPolicy
    except ImportError as error:
        raise UnavailableError(_MISSING.format("Spark's client", "requirements/spark.txt")) from error
    # Errors are raised, and need not be logged too.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")
    with _sail() if not remote else _given(remote) as address:
        try:
            session = SparkSession.builder.remote(address).create()
            session.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES)])
            session.conf.set("spark.sql.session.timeZone", "UTC")
            session.conf.set("spark.sql.ansi.enabled", "true")
        except PySparkException as error:
            raise UnavailableError(
                f"{_plain(address)}: Spark does not answer: {_said(error)}. Start it, then run again."
            ) from error
        try:
            yield Spark(session, _plain(address))
        finally:
            # A server that has gone would be asked again and again.
            session.client.set_retry_policies([])
            session.stop()


@contextmanager
def _asking(address: str) -> Iterator[None]:
    from pyspark.errors import PySparkException
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException

    try:
        yield
    except PySparkException as error:
        text = _said(error)
        code = error.getGrpcStatusCode().name if isinstance(error, SparkConnectGrpcException) else ""
        if code == "UNAVAILABLE" or any(words in text for words in _FORGOTTEN):
            raise UnavailableError(
                f"{address}: Spark has stopped answering, or was started anew. Nothing was committed of what it was "
                "to compute. Start it, then run again."
            ) from error
        raise AttentionError(f"Spark says: {type(error).__name__}: {text}.") from error


def _said(error: Exception) -> str:
    """Return the words of an error in one line, without the plan and the stack of the server that follow."""
    text = str(error)
    # Of an error of the connection, the first line says only that there was one.
    details = re.search(r'details = "(.*)"', text)
    return (details[1] if details else next(iter(text.splitlines()), "")).rstrip(".;")


@contextmanager
def _given(remote: str) -> Iterator[str]:
    """Check the address first, because Spark's client tries to connect for ten minutes."""
    try:
        parts = urlsplit(remote)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host = None
    if not host or parts.scheme != "sc":
        raise UsageError(f"{_plain(remote)}: no address of Spark Connect. MESH_SPARK_REMOTE is sc://host:port.")
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        raise UnavailableError(
            f"{_plain(remote)}: no server answers: {error}. Start it, or correct MESH_SPARK_REMOTE."
        ) from error
    yield remote


def _plain(address: str) -> str:
    """Return an address for messages, without its parameters: one of them can be a token."""
    return address.partition(";")[0].rstrip("/")


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
