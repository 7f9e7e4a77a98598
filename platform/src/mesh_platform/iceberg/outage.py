"""What an error in the lake means: the one place that tells an outage from damage, and both from a fault in the code.

An outage is a service, disk or network that fails or refuses: once it is mended, the same call succeeds. Damage is a
file that is gone or cannot be read: no second try helps. Any other error is a fault in the code, and is not hidden.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mesh_platform.errors import MeshError, NeedsAttention, Unavailable

# A wrong call of the operating system: no disk or network would take it.
_WRONG_CALLS = {errno.ENAMETOOLONG, errno.EBADF}
# Readers of metadata.json and of Avro: whatever their bytes make them raise, the bytes are to blame.
_READERS = {
    "pyiceberg.serializers": ("FromByteStream.", "FromInputFile."),
    "pyiceberg.avro.file": ("AvroFile.", "AvroFileHeader."),
}
# What Arrow says of a damaged Parquet file. It raises the same types for a store that fails and for a wrong cast.
_PARQUET = (
    "Could not open Parquet input source",
    "Unexpected end of stream",
    "deserialize thrift",
    "Corrupt snappy",
    "ZSTD decompression failed",
    "Page was smaller",
    "CRC checksum verification failed",
)
# What DuckDB says of one, in the type that it has for a row it cannot take.
_PARQUET_OF_DUCKDB = ("No magic bytes found", "Failed to read file", "decompression failure")
# DuckDB has one type for a missing file and for a store that fails.
_NO_FILE = ("No such file or directory", "HTTP 404", "404 (Not Found)", "No files found")


def explain(error: BaseException, subject: str, what: str, fix: str) -> MeshError | None:
    """The error to raise for `error`, or None where it is a fault in the code and has to pass as it is.

    An outage becomes Unavailable: `subject` (a table, a file, or nothing), `what` it does not do, the reason, and
    how to `fix` it. Damage becomes NeedsAttention. A MeshError is its own explanation.
    """
    if isinstance(error, MeshError):
        return error
    start = f"{subject}: " if subject else ""
    reason = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
    if is_damage(error):
        return NeedsAttention(
            f"{start}a file that is needed is missing or damaged ({reason}). "
            "No second try mends that: put the file back as it was, from a backup."
        )
    return Unavailable(f"{start}{what} ({reason}). {fix}") if is_outage(error) else None


@contextmanager
def answering(subject: str, what: str, fix: str) -> Iterator[None]:
    """Outages and damage in the block, raised as `explain` says; any other error passes."""
    try:
        yield
    except Exception as error:
        explained = explain(error, subject, what, fix)
        if explained is None or explained is error:
            raise
        raise explained from error


def is_outage(error: BaseException) -> bool:
    """Whether a service, disk or network failed, so that the same call may succeed later."""
    from pyiceberg.exceptions import BadRequestError, RESTError
    from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

    if is_damage(error) or isinstance(error, BadRequestError):
        return False
    if isinstance(error, OSError):
        # What requests and Arrow's S3 raise is an OSError, too.
        return error.errno not in _WRONG_CALLS
    return isinstance(
        error, Unavailable | RESTError | OperationalError | InterfaceError | InternalError
    ) or _is_of_duckdb(error, "IOException")


def is_damage(error: BaseException) -> bool:
    """Whether a file is missing or has other bytes than it had."""
    from pyarrow import ArrowInvalid
    from sqlalchemy.exc import DatabaseError

    if isinstance(error, FileNotFoundError):
        return True
    if _is_of_duckdb(error, "IOException"):
        return any(words in str(error) for words in _NO_FILE)
    if _is_of_duckdb(error, "InvalidInputException"):
        return any(words in str(error) for words in _PARQUET_OF_DUCKDB)
    if isinstance(error, OSError | ArrowInvalid) and any(words in str(error) for words in _PARQUET):
        return True
    # sqlite3 raises its own general class for a file that is no database, or a torn one: sqlalchemy keeps it.
    return type(error) is DatabaseError or (
        not isinstance(error, OSError | MeshError | MemoryError) and _is_of_reading(error)
    )


def _is_of_reading(error: BaseException) -> bool:
    """Whether it was raised by what reads a metadata file of Iceberg."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        begins = _READERS.get(frame.f_globals.get("__name__", ""), ())
        if begins and frame.f_code.co_qualname.startswith(begins):
            return True
    return False


def _is_of_duckdb(error: BaseException, name: str) -> bool:
    # By its name: what knows Iceberg alone does without DuckDB.
    return any(kind.__name__ == name and kind.__module__.lstrip("_") == "duckdb" for kind in type(error).__mro__)
