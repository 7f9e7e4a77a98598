"""A regular expression for a contract, which selects the lines that Arrow can read.

A matching line is JSON with the contract's fields only, each of its type; Arrow reads it unless a key is repeated.
Another line may still be valid: `line_check` examines it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh_platform.events.event import ENVELOPE

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract
    from mesh_platform.contract.types import FieldType

# RE2 syntax, for UTF-8 text; `$` is the end of the text.
_SPACE = r"[ \t\r]*"
_HEX = "[0-9A-Fa-f]"
_ESCAPE = (
    rf'\\(?:["\\/bfnrt]|u(?:[0-9A-CE-Fa-ce-f]{_HEX}|[Dd][0-7]){_HEX}{_HEX}'
    rf"|u[Dd][89ABab]{_HEX}{_HEX}\\u[Dd][C-Fc-f]{_HEX}{_HEX})"
)
_STRING = rf'"(?:[^"\\\x00-\x1f\x{{d800}}-\x{{dfff}}]|{_ESCAPE})*"'
_DAY = (
    "[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_ZONE = "(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
_FORMS = {
    "string": _STRING,
    "int": "-?(?:0|[1-9][0-9]{0,8})",
    "long": "-?(?:0|[1-9][0-9]{0,17})",
    "double": r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]{1,2})?",
    "boolean": "(?:true|false)",
    "date": f'"{_DAY}"',
    "timestamp": f'"{_DAY}[T ]{_CLOCK}"',
    "timestamptz": f'"{_DAY}[T ]{_CLOCK}{_ZONE}"',
}


def write_pattern(contract: Contract) -> str:
    """The pattern of a line and its line end, with optional surrounding spaces."""
    assert contract.event is not None
    payload = _object((field.name, rf"(?:{_form(field.type)}|null)") for field in contract.event.fields)
    forms = {"event_time": _FORMS["timestamptz"], "payload": payload}
    return rf"^{_SPACE}{_object((name, forms.get(name, _STRING)) for name in ENVELOPE)}[ \t\r\n]*$"


def _form(type_: FieldType) -> str:
    return f'"{type_.plain[1:-1]}"' if type_.precision else _FORMS[type_.name]


def _object(members: Iterable[tuple[str, str]]) -> str:
    """The pattern of an object with these members in any order, their names in plain letters."""
    by_form: dict[str, list[str]] = {}
    for name, form in members:
        by_form.setdefault(form, []).append(name)
    kinds = [f'"(?:{"|".join(names)})"{_SPACE}:{_SPACE}{form}' for form, names in by_form.items()]
    member = f"(?:{'|'.join(kinds)})"
    return rf"\{{{_SPACE}{member}(?:{_SPACE},{_SPACE}{member})*{_SPACE}\}}"
