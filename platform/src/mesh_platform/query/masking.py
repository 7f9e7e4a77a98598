"""Hide personal data from roles: SQL expressions that mask columns by the contracts' classifications and roles.

A column classified `pii` is hidden from every role that its contract does not list.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b

from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.engine.duckdb import add_text_function
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import quoted
from mesh_platform.sql.references import UNKNOWN

PSEUDONYM = "mesh_pseudonym"
# Refused messages can contain anything, so no role sees them.
_AS_SENT = ("raw", "detail")


def reads_all(role: str | None, contract: Contract) -> bool:
    """Whether `role` sees all data of the contract: its own roles do, and so does a session without a role."""
    return role is None or role in contract.roles


def masks(schema: TableSchema, is_quarantine: bool = False) -> dict[str, str]:
    """Map the columns of `schema` that a role may not read to the SQL that it reads instead.

    A text becomes a pseudonym, the same one everywhere in the session, so that tables can still be joined; the member
    'unknown' of a dimension stays. All other types become NULL.
    """
    found = {}
    for field in schema.fields:
        if is_quarantine and field.name in _AS_SENT:
            found[field.name] = "NULL"
        elif field.classification == "pii":
            column = quoted(field.name)
            pseudonym = f"CASE WHEN {column} = '{UNKNOWN}' THEN {column} ELSE {PSEUDONYM}({column}) END"
            found[field.name] = pseudonym if field.type.name == "string" else "NULL"
    return found


def add_pseudonyms(connection: Connection, key: bytes | None = None) -> None:
    """Define the SQL function `PSEUDONYM`, which hashes a text to 32 hexadecimal digits.

    Its key is out of reach of SQL. By default it is random, and gone when the process ends; sessions with the same
    `key`, of up to 64 bytes, have the same pseudonyms.
    """
    key = key or secrets.token_bytes(32)

    def pseudonym(value: str) -> str:
        return blake2b(value.encode(), key=key, digest_size=16).hexdigest()

    add_text_function(connection, PSEUDONYM, pseudonym)
