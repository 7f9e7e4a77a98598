"""Trace the columns of a query to the columns of the tables that it reads, on the plan that DuckDB binds.

DuckDB itself resolves names, stars, USING, lateral aliases and correlated subqueries when it binds a query. In the
plan that `json_serialize_plan` returns, each operator numbers the columns of its children. So what remains is to
follow numbers through 26 kinds of operators. The plan lacks what is null or empty. Among rows that a window's own
order does not tell apart, the order of a subquery is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

How = Literal["copied", "computed", "filtered", "joined", "grouped"]
Node = Mapping[str, Any]
# Aggregates whose result depends on the order of rows, so that it depends on the columns of an ORDER BY below.
_BY_ORDER = frozenset(
    (
        "any_value", "arbitrary", "arg_max", "arg_max_null", "arg_min", "arg_min_null", "array_agg", "first",
        "group_concat", "last", "list", "listagg", "max_by", "min_by", "mode", "string_agg",
    )
)  # fmt: skip
_DIRECT = frozenset({"copied", "computed"})


class Source(NamedTuple):
    """A column of a relation, `<namespace>.<table>`, and how something depends on it.

    `copied` and `computed` are about values. Columns that are `filtered`, `joined` or `grouped` by decide which rows
    there are, or which rows a value is computed from. A LIMIT filters by the columns that it sorts by.
    """

    relation: str
    column: str
    how: How


Sources = frozenset[Source]
_NONE: Sources = frozenset()


class Value(NamedTuple):
    """The sources of one column; `fields` are those of a struct's fields, where they are known."""

    sources: Sources = _NONE
    fields: Mapping[str, Value] | None = None


_EMPTY = Value()


class Traced(NamedTuple):
    """What an operator returns: its columns, the sources of its set of rows, and those of their order.

    `groups` are sources of rows that a GROUP BY above may drop if it groups by some of the columns `keys`: then they
    only decide how many rows each of its groups has.
    """

    columns: Sequence[Value]
    rows: Sources = _NONE
    order: Sources = _NONE
    groups: Sources = _NONE
    keys: Sequence[Value] = ()


class UnknownOperatorError(Exception):
    """The plan has an operator that this module does not know."""


def trace(plan: Node) -> Traced:
    """Return the sources of each column and of the rows of the query with this bound plan.

    Raises UnknownOperatorError.
    """
    return _Tracer().trace(plan)


def _sources(values: Iterable[Value]) -> Sources:
    return _NONE.union(*(value.sources for value in values))


def used(sources: Iterable[Source], how: How) -> Sources:
    """Return `sources` as something that uses them `how`: a copy that is filtered by is filtered by."""
    return frozenset(Source(relation, column, how) for relation, column, _ in sources)


def computed(sources: Sources) -> Sources:
    """Return the sources of an expression over values with these `sources`."""
    if any(source.how == "copied" for source in sources):
        return frozenset(
            Source(source.relation, source.column, "computed") if source.how in _DIRECT else source
            for source in sources
        )
    return sources


class _Tracer:
    def __init__(self) -> None:
        # The columns of the outer queries that a subquery reads, innermost last.
        self._correlated: list[Sequence[Value]] = []
        self._ctes: dict[int, Traced] = {}
        # The columns of operators by their table index, for the references that DuckDB leaves unresolved.
        self._bound: dict[int, Sequence[Value]] = {}
        self._operators: Mapping[str, Callable[[Node], Traced]] = {
            "AGGREGATE_AND_GROUP_BY": self._aggregate,
            "ANY_JOIN": self._join,
            "ASOF_JOIN": self._join,
            "COMPARISON_JOIN": self._join,
            "CROSS_PRODUCT": self._product,
            "CTE_REF": lambda node: self._ctes[node["cte_index"]],
            "DELIM_GET": lambda node: Traced(self._correlated[-1]),
            "DELIM_JOIN": self._join,
            "DISTINCT": self._distinct,
            "DUMMY_SCAN": lambda node: Traced([_EMPTY]),
            "EXCEPT": self._difference,
            "EXPRESSION_GET": self._rows_of_expressions,
            "FILTER": self._filter,
            "GET": self._get,
            "INTERSECT": self._difference,
            "LIMIT": self._limit,
            "MATERIALIZED_CTE": self._cte,
            "ORDER_BY": self._sort,
            "PIVOT": self._pivot,
            "POSITIONAL_JOIN": self._product,
            "PROJECTION": self._project,
            "RECURSIVE_CTE": self._recursion,
            "SAMPLE": lambda node: self.trace(node["children"][0]),
            "UNION": self._union,
            "UNNEST": self._unnest,
            "WINDOW": self._window,
        }

    def trace(self, node: Node) -> Traced:
        kind = node["type"].removeprefix("LOGICAL_")
        if kind not in self._operators:
            raise UnknownOperatorError(f"unknown operator {kind}")
        found = self._operators[kind](node)
        if "table_index" in node:
            self._bound[node["table_index"]] = found.columns
        return found

    def _get(self, node: Node) -> Traced:
        table = node.get("function_data", {}).get("table")
        names, indexes = node.get("names", ()), [item["index"] for item in node.get("column_indexes", ())]
        if table is not None:
            relation = f"{node['function_data']['schema']}.{table}"
            # The index of a row's number is beyond those of the columns.
            sources = (
                frozenset({Source(relation, names[index], "copied")}) if index < len(names) else _NONE
                for index in indexes
            )
            return Traced([Value(found) for found in sources])
        if "children" not in node:
            return Traced([_EMPTY] * len(indexes))
        # A table function with arguments from other tables: each row of them is joined with the rows made of it.
        inputs = self.trace(node["children"][0])
        arguments = _sources(inputs.columns)
        made = [Value(computed(arguments))] * len(indexes)
        kept = [inputs.columns[index] for index in node.get("projected_input", ())]
        return Traced([*made, *kept], inputs.rows | used(arguments, "joined"))

    def _rows_of_expressions(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        return Traced(
            [
                self._merged(self._value(part, child.columns) for part in parts)
                for parts in zip(*node.get("expressions", ()), strict=True)
            ]
        )

    def _project(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        columns = [self._value(expression, child.columns) for expression in node.get("expressions", ())]
        return Traced(columns, child.rows, child.order, child.groups, child.keys)

    def _filter(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        rows = child.rows | used(self._read(node.get("expressions", ()), child.columns), "filtered")
        kept = [child.columns[index] for index in node.get("projection_map", ())] or child.columns
        return Traced(kept, rows, child.order)

    def _aggregate(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        groups = [self._value(group, child.columns) for group in node.get("groups", ())]
        results = [self._aggregated(expression, child) for expression in node.get("expressions", ())]
        if not groups:
            # There is one row whatever the input is; which rows it is computed from shows in its values.
            return Traced([Value(sources | child.rows) for sources in results])
        own = [group for group in groups if not any(group is column for column in chain(*self._correlated))]
        grouped = used(_sources(own), "grouped")
        # A group of another column, such as a count, depends on what the rows below were grouped by.
        coarser = all(any(group is key for key in child.keys) for group in groups)
        dropped = child.groups if coarser else _NONE
        made = [Value(sources | (child.groups - grouped)) for sources in results]
        sets = [_EMPTY] * len(node.get("grouping_functions", ()))
        kept = child.rows - dropped
        return Traced([*groups, *made, *sets], kept | grouped, groups=grouped - kept, keys=groups)

    def _aggregated(self, expression: Node, child: Traced) -> Sources:
        order = child.order if expression["name"] in _BY_ORDER else _NONE
        return computed(self._read(expression, child.columns) | used(order, "computed"))

    def _window(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        columns = [*child.columns]
        for expression in node.get("expressions", ()):
            order = _NONE if expression.get("orders") else used(child.order, "computed")
            columns.append(Value(computed(self._read(expression, child.columns) | order)))
        return Traced(columns, child.rows, child.order)

    def _unnest(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        made = [Value(computed(self._read(expression, child.columns))) for expression in node.get("expressions", ())]
        lists = _sources(made)
        return Traced([*child.columns, *made], child.rows | used(lists, "joined"), child.order)

    def _sort(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        columns = [child.columns[index] for index in node.get("projection_map", ())] or child.columns
        return Traced(columns, child.rows, self._read(node["orders"], child.columns))

    def _limit(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        bounds = self._read((node["limit_val"], node["offset_val"]), child.columns)
        return Traced(child.columns, child.rows | used(child.order | bounds, "filtered"), child.order)

    def _distinct(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        rows = child.rows | used(self._read(node.get("distinct_targets", ()), child.columns), "grouped")
        # DISTINCT ON keeps the first row of each group.
        if node["distinct_type"] == "DISTINCT_ON":
            rows |= used(self._read(node.get("order_by", ()), child.columns) | child.order, "filtered")
        return Traced(child.columns, rows, child.order)

    def _union(self, node: Node) -> Traced:
        sides = [self.trace(child) for child in node["children"]]
        columns = [self._merged(values) for values in zip(*(side.columns for side in sides), strict=True)]
        rows, order = _NONE.union(*(side.rows for side in sides)), _NONE.union(*(side.order for side in sides))
        return Traced(columns, rows, order)

    def _difference(self, node: Node) -> Traced:
        left, right = (self.trace(child) for child in node["children"])
        compared = _sources((*left.columns, *right.columns))
        return Traced(left.columns, left.rows | right.rows | used(compared, "filtered"))

    def _product(self, node: Node) -> Traced:
        left, right = (self.trace(child) for child in node["children"])
        rows = left.rows | right.rows
        if node["type"] == "LOGICAL_POSITIONAL_JOIN":
            rows |= used(left.order | right.order, "joined")
        return Traced([*left.columns, *right.columns], rows, left.order)

    def _join(self, node: Node) -> Traced:
        left = self.trace(node["children"][0])
        if node["type"] == "LOGICAL_DELIM_JOIN":
            # Values of their own, so that they are recognized where DuckDB groups by them.
            columns = [Value(*self._value(c, left.columns)) for c in node["duplicate_eliminated_columns"]]
            self._correlated.append(columns)
            right = self.trace(node["children"][1])
            self._correlated.pop()
        else:
            right = self.trace(node["children"][1])
        joined = used(self._condition(node, left, right), "joined")
        kind = node["join_type"]
        if kind == "SINGLE":
            # A scalar subquery: it changes no row, only its own value.
            within = joined | right.rows
            values = (Value(value.sources | within, value.fields) for value in right.columns)
            return Traced([*left.columns, *values], left.rows, left.order)
        if kind == "MARK":
            # IN and EXISTS: one more column, which says whether there is a match.
            return Traced([*left.columns, Value(used(joined, "computed") | right.rows)], left.rows, left.order)
        rows = left.rows | right.rows | joined
        if kind in ("SEMI", "ANTI"):
            return Traced(left.columns, rows, left.order)
        return Traced([*left.columns, *right.columns], rows)

    def _condition(self, node: Node, left: Traced, right: Traced) -> Sources:
        """Return the columns of a join's condition, without the comparisons by which DuckDB rejoins a subquery."""
        if "condition" in node:
            return self._read(node["condition"], [*left.columns, *right.columns])
        conditions = [*node.get("conditions", ())]
        equal = [each for each in conditions if each["comparison"] == "COMPARE_NOT_DISTINCT_FROM"]
        if node["type"] == "LOGICAL_DELIM_JOIN":
            # A condition of the query itself comes before them.
            equal = equal[-len(node["duplicate_eliminated_columns"]) :]
        elif all(child["type"] != "LOGICAL_DELIM_GET" for child in node["children"]):
            equal = []
        own = [each for each in conditions if not any(each is other for other in equal)]
        return _NONE.union(
            *(self._read(each["left"], left.columns) for each in own),
            *(self._read(each["right"], right.columns) for each in own),
        )

    def _cte(self, node: Node) -> Traced:
        definition, query = node["children"]
        self._ctes[node["table_index"]] = self.trace(definition)
        return self.trace(query)

    def _recursion(self, node: Node) -> Traced:
        first, step = node["children"]
        found = self.trace(first)
        # Rows are added until there is nothing new; so are sources.
        while True:
            self._ctes[node["table_index"]] = found
            more = self.trace(step)
            columns = [self._merged(pair) for pair in zip(found.columns, more.columns, strict=True)]
            rows = found.rows | more.rows
            if not node["union_all"]:
                rows |= used(_sources(columns), "grouped")
            grown = Traced(columns, rows)
            if grown == found:
                return found
            found = grown

    def _pivot(self, node: Node) -> Traced:
        child = self.trace(node["children"][0])
        count = node["bound_pivot"]["group_count"]
        pivoted = computed(_sources(child.columns[count:]))
        width = len(node["bound_pivot"]["types"])
        return Traced([*child.columns[:count], *[Value(pivoted)] * (width - count)], child.rows)

    def _value(self, expression: Node, columns: Sequence[Value]) -> Value:
        """Return the sources of an expression; only a reference to a column, or to a struct's field, copies it."""
        match expression["expression_class"]:
            case "BOUND_REF":
                index: int = expression["index"]
                return columns[index]
            case "BOUND_COLUMN_REF":
                place: int = expression["binding"]["column_index"]
                return self._bound[expression["binding"]["table_index"]][place]
            case "BOUND_FUNCTION" if expression["name"] == "struct_pack":
                values = [self._value(child, columns) for child in expression["children"]]
                # DuckDB finds a field whatever the case of its name.
                types = expression["return_type"]["type_info"]["child_types"]
                names = [child["first"].lower() for child in types]
                sources = _sources(values)
                return Value(computed(sources), dict(zip(names, values, strict=True)))
            case "BOUND_FUNCTION" if expression["name"] == "struct_extract":
                struct = self._value(expression["children"][0], columns)
                field = expression["children"][1].get("value", {}).get("value")
                known: Value | None = (struct.fields or {}).get(str(field).lower())
                return known or Value(computed(struct.sources))
        return Value(computed(self._read(expression, columns)))

    def _read(self, part: Any, columns: Sequence[Value]) -> Sources:
        """Return the sources of all columns that `part`, an expression or several, refers to."""
        return _sources(self._references(part, columns))

    def _references(self, part: Any, columns: Sequence[Value]) -> Iterator[Value]:
        if isinstance(part, list | tuple):
            for item in part:
                yield from self._references(item, columns)
        elif isinstance(part, dict):
            kind = part.get("expression_class")
            if kind in ("BOUND_REF", "BOUND_COLUMN_REF") or part.get("name") == "struct_extract":
                yield self._value(part, columns)
            elif kind != "BOUND_CONSTANT":
                for key, item in part.items():
                    # A lambda's own columns are in `function_data`; what it reads of the row is among the children.
                    if key not in ("function_data", "return_type") and isinstance(item, dict | list):
                        yield from self._references(item, columns)

    @staticmethod
    def _merged(values: Iterable[Value]) -> Value:
        """Return the sources of a column that has its value from any of `values`."""
        return Value(_sources(values))
