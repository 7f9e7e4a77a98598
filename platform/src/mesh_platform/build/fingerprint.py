"""What a table is made of and what its rows are held to, as two hashes that its snapshots note.

A build compares them with those of today: another `model` makes all rows again, other `rules` look at all rows again.
So they hash what a query, a column and a check are, never the words of a message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_platform.contract.contract import Shape
from mesh_platform.contract.quality_rule import OnFailure
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.audit import Check
from mesh_platform.sql.relations import site_rows

# Each hash begins with the version of what is hashed. Raise it where that changes, and let `Fingerprint.recognise`
# know the one before.
_VERSION = "2:"
# What version 1 hashed of a table to which builds append, and whose key may be in any partition.
_WHOLE = "the key is unique in the whole table"


@dataclass(frozen=True)
class Fingerprint:
    """`model` is of the query, the columns and the rules that hold rows back; `rules` of all that rows are held to.

    `model_1` and `rules_1` are what version 1 noted for the same.
    """

    model: str
    rules: str
    model_1: str
    rules_1: str

    def recognise(self, model: str | None, rules: str | None) -> tuple[str | None, str | None]:
        """What a table notes, with those of now for hashes of version 1 that mean the same."""
        return self.model if model == self.model_1 else model, self.rules if rules == self.rules_1 else rules


def fingerprint(query: str, shape: Shape, checks: Sequence[Check], key_anywhere: bool) -> Fingerprint:
    """The fingerprint of a table of this shape that `query` makes, and that is held to `checks`.

    `key_anywhere` says that builds append to it and its key does not determine its partition: then the key is
    compared with all rows.
    """
    columns = [(field.name, field.type.name, field.required) for field in shape.fields]
    # What holds rows back is of what makes the table; what blocks or warns only looks at it.
    holding = [check for check in checks if check.on_failure == "hold"]
    made_of = (query, columns, shape.key, shape.partition)
    model_1 = content_hash(repr((*made_of, [*map(_As1, holding)])).encode())
    rules_1 = content_hash(repr((*map(_As1, checks),)).encode())
    if key_anywhere:
        rules_1 = content_hash(f"{rules_1} {_WHOLE}".encode())
    model = _hash(*made_of, [[*_facts(check), _name(check)] for check in holding])
    return Fingerprint(model, _hash([*map(_facts, checks)], key_anywhere), model_1, rules_1)


def _hash(*facts: object) -> str:
    return _VERSION + content_hash(json.dumps(facts).encode())


def _facts(check: Check) -> list[object]:
    """What a check is: its SQL, what that is held to, and what becomes of a table that breaks it."""
    numbers = [str(number) for number in check.bound.numbers]
    return [_noted(check.on_failure), check.bound.operator, numbers, check.failing, check.number, check.is_of_rows]


def _noted(on_failure: OnFailure) -> str:
    # What hashes call it: contracts said quarantine for hold when the first were made.
    return "quarantine" if on_failure == "hold" else on_failure


def _name(check: Check) -> str | None:
    """The name that its author gave to a rule: rows that it holds back note it."""
    return check.name if check.name != check.words else None


class _As1:
    """A check as version 1 hashed it: as Python shows it, with the words of its messages."""

    _FACTS = ("name", "words", "subject", "on_failure", "bound", "failing", "number", "sample", "is_of_rows")

    def __init__(self, check: Check) -> None:
        self._check = check

    def __repr__(self) -> str:
        facts = {name: getattr(self._check, name) for name in self._FACTS}
        facts["on_failure"] = _noted(self._check.on_failure)
        return f"Check({', '.join(f'{name}={value!r}' for name, value in facts.items())})"


def content_hash(content: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def sites_hash(mesh: Mesh) -> str:
    """What `mesh.sites` holds, in 16 hexadecimal digits."""
    return content_hash(json.dumps(site_rows(mesh)).encode())
