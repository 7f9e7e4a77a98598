"""Which columns hold personal values, wherever they were copied to: the catalog shows no value of them."""

from __future__ import annotations

from mesh_platform.metadata.columns import Column
from mesh_platform.metadata.graph import Graph

# Values of these are for those who need them.
_WITHHELD = ("pii", "confidential")


def hidden_columns(graph: Graph) -> frozenset[Column]:
    """Return every column whose values may be personal or confidential.

    These are the columns that a contract classifies so, all that are computed from them, and all that their values
    are copied from: a value that is personal in one table is personal in each.
    """
    found = {
        (relation, column)
        for name, node in graph.nodes.items()
        if node.kind == "column" and node.facts.get("classification") in _WITHHELD
        for relation, _, column in [name.removeprefix("column:").rpartition(".")]
    }
    computed: dict[Column, list[Column]] = {}
    copied_from: dict[Column, list[Column]] = {}
    for relation in graph.columns.relations:
        for edge in graph.columns.edges(relation):
            if edge.target_column is not None and edge.how in ("copied", "computed"):
                source, target = (edge.source, edge.source_column), (edge.target, edge.target_column)
                computed.setdefault(source, []).append(target)
                if edge.how == "copied":
                    copied_from.setdefault(target, []).append(source)
    waiting = [*found]
    for column in waiting:
        near = {*computed.get(column, ()), *copied_from.get(column, ())} - found
        found |= near
        waiting += near
    return frozenset(found)
