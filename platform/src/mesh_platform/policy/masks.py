"""What a role may not read of a table's columns, and the SQL that it reads instead.

`masks` is the one table of the policy: a column classified `pii` is masked for every role that its contract does not
list, by the action that the contract names, else by the default of its type. Everything that shows rows to a role
goes by it: queries, files for Superset and dbt, samples, and the read restrictions that other engines enforce.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.contract.masking import FIXED, HASHED, HASHED_BY_QUERY, NULLED, default_action
from mesh_platform.contract.types import FieldType
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.policy.actions import action_sql
from mesh_platform.sql.references import UNKNOWN

# Refused messages can contain anything, so no role sees them.
_AS_SENT = ("raw", "detail")


@dataclass(frozen=True)
class Mask:
    """What happens to the values of a column: the masking action, and whether its pseudonyms are stable."""

    action: str
    kind: FieldType
    stable: bool = False

    @property
    def keeps_keys(self) -> bool:
        """Whether different values stay different, so that they can be joined and counted."""
        return self.action in (HASHED, HASHED_BY_QUERY) and self.kind.name == "string"

    @property
    def keeps_presence(self) -> bool:
        """Whether exactly the missing values are missing."""
        return self.action != NULLED

    @property
    def salt(self) -> str | None:
        """The name of the salt of its pseudonyms; None for other actions."""
        if self.action == HASHED:
            return "none"
        return ("kept" if self.stable else "session") if self.action == HASHED_BY_QUERY else None

    def sql(self, column: str) -> str:
        """Return the SQL of the masked values of `column`. The member 'unknown' of a dimension stays."""
        masked = action_sql(self.action, column, self.kind, self.stable)
        if self.kind.name != "string" or self.action == NULLED:
            return masked
        return f"CASE WHEN {column} = {literal(UNKNOWN)} THEN {column} ELSE {masked} END"


def reads_all(role: str | None, contract: Contract) -> bool:
    """Whether `role` sees all data of the contract: its own roles do, and so does a session without a role."""
    return role is None or role in contract.roles


def masks(
    role: str | None, contract: Contract, fields: Iterable[Field], is_quarantine: bool = False
) -> dict[str, Mask]:
    """Map the columns among `fields`, of a table of `contract`, that `role` may not read to what it reads instead."""
    if reads_all(role, contract):
        return {}
    found = {}
    for field in fields:
        if is_quarantine and field.name in _AS_SENT:
            found[field.name] = withheld(field)
        elif field.classification == "pii":
            action = field.mask or default_action(field.type, field.required)
            found[field.name] = Mask(action, field.type, field.stable_pseudonyms)
    return found


def withheld(field: Field) -> Mask:
    """Return the mask that shows nothing at all of a column."""
    return Mask(FIXED if field.required else NULLED, field.type)


def mask_sql(found: Mapping[str, Mask]) -> dict[str, str]:
    """Map each masked column to the SQL of its masked values."""
    return {name: mask.sql(quoted(name)) for name, mask in found.items()}
