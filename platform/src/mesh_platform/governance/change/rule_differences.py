"""The differences between two states of a table's quality rules, for readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.quality_rule import Rule
from mesh_platform.governance.change.difference import Difference


def kept_values(schema: TableSchema, field: Field) -> tuple[str, ...]:
    """The allowed values of this column, where rules keep all others out; else none."""
    lists = [rule.values for rule in schema.rules if _lists_values(rule, field.name)]
    return tuple(value for value in lists[0] if all(value in each for each in lists)) if lists else ()


def rule_differences(old: TableSchema, new: TableSchema) -> Iterator[Difference]:
    """The differences between the rules, except lists of values, which are differences of columns."""
    before, after = _by_content(old), _by_content(new)
    for content, rule in before.items():
        now = after.get(content)
        if now is None:
            others = [each for each in after.values() if _is_same(rule, each) and _content(each) not in before]
            keeps = rule.on_failure != "warn"
            what = "asks for something else now" if others else "is no longer there"
            tail = "; readers were promised that no row breaks it" if keeps else ""
            line = others[0].line if others else new.line
            yield Difference("breaking" if keeps else "additive", "readers", f"{_called(rule)} {what}{tail}", line)
        elif now.on_failure != rule.on_failure:
            keeps = now.on_failure != "warn"
            tail = "" if keeps else "; rows that break it are published"
            reason = f"{_called(rule)} has {now.on_failure} instead of {rule.on_failure}{tail}"
            yield Difference("additive" if keeps else "breaking", "readers", reason, now.line)
    for content, rule in after.items():
        if content not in before and not any(_is_same(rule, e) and _content(e) not in after for e in before.values()):
            yield Difference("additive", "readers", f"{_called(rule)} is new ({rule.on_failure})", rule.line)


def _by_content(schema: TableSchema) -> dict[Rule, Rule]:
    """Of two that ask for the same, the one that does more counts."""
    order = ("warn", "hold", "block")
    columns = {field.name for field in schema.fields}
    rules = [rule for rule in schema.rules if not any(_lists_values(rule, name) for name in columns)]
    return {_content(rule): rule for rule in sorted(rules, key=lambda rule: order.index(rule.on_failure))}


def _content(rule: Rule) -> Rule:
    """The requirement of a rule, without its name and the action on failure."""
    query = " ".join(rule.query.split()) if rule.query else None
    return replace(rule, name="", description="", on_failure="block", query=query)


def _is_same(one: Rule, other: Rule) -> bool:
    named = bool(one.name) and one.name == other.name
    return named or (one.metric != "sql" and (one.metric, one.columns) == (other.metric, other.columns))


def _lists_values(rule: Rule, column: str) -> bool:
    """Whether the rule ensures that all published rows have one of its values in this column."""
    keeps = rule.on_failure != "warn" and rule.bound.allows_none and not rule.percent
    return keeps and bool(rule.values) and rule.columns == (column,)


def _called(rule: Rule) -> str:
    called = rule.name or rule.description.strip().rstrip(".")
    return f"the rule '{called}'" if called else f"the rule {rule.metric} of {', '.join(rule.columns) or 'the table'}"
