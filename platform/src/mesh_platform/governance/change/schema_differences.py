"""The differences between two states of one event or table, for its producers or readers.

`compare` calls a change breaking if existing tables cannot be changed accordingly. For people more changes break: SQL
that reads a dropped column fails, whether or not its values stay in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.contract.schema_change import Change, compare, identifying, present_name, takes
from mesh_platform.governance.change.difference import Difference, Kind, Side
from mesh_platform.governance.change.rule_differences import kept_values, rule_differences
from mesh_platform.lake.tables import landing_schema

_GONE = "'{was}' is no longer there; SQL that reads it breaks"
_REFUSED = "'{was}' is no longer there; events that have it are refused"
# The meaning of a change of a schema for readers of the table, and for producers of the event.
_READERS: dict[str, tuple[Kind, str]] = {
    "add": ("additive", "'{field}' ({type}) is new"),
    "widen": ("additive", "'{field}' is {type} instead of {old}; every value fits"),
    "set_key": ("additive", "the primary key is {field}; there was none"),
    "repartition": ("additive", "the table is partitioned otherwise; the next build writes all rows anew"),
    "rename": ("breaking", "'{was}' is now '{field}'; SQL that reads the old name breaks"),
    "relax_required": ("breaking", "'{field}' may be missing; readers were promised a value in every row"),
    "drop_optional": ("breaking", _GONE),
    "drop_required": ("breaking", _GONE),
    "retype": ("breaking", "'{field}' is {type} instead of {old}; not every value fits"),
    "add_required": ("breaking", "'{field}' ({type}) is new and required; rows that are there have no value for it"),
    "require": ("breaking", "'{field}' is required; rows that are there may lack it"),
    "change_key": ("breaking", "the primary key is {field} instead of {was}; readers tell rows apart by it"),
}
_PRODUCERS: dict[str, tuple[Kind, str]] = {
    "add": ("additive", "events may have '{field}' ({type})"),
    "widen": _READERS["widen"],
    "relax_required": ("additive", "events may lack '{field}'"),
    "rename": ("additive", "'{was}' is now '{field}'; events that have the old name are read under the new"),
    "drop_optional": ("breaking", _REFUSED),
    "drop_required": ("breaking", _REFUSED),
    "retype": _READERS["retype"],
    "add_required": ("breaking", "'{field}' ({type}) is new and required; events without it are refused"),
    "require": ("breaking", "'{field}' is required; events without it are refused"),
    "repartition": ("breaking", "the landing table is partitioned otherwise; nothing rewrites what is there"),
}
# An interface has no rows: another rule makes its implementations have the column.
_INTERFACE: dict[str, tuple[Kind, str]] = _READERS | {
    "add_required": ("additive", "'{field}' ({type}) is new and required"),
    "require": ("additive", "'{field}' is required"),
}


def table_differences(old: TableSchema, new: TableSchema, is_interface: bool = False) -> Iterator[Difference]:
    """The differences for readers between two states of a published table or interface."""
    meanings = _INTERFACE if is_interface else _READERS
    yield from _schema_differences(old, new, "readers", meanings, (old, new))
    for before, after in _pairs(old, new):
        yield from _column_differences(before, after, "readers", kept_values(old, before), kept_values(new, after))
        yield from _labels(before, after)
    # `compare` ignores a key that tables cannot store.
    called = {before.name: after.name for before, after in _pairs(old, new)}
    if not identifying(old) and old.key and {called.get(name, name) for name in old.key} != set(new.key):
        reason = _READERS["change_key"][1].format(field=", ".join(new.key) or "nothing", was=", ".join(old.key))
        yield Difference("breaking", "readers", reason, new.line)
    if old.history != new.history:
        was, now = (f"by {' and '.join(each)}" if each else "not kept" for each in (old.history, new.history))
        reason = f"history is {now}, it was {was}; readers join with its versions"
        yield Difference("breaking", "readers", reason, new.line)
    yield from rule_differences(old, new)


def event_differences(before_it: Contract, after_it: Contract) -> Iterator[Difference]:
    """The differences for producers between two states of a contract; without an event they send nothing."""
    old, new = before_it.event, after_it.event
    if old is None or new is None:
        if old:
            reason = f"the event '{old.name}' is no longer there; what producers send is taken by no queue"
            yield Difference("breaking", "producers", reason)
        elif new:
            yield Difference("additive", "producers", f"producers may send '{new.name}'", new.line)
        return
    yield from _version_differences(before_it, after_it)
    landing = (landing_schema(before_it), landing_schema(after_it))
    yield from _schema_differences(old, new, "producers", _PRODUCERS, landing)
    for before, after in _pairs(old, new):
        yield from _column_differences(before, after, "producers", before.valid_values, after.valid_values)
        if before.classification != after.classification:
            reason = f"'{after.name}' is {after.classification} instead of {before.classification}"
            yield Difference("additive", "producers", reason, after.line, before.name)
        yield from _clock_differences(before, after)
        if before.name_in_ids != after.name_in_ids:
            reason = f"ids of events call '{after.name}' '{after.name_in_ids}' instead of '{before.name_in_ids}'"
            tail = "; a file that is replayed gets other ids and is there twice"
            yield Difference("breaking", "producers", reason + tail, after.line, before.name)
    yield from _dropped_column_differences(old, new)
    if old.name != new.name:
        reason = f"the event is called '{new.name}' instead of '{old.name}'; the queue takes no other"
        yield Difference("breaking", "producers", reason, new.line)
    if old.file_in_ids != new.file_in_ids:
        counts = "counts" if new.file_in_ids else "no longer counts"
        reason = f"the name of a file {counts} for ids; a file that is replayed gets other ids and is there twice"
        yield Difference("breaking", "producers", reason, new.line)
    if old.time != new.time:
        reason = f"an event's time is its '{new.time}' instead of its '{old.time}'; ids are made of it"
        yield Difference("breaking", "producers", reason, new.line)


def _version_differences(old: Contract, new: Contract) -> Iterator[Difference]:
    """Differences in the accepted versions of events, except those that a new major version implies."""
    was, now = old.oldest_taken, new.oldest_taken
    if old.oldest_version == new.oldest_version or was is None or now is None or was == now:
        return
    reason = f"events of version {now} and later are taken instead of those of {was} and later"
    yield Difference("breaking" if now > was else "additive", "producers", reason)


def _dropped_column_differences(old: TableSchema, new: TableSchema) -> Iterator[Difference]:
    """Differences in the dropped columns with which files are still accepted."""
    was, now = ({field.name: field for field in event.dropped} for event in (old, new))
    for name in sorted(now.keys() - was.keys()):
        reason = f"files may have '{name}', which counts for ids alone"
        yield Difference("additive", "producers", reason, now[name].line)
    for name, field in sorted(was.items()):
        kept = next((each for each in new.in_files.values() if present_name(each, (name,))), None)
        if not kept or not takes(kept.type, field.type) or kept.name_in_ids != field.name_in_ids:
            reason = f"files that have '{name}' ({field.type.name}) are refused, or their lines get other ids"
            yield Difference("breaking", "producers", reason, kept.line if kept else new.line)


def _clock_differences(old: Field, new: Field) -> Iterator[Difference]:
    """Differences in the reading of local times that the clock shows twice or never."""
    for kind, was, now in (
        ("ambiguous", old.ambiguous_time, new.ambiguous_time),
        ("nonexistent", old.nonexistent_time, new.nonexistent_time),
    ):
        if was != now:
            reason = f"of a time '{new.name}' that is {kind}, '{now}' holds instead of '{was}'"
            yield Difference("additive" if was == "reject" else "breaking", "producers", reason, new.line, old.name)


def _pairs(old: TableSchema, new: TableSchema) -> list[tuple[Field, Field]]:
    """The pairs of columns that both schemas have, with renames resolved."""
    named = ((present_name(field, old.by_name), field) for field in new.fields)
    return [(old.by_name[name], field) for name, field in named if name]


def _schema_differences(
    old: TableSchema,
    new: TableSchema,
    side: Side,
    meanings: dict[str, tuple[Kind, str]],
    tables: tuple[TableSchema, TableSchema],
) -> Iterator[Difference]:
    """The differences that `compare` finds, between `tables`, with their `meanings`; and changed words."""
    for change in compare("", *(_as_a_table(table) for table in tables)):
        kind, text = meanings.get(change.change, ("breaking", change.reason))
        field, before = new.by_name.get(change.field), old.by_name.get(change.was or "")
        types = {"type": field.type.name if field else "", "old": before.type.name if before else ""}
        reason = text.format(field=change.field, was=change.was, **types)
        line = field.line if field else new.line
        yield Difference(kind, side, reason, line, _column_of(change, old, new))
    pairs = _pairs(old, new)
    described = [(old.description, new.description, new.name, new.line)]
    described += [(before.description, after.description, after.name, after.line) for before, after in pairs]
    for was, now, name, line in described:
        if was != now:
            yield Difference("cosmetic", side, f"'{name}' is described in other words", line)
    for before_it, after in pairs:
        if before_it.examples != after.examples:
            yield Difference("cosmetic", side, f"'{after.name}' has other examples", after.line)


def _as_a_table(schema: TableSchema) -> TableSchema:
    """The schema as a table can store it, without descriptions and without a key that has a double."""
    # The description in a table can mark a column as dropped by the contract, which a contract's must not do here.
    noted = bool(identifying(schema))
    fields = tuple(replace(field, description="", key=field.key if noted else 0) for field in schema.fields)
    return replace(schema, fields=fields)


def _column_of(change: Change, old: TableSchema, new: TableSchema) -> str | None:
    was = change.was if change.was in old.by_name else None
    return was or (change.field if change.field in new.by_name else None)


def _column_differences(
    old: Field, new: Field, side: Side, was_one_of: tuple[str, ...], is_one_of: tuple[str, ...]
) -> Iterator[Difference]:
    """Differences in the limits of values: looser ones break readers, stricter ones break producers."""

    def difference(looser: bool, reason: str) -> Difference:
        breaks = looser == (side == "readers")
        tail = "" if not breaks else "; readers were promised it" if looser else "; events that break it are refused"
        return Difference(
            "breaking" if breaks else "additive", side, f"'{new.name}' {reason}{tail}", new.line, old.name
        )

    for what, before, after, sign in (
        ("at least", old.minimum, new.minimum, 1),
        ("at most", old.maximum, new.maximum, -1),
    ):
        if before != after:
            yield difference(
                _is_looser(before, after, sign), f"is {what} {_shown(after)} instead of {_shown(before)}"
            )
    if old.allow_non_finite != new.allow_non_finite:
        yield difference(
            new.allow_non_finite, f"{'may' if new.allow_non_finite else 'may no longer'} be NaN or infinite"
        )
    if old.pattern != new.pattern:
        if old.pattern is not None:
            yield difference(True, f"need no longer match {old.pattern}")
        if new.pattern is not None:
            yield difference(False, f"must match {new.pattern}")
    more = set(is_one_of) - set(was_one_of)
    if was_one_of and (more or not is_one_of):
        yield difference(True, f"may be {_listed(more) or 'any other value'}")
    if is_one_of and (not was_one_of or set(was_one_of) - set(is_one_of)):
        fewer = _listed(set(was_one_of) - set(is_one_of))
        yield difference(False, f"may no longer be {fewer}" if fewer else f"must be one of {', '.join(is_one_of)}")


def _is_looser(before: Decimal | None, after: Decimal | None, sign: int) -> bool:
    return after is None or (before is not None and sign * after < sign * before)


def _shown(bound: Decimal | None) -> str:
    return "anything" if bound is None else str(bound)


def _listed(values: set[str]) -> str:
    return " or ".join(sorted(values))


def _labels(old: Field, new: Field) -> Iterator[Difference]:
    """Differences in the metadata of a published column."""
    if old.classification != new.classification:
        hides = new.classification == "pii"
        tail = "; who has no role sees a pseudonym" if hides else ""
        reason = f"'{new.name}' is {new.classification} instead of {old.classification}{tail}"
        yield Difference("breaking" if hides else "additive", "readers", reason, new.line, old.name)
    if old.references != new.references:
        was, now = (".".join(each) if each else "nothing" for each in (old.references, new.references))
        reason = f"'{new.name}' points to {now} instead of {was}"
        yield Difference("breaking" if old.references else "additive", "readers", reason, new.line, old.name)
    if old.deprecated != new.deprecated:
        reason = f"'{new.name}' is {'deprecated' if new.deprecated else 'no longer deprecated'}"
        yield Difference("cosmetic", "readers", reason, new.line, old.name)
    if old.term != new.term:
        reason = f"'{new.name}' is linked to {new.term or 'no term'} instead of {old.term or 'none'}"
        yield Difference("cosmetic", "readers", reason, new.line, old.name)
