"""Classify errors of the lake: the one place that tells an outage from damage, and both from a fault in the code.

An outage is a service, disk or network that fails or refuses: once it is repaired, the same call succeeds. Damage is
a file that is gone or cannot be read: a retry does not help. Any other error is a fault in the code, and is raised
unchanged.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mesh_platform.errors import AttentionError, MeshError, UnavailableError

# Wrong system calls, which no disk or network would accept.
_WRONG_CALLS = {errno.ENAMETOOLONG, errno.EBADF}
# Readers of metadata.json and Avro: whatever error they raise is the fault of the bytes.
_READERS = {
    "pyiceberg.serializers": ("FromByteStream.", "FromInputFile."),
    "pyiceberg.avro.file": ("AvroFile.", "AvroFileHeader."),
}
# Arrow's messages about a damaged Parquet file. It raises the same types for a failing store and for a wrong cast.
_PARQUET = (
    "Could not open Parquet input source",
    "Unexpected end of stream",
    "deserialize thrift",
    "Corrupt snappy",
    "ZSTD decompression failed",
    "Page was smaller",
    "CRC checksum verification failed",
)
# DuckDB's messages about one, raised with the same type as for a row that it cannot process.
_PARQUET_OF_DUCKDB = ("No magic bytes found", "Failed to read file", "decompression failure")
# SQLite's messages about a file with other tables, raised with the same type as for a locked one.
_OTHER_TABLES = ("no such table", "no such column", "has no column named")
# What Arrow, DuckDB and REST catalogs say where a key or token is wrong, has expired or has no right.
_REFUSED = (
    "ACCESS_DENIED", "AccessDenied", "INVALID_ACCESS_KEY_ID", "InvalidAccessKeyId", "SIGNATURE_DOES_NOT_MATCH",
    "SignatureDoesNotMatch", "EXPIRED_TOKEN", "ExpiredToken", "HTTP 401", "HTTP 403",
)  # fmt: skip
# DuckDB raises the same type for a missing file and for a failing store.
_NO_FILE = ("No such file or directory", "HTTP 404", "404 (Not Found)", "No files found")


def explain(error: BaseException, subject: str, what: str, fix: str) -> MeshError | None:
    """Return the error to raise for `error`; None if it is a fault in the code, which must be raised unchanged.

    An outage becomes UnavailableError, whose message has the `subject` (a table, a file, or empty), `what` fails, the
    reason, and how to `fix` it; a refusal, which asks for another key, says so instead. Damage becomes
    AttentionError. A MeshError is returned as it is.
    """
    if isinstance(error, MeshError):
        return error
    start = f"{subject}: " if subject else ""
    reason = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
    if is_damage(error):
        return AttentionError(
            f"{start}a file that is needed is missing or damaged ({reason}). "
            "No second try mends that: put the file back as it was, from a backup."
        )
    if not is_outage(error):
        return None
    if is_refusal(error):
        fix = (
            "Give this process the key or token of a user that may; 'mesh grants' shows who may read and write what."
        )
        return UnavailableError(f"{start}access is refused ({reason}). {fix}")
    return UnavailableError(f"{start}{what} ({reason}). {fix}")


@contextmanager
def answering(subject: str, what: str, fix: str) -> Iterator[None]:
    """Raise outages and damage in the block as what `explain` returns; any other error is raised unchanged."""
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
        # The errors of requests and of Arrow's S3 are OSErrors, too.
        return error.errno not in _WRONG_CALLS
    return isinstance(
        error, UnavailableError | RESTError | OperationalError | InterfaceError | InternalError
    ) or _is_of_duckdb(error, "IOException")


def is_refusal(error: BaseException) -> bool:
    """Whether an outage is the answer of a service that takes this key or token for no right."""
    from pyiceberg.exceptions import AuthorizationExpiredError, ForbiddenError, OAuthError, UnauthorizedError

    if isinstance(error, AuthorizationExpiredError | ForbiddenError | OAuthError | UnauthorizedError):
        return True
    return any(words in str(error) for words in _REFUSED)


def is_damage(error: BaseException) -> bool:
    """Whether a file is missing or has other bytes than it had."""
    from pyarrow import ArrowInvalid
    from sqlalchemy.exc import DatabaseError, OperationalError

    if isinstance(error, FileNotFoundError):
        return True
    if _is_of_duckdb(error, "IOException"):
        return any(words in str(error) for words in _NO_FILE)
    if _is_of_duckdb(error, "InvalidInputException"):
        return any(words in str(error) for words in _PARQUET_OF_DUCKDB)
    if isinstance(error, OSError | ArrowInvalid) and any(words in str(error) for words in _PARQUET):
        return True
    if isinstance(error, OperationalError) and any(words in str(error.orig) for words in _OTHER_TABLES):
        return True
    # sqlite3 raises the general DatabaseError, which sqlalchemy keeps, for a file that is not a database or is torn.
    return type(error) is DatabaseError or (
        not isinstance(error, OSError | MeshError | MemoryError) and _is_of_reading(error)
    )


def _is_of_reading(error: BaseException) -> bool:
    """Whether an error was raised while reading an Iceberg metadata file."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        begins = _READERS.get(frame.f_globals.get("__name__", ""), ())
        if begins and frame.f_code.co_qualname.startswith(begins):
            return True
    return False


def _is_of_duckdb(error: BaseException, name: str) -> bool:
    # By name, because this package does not depend on DuckDB.
    return any(kind.__name__ == name and kind.__module__.lstrip("_") == "duckdb" for kind in type(error).__mro__)
