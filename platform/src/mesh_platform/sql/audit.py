"""Audit the rows that a build would commit: which to publish, which to hold back, and what to warn of.

A check comes from a column's promise or a rule, of the contract or of the interface that it implements. Its SQL reads
one relation, `mesh_object`: the table as it would be after the commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mesh_platform.contract.promise import Promise, promises_of
from mesh_platform.contract.quality_rule import NONE, Bound, OnFailure, Rule
from mesh_platform.contract.types import shown_value
from mesh_platform.engine.duckdb import DuckDBError, explain_duckdb, registered
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import breaking_condition, empty_select, literal, quoted
from mesh_platform.errors import AttentionError, Problem
from mesh_platform.lake.tables import HELD_REASON, HELD_RULE
from mesh_platform.sql.syntax import relations, unstable_calls, works_row_by_row
from mesh_platform.sql.unique_keys import any_repeats, repeated_keys
from mesh_platform.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.contract.contract import Contract, Field
    from mesh_platform.mesh.mesh import Mesh

OBJECT = "mesh_object"
_SHOWN = 5
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL.*|DOUBLE|FLOAT")


@dataclass(frozen=True)
class Check:
    """One condition that the rows must meet.

    `failing` is the SQL condition of a row that breaks it. If no such row is allowed (`is_of_rows`), only the rows
    that a build writes are checked; otherwise `number`, a query over the table as it would be, is compared with
    `bound`. `sample` selects the rows to show if the check is broken. `words` say what is wrong with a row, `subject`
    what the number is.
    """

    name: str
    words: str
    subject: str
    on_failure: OnFailure
    bound: Bound
    failing: str | None
    number: str
    sample: str | None
    is_of_rows: bool
    place: str = field(compare=False, repr=False)


@dataclass(frozen=True)
class Audited:
    """The rows to publish, and those held back, with the columns of `held_schema`; None if no rule holds rows back.

    `warnings` describe the broken rules that only warn.
    """

    rows: pa.Table
    held: pa.Table | None
    warnings: tuple[str, ...]


def table_checks(mesh: Mesh, contract: Contract) -> tuple[Check, ...]:
    """Return the checks of the table of `contract` besides required columns and the key, without duplicates."""
    owners = [contract, *([mesh.interfaces[contract.implements]] if contract.implements else [])]
    found: dict[object, Check] = {}
    for owner in owners:
        key = contract.table.key
        checks = [check for column in owner.table.fields for check in _promises(column, key, owner.path)]
        checks += [_check(rule, key, owner.path) for rule in owner.table.rules]
        for check in checks:
            found.setdefault((check.failing, check.number, check.bound, check.on_failure), check)
    return tuple(found.values())


def find_problems(contract: Contract, connection: Connection) -> list[Problem]:
    """Return why rules of `contract` cannot be run on its table; no data is needed."""
    problems = []
    table_schema = contract.table
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {OBJECT} AS {empty_select(table_schema)}")
    for rule in table_schema.rules:
        fault = _fault(rule, table_schema.key, connection)
        if rule.on_failure == "hold" and not fault and {HELD_RULE, HELD_REASON} & table_schema.by_name.keys():
            fault = (
                f"holds rows back, and the table has a column {HELD_RULE} or {HELD_REASON}.",
                "Give the column another name.",
            )
        if fault:
            problems.append(Problem(contract.path, rule.line, f"the rule {_called(rule)} {fault[0]}", fault[1]))
    return problems


def audit_rows(
    connection: Connection,
    contract: Contract,
    checks: Sequence[Check],
    rows: pa.Table,
    existing: pa.Table | None = None,
    kept: str = "",
    recheck: bool = False,
) -> Audited:
    """Check `rows` against `checks`: rules that hold rows back first, then all others.

    `existing` has the keys of rows that stay, at least those that `rows` have too. `kept` is the SELECT of all rows
    that stay, and `recheck` makes it check these rows too. Raises AttentionError with the table, each broken rule and
    up to five rows of each.
    """
    row_checks = [check for check in checks if check.is_of_rows]
    hold_checks = [check for check in row_checks if check.on_failure == "hold"]
    other_row_checks = [check for check in row_checks if check.on_failure != "hold"]
    whole_checks = [check for check in checks if not check.is_of_rows]
    counts = dict.fromkeys(row_checks, 0)
    held = None
    broken: list[tuple[Check, str]] = []
    try:
        # To show rows takes longer than most checks of them.
        if hold_checks or (row_checks and rows.num_rows):
            with _shown_as_object(connection, rows):
                counts |= _count_failing(connection, row_checks, rows.num_rows > 0)
                if hold_checks:
                    rows, held = _split(connection, hold_checks, rows, any(counts[check] for check in hold_checks))
        faults = _missing(connection, contract, rows)
        faults += _repeating(connection, contract, rows, existing, kept, recheck)
        if other_row_checks:
            with _shown_as_object(connection, rows, kept if recheck else ""):
                if recheck or (held is not None and held.num_rows):
                    counts = _count_failing(connection, other_row_checks, True)
                broken += [
                    (check, _words_of_rows(connection, contract, check, counts[check]))
                    for check in other_row_checks
                    if counts[check]
                ]
        if whole_checks:
            with _shown_as_object(connection, rows, kept):
                broken += _of_table(connection, contract, whole_checks)
    except DuckDBError as error:
        raise explain_duckdb(error, f"{contract.identifier}: its rows") or AttentionError(
            f"{contract.identifier}: its rules cannot be run: {error}. Nothing was committed. "
            f"Mend the rules in {contract.path}, or the query."
        ) from error
    faults += [f"{words} ({check.place})" for check, words in broken if check.on_failure == "block"]
    if faults:
        raise AttentionError(
            f"{contract.identifier}: {'; '.join(faults)}. Nothing was committed, the table is as it was. Mend its "
            f"query or its inputs, or the promise in {contract.path}, and build again."
        )
    return Audited(rows, held, tuple(f"{words} ({c.place})" for c, words in broken if c.on_failure == "warn"))


def measure(connection: Connection, relation: str, checks: Sequence[Check]) -> dict[Check, Decimal | None]:
    """Return the number of each check over all rows of `relation`; None where its query gives none."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {OBJECT} AS SELECT * FROM {relation}")
    try:
        return {check: _number(connection, check) for check in checks}
    finally:
        connection.execute(f"DROP VIEW {OBJECT}")


def _promises(column: Field, key: tuple[str, ...], path: str) -> Iterator[Check]:
    name = quoted(column.name)
    tests = []
    if column.type.name == "double" and not column.allow_non_finite:
        tests.append((f"NOT isfinite({name})", "is not a finite number, which only mesh.allowNonFinite allows"))
    tests += [
        (breaking_condition(promise, name, column.type), promise.broken)
        for promise in promises_of(column)
        # A list of allowed values is a rule as well, which says what to do with a row that breaks it.
        if promise.kind != "values"
    ]
    for failing, fault in tests:
        words = f"{column.name} {fault}"
        yield _row_check(words, words, failing, (column.name,), key, NONE, False, "block", f"{path}:{column.line}")


def _check(rule: Rule, key: tuple[str, ...], path: str) -> Check:
    """Return the check of a rule. Raises SqlglotError if its query cannot be parsed."""
    place = f"{path}:{rule.line}"
    listed = ", ".join(rule.columns)
    columns = ", ".join(quoted(column) for column in rule.columns)
    if rule.metric == "rowCount":
        subject = "the number of rows"
        number = f"SELECT count(*) FROM {OBJECT}"
        return Check(
            rule.name or subject, subject, subject, rule.on_failure, rule.bound, None, number, None, False, place
        )
    if rule.metric == "duplicateValues":
        # NULL equals nothing, as in SQL's unique constraints.
        present = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in rule.columns)
        groups = f"FROM {OBJECT} WHERE {present} GROUP BY {columns} HAVING count(*) > 1"
        share = f" * 100.0 / (SELECT nullif(count(*), 0) FROM {OBJECT})" if rule.percent else ""
        number = f"SELECT count(*){share} FROM (SELECT {columns} {groups})"
        words, subject = f"{listed} repeats", f"the {_unit(rule)} of values of ({listed}) that repeat"
        sample = f"SELECT {columns}, count(*) AS times {groups}"
        name = rule.name or words
        return Check(name, words, subject, rule.on_failure, rule.bound, None, number, sample, False, place)
    if rule.metric == "sql":
        return _sql_check(rule, key, place)
    if rule.metric == "nullValues":
        failing, words = f"{columns} IS NULL", f"{listed} is missing"
    else:
        promise = Promise("pattern", rule.pattern) if rule.pattern is not None else Promise("values", rule.values)
        failing, words = breaking_condition(promise, columns), f"{listed} {promise.broken}"
    named = rule.name or words
    return _row_check(named, words, failing, rule.columns, key, rule.bound, rule.percent, rule.on_failure, place)


def _sql_check(rule: Rule, key: tuple[str, ...], place: str) -> Check:
    tree = _parsed(rule)
    failing = columns = sample = None
    counted = isinstance(tree, exp.Select) and [item.sql().lower() for item in tree.expressions] == ["count(*)"]
    clauses = {name for name, value in tree.args.items() if value} - {"expressions", "from_", "where"}
    # A condition on all rows would also see those that a subquery or a sample leaves out.
    plain = "from_" in tree.args and not tree.args["from_"].find(exp.Query, exp.TableSample, exp.Pivot)
    if counted and plain and not clauses and tree.args.get("where"):
        condition = tree.args["where"].this.copy()
        for column in condition.find_all(exp.Column):
            column.set("table", None)
        columns = tuple(dict.fromkeys([*key, *(c.name for c in condition.find_all(exp.Column))]))
        shown: list[exp.Expr] = [exp.column(column, quoted=True) for column in columns]
        sample = tree.copy().select(*(shown or [exp.Star()]), append=False).sql(dialect="duckdb")
        if works_row_by_row(condition) and not condition.find(exp.Query):
            failing = condition.sql(dialect="duckdb")
    called = rule.description.strip().rstrip(".") or rule.name or " ".join((rule.query or "").split())
    words, subject = f"the rule '{called}' is broken", f"what '{called}' counts"
    of_rows = failing is not None and rule.bound.allows_none
    number = tree.sql(dialect="duckdb")
    name = rule.name or called
    return Check(name, words, subject, rule.on_failure, rule.bound, failing, number, sample, of_rows, place)


def _row_check(
    name: str,
    words: str,
    failing: str,
    columns: Iterable[str],
    key: tuple[str, ...],
    bound: Bound,
    percent: bool,
    on_failure: OnFailure,
    place: str,
) -> Check:
    shown = ", ".join(quoted(column) for column in dict.fromkeys([*key, *columns]))
    share = " * 100.0 / nullif(count(*), 0)" if percent else ""
    number = f"SELECT count(*) FILTER (WHERE {failing}){share} FROM {OBJECT}"
    subject = f"the {'percentage' if percent else 'number'} of rows where {words}"
    sample = f"SELECT {shown} FROM {OBJECT} WHERE {failing}"
    of_rows = bound.allows_none and not percent
    return Check(name, words, subject, on_failure, bound, failing, number, sample, of_rows, place)


def _unit(rule: Rule) -> str:
    return "percentage" if rule.percent else "number"


def _called(rule: Rule) -> str:
    return f"'{rule.name}'" if rule.name else f"'{rule.metric}'"


def _parsed(rule: Rule) -> exp.Query:
    """Parse the query of a rule. Raises SqlglotError if it is not one query."""
    names = {"object": OBJECT, "table": OBJECT}
    if len(rule.columns) == 1:
        names |= dict.fromkeys(("property", "column"), quoted(rule.columns[0]))
    # An unknown name stays, so that it is reported as a syntax error.
    sql = re.sub(r"\$\{(\w+)\}", lambda found: names.get(found[1], found[0]), rule.query or "")
    trees = [tree for tree in sqlglot.parse(sql, dialect="duckdb") if tree is not None]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise SqlglotError("it is not one SELECT")
    return trees[0]


def _fault(rule: Rule, key: tuple[str, ...], connection: Connection) -> tuple[str, str] | None:
    """Return what is wrong with the SQL of a rule, and how to fix it; None if nothing is."""
    form = "Write one SELECT of one number over ${object}."
    try:
        if rule.metric == "sql":
            tree = _parsed(rule)
            others = [name for name, _ in relations(tree) if name != OBJECT]
            if others:
                return f"reads '{others[0]}'.", "A rule reads its own table alone, as ${object}; join in the model."
            for table in tree.find_all(exp.Table):
                if not isinstance(table.this, exp.Identifier):
                    return f"calls {table.sql(dialect='duckdb')}.", "A rule reads its own table alone, as ${object}."
            for call in unstable_calls(tree):
                # Sampling is a legitimate way to keep a rule cheap, though not in a model.
                if isinstance(call, exp.TableSample):
                    continue
                return f"calls {call.sql(dialect='duckdb')}, which answers otherwise at each build.", form
        check = _check(rule, key, "")
        if rule.on_failure == "hold" and not check.is_of_rows:
            fix = "Write SELECT count(*) FROM ${object} WHERE ..., a condition on one row; or block or warn."
            return "holds rows back and does not tell row by row.", fix
        types = [row[1] for row in connection.execute(f"DESCRIBE {check.number}").fetchall()]
        if len(types) != 1 or not _NUMBER.fullmatch(types[0]):
            return f"gives {', '.join(types)}.", form
        # DESCRIBE alone does not parse regular expressions.
        connection.execute(
            f"SELECT ({check.number}), count(*) FILTER (WHERE {check.failing or 'true'}) FROM {OBJECT}"
        )
    except (SqlglotError, DuckDBError) as error:
        text = " ".join(str(error).partition("\n\nLINE ")[0].split()).replace(OBJECT, "${object}")
        return f"cannot be read: {text}.", form
    return None


@contextmanager
def _shown_as_object(connection: Connection, rows: pa.Table, kept: str = "") -> Iterator[None]:
    """Within the block, let OBJECT be `rows` and those of the SELECT `kept`."""
    columns = ", ".join(quoted(name) for name in rows.column_names)
    before = f"SELECT {columns} FROM ({kept}) UNION ALL " if kept else ""
    with registered(connection, "mesh_written", rows):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {OBJECT} AS {before}SELECT {columns} FROM mesh_written")
        try:
            yield
        finally:
            connection.execute(f"DROP VIEW {OBJECT}")


def _count_failing(connection: Connection, checks: Sequence[Check], any_rows: bool) -> dict[Check, int]:
    """Return how many rows break each of the checks, counted in one pass."""
    if not checks or not any_rows:
        return dict.fromkeys(checks, 0)
    counts = ", ".join(f"count(*) FILTER (WHERE {check.failing})" for check in checks)
    found = connection.execute(f"SELECT {counts} FROM {OBJECT}").fetchone()
    assert found is not None
    return dict(zip(checks, map(int, found), strict=True))


def _split(
    connection: Connection, checks: Sequence[Check], rows: pa.Table, any_fails: bool
) -> tuple[pa.Table, pa.Table]:
    """Return the rows that pass all checks, and the others with the names of the broken rules and the reasons."""
    fails = " OR ".join(f"({check.failing}) IS TRUE" for check in checks) if any_fails else "false"

    def joined(words: Iterable[str]) -> str:
        cases = (f"CASE WHEN {c.failing} THEN {literal(w)} END" for c, w in zip(checks, words, strict=True))
        return f"concat_ws('; ', {', '.join(cases)})"

    why = f"{joined(c.name for c in checks)} AS {HELD_RULE}, {joined(c.words for c in checks)} AS {HELD_REASON}"
    held = connection.execute(f"SELECT *, {why} FROM {OBJECT} WHERE {fails}").to_arrow_table()
    if any_fails:
        rows = connection.execute(f"SELECT * FROM {OBJECT} WHERE NOT ({fails})").to_arrow_table().cast(rows.schema)
    return rows, held


def _missing(connection: Connection, contract: Contract, rows: pa.Table) -> list[str]:
    """Return a fault for each required column that lacks a value."""
    missing = [c.name for c in contract.table.fields if c.required and rows.column(c.name).null_count]
    if not missing:
        return []
    key = [quoted(name) for name in contract.table.key]
    faults = []
    with _shown_as_object(connection, rows):
        for name in missing:
            shown = ", ".join(dict.fromkeys([*key, quoted(name)]))
            sample = f"SELECT {shown} FROM {OBJECT} WHERE {quoted(name)} IS NULL"
            faults.append(f"{name} is required and missing, as in {_shown(connection, contract, sample)}")
    return faults


def _repeating(
    connection: Connection,
    contract: Contract,
    rows: pa.Table,
    existing: pa.Table | None,
    kept: str,
    recheck: bool,
) -> list[str]:
    """Return the fault that the primary key repeats, among `rows` or between them and a row that stays, if it does.

    With `recheck`, repeats among the rows that stay count too.
    """
    key = contract.table.key
    if not key:
        return []
    looked_up = "" if recheck or existing is None else "mesh_existing"
    with (
        _shown_as_object(connection, rows, kept if recheck else ""),
        registered(connection, "mesh_existing", existing),
    ):
        if not connection.execute(any_repeats(key, OBJECT, looked_up)).fetchall():
            return []
    # Nothing will be committed, so there is time to read all rows and say where it repeats.
    with _shown_as_object(connection, rows, kept):
        found = _shown(connection, contract, repeated_keys(contract.table, OBJECT))
    return [f"the primary key ({', '.join(key)}) repeats, as in {found}"]


def _words_of_rows(connection: Connection, contract: Contract, check: Check, count: int) -> str:
    assert check.sample is not None
    rows = counted(count, "row")
    return f"{check.words} in {rows}, as in {_shown(connection, contract, check.sample)}"


def _of_table(connection: Connection, contract: Contract, checks: Sequence[Check]) -> list[tuple[Check, str]]:
    """Return the checks that OBJECT as a whole breaks, each with words."""
    broken = []
    for check in checks:
        number = _number(connection, check)
        if not is_met(check, number):
            sample = _shown(connection, contract, check.sample) if check.sample else ""
            as_in = f", as in {sample}" if sample else ""
            broken.append((check, f"{check.subject} is {number} and {check.bound}{as_in}"))
    return broken


def is_met(check: Check, number: Decimal | None) -> bool:
    """Whether the number of a check is within its bound. Without rows there may be none, which breaks no check."""
    return number is None or (number.is_finite() and check.bound.holds(number))


def _number(connection: Connection, check: Check) -> Decimal | None:
    found = connection.execute(f"SELECT ({check.number})").fetchone()
    return None if found is None or found[0] is None else Decimal(str(found[0]))


def _shown(connection: Connection, contract: Contract, sample: str) -> str:
    """Format up to five rows of `sample` for a message, always the same ones; personal values as `***`.

    Messages go to logs and alerts, which more people read than the table.
    """
    personal = {field.name for field in contract.table.fields if field.classification == "pii"}

    def shown(name: str, value: object) -> str:
        return "***" if name in personal and value is not None else shown_value(value)

    rows = connection.execute(f"SELECT * FROM ({sample}) ORDER BY ALL LIMIT {_SHOWN}").to_arrow_table().to_pylist()
    return ", ".join(
        "(" + ", ".join(f"{name}={shown(name, value)}" for name, value in row.items()) + ")" for row in rows
    )
