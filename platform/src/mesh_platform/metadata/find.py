"""Search in the graph of a mesh: names, descriptions, owners, terms and tags, ranked by SQLite's full-text index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from mesh_platform.errors import UsageError
from mesh_platform.metadata.graph import Graph, Node

# What a word weighs in a name, among the tags and terms, in a description, and in the name of what it belongs to.
_WEIGHTS = (10.0, 4.0, 2.0, 1.0)
# People look for products and terms rather than for each of their columns.
_FIRST = {
    "product": 3.0,
    "term": 2.5,
    "domain": 2.5,
    "person": 2.5,
    "team": 2.5,
    "interface": 2.0,
    "table": 1.5,
    "view": 1.5,
}
# Words within names.
_PARTS = re.compile(r"[^\W_]+")


class Match(NamedTuple):
    """A node that matches a search, with the domain and the owner that it belongs to."""

    node: Node
    domain: str | None
    owner: str | None


def find(graph: Graph, words: str, limit: int | None = None) -> list[Match]:
    """Return the nodes in which all `words` occur, best first; a word also finds those that begin with it.

    Raises UsageError if there is no letter or digit among the words.
    """
    wanted = _PARTS.findall(words)
    if not wanted:
        raise UsageError(f"{words!r}: nothing to look for. Give words, such as 'orders by customer'.")
    query = " AND ".join(f'"{word}"*' for word in wanted)
    with closing(sqlite3.connect(":memory:")) as index:
        columns = "id UNINDEXED, boost UNINDEXED, name, tags, description, whose"
        index.execute(f"CREATE VIRTUAL TABLE entries USING fts5({columns}, tokenize='unicode61 remove_diacritics 2')")
        index.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", _entries(graph))
        rank = f"bm25(entries, 0, 0, {', '.join(map(str, _WEIGHTS))})"
        rows = index.execute(
            f"SELECT id FROM entries WHERE entries MATCH ? ORDER BY {rank} * boost, length(name), id LIMIT ?",
            (query, -1 if limit is None else limit),
        ).fetchall()
    return [Match(graph.nodes[node_id], *_place(graph, node_id)) for (node_id,) in rows]


def _entries(graph: Graph) -> Iterator[tuple[str, float, str, str, str, str]]:
    for node_id, node in graph.nodes.items():
        linked = [*graph.of(node_id, "tagged"), *graph.of(node_id, "means"), *graph.of(node_id, "implements")]
        aliases = [*node.facts.get("instead_of", ()), *node.facts.get("synonyms", ())]
        aliases += ["deprecated"] if node.facts.get("deprecated") else []
        tags = " ".join([*(each.name for each in linked), *aliases])
        own = node.name.rpartition(".")[2] if node.kind == "column" else node.name
        whose = " ".join(filter(None, _place(graph, node_id)))
        yield node_id, _FIRST.get(node.kind, 1.0), own, tags, node.description, f"{node.name} {whose}"


def _place(graph: Graph, node_id: str) -> tuple[str | None, str | None]:
    """Return the domain that a node is part of, and the team that owns it."""
    domain = graph.domain(node_id)
    if domain is None:
        return None, None
    return domain.name, next((team.name for team in graph.of(domain.id, "owned by")), None)
