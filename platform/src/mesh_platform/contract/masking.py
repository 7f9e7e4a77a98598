"""The masking actions of a column: their names, the types that each applies to, and what a contract may ask for.

They are the actions of read restrictions in Iceberg's REST specification, as adopted in September 2026
(apache/iceberg, pull request 13879): a closed list, so that engines agree byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.reading import Reading, custom_place

if TYPE_CHECKING:
    from mesh_platform.contract.types import FieldType
    from mesh_platform.contract.yaml_document import Place

NULLED, FIXED, HASHED, HASHED_BY_QUERY = (
    "replace-with-null",
    "mask-to-fixed-value",
    "sha-256-global",
    "sha-256-query-local",
)
_HASHABLE = ("string", "int", "long", "binary")
_TIMES = ("date", "timestamp", "timestamptz")
_ALL = (*_HASHABLE, *_TIMES, "double", "boolean", "decimal")
# The types that each action applies to.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "mask-alphanum": ("string",),
    FIXED: _ALL,
    NULLED: _ALL,
    "show-first-4": ("string",),
    "show-last-4": ("string",),
    "truncate-to-year": _TIMES,
    "truncate-to-month": _TIMES,
    HASHED: _HASHABLE,
    HASHED_BY_QUERY: _HASHABLE,
}
MASK, STABLE = "mesh.mask", "mesh.stablePseudonyms"


def applies(action: str, kind: FieldType, required: bool = False) -> bool:
    """Whether there is such an action and it applies to a column of this type; a required one takes no NULL."""
    return kind.name.partition("(")[0] in ACTIONS.get(action, ()) and not (required and action == NULLED)


def read_mask(
    reading: Reading, place: Place, data: Mapping[str, Any], kind: FieldType, custom: Mapping[str, Any]
) -> tuple[str | None, bool]:
    """The action that a column's contract names, and whether its pseudonyms are the same in all sessions."""
    name, required = data["name"], bool(data.get("required"))
    action = reading.one_of(data, place, MASK, custom.get(MASK), tuple(ACTIONS))
    stable = bool(custom.get(STABLE))
    given = [each for each in (MASK, STABLE) if custom.get(each) is not None]
    if given and data.get("classification") != "pii":
        fix = "Add classification: pii, or drop the line."
        reading.add(custom_place(data, place, given[0]), f"{given[0]} of '{name}', which nobody masks.", fix)
    elif action and action in ACTIONS and not applies(action, kind, required):
        what = f"{'a required' if required else 'a'} column of type {kind.name}"
        allowed = ", ".join(each for each in ACTIONS if applies(each, kind, required))
        reading.add(custom_place(data, place, MASK), f"{MASK} '{action}' of '{name}', {what}.", f"Use {allowed}.")
    elif stable and (action or default_action(kind, required)) != HASHED_BY_QUERY:
        fix = f"Only pseudonyms, {HASHED_BY_QUERY}, can be stable. Drop the line, or name that action."
        reading.add(custom_place(data, place, STABLE), f"{STABLE} of '{name}', which has no pseudonyms.", fix)
    return action, stable


def default_action(kind: FieldType, required: bool) -> str:
    """The action on personal data whose contract names none: a text becomes a pseudonym, all else goes."""
    if kind.name == "string":
        return HASHED_BY_QUERY
    return FIXED if required else NULLED
