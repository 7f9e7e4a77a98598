"""Edges of lineage: which differ, and which the mesh has made and no longer has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.entities import edge_mark, edge_name
from mesh_platform.metadata.openmetadata.kinds import Entity, Ref
from mesh_platform.metadata.openmetadata.step import Known, Step, live_ids, read_each


def edge_steps(client: Client, wanted: Sequence[Entity], known: Known, namespace: str) -> Iterator[Step]:
    """Yield the steps for edges between `known`: those that differ, then those that the mesh has made and lost."""
    mark = edge_mark(namespace)
    live = live_ids(known)
    ends = {id_: ref for ref, id_ in live.items()}
    current: dict[str, Mapping[str, Any]] = {}
    stale: dict[str, tuple[Ref, Ref]] = {}
    names = {entity.fqn for entity in wanted}
    targets = [ref for ref in live if ref.type in ("table", "chart", "dashboard")]

    def read(ref: Ref) -> dict[str, Any] | None:
        return client.get(f"lineage/{ref.type}/{live[ref]}", upstreamDepth="1", downstreamDepth="0")

    for ref, found in read_each(targets, read):
        for edge in (found or {}).get("upstreamEdges") or ():
            source = ends.get(edge["fromEntity"])
            if edge["toEntity"] != live[ref] or source is None:
                continue
            name = edge_name(source.fqn, ref.fqn)
            details = edge.get("lineageDetails") or {}
            current[name] = details
            if name not in names and details.get("description") == mark:
                stale[name] = (source, ref)
    for entity in wanted:
        if entity.fqn not in current:
            yield Step("lineage", entity.fqn, "create", ("edge",), entity.body)
        elif differs := _details(current[entity.fqn], entity.body["edge"]["lineageDetails"]):
            yield Step("lineage", entity.fqn, "update", tuple(differs), entity.body)
    for name, (source, target) in stale.items():
        yield Step("lineage", name, "remove", (), {"ends": [source, target]})


def _details(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    differs = [name for name in ("description", "source") if current.get(name) != wanted[name]]
    columns = _pairs(current.get("columnsLineage")) ^ _pairs(wanted["columnsLineage"])
    return differs + [f"columnsLineage.{target}" for target in sorted({target for target, _ in columns})]


def _pairs(columns: Sequence[Mapping[str, Any]] | None) -> set[tuple[str, str]]:
    return {(each["toColumn"], source) for each in columns or () for source in each["fromColumns"]}
