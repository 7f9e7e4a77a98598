"""Finding calls of timezone(), and casts, in SQL that read a local time as another instant than its contract.

DuckDB reads a local time that the clock shows twice as the later instant, and one that it never shows with the offset
before the clock was set. Contracts can promise otherwise; see docs/contracts.md. A cast knows no clock: it takes any
local time for UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.syntax import line_of, name_of

# (relation, column): the text of the test by which a query can distinguish the two instants; empty where timezone()
# returns the one that the contract promises.
LocalTimes = Mapping[tuple[str, str], str]


def local_columns(mesh: Mesh) -> dict[tuple[str, str], str]:
    """The columns that hold what the clock of a site shows, unless that shows UTC."""
    found: dict[tuple[str, str], str] = {}
    for contract in (*mesh.contracts.values(), *mesh.retired.values()):
        if contract.time_zone in (None, "UTC"):
            continue
        schemas = {contract.identifier: contract.table}
        if contract.event:
            schemas[landing_name(contract)] = contract.event
        for relation, schema in schemas.items():
            local = [field for field in schema.fields if field.type.name == "timestamp"]
            for field in local:
                name = field.name
                if name == schema.time:
                    found[relation, name] = f"timezone(zone, event_time) = {name} then event_time"
                elif field.ambiguous_time == "earlier":
                    # Two hours before, the clock had not been set yet; clocks are set by half an hour to two hours.
                    earlier = f"timezone(zone, {name} - interval 2 hour) + interval 2 hour"
                    found[relation, name] = f"timezone(zone, {earlier}) = {name} then {earlier}"
                else:
                    found[relation, name] = ""
    return found


def find_misread(tree: exp.Expr, local: LocalTimes) -> Iterator[tuple[int, str, str]]:
    """(line, fault, fix) for each cast of one of these columns to an instant, and each timezone() without a test.

    A test is a CASE around the call that compares the column with the local time of some instant.
    """
    for scope in traverse_scope(tree):
        for column in scope.columns:
            call = column.parent
            casts = isinstance(call, exp.Cast) and call.to.this == exp.DType.TIMESTAMPTZ
            if not casts and not _is_of_zone(call, column):
                continue
            origin = _origin(scope, column)
            test = local.get(origin, "")
            if casts and origin in local:
                message = f"a cast reads '{origin[1]}', a local time, as UTC."
                yield line_of(column), message, f"Write timezone(zone, {origin[1]}), with the time zone of its site."
            elif test and not _is_tested(column):
                message = f"timezone() reads a '{origin[1]}' that the clock shows twice as the later instant."
                fix = f"Write case when {test} else timezone(zone, {origin[1]}) end."
                yield line_of(column), message, fix


def _is_of_zone(call: exp.Expr | None, value: exp.Expr) -> bool:
    if isinstance(call, exp.AtTimeZone):
        return call.this is value
    named = isinstance(call, exp.Anonymous) and call.name.lower() == "timezone"
    return named and call is not None and call.expressions[-1] is value


def _is_tested(column: exp.Column) -> bool:
    def reads_back(test: exp.EQ) -> bool:
        sides = (test.this, test.expression)
        return any(
            side == column and any(_is_of_zone(call, _value_of(call)) for call in other.walk())
            for side, other in (sides, sides[::-1])
        )

    node = column.parent
    while node is not None:
        if isinstance(node, exp.Case) and any(map(reads_back, node.find_all(exp.EQ))):
            return True
        node = node.parent
    return False


def _value_of(call: exp.Expr) -> exp.Expr:
    value: exp.Expr = call.expressions[-1] if isinstance(call, exp.Anonymous) and call.expressions else call.this
    return value


def _origin(scope: Scope, column: exp.Column) -> tuple[str, str]:
    """The relation and column that a column of a query comes from, as far as subqueries pass it on unchanged."""
    sources = [scope.sources.get(column.table)] if column.table else [*scope.sources.values()]
    source = sources[0] if len(sources) == 1 else None
    if isinstance(source, exp.Table):
        return name_of(source), column.name
    if isinstance(source, Scope) and isinstance(source.expression, exp.Query):
        for select in source.expression.selects:
            inner = select.unalias()
            if select.alias_or_name == column.name and isinstance(inner, exp.Column):
                return _origin(source, inner)
    return "", ""
