"""Rules of documentation: whoever finds a column can read what it means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from mesh_platform.contract.contract import Field
from mesh_platform.contract.json_value import fits
from mesh_platform.contract.promise import promises_of
from mesh_platform.contract.yaml_document import Document, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.glossary import GLOSSARY
from mesh_platform.text import offer


@rule()
def described(scope: Scope) -> Iterable[Problem]:
    """Every product, event, table and column has a description that says more than its name.

    "The order id" says nothing about `order_id`: say what it identifies, where it comes from, or its unit.
    """
    for contract in scope.contracts():
        parts = [(contract.name, contract.description, 1)]
        for schema in (contract.event, contract.table):
            if schema:
                parts.append((schema.name, schema.description, schema.line))
                parts += [(field.name, field.description, field.line) for field in schema.fields]
        for name, text, line in dict.fromkeys(parts):
            if not _says_more(name, text):
                yield Problem(contract.path, line, f"'{name}' is described as '{text}'.", "Say what it means.")


def _says_more(name: str, text: str) -> bool:
    words = re.findall(r"[^\W_]+", text.lower())
    return len(words) > 1 and not {*words} <= {*name.lower().split("_"), "the", "a", "an", "of", "column", "field"}


@rule()
def examples(scope: Scope) -> Iterable[Problem]:
    """Every column has an example, and each example is a valid value of the column.

    An example tells more than a description, and the catalog shows it.
    """
    for contract, schema, field in scope.fields():
        if not field.examples:
            yield Problem(contract.path, field.line, f"'{field.name}' of {schema.name} has no example.", "Add one.")
        for example in field.examples:
            if fault := _example_fault(field, example):
                message = f"the example {example!r} of '{field.name}' is no value of it."
                yield Problem(contract.path, field.line, message, fault)


def _example_fault(field: Field, example: Any) -> str | None:
    # YAML parses decimals as floats and days as dates, which are text in JSON.
    value = Decimal(str(example)) if isinstance(example, float) else example
    value = value.isoformat() if isinstance(value, date) else value
    if not fits(field.type, value):
        return f"{field.type.name} takes {field.type.on_wire}."
    return next((promise.allowed for promise in promises_of(field) if promise.breaks(value)), None)


@rule()
def kpi_term(scope: Scope) -> Iterable[Problem]:
    """Every figure of a `kpi_` table links to its term in a glossary, and so does each column named like a KPI.

    The link is in the column's `authoritativeDefinitions`, with type businessDefinition. So there is one definition,
    and everybody who sees the figure can read it.
    """
    figures = {name.partition(".")[2] for name, term in scope.terms.items() if term.kpi}
    for contract in scope.mesh.contracts.values():
        for field in contract.table.fields:
            is_figure = contract.table.name.startswith("kpi_") and not field.key and _is_number(field)
            if (is_figure or field.name in figures) and field.term is None:
                fix = (
                    "Add authoritativeDefinitions: [{type: businessDefinition, "
                    f"url: ../glossary.yaml#{field.name}" + "}], with the term in the glossary."
                )
                yield Problem(contract.path, field.line, f"'{field.name}' is a KPI without a definition.", fix)


def _is_number(field: Field) -> bool:
    return field.type.logical in ("integer", "number")


@rule()
def term_known(scope: Scope) -> Iterable[Problem]:
    """A column that links to a term links to one that exists in a glossary."""
    for contract, _, field in scope.fields():
        if field.term is None or field.term in scope.terms:
            continue
        # An unreadable glossary has problems of its own.
        if f"{field.term.partition('.')[0]}/{GLOSSARY}" not in scope.mesh.unread:
            message = f"'{field.name}' links to the term '{field.term}', which is not there."
            yield Problem(contract.path, field.line, message, offer(field.term, scope.terms))


@rule()
def term_once(scope: Scope) -> Iterable[Problem]:
    """A term is defined once in the whole mesh, and no term is in the `instead_of` of another one.

    Another meaning needs another word.
    """
    homes: dict[str, str] = {}
    avoided = {other: name for name, term in scope.terms.items() for other in term.instead_of}
    for full_name in scope.terms:
        owner, _, name = full_name.partition(".")
        label = scope.path(scope.mesh.domains[owner], GLOSSARY)
        first = homes.setdefault(name, owner)
        if first == owner and name not in avoided:
            continue
        document = read_document(scope.mesh.domains[owner].folder / GLOSSARY, scope.mesh.root)
        line = document.line(("terms", name)) if isinstance(document, Document) else 1
        if first != owner:
            fix = f"Link to ../../{first}/glossary.yaml#{name}, or choose another word."
            yield Problem(label, line, f"'{name}' is defined by {first}, too.", fix)
        else:
            message = f"'{name}' is what '{avoided[name]}' is used instead of."
            yield Problem(label, line, message, "Drop one of the two.")
