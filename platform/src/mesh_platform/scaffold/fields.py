"""Reading the fields of a new event: `id:string,at:timestamptz,amount:decimal(12,2)?`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mesh_platform.contract.contract import LANDING_COLUMNS
from mesh_platform.contract.published_name import published_name
from mesh_platform.contract.reading import NAME
from mesh_platform.contract.types import ALLOWED, FieldType, parse_type
from mesh_platform.errors import UsageError
from mesh_platform.text import offer

# A line of the producer fits 118 letters with it.
_LONGEST = 40
_COMMA = re.compile(r",(?![^(]*\))")
_LIKE = "Write it like id:string, or like amount:decimal(12,2)? where it may be missing."


@dataclass(frozen=True)
class EventField:
    """One field of an event; `published` is its name in the table, where each time is an instant."""

    name: str
    type: FieldType
    required: bool

    @property
    def published(self) -> str:
        """The name of the column in the table."""
        return published_name(self.name, self.type)


def read_fields(text: str, currency: str) -> list[EventField]:
    """The fields that `text` lists, separated by commas; `?` marks one that may be missing.

    `currency` is that of the domain's site: money is published in US dollars. Raises UsageError with every problem.
    """
    problems: list[str] = []
    fields = []
    parts = _COMMA.split(text)
    for number, part in enumerate(parts, start=1):
        place = f"--fields, {number} of {len(parts)}, {part.strip()!r}"
        found = _read_field(part.strip(), currency)
        if isinstance(found, str):
            problems.append(f"{place}: {found}")
        else:
            fields.append(found)
    names = [field.name for field in fields]
    problems += [f"--fields: '{twice}' stands twice. Keep one of them." for twice in _repeated(names)]
    columns = [field.published for field in fields if names.count(field.name) == 1]
    for twice in _repeated(columns):
        same = " and ".join(field.name for field in fields if field.published == twice)
        problems.append(f"--fields: {same} would both be published as {twice}. Rename one of them.")
    if not problems and not any(map(_is_event_time, fields)):
        problems.append(
            "--fields: no field says when the event happened. Add a timestamptz that is never missing, such as "
            "at:timestamptz."
        )
    if problems:
        raise UsageError("\n".join(problems))
    return fields


def event_time(fields: Sequence[EventField]) -> EventField:
    """The field that says when the event happened: the first instant that is never missing."""
    return next(filter(_is_event_time, fields))


def _is_event_time(field: EventField) -> bool:
    return field.type.name == "timestamptz" and field.required


def _read_field(part: str, currency: str) -> EventField | str:
    """The field, or what is wrong with it, what is allowed, and how to mend it."""
    name, colon, kind = (word.strip() for word in part.partition(":"))
    if not part:
        return f"it is empty. {_LIKE}"
    if not colon or not kind.removesuffix("?"):
        return f"it has no type. Write {name or 'id'}:string, or another of {', '.join(ALLOWED)}."
    if not NAME.fullmatch(name):
        return f"'{name}' is no name. Use small letters, digits and single underscores, a letter first."
    if len(name) > _LONGEST:
        return f"the name has {len(name)} letters. Use {_LONGEST} at most."
    if name in LANDING_COLUMNS:
        return f"each landing table has '{name}' already. Choose another name than {', '.join(LANDING_COLUMNS)}."
    try:
        field = EventField(name, parse_type(kind.removesuffix("?").strip()), not kind.endswith("?"))
    except ValueError as error:
        plain = kind.removesuffix("?")
        return f"{error} {_LIKE if plain.startswith('decimal') else offer(plain, dict.fromkeys(ALLOWED))}"
    if field.published in LANDING_COLUMNS[:1]:
        return f"it would be published as '{field.published}', the table's key. Rename it."
    if field.published != name and field.published.endswith("_usd") and currency != "USD":
        return (
            f"money is published in US dollars, and the site bills in {currency}. Name it without amount, price or "
            "cost, or write its SQL as domains/north_warehouse does."
        )
    return field


def _repeated(names: Collection[str]) -> list[str]:
    return sorted({name for name in names if [*names].count(name) > 1})
