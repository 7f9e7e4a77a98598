"""The differences between two states of one contract, for readers and for producers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mesh_platform.contract.calendar import Calendar
from mesh_platform.contract.contract import LEVELS, Contract
from mesh_platform.governance.change.difference import Difference
from mesh_platform.governance.change.schema_differences import event_differences, table_differences

_DAY = timedelta(days=1)
_RETIRED = "the product is no longer published"


@dataclass(frozen=True)
class Setting:
    """Facts that a contract alone does not tell: whether it is an interface, and what other products do now.

    `taken_over`: another product of the domain now implements the interface that this one implemented.
    """

    is_interface: bool = False
    taken_over: bool = False


def contract_differences(old: Contract, new: Contract, setting: Setting) -> list[Difference]:
    """All differences in the parts of a contract that the platform reads; for the others see `wording_differs`."""
    found = [*event_differences(old, new)]
    if new.retired and not old.retired:
        return [*found, Difference("breaking", "readers", _RETIRED)]
    if old.retired:
        # Only the domain's own SQL reads the landing table that remains.
        return found if new.retired else [*found, Difference("additive", "readers", "the product is published again")]
    found += table_differences(old.table, new.table, setting.is_interface)
    return [*found, *_promises(old, new), *_of_the_mesh(old, new, setting)]


def wording_differs(old: Any, new: Any) -> bool:
    """Whether two files differ in more than their versions, comments and the order of keys.

    `apiVersion` says in which version of ODCS the file is written, which is no promise.
    """
    return bool(_without_versions(old) != _without_versions(new))


def _without_versions(data: Any) -> Any:
    return {k: v for k, v in data.items() if k not in ("version", "apiVersion")} if isinstance(data, dict) else data


def _promises(old: Contract, new: Contract) -> Iterator[Difference]:
    column = new.table.by_name.get(new.freshness_column or "")
    line = column.line if column else 1
    # None is no promise, like an infinite age.
    for name, before, after in (
        ("freshness", old.freshness, new.freshness),
        ("latency", old.latency, new.latency),
    ):
        if before != after:
            breaks = after is None or (before is not None and after > before)
            yield _promise(name, before, after, breaks, line)
    if old.freshness and new.freshness and old.freshness_column != new.freshness_column:
        reason = f"freshness is measured by '{new.freshness_column}' instead of '{old.freshness_column}'"
        yield Difference("breaking", "readers", reason, line)
    if old.calendar != new.calendar:
        was, now = old.calendar or Calendar(), new.calendar or Calendar()
        reason = "freshness is measured by other workdays; "
        reason += "no day is left out that counted" if now.works_whenever(was) else "days do not count that did"
        yield Difference("additive" if now.works_whenever(was) else "breaking", "readers", reason, line)
    for name, kept, keeps in (
        ("retention", old.retention, new.retention),
        ("time travel", old.time_travel, new.time_travel),
    ):
        if kept != keeps:
            yield _promise(name, kept, keeps, keeps < kept, 1)
    if old.accuracy != new.accuracy:
        breaks = new.accuracy is None or (old.accuracy is not None and new.accuracy > old.accuracy)
        reason = f"accuracy is {new.accuracy or 'not promised'} instead of {old.accuracy or 'not promised'}"
        yield Difference("breaking" if breaks else "additive", "readers", reason)
    if old.level != new.level:
        lower = LEVELS.index(new.level) < LEVELS.index(old.level)
        reason = f"claims level {new.level} instead of {old.level}"
        yield Difference("breaking" if lower else "additive", "readers", reason)
    if old.demands != new.demands:
        reason = f"demands level {new.demands or LEVELS[0]} of what it reads instead of {old.demands or LEVELS[0]}"
        yield Difference("additive", "readers", reason)
    if old.maintained != new.maintained:
        reason = f"its tables are {'maintained again' if new.maintained else 'no longer maintained'}"
        yield Difference("cosmetic", "readers", reason)
    if old.description != new.description:
        yield Difference("cosmetic", "readers", "the description of its purpose changed")


def _promise(name: str, before: timedelta | None, after: timedelta | None, breaks: bool, line: int) -> Difference:
    unit = "d" if all(each is None or (each >= 2 * _DAY and not each % _DAY) for each in (before, after)) else "h"
    reason = f"{name} is {_shown(after, unit)} instead of {_shown(before, unit)}"
    return Difference("breaking" if breaks else "additive", "readers", reason, line)


def _shown(time: timedelta | None, unit: str) -> str:
    return "not promised" if time is None else f"{time / (_DAY if unit == 'd' else _DAY / 24):g} {unit}"


def _of_the_mesh(old: Contract, new: Contract, setting: Setting) -> Iterator[Difference]:
    hides = any(field.classification == "pii" for field in (*old.table.fields, *new.table.fields))
    for role in sorted(set(old.roles) - set(new.roles)):
        tail = "; it sees pseudonyms from now on" if hides else ""
        reason = f"the role '{role}' is no longer listed{tail}"
        yield Difference("breaking" if hides else "additive", "readers", reason)
    for role in sorted(set(new.roles) - set(old.roles)):
        yield Difference("additive", "readers", f"the role '{role}' may read personal data")
    if old.implements != new.implements:
        if old.implements:
            reason = f"its rows are no longer in {old.implements}"
            if setting.taken_over:
                yield Difference("additive", "readers", f"{reason}, where another product of the domain takes over")
            else:
                yield Difference("breaking", "readers", f"{reason}; who reads the union misses them")
        if new.implements:
            yield Difference("additive", "readers", f"its rows are now in {new.implements}")
