"""Comparison of a table with its contract: the changes between the two schemas, and which of them break.

A change breaks where it would make a promise false for existing rows or for their readers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import FieldType

# A column that a contract drops stays in its table; its description there begins with this.
DROPPED = "No longer in the contract. "
# Changes that a table may still lack while rows are written to it.
HARMLESS = ("describe", "drop_optional", "set_key")

Kind = Literal[
    "add",
    "widen",
    "rename",
    "relax_required",
    "drop_optional",
    "describe",
    "set_key",
    "repartition",
    "purge",
    "add_required",
    "retype",
    "require",
    "drop_required",
    "change_key",
]


@dataclass(frozen=True)
class Change:
    """One difference between `table` and its contract: the column is `field` in the contract and `was` in the table.

    Where a change concerns no single column, `field` is what the contract says and `was` what the table has. A
    `breaking` change cannot be applied; `reason` says why, or what applying it means for existing rows. A change is
    `purgeable` where only a column that the contract dropped prevents it: it can be applied once that is purged.
    """

    table: str
    change: Kind
    field: str
    was: str | None
    breaking: bool
    reason: str
    purgeable: bool = False


def compare(table: str, old: TableSchema, new: TableSchema) -> list[Change]:
    """The changes that turn `table` from `old` into `new`; `Field.renamed_from` tells renames.

    Widening is type promotion in the Iceberg spec (section "Schema Evolution"): int to long, and a decimal to more
    digits of the same scale.
    """
    there = {name: field for field in new.fields if (name := present_name(field, old.by_name))}
    changes = [
        change
        for field in new.fields
        for change in _column_changes(table, old.by_name.get(present_name(field, old.by_name) or ""), field, new)
    ]
    changes += [_taken(table, old.by_name[field.name], field) for field in new.fields if _is_taken(old, field)]
    gone = (field for field in old.fields if field.name not in there and not _is_dropped(field))
    changes += [_dropped(table, field, new) for field in gone]
    now = {name: field.name for name, field in there.items()}
    key = tuple(now.get(name, name) for name in old.key)
    if set(key) != set(identifying(new)):
        changes.append(_key_change(table, key, identifying(new)))
    partition = tuple((transform, now.get(column, column)) for transform, column in old.partition)
    if set(partition) != set(new.partition):
        changes.append(_partition_change(table, partition, new))
    return changes


def present_name(field: Field, names: Collection[str]) -> str | None:
    """The name of `field` among `names`: its own, or the newest of its former ones; None without any."""
    return next((name for name in (field.name, *field.renamed_from) if name in names), None)


def former_name_faults(fields: Collection[Field], is_event: bool) -> Iterator[tuple[Field, str, str]]:
    """Each former name that is ambiguous between columns: the column, the fault and its fix.

    For an event the names in ids are checked too: with equal names, different events would get one id.
    """
    present = {field.name for field in fields}
    former: dict[str, str] = {}
    in_ids: dict[str, str] = {}
    for field in fields:
        for old in sorted({*field.renamed_from}):
            if old in present:
                fix = "A name that a column had may come back when no 'mesh.renamedFrom' has it any more."
                keep = f" Write 'mesh.idName: {old}' in its place, so that events keep their ids." if is_event else ""
                yield field, f"'{field.name}' was '{old}', which is a property too.", fix + keep
            elif (other := former.setdefault(old, field.name)) != field.name:
                fix = "Only one column had the name: drop it from the other's 'mesh.renamedFrom'."
                yield field, f"'{field.name}' was '{old}', and so was '{other}'.", fix
        first = in_ids.setdefault(field.name_in_ids, field.name)
        if is_event and first != field.name:
            fix = f"Give the newer one a 'mesh.idName' of its own, such as {field.name_in_ids}_2."
            yield field, f"'{field.name}' and '{first}' are both called '{field.name_in_ids}' in ids.", fix


def identifying(schema: TableSchema) -> tuple[str, ...]:
    """The key as Iceberg can store it; none where it has a double (Iceberg spec, "Identifier Field IDs")."""
    return () if any(schema.by_name[name].type.name == "double" for name in schema.key) else schema.key


def left_over(old: TableSchema, new: TableSchema) -> list[Field]:
    """The optional columns of a table that its contract neither has nor reuses, by name and type."""
    claimed = {name: field for field in new.fields if (name := present_name(field, old.by_name))}
    return [field for field in old.fields if not field.required and _is_left(old, field, claimed.get(field.name))]


def _is_left(old: TableSchema, column: Field, claim: Field | None) -> bool:
    if claim is None:
        return True
    fits = takes(claim.type, column.type)
    return _is_dropped(column) and (not fits or _is_taken(old, claim))


def _column_changes(table: str, old: Field | None, new: Field, schema: TableSchema) -> list[Change]:
    def change(kind: Kind, breaking: bool, reason: str) -> Change:
        return Change(table, kind, new.name, old.name if old else None, breaking, reason)

    if old is None:
        if new.required:
            reason = (
                f"lacks {new.name} ({new.type.name}), which is required; rows that are there have no value for it"
            )
            return [change("add_required", True, reason)]
        return [change("add", False, f"lacks {new.name} ({new.type.name}); rows that are there read null")]
    changes = []
    if old.name != new.name:
        sent = (
            "; producers send the new name from now on, events that still have the old one are read under the new"
            if schema.time
            else ""
        )
        reason = f"has {old.name}, which the contract renames to {new.name}; rows that are there read under it{sent}"
        changes.append(change("rename", False, reason))
    if old.type != new.type:
        fits = takes(new.type, old.type)
        reason = f"has {old.name} as {old.type.name}, the contract says {new.type.name}"
        found = change("widen" if fits else "retype", not fits, f"{reason}{_why(fits, old.type)}")
        is_left = not fits and _is_dropped(old)
        left = f"still has {old.name} as {old.type.name}, which the contract dropped once; it says {new.type.name}"
        changes.append(replace(found, reason=left, purgeable=True) if is_left else found)
    if old.required and not new.required:
        changes.append(change("relax_required", False, f"requires {old.name}, the contract does not"))
    if new.required and not old.required:
        reason = f"does not require {old.name}, the contract does; rows that are there may lack it"
        changes.append(change("require", True, reason))
    if old.description != new.description:
        changes.append(change("describe", False, f"describes {old.name} in other words"))
    return changes


def _why(widens: bool, old: FieldType) -> str:
    if widens:
        return "; every value fits"
    wider = "long" if old.name == "int" else "nothing else"
    if old.precision:
        wider = f"decimal(p,{old.scale}) with p over {old.precision}"
    return f"; {old.name} widens to {wider}"


def takes(new: FieldType, old: FieldType) -> bool:
    """Whether a column of the type `new` holds every value of the type `old` unchanged."""
    if new == old:
        return True
    if old.precision and new.precision:
        return new.precision > old.precision and new.scale == old.scale
    return (old.name, new.name) == ("int", "long")


def _is_dropped(field: Field) -> bool:
    return not field.required and field.description.startswith(DROPPED)


def _is_taken(old: TableSchema, new: Field) -> bool:
    """Whether the new name of a renamed column belongs to a column that the contract dropped before."""
    own = old.by_name.get(new.name)
    live = (name for name in new.renamed_from if name in old.by_name and not _is_dropped(old.by_name[name]))
    return own is not None and _is_dropped(own) and any(live)


def _taken(table: str, old: Field, new: Field) -> Change:
    reason = (
        f"still has a column {old.name}, which the contract dropped once, with its own values; "
        f"{new.renamed_from[0]} cannot have its name. Choose another name"
    )
    return Change(table, "rename", new.name, new.renamed_from[0], True, reason, purgeable=True)


def _dropped(table: str, field: Field, new: TableSchema) -> Change:
    if field.required:
        reason = f"requires {field.name}, which the contract lacks; readers were promised a value in every row"
        return Change(table, "drop_required", field.name, field.name, True, reason)
    reason = f"has {field.name}, which the contract lacks; it stays in the table, new rows leave it null"
    if new.time and not any(present_name(each, (field.name,)) for each in new.dropped):
        reason += (
            ". Files that have it are refused, and get other ids without it: leave the property in the event and "
            "give it 'mesh.dropped: true'"
        )
    return Change(table, "drop_optional", field.name, field.name, False, reason)


def _key_change(table: str, old: tuple[str, ...], new: tuple[str, ...]) -> Change:
    was, now = ", ".join(old), ", ".join(new) or "nothing"
    if old:
        reason = f"has the key {was}, the contract says {now}; readers tell rows apart by the key"
        return Change(table, "change_key", now, was, True, reason)
    return Change(table, "set_key", now, None, False, f"notes no key, the contract says {now}")


def _partition_change(table: str, old: tuple[tuple[str, str], ...], new: TableSchema) -> Change:
    was, now = (", ".join(f"{t}({c})" for t, c in parts) or "nothing" for parts in (old, new.partition))
    reason = f"is partitioned by {was}, the contract says {now}"
    if new.time:
        # A landing table is never rewritten, and its ledger uses the same partitions.
        return Change(table, "repartition", now, was, True, f"{reason}; nothing rewrites the events that are there")
    return Change(table, "repartition", now, was, False, f"{reason}; the next build writes all rows anew")
