"""What the platform needs of a connection to a SQL engine; mypy holds DuckDB's connection, and Spark's, to it.

Modules outside `engine` are typed against this, so they can use nothing else of DuckDB. Another engine that is to
replace it also needs what `duckdb` and `sql` of this package have: how to connect, the text that scans a snapshot,
and its errors. The models' SQL is DuckDB's dialect; a protocol cannot state that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import pyarrow as pa


class Result(Protocol):
    """The rows of one query, which are read once."""

    @property
    def description(self) -> Sequence[tuple[Any, ...]]:
        """The columns: the name of each is the first value."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row; None after the last one."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows as tuples."""

    def to_arrow_table(self) -> pa.Table:
        """Return the remaining rows as an Arrow table."""


class Connection(Protocol):
    """One session: its settings, views and registered tables last until it is closed. It leaves a `with` closed."""

    def execute(self, query: str, parameters: Sequence[Any] = ..., /) -> Result:
        """Run one statement; `?` in it are the parameters in their order. Raises `DuckDBError`."""

    def register(self, view_name: str, python_object: object, /) -> object:
        """Let SQL read an Arrow table by this name, without a copy."""

    def unregister(self, view_name: str, /) -> object:
        """Remove the name of an Arrow table."""

    def create_function(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        parameters: Any = ...,
        return_type: Any = ...,
        *,
        type: Any = ...,
    ) -> object:
        """Let SQL call a Python function by this name, with arguments and a result of these SQL types.

        `type` says whether it takes one value, or an Arrow array of many.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...


class Server(Protocol):
    """A session of an engine on a server, which reads the lake's tables itself. Its views last until it ends.

    Raises AttentionError, with the engine's words, if it refuses SQL or a row, and UnavailableError if it does not
    answer.
    """

    @property
    def name(self) -> str:
        """The engine and its version."""

    def view(self, name: str, query: str) -> None:
        """Let SQL read a SELECT as `name`, a name without dots. Its tables are looked up now, and read later."""

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a SELECT."""
