"""Pseudonyms: SQL functions that hash a value with a salt which SQL cannot read.

A pseudonym is SHA-256 of the salt and the value: of a text in 64 hexadecimal digits, of a number as many of its first
bytes as the type has. Without a salt (`sha-256-global`) a list of all ids, hashed, tells whose pseudonym is whose.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh_platform.engine.duckdb import add_function
from mesh_platform.errors import UsageError
from mesh_platform.files import write_once

if TYPE_CHECKING:
    from mesh_platform.contract.types import FieldType
    from mesh_platform.engine.protocol import Connection

# The functions' names begin with it. No query may call them: by guessing it would learn whose pseudonym is whose.
PSEUDONYM = "mesh_pseudonym"
_KEY = "pseudonyms.key"
_BYTES = {"int": 4, "long": 8}


@dataclass(frozen=True)
class Salts:
    """The salts of a session: its own, which is gone with it, and the one that the state folder keeps.

    `state` is that folder; without one the session has no stable pseudonyms.
    """

    session: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    state: Path | None = None

    def named(self, name: str) -> bytes:
        """Return the salt called `none`, `session` or `kept`. Raises UsageError if it keeps none."""
        if name == "kept":
            if self.state is None:
                raise UsageError(
                    "a contract asks for stable pseudonyms, and this session knows no state folder, which keeps "
                    "their key. Open it with Salts(state=settings.state_dir)."
                )
            return kept_key(self.state / _KEY)
        return self.session if name == "session" else b""


def kept_key(path: Path) -> bytes:
    """Return the key in a file of mode 600, which is made where there is none, even if others do so now."""
    write_once(path, secrets.token_bytes(32))
    return path.read_bytes()


def function_name(salt: str, kind: FieldType) -> str:
    """Return the name of the SQL function that hashes values of a type with the salt of this name."""
    return f"{PSEUDONYM}_{salt}_{kind.name}"


def add_pseudonyms(connection: Connection, salts: Salts, wanted: Iterable[tuple[str, FieldType]]) -> None:
    """Define the SQL functions of these (salt, type) in a connection. Raises what `Salts.named` raises."""
    for salt, kind in sorted({*wanted}, key=str):
        add_function(connection, function_name(salt, kind), pseudonyms_of(salts.named(salt), kind), kind)


def pseudonyms_of(salt: bytes, kind: FieldType) -> Callable[[Collection[Any]], list[Any]]:
    """Return the function that hashes values of a type, text, int, long or binary; None stays None."""
    salted = sha256(salt)

    def hashed(value: bytes) -> Any:
        hashing = salted.copy()
        hashing.update(value)
        return hashing

    if kind.name == "string":
        return lambda values: [None if each is None else hashed(each.encode()).hexdigest() for each in values]
    if kind.name == "binary":
        return lambda values: [None if each is None else hashed(each).digest() for each in values]
    size = _BYTES[kind.name]

    def number(value: int) -> int:
        found = hashed(value.to_bytes(size, "little", signed=True)).digest()[:size]
        return int.from_bytes(found, "little", signed=True)

    return lambda values: [None if each is None else number(each) for each in values]
