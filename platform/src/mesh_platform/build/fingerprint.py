"""Hash what a table is made of (`model`) and what its rows must satisfy (`rules`).

Each output snapshot records both hashes, and a build compares them with the current ones: a changed `model` rebuilds
all rows, changed `rules` check all rows again. So they hash the meaning of a query, column or check, never the words
of a message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.quality_rule import OnFailure
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.audit import Check
from mesh_platform.sql.relations import site_rows

# Each hash begins with the version of what is hashed. Raise it when that changes, and teach `Fingerprint.recognise`
# the previous version.
_VERSION = "2:"
_NO_COLUMNS = TableSchema("", "", (), (), None, 1)
# What version 1 added to the hash of a table to which builds append and whose key may be in any partition.
_WHOLE = "the key is unique in the whole table"


@dataclass(frozen=True)
class Fingerprint:
    """`model` covers the query, the columns and the rules that hold rows back; `rules` covers all checks.

    `model_1` and `rules_1` are what version 1 recorded for the same.
    """

    model: str
    rules: str
    model_1: str
    rules_1: str

    def recognise(self, model: str | None, rules: str | None) -> tuple[str | None, str | None]:
        """Translate recorded hashes of version 1 that mean the same into the current ones; keep all others."""
        return self.model if model == self.model_1 else model, self.rules if rules == self.rules_1 else rules


def fingerprint(query: str, schema: TableSchema, checks: Sequence[Check], key_anywhere: bool) -> Fingerprint:
    """Return the fingerprint of a table with this schema, made by `query` and subject to `checks`.

    `key_anywhere` means that builds append to the table and its key does not determine the partition, so that the
    key is compared with all rows.
    """
    columns = [(field.name, field.type.name, field.required) for field in schema.fields]
    # Rules that hold rows back decide what the table contains; those that block or warn only look at it.
    holding = [check for check in checks if check.on_failure == "hold"]
    made_of = (query, columns, schema.key, schema.partition)
    model_1 = content_hash(repr((*made_of, [*map(_As1, holding)])).encode())
    rules_1 = content_hash(repr((*map(_As1, checks),)).encode())
    if key_anywhere:
        rules_1 = content_hash(f"{rules_1} {_WHOLE}".encode())
    model = _hash(*made_of, [[*_facts(check), _name(check)] for check in holding])
    return Fingerprint(model, _hash([*map(_facts, checks)], key_anywhere), model_1, rules_1)


def has_checked(rules: str | None, checks: Sequence[Check]) -> bool:
    """Whether `rules`, recorded in a snapshot, covers exactly these checks."""
    made = [fingerprint("", _NO_COLUMNS, checks, key_anywhere) for key_anywhere in (True, False)]
    return rules in {each for found in made for each in (found.rules, found.rules_1)}


def _hash(*facts: object) -> str:
    return _VERSION + content_hash(json.dumps(facts).encode())


def _facts(check: Check) -> list[object]:
    """Return the meaning of a check: its SQL, its bound, and what happens to a table that breaks it."""
    numbers = [str(number) for number in check.bound.numbers]
    return [_noted(check.on_failure), check.bound.operator, numbers, check.failing, check.number, check.is_of_rows]


def _noted(on_failure: OnFailure) -> str:
    # Hashes keep the old word: contracts said quarantine for hold when the first hashes were made.
    return "quarantine" if on_failure == "hold" else on_failure


def _name(check: Check) -> str | None:
    """Return the name that the author gave to a rule; the rows that it holds back record it."""
    return check.name if check.name != check.words else None


class _As1:
    """A check as version 1 hashed it: its Python repr, which includes the words of its messages."""

    _FACTS = ("name", "words", "subject", "on_failure", "bound", "failing", "number", "sample", "is_of_rows")

    def __init__(self, check: Check) -> None:
        self._check = check

    def __repr__(self) -> str:
        facts = {name: getattr(self._check, name) for name in self._FACTS}
        facts["on_failure"] = _noted(self._check.on_failure)
        return f"Check({', '.join(f'{name}={value!r}' for name, value in facts.items())})"


def content_hash(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def sites_hash(mesh: Mesh) -> str:
    """Return a hash of the rows of `mesh.sites`, in 16 hexadecimal digits."""
    return content_hash(json.dumps(site_rows(mesh)).encode())
