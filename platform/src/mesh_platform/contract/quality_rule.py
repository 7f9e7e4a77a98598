"""Quality rules of a contract, read from the items of ODCS `quality`.

This module validates the items themselves; `sql.audit.find_problems` checks that their SQL fits the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from mesh_platform.contract.types import FieldType

OnFailure = Literal["block", "hold", "warn"]
METRICS = ("nullValues", "invalidValues", "duplicateValues", "rowCount")
ON_FAILURE: tuple[OnFailure, ...] = ("block", "hold", "warn")
# What contracts called it before; accepted until version 2.0 of the platform.
_FORMERLY = {"quarantine": "hold"}
# The operators of ODCS v3.1 ("Data quality"), each with how it reads after a number, and after one in SQL.
_OPERATORS = {
    "mustBe": ("must be {}", "= {}"),
    "mustNotBe": ("must not be {}", "<> {}"),
    "mustBeGreaterThan": ("must be greater than {}", "> {}"),
    "mustBeGreaterOrEqualTo": ("must be at least {}", ">= {}"),
    "mustBeLessThan": ("must be less than {}", "< {}"),
    "mustBeLessOrEqualTo": ("must be at most {}", "<= {}"),
    "mustBeBetween": ("must be between {} and {}", "between {} and {}"),
    "mustNotBeBetween": ("must not be between {} and {}", "not between {} and {}"),
}
_ROWS_ONLY = "Only a rule that tells row by row, and allows none, can hold rows back: block or warn."

Add = Callable[[str, str], None]


@dataclass(frozen=True)
class Bound:
    """The bound for the number of a rule: an operator of ODCS and its one or two numbers, both inclusive."""

    operator: str
    numbers: tuple[Decimal, ...]

    def holds(self, number: Decimal) -> bool:
        """Whether `number` is within the bound."""
        first, last = self.numbers[0], self.numbers[-1]
        return {
            "mustBe": number == first,
            "mustNotBe": number != first,
            "mustBeGreaterThan": number > first,
            "mustBeGreaterOrEqualTo": number >= first,
            "mustBeLessThan": number < first,
            "mustBeLessOrEqualTo": number <= first,
            "mustBeBetween": first <= number <= last,
            "mustNotBeBetween": not first <= number <= last,
        }[self.operator]

    @property
    def allows_none(self) -> bool:
        """Whether 0 is the only count within the bound."""
        return (self.operator, self.numbers) in _NONE

    def condition(self, number: str) -> str:
        """Return the SQL condition that `number`, an expression, is within the bound."""
        sql = _OPERATORS[self.operator][1].format(*(f"{bound:f}" for bound in self.numbers))
        return f"{number} {sql}"

    def __str__(self) -> str:
        return _OPERATORS[self.operator][0].format(*self.numbers)


NONE = Bound("mustBe", (Decimal(0),))
_NONE = {(o, (Decimal(n),)) for o, n in (("mustBe", 0), ("mustBeLessThan", 1), ("mustBeLessOrEqualTo", 0))}


@dataclass(frozen=True)
class Rule:
    """One rule. `metric` is one of METRICS, or `sql`; `columns` are the column that it belongs to, or those it names.

    `query` returns one number; `${object}` is the table's rows and `${property}` the column. `percent` counts percent
    of all rows. `name` and `description` may be empty.
    """

    name: str
    metric: str
    columns: tuple[str, ...]
    bound: Bound
    on_failure: OnFailure
    percent: bool = False
    values: tuple[str, ...] = ()
    pattern: str | None = None
    query: str | None = None
    description: str = ""
    line: int = field(default=1, compare=False)


def read_rule(
    item: Mapping[str, Any],
    kind: str,
    column: tuple[str, FieldType] | None,
    columns: Collection[str],
    line: int,
    add: Add,
) -> Rule | None:
    """Read a rule; None where `item` is text for people, belongs to an event, or is wrong.

    The item belongs to the property `column`, else to a schema of `kind` that has `columns`. `add` receives each
    fault and its fix.
    """
    if item.get("type") == "text":
        return None
    metric = "sql" if item.get("type") == "sql" else item.get("metric")
    if item.get("type") == "custom" or metric not in (*METRICS, "sql"):
        add(f"nothing checks {metric or item.get('type') or 'it'}.", f"Use {', '.join(METRICS)}, or type: sql.")
        return None
    arguments = item.get("arguments") or {}
    on_failure = _on_failure(item)
    faults = [
        *_argument_faults(metric, arguments, column, columns),
        *_bound_faults(item),
        *_place_faults(metric, column),
        *_failure_faults(item, metric, on_failure),
        *_event_faults(metric, arguments, item, on_failure, kind),
    ]
    for fault in faults:
        add(*fault)
    if faults or kind == "event":
        return None
    return Rule(
        name=item.get("name") or "",
        metric=metric,
        columns=(column[0],) if column else tuple(arguments.get("properties") or ()),
        bound=_bound(item),
        on_failure=next((each for each in ON_FAILURE if each == on_failure), "block"),
        percent=item.get("unit") == "percent",
        values=tuple(arguments.get("validValues") or ()),
        pattern=arguments.get("pattern"),
        query=item.get("query"),
        description=item.get("description") or "",
        line=line,
    )


def quality_items(owner: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rules of a schema or property; an `enum` is the rule that blocks all other values."""
    rules = [*(owner.get("quality") or [])]
    if "enum" in owner:
        values = [item["value"] for item in owner["enum"]]
        rules.append({"metric": "invalidValues", "arguments": {"validValues": values}, "mustBe": 0})
    return rules


def valid_values(items: Iterable[Mapping[str, Any]], kind: str) -> tuple[str, ...]:
    """The allowed values of a property, where a rule among `items` keeps all others out.

    For a table, only a rule that blocks does; an event that breaks any such rule is quarantined.
    """
    for item in items:
        values = (item.get("arguments") or {}).get("validValues")
        if item.get("metric") == "invalidValues" and values and not list(_bound_faults(item)):
            blocks = _on_failure(item) in (None, "block") and _bound(item).allows_none
            if kind == "event" or blocks:
                return tuple(values)
    return ()


def _on_failure(item: Mapping[str, Any]) -> str | None:
    custom = {each["property"]: each["value"] for each in item.get("customProperties") or []}
    value = custom.get("mesh.onFailure")
    return None if value is None else _FORMERLY.get(str(value), str(value))


def _bound(item: Mapping[str, Any]) -> Bound:
    operator = next(name for name in _OPERATORS if name in item)
    value = item[operator]
    return Bound(operator, tuple(Decimal(str(n)) for n in (value if isinstance(value, list) else [value])))


def _bound_faults(item: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    operator = next((name for name in _OPERATORS if name in item), None)
    if operator is None:
        yield "says not what its number must be.", f"Add one of {', '.join(_OPERATORS)}, such as mustBe: 0."
        return
    value = item[operator]
    wanted = 2 if "Between" in operator else 1
    numbers = value if wanted == 2 and isinstance(value, list) else [value]
    if len(numbers) != wanted or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        yield f"{operator} is {value!r}.", f"Give it {'two numbers' if wanted == 2 else 'a number'}."
    elif wanted == 2 and numbers[0] > numbers[1]:
        yield f"{operator} is {value!r}.", "Write the smaller number first."


def _argument_faults(
    metric: str, arguments: Mapping[str, Any], column: tuple[str, FieldType] | None, columns: Collection[str]
) -> Iterable[tuple[str, str]]:
    known = {"invalidValues": ("validValues", "pattern"), "duplicateValues": () if column else ("properties",)}
    allowed = known.get(metric, ())
    for name in sorted(set(arguments) - set(allowed)):
        yield f"argument '{name}' of {metric}.", f"It takes {' or '.join(allowed) or 'none'}."
    if metric == "invalidValues":
        values, pattern = arguments.get("validValues"), arguments.get("pattern")
        is_text = column is None or column[1].name == "string"
        name = column[1].name if column else "of the table"
        if (values is None) == (pattern is None):
            yield "invalidValues without values.", "Give it the argument validValues, or else pattern."
        elif values is not None and not (is_text and _are_strings(values)):
            fix = "List strings, in quotes where YAML reads another thing, for a column of strings."
            yield f"validValues are {values!r} for type {name}.", fix
        elif pattern is not None and not (is_text and isinstance(pattern, str)):
            yield f"pattern is {pattern!r} for type {name}.", "Give a regular expression, for a column of strings."
    if metric == "duplicateValues" and not column:
        named = arguments.get("properties")
        if not _are_strings(named) or not set(named or ()) <= set(columns):
            yield f"properties are {named!r}.", f"List columns out of {', '.join(columns)}."


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def _place_faults(metric: str, column: object) -> Iterable[tuple[str, str]]:
    if metric in ("nullValues", "invalidValues") and column is None:
        yield f"{metric} is of a column.", "Write it at the property."
    if metric == "rowCount" and column is not None:
        yield "rowCount is of the table.", "Write it at the schema, beside 'properties'."


def _failure_faults(item: Mapping[str, Any], metric: str, on_failure: str | None) -> Iterable[tuple[str, str]]:
    unit = item.get("unit", "rows")
    if unit not in ("rows", "percent"):
        yield f"unit '{unit}'.", "It is rows or percent."
    if unit == "percent" and metric in ("rowCount", "sql"):
        yield f"{metric} has no percentage.", "Drop the unit; a query can compute one itself."
    if on_failure is not None and on_failure not in ON_FAILURE:
        yield f"mesh.onFailure '{on_failure}'.", f"It is one of {', '.join(ON_FAILURE)}."
    if on_failure == "hold":
        tells_rows = metric not in ("rowCount", "duplicateValues") and unit == "rows"
        if not tells_rows or not (list(_bound_faults(item)) or _bound(item).allows_none):
            yield "mesh.onFailure 'hold' of a rule that tells no rows.", _ROWS_ONLY


def _event_faults(
    metric: str, arguments: Mapping[str, Any], item: Mapping[str, Any], on_failure: str | None, kind: str
) -> Iterable[tuple[str, str]]:
    if kind != "event":
        return
    is_promise = metric == "invalidValues" and "pattern" not in arguments and item.get("unit", "rows") == "rows"
    if not is_promise or not (list(_bound_faults(item)) or _bound(item).allows_none) or on_failure == "warn":
        fix = "Of each event ingest checks validValues, mustBe: 0, and the logicalTypeOptions. Write it at the table."
        yield f"nothing checks this rule ({metric}) of an event.", fix
