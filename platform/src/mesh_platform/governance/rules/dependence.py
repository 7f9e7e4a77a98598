"""Rules of dependence: which domains may build on which others, and on which of their tables."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.sql.lineage import Tracer
from mesh_platform.sql.relations import SITES, interface_unions

_RANK = {"source-aligned": 0, "aggregate": 1, "consumer-aligned": 2}


@rule(waivable=False)
def no_cycle(scope: Scope) -> Iterable[Problem]:
    """No product is built from itself, directly or through others: there would be no order to build in."""
    return scope.of_rule("no-cycle")


@rule()
def published_only(scope: Scope) -> Iterable[Problem]:
    """A model reads only what other domains publish, their products and interfaces, and none of their landing tables.

    Tables before the product are internal to its domain and change without notice.
    """
    unions = interface_unions(scope.mesh)
    for model in scope.models.values():
        for name, line in model.mentions:
            owner, _, table = name.partition(".")
            foreign = owner != model.contract.domain and owner in scope.mesh.domains
            if foreign and name not in scope.mesh.contracts and name not in unions and "__" in table:
                product = f"{owner}.{table.partition('__')[0]}"
                yield Problem(
                    model.path, line, f"reads '{name}', which {owner} does not publish.", f"Read {product}."
                )


@rule()
def direction(scope: Scope) -> Iterable[Problem]:
    """Data flows from source-aligned domains to aggregate ones to consumer-aligned ones, never back.

    A source-aligned domain reads no other domain's products: it reports what happened, independently of its readers.
    """
    unions = interface_unions(scope.mesh)
    for model in scope.models.values():
        own = scope.mesh.domains[model.contract.domain]
        for name, line in model.mentions:
            owner = scope.mesh.domains.get(name.partition(".")[0])
            known = name in scope.mesh.contracts or name in unions
            if owner is None or owner is own or not known or name == SITES:
                continue
            if _RANK[owner.kind] > _RANK[own.kind] or own.kind == "source-aligned":
                message = f"{own.name} is {own.kind} and reads '{name}' of {owner.name}, which is {owner.kind}."
                fix = "Publish this table in a domain further down: source-aligned, then aggregate, then consumer."
                yield Problem(model.path, line, message, fix)


@rule(severity="warning")
def deprecated_read(scope: Scope) -> Iterable[Problem]:
    """A model reads no deprecated column, and no deprecated product, of another domain: they will go.

    `deprecated: true` at a column or a table of a contract, or `status: deprecated`, says that new work should not
    use it. What a model reads through an interface is deprecated if the interface says so.
    """
    unions = {name: interface for name, (interface, _) in interface_unions(scope.mesh).items()}
    known = {**scope.mesh.contracts, **unions}
    old = {
        name: {field.name for field in contract.table.fields if field.deprecated or contract.deprecated}
        for name, contract in known.items()
    }
    for model in scope.models.values():
        own = model.contract.domain
        mentions = {name: line for name, line in model.mentions if old.get(name) and known[name].domain != own}
        # Of a model that does not fit what it reads, which the rule `sql` reports, nobody knows its columns.
        if not mentions or isinstance(found := Tracer(scope.mesh).model(model), Problem):
            continue
        read = {source for sources in (found.rows, *found.columns.values()) for source in sources}
        for name, line in mentions.items():
            columns = sorted(old[name] & {source.column for source in read if source.relation == name})
            what = "" if known[name].deprecated else f"{', '.join(columns)} of "
            if columns:
                fix = f"{known[name].path} says what to use instead, or its owner does."
                yield Problem(model.path, line, f"reads {what}'{name}', which is deprecated.", fix)


@rule()
def own_python(scope: Scope) -> Iterable[Problem]:
    """A domain's Python imports no other domain's.

    Code that two domains need belongs in the platform; what one needs to know about another is in its contracts.
    """
    for domain in scope.mesh.domains.values():
        others = {*scope.mesh.domains} - {domain.name}
        for path in scope.files(domain, "**/*.py"):
            label = scope.path(domain, str(path.relative_to(domain.folder)))
            for module, line in _imports(path):
                parts = module.removeprefix("domains.").split(".")
                if parts[0] in others:
                    fix = "Read its published products, or move what both need into the platform."
                    yield Problem(label, line, f"imports '{module}' of the domain {parts[0]}.", fix)


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    try:
        source = path.read_bytes()
        tree = ast.parse(source) if b"import" in source else ast.Module([], [])
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            if node.module == "domains":
                yield from ((f"domains.{alias.name}", node.lineno) for alias in node.names)
