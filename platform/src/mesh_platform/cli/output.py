"""Helpers for commands: options, settings, JSON for programs, a clean stop."""

from __future__ import annotations

import errno
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from mesh_platform.contract.types import number_words
from mesh_platform.errors import UsageError
from mesh_platform.settings import Settings

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json: one JSON value on stdout.",
)


# The call named a path that cannot be written.
_OF_PATHS = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
}


def read_settings() -> Settings:
    """Read the settings. Raises UsageError, which names each wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"MESH_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{wrong}. Correct or unset it.") from None


def to_plain(value: Any) -> Any:
    """Convert a value to JSON types: decimals as strings, times as ISO 8601 in UTC with Z, bytes as text.

    NaN and infinities, which JSON lacks, become the strings of `number_words`.
    """
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
        case time():
            return value.isoformat()
        case date() | Path():
            return value.isoformat() if isinstance(value, date) else str(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case float():
            return number_words(value) or value
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item) for item in value]
        case _:
            return value


def write_json(value: Any) -> None:
    """Write one JSON value to stdout."""
    click.echo(json.dumps(to_plain(value), indent=1, ensure_ascii=False))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise UsageError where the block cannot write `path`, a file or folder that the call names."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_PATHS:
            raise
        raise UsageError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C and SIGTERM as a clean stop, which the yielded function reports. A second signal interrupts."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("Stopping; what is under way is finished first.", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
