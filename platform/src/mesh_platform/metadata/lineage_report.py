"""Reports of lineage: a tree for people, JSON for programs, a Mermaid diagram for documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mesh_platform.errors import UsageError
from mesh_platform.metadata.columns import CHART, Column, Edge
from mesh_platform.metadata.graph import Graph
from mesh_platform.sql.bound_plan import How
from mesh_platform.text import offer

Direction = Literal["up", "down"]
# How a column depends on others, and what it does to those that depend on it.
UPSTREAM: Mapping[How, str] = {
    "copied": "copied from",
    "computed": "computed from",
    "filtered": "filtered by",
    "joined": "joined by",
    "grouped": "grouped by",
}
DOWNSTREAM: Mapping[How, str] = {
    "copied": "copied to",
    "computed": "computes",
    "filtered": "filters",
    "joined": "joins",
    "grouped": "groups",
}


@dataclass(frozen=True)
class Report:
    """The lineage of one column, or of all columns of a relation, in one direction.

    `edges` are those of the columns, nearest first; `relations` are the pairs (from, to) of relations.
    """

    relation: str
    column: str | None
    direction: Direction
    edges: tuple[Edge, ...]
    relations: tuple[tuple[str, str], ...]


def lineage_report(graph: Graph, name: str, direction: Direction) -> Report:
    """Return the lineage of `name`, `<relation>` or `<relation>.<column>`. Raises UsageError for an unknown name."""
    relation, column = _find(graph, name)
    columns = graph.columns
    starts = [(relation, each) for each in (_columns(graph, relation) if column is None else [column])]
    found = columns.up(starts) if direction == "up" else columns.down(starts)
    if column is None and direction == "up":
        found += [edge for edge in columns.edges(relation) if edge.target_column is None]
    return Report(relation, column, direction, tuple(found), tuple(_relations(graph, relation, direction)))


def _find(graph: Graph, name: str) -> tuple[str, str | None]:
    if found := _relation(graph, name):
        return found, None
    relation, _, column = name.rpartition(".")
    relation = _relation(graph, relation) or relation
    if not graph.relation(relation):
        known = {each.name: None for each in graph.nodes.values() if each.kind in ("table", "view")}
        raise UsageError(f"{name}: no such table or view of the mesh. {offer(name, known)}")
    if column not in (columns := _columns(graph, relation)):
        raise UsageError(f"{name}: {relation} has no such column. {offer(column, columns)}")
    return relation, column


def _relation(graph: Graph, name: str) -> str | None:
    """Return the relation of this name; a chart may be called by its name alone."""
    return next((each for each in (name, f"{CHART}{name}") if graph.relation(each)), None)


def _columns(graph: Graph, relation: str) -> dict[str, None]:
    node = graph.relation(relation)
    parts = graph.with_link("part of", node.id) if node else ()
    return {part.name.removeprefix(f"{relation}."): None for part in parts if part.kind == "column"}


def _relations(graph: Graph, start: str, direction: Direction) -> Iterator[tuple[str, str]]:
    columns = graph.columns
    waiting, seen = [start], {start}
    for name in waiting:
        near = columns.inputs(name) if direction == "up" else columns.readers.get(name, ())
        for other in near:
            yield (other, name) if direction == "up" else (name, other)
            if other not in seen:
                seen.add(other)
                waiting.append(other)


def as_text(report: Report) -> str:
    """A tree that begins at the report's own column or relation; what was shown before is not repeated."""
    if report.column is None:
        near: dict[str, list[tuple[str, str]]] = {}
        for source, target in report.relations:
            near.setdefault(target if report.direction == "up" else source, []).append(
                ("", source if report.direction == "up" else target)
            )
        lines = [report.relation, *_tree(near, report.relation)]
        decides = [edge for edge in report.edges if edge.target_column is None and edge.target == report.relation]
        return "\n".join([*lines, *_decided(decides)] if report.direction == "up" else lines)
    near = {}
    for edge in report.edges:
        source, target = _name(edge.source, edge.source_column), _name(edge.target, edge.target_column)
        words = (UPSTREAM if report.direction == "up" else DOWNSTREAM)[edge.how]
        if report.direction == "up":
            near.setdefault(target, []).append((words, source))
        else:
            near.setdefault(source, []).append((words, target))
    start = _name(report.relation, report.column)
    return "\n".join([start, *_tree(near, start)])


def _name(relation: str, column: str | None) -> str:
    return f"{relation}.{column}" if column else f"rows of {relation}"


def _decided(edges: Iterable[Edge]) -> Iterator[str]:
    by: dict[str, list[str]] = {}
    for edge in edges:
        by.setdefault(UPSTREAM[edge.how], []).append(_name(edge.source, edge.source_column))
    if by:
        yield "rows"
        yield from (f"  {words} {', '.join(sorted(names))}" for words, names in sorted(by.items()))


def _tree(near: Mapping[str, list[tuple[str, str]]], start: str) -> Iterator[str]:
    shown = {start}

    def below(name: str, depth: int) -> Iterator[str]:
        for words, other in near.get(name, ()):
            again = other in shown and bool(near.get(other))
            yield f"{'  ' * depth}{words}{' ' * bool(words)}{other}{', as above' * again}"
            if not again:
                shown.add(other)
                yield from below(other, depth + 1)

    yield from below(start, 1)


def as_value(report: Report) -> dict[str, Any]:
    """A value for JSON: the edges of columns, each with `how`, and the pairs of relations."""
    return {
        "name": report.relation if report.column is None else f"{report.relation}.{report.column}",
        "direction": report.direction,
        "edges": [
            {
                "from": {"relation": edge.source, "column": edge.source_column},
                "to": {"relation": edge.target, "column": edge.target_column},
                "how": edge.how,
            }
            for edge in report.edges
        ],
        "relations": [{"from": source, "to": target} for source, target in report.relations],
    }


def as_mermaid(report: Report) -> str:
    """A Mermaid flowchart: of relations, or of columns in a box for each relation."""
    lines = ["flowchart LR"]
    if report.column is None:
        ids = _ids(name for pair in report.relations or ((report.relation, report.relation),) for name in pair)
        lines += [f'  {number}["{name}"]' for name, number in ids.items()]
        return "\n".join([*lines, *(f"  {ids[source]} --> {ids[target]}" for source, target in report.relations)])
    ends: dict[Column, None] = {(report.relation, report.column): None}
    for edge in report.edges:
        ends |= {(edge.source, edge.source_column): None, (edge.target, edge.target_column or "rows"): None}
    ids = _ids(f"{relation}.{column}" for relation, column in ends)
    for box, relation in enumerate(dict.fromkeys(relation for relation, _ in ends)):
        own = [column for other, column in ends if other == relation]
        lines += [f'  subgraph s{box}["{relation}"]']
        lines += [f'    {ids[f"{relation}.{column}"]}["{column}"]' for column in own]
        lines += ["  end"]
    for edge in report.edges:
        source, target = f"{edge.source}.{edge.source_column}", f"{edge.target}.{edge.target_column or 'rows'}"
        lines.append(f"  {ids[source]} {'-->' if edge.how == 'copied' else f'-- {edge.how} -->'} {ids[target]}")
    return "\n".join(lines)


def _ids(names: Iterable[str]) -> dict[str, str]:
    return {name: f"n{number}" for number, name in enumerate(dict.fromkeys(names))}
