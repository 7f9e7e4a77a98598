"""Rules of names: a name alone tells what a thing is, its domain, and its unit."""

from __future__ import annotations

import ast
import keyword
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.contract.published_name import published_name
from mesh_platform.contract.reading import NAME
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.schedule import WITHIN

# RabbitMQ allows 255 bytes, and `<domain>.<product>.dlq` has both names; files and columns allow less.
_LONGEST = 63
_WHOLE = ("int", "long")
# The types of columns with these endings.
_ENDINGS = {
    "_id": ("string", *_WHOLE),
    "_ts": ("timestamptz",),
    "_date": ("date",),
    "_on": ("date",),
    **dict.fromkeys(("_usd", "_km", "_kg", "_kmh", "_pct", "_hours", "_minutes", "_days", "_units"), ("number",)),
}
# Tables of a star schema, which are built from other products.
_MODELLED = ("fact_", "dim_", "kpi_")


@rule()
def name_domain(scope: Scope) -> Iterable[Problem]:
    """A domain's name has small letters, digits and single underscores, and is not that of a module of Python.

    It is also the name of its folder, its exchange, its namespace in the catalog, and its Python package.
    """
    for domain in scope.mesh.domains.values():
        fault = None
        if not NAME.fullmatch(domain.name) or len(domain.name) > _LONGEST:
            fault = f"Use small letters, digits and single underscores, {_LONGEST} at most, a letter first."
        elif domain.name in sys.stdlib_module_names or keyword.iskeyword(domain.name):
            fault = f"Python has it. Choose another, such as {domain.name}_warehouse."
        if fault:
            yield Problem(scope.path(domain, "domain.yaml"), 1, f"the domain is called '{domain.name}'.", fault)


@rule()
def name_product(scope: Scope) -> Iterable[Problem]:
    """A product and its table have the same name; only modelled tables begin with `fact_`, `dim_` or `kpi_`.

    It is also the name of the queue, the SQL and the task. A source-aligned domain publishes what it sends; facts,
    dimensions and figures are for domains that build on others.
    """
    for contract in scope.mesh.contracts.values():
        kind = scope.mesh.domains[contract.domain].kind
        name = contract.table.name
        if name != contract.name:
            message = f"the product '{contract.name}' publishes a table called '{name}'."
            yield Problem(contract.path, contract.table.line, message, f"Call the table {contract.name}.")
        elif len(name) > _LONGEST:
            fix = f"Use {_LONGEST} at most."
            yield Problem(contract.path, contract.table.line, f"'{name}' has {len(name)} letters.", fix)
        elif name.startswith(_MODELLED) and (kind == "source-aligned" or contract.event):
            fix = f"Names that begin with {', '.join(_MODELLED)} are for what is built of other products."
            yield Problem(contract.path, contract.table.line, f"'{name}' is no modelled table.", fix)


@rule()
def name_event(scope: Scope) -> Iterable[Problem]:
    """An event has the same name in all domains, and one product in each domain.

    Each domain has one exchange, which routes by the event: two products with the same event would both get the
    events of either. A name that contains a region cannot be the same in all domains.
    """
    for domain in scope.mesh.domains.values():
        homes: dict[str, Contract] = {}
        region = {domain.name, *([domain.site.region] if domain.site else [])}
        for contract in domain.contracts.values():
            if contract.event is None:
                continue
            event, line = contract.event.name, contract.event.line
            first = homes.setdefault(event, contract)
            if first is not contract:
                message = f"the event '{event}' is that of {first.name}, too."
                yield Problem(contract.path, line, message, "Choose another; the exchange routes by it.")
            elif region & {event, *event.split("_")}:
                message = f"the event '{event}' has '{(region & {event, *event.split('_')}).pop()}' in its name."
                yield Problem(contract.path, line, message, "Leave it out; the exchange has the domain's name.")


@rule()
def name_column(scope: Scope) -> Iterable[Problem]:
    """The name of a published column ends in its kind: `_id`, `_ts`, `_date`, or its unit such as `_usd` or `_km`.

    `_ts` is an instant, `_date` and `_on` a day, and each instant and day ends so; exceptions are the start and end
    columns of a table that keeps history, and the days of a calendar such as `date` and `month`. Money is published
    in US dollars and ends in `_usd`. A domain may name the columns of its events freely.
    """
    for contract in scope.contracts():
        for field in contract.table.fields:
            if fault := _column_fault(contract.table, field):
                yield Problem(contract.path, field.line, f"column '{field.name}' is {field.type.name}.", fault)


def _column_fault(table_schema: TableSchema, field: Field) -> str | None:
    kind = field.type.name
    ending = next((end for end in _ENDINGS if field.name.endswith(end)), None)
    if (
        ending
        and kind not in _ENDINGS[ending]
        and not ("number" in _ENDINGS[ending] and field.type.logical in ("integer", "number"))
    ):
        return f"What ends in {ending} is {' or '.join(_ENDINGS[ending])}. Rename it, or correct physicalType."
    if kind == "timestamp":
        return "Publish instants, in UTC: physicalType timestamptz, and a name that ends in _ts."
    name = published_name(field.name, field.type)
    if name == field.name or field.name in (table_schema.history or ()):
        return None
    if kind == "timestamptz":
        return f"An instant ends in _ts: {name}."
    if kind == "date":
        return f"A day ends in _date or _on: {name}."
    return f"Money is published in US dollars and says so: {name}."


@rule()
def one_word(scope: Scope) -> Iterable[Problem]:
    """Published tables use the glossary's word for a thing, and none of its `instead_of`.

    People who join tables of two domains must not have to guess that `client_no` is `customer_id` elsewhere.
    """
    words = {other: name for name, term in scope.terms.items() for other in term.instead_of}
    for contract, field in scope.published_fields():
        if term := words.get(field.name):
            owner, _, word = term.partition(".")
            message = f"column '{field.name}' is called '{word}' in the glossary of {owner}."
            yield Problem(contract.path, field.line, message, f"Call it {word}.")


@rule()
def name_file(scope: Scope) -> Iterable[Problem]:
    """The name of a producer script is `produce_<what>.py`.

    The folder tells its domain; the name tells what running it does.
    """
    for domain in scope.mesh.domains.values():
        for path in scope.files(domain, "producers/*.py"):
            if not re.fullmatch(r"produce_[a-z0-9_]+\.py", path.name) and path.name != "__init__.py":
                label = scope.path(domain, f"producers/{path.name}")
                yield Problem(label, 1, f"the script is called '{path.name}'.", "Call it produce_<what>.py.")


@rule()
def name_dag(scope: Scope) -> Iterable[Problem]:
    """The id of a DAG that a domain writes itself begins with `<domain>__`, and is not one that the platform derives.

    All domains share one namespace of ids: if two DAGs have the same id, Airflow shows the one that it read last.
    """
    for domain in scope.mesh.domains.values():
        derived = {f"{domain.name}__{kind}" for kind in WITHIN}
        for path in scope.files(domain, "dags/*.py"):
            for dag, line in _dag_ids(path):
                label = scope.path(domain, f"dags/{path.name}")
                if not dag.startswith(f"{domain.name}__"):
                    yield Problem(label, line, f"the DAG is called '{dag}'.", f"Call it {domain.name}__{dag}.")
                elif dag in derived:
                    fix = "Choose another name behind the underscores."
                    yield Problem(label, line, f"the DAG '{dag}' is made from the contracts already.", fix)


def _dag_ids(path: Path) -> Iterator[tuple[str, int]]:
    """The literal ids of DAGs in a file, each with its line; a function under `@dag` defines its id by its name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if _called(call.func if call else decorator) == "dag" and not (call and _given_id(call)):
                    yield node.name, node.lineno
        elif isinstance(node, ast.Call) and _called(node.func) in ("DAG", "dag"):
            given = _given_id(node)
            if given:
                yield given, node.lineno


def _given_id(call: ast.Call) -> str | None:
    candidates = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "dag_id")]
    texts = [node.value for node in candidates if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return texts[0] if texts else None


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
