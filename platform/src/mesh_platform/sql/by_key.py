"""Find the columns by which a query falls into independent parts.

A query works key by key on some of its columns if the rows with one value of them are computed only from input rows
that have this value too, apart from inputs that it looks up whole. A build then computes only the keys of changed
rows. An example is a dimension that groups facts by customer, or orders the reports of each vehicle.

The condition `column = value` on the result is pushed down to the tables, operator by operator, on the plan that
DuckDB binds: through what copies the column, through a GROUP BY or a window's PARTITION BY that contains it, and
across a join on it. Where it cannot be pushed further, the tables below are read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlglot import exp

from mesh_platform.sql.bound_plan import Node
from mesh_platform.sql.lineage import Query, Tracer
from mesh_platform.sql.model import Model

# For one column: each relation that need be read only where its own column of this name has the same value.
Pushed = Mapping[str, str]
_EQUAL = ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM")
# These group by several sets of columns, which the plan in JSON does not always show.
_SEVERAL_GROUPINGS = (exp.Rollup, exp.Cube, exp.GroupingSets)


@dataclass(frozen=True)
class ByKey:
    """The `columns` by which a query works key by key; `inputs` are the columns that each relation has for them.

    Relations that are not in `inputs` are looked up whole.
    """

    columns: tuple[str, ...]
    inputs: Mapping[str, tuple[str, ...]]


class _Part(NamedTuple):
    """What an operator returns: how far a condition on each of its columns can be pushed, and what it reads."""

    columns: Sequence[Pushed]
    relations: frozenset[str] = frozenset()

    def pushed(self, column: int | None) -> Pushed:
        return self.columns[column] if column is not None else {}


class _OtherOperatorError(Exception):
    """The plan has an operator through which no condition is pushed."""


def by_key(tracer: Tracer, model: Model) -> ByKey | None:
    """Return the columns by which a model works key by key, as many as its primary key has; None if it does not.

    They are columns of the primary key, so that rows of other keys have other primary keys; of a table without one,
    they are any columns.
    """
    if model.tree.find(*_SEVERAL_GROUPINGS):
        return None
    schema = model.contract.table
    names = tuple(schema.key or schema.by_name)
    (plan,) = tracer.plans([Query(model.sql, model.inputs, names)])
    found = dict(zip(names, pushed(plan), strict=False))
    widest = max(found.values(), key=len, default={})
    if not widest:
        return None
    columns = tuple(name for name in names if found[name].keys() >= widest.keys())
    return ByKey(columns, {relation: tuple(found[name][relation] for name in columns) for relation in widest})


def pushed(plan: Node) -> Sequence[Pushed]:
    """Return how far the condition that a column has one value can be pushed, for each column of a bound plan.

    There are none if the query does not fit its inputs, or has an operator through which nothing is pushed. The plan
    must not group by several sets of columns.
    """
    try:
        return [] if plan.get("error") else _Pushing().part(plan).columns
    except (_OtherOperatorError, RecursionError):
        return []


class _Pushing:
    def __init__(self) -> None:
        self._ctes: dict[int, _Part] = {}
        self._operators: Mapping[str, Callable[[Node], _Part]] = {
            "AGGREGATE_AND_GROUP_BY": self._aggregate,
            "ANY_JOIN": self._join,
            "ASOF_JOIN": self._join,
            "COMPARISON_JOIN": self._join,
            "CROSS_PRODUCT": self._join,
            "CTE_REF": lambda node: self._ctes[node["cte_index"]],
            "DELIM_GET": lambda node: _Part([{}] * len(node["chunk_types"])),
            "DELIM_JOIN": self._join,
            "DISTINCT": self._distinct,
            "DUMMY_SCAN": lambda node: _Part([{}]),
            "EXCEPT": self._beside,
            "FILTER": self._kept,
            "GET": self._get,
            "INTERSECT": self._beside,
            "MATERIALIZED_CTE": self._cte,
            "ORDER_BY": self._kept,
            "PROJECTION": self._project,
            "UNION": self._beside,
            "WINDOW": self._window,
        }

    def part(self, node: Node) -> _Part:
        kind = node["type"].removeprefix("LOGICAL_")
        if kind not in self._operators:
            raise _OtherOperatorError(kind)
        return self._operators[kind](node)

    def _child(self, node: Node) -> _Part:
        return self.part(node["children"][0])

    def _get(self, node: Node) -> _Part:
        if "children" in node:
            raise _OtherOperatorError("a table function of other tables")
        indexes = [item["index"] for item in node.get("column_indexes", ())]
        table = node.get("function_data", {}).get("table")
        if table is None:
            return _Part([{}] * len(indexes))
        relation, names = f"{node['function_data']['schema']}.{table}", node["names"]
        # The index of a row's number is beyond those of the columns.
        columns = [{relation: names[index]} if index < len(names) else {} for index in indexes]
        return _Part(columns, frozenset({relation}))

    def _project(self, node: Node) -> _Part:
        child = self._child(node)
        columns = [child.pushed(_copied(expression)) for expression in node.get("expressions", ())]
        return _Part(columns, child.relations)

    def _kept(self, node: Node) -> _Part:
        child = self._child(node)
        columns = [child.columns[index] for index in node.get("projection_map", ())]
        return _Part(columns or child.columns, child.relations)

    def _aggregate(self, node: Node) -> _Part:
        child = self._child(node)
        groups = [child.pushed(_copied(group)) for group in node.get("groups", ())]
        computed: list[Pushed] = [{}] * (len(node.get("expressions", ())) + len(node.get("grouping_functions", ())))
        return _Part([*groups, *computed], child.relations)

    def _window(self, node: Node) -> _Part:
        child, expressions = self._child(node), node.get("expressions", ())
        parted = [{_copied(each) for each in expression.get("partitions", ())} for expression in expressions]
        shared = set.intersection(*parted)
        columns = [column if place in shared else {} for place, column in enumerate(child.columns)]
        return _Part([*columns, *[{}] * len(expressions)], child.relations)

    def _distinct(self, node: Node) -> _Part:
        child = self._child(node)
        if node["distinct_type"] != "DISTINCT_ON":
            return child
        on = {_copied(target) for target in node.get("distinct_targets", ())}
        return _Part([c if place in on else {} for place, c in enumerate(child.columns)], child.relations)

    def _beside(self, node: Node) -> _Part:
        parts = [self.part(child) for child in node["children"]]
        places = zip(*(part.columns for part in parts), strict=True)
        columns = [_together(*zip(parts, place, strict=True)) for place in places]
        return _Part(columns, frozenset().union(*(part.relations for part in parts)))

    def _join(self, node: Node) -> _Part:
        left, right = (self.part(child) for child in node["children"])
        kind = node.get("join_type", "INNER")
        conditions = [each for each in node.get("conditions", ()) if each["comparison"] in _EQUAL]
        equal = [(_copied(each["left"]), _copied(each["right"])) for each in conditions]
        relations = left.relations | right.relations
        if kind not in ("ANTI", "INNER", "LEFT", "MARK", "SEMI", "SINGLE"):
            return _Part([{}] * (len(left.columns) + len(right.columns)), relations)
        # Whether a value is missing from a list, or NULL, depends on the whole list.
        across = equal if kind not in ("MARK", "SINGLE") else []
        columns: list[Pushed] = []
        for place, column in enumerate(left.columns):
            others = (right.pushed(there) for here, there in across if here == place)
            columns.append(_together((left, column), (right, _all(others))))
        if kind in ("SEMI", "ANTI"):
            return _Part(columns, relations)
        if kind == "MARK":
            return _Part([*columns, {}], relations)
        # After a LEFT JOIN a column is also NULL in rows of the left that match nothing; which row an ASOF JOIN finds
        # depends on the others.
        both = kind == "INNER" and node["type"] != "LOGICAL_ASOF_JOIN"
        for place, column in enumerate(right.columns):
            others = (left.pushed(here) for here, there in across if there == place)
            columns.append(_together((right, column), (left, _all(others))) if both else {})
        return _Part(columns, relations)

    def _cte(self, node: Node) -> _Part:
        definition, query = node["children"]
        self._ctes[node["table_index"]] = self.part(definition)
        return self.part(query)


def _copied(expression: Node) -> int | None:
    """Return the place of the child's column that an expression is; None if it computes something."""
    return int(expression["index"]) if expression["expression_class"] == "BOUND_REF" else None


def _together(*sides: tuple[_Part, Pushed]) -> Pushed:
    """Return what is pushed to every side that reads a relation: one that reads it whole needs all of it."""
    found = _all(pushed for _, pushed in sides)
    return {
        relation: column
        for relation, column in found.items()
        if all(pushed.get(relation) == column for part, pushed in sides if relation in part.relations)
    }


def _all(several: Iterable[Pushed]) -> dict[str, str]:
    return {relation: column for pushed in several for relation, column in pushed.items()}
