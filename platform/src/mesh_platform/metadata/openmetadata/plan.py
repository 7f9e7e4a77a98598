"""What to do so that OpenMetadata holds what the mesh is: read it, compare, list the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.compare import Comparison
from mesh_platform.metadata.openmetadata.edges import edge_steps
from mesh_platform.metadata.openmetadata.kinds import KINDS, Entity, Record, Ref, is_marked, known_as
from mesh_platform.metadata.openmetadata.ports import port_steps
from mesh_platform.metadata.openmetadata.records import record_steps
from mesh_platform.metadata.openmetadata.requests import creation
from mesh_platform.metadata.openmetadata.step import Known, Step, read_each


@dataclass(frozen=True)
class Plan:
    """The steps, in an order in which they can be done, and the ids of all that the server holds."""

    steps: Sequence[Step]
    ids: dict[Ref, str]


def make_plan(client: Client, wanted: Sequence[Entity], namespace: str, records: Sequence[Record] = ()) -> Plan:
    """Read what the server holds and return what must change, and which records must be sent. It sends only GET.

    Raises UnavailableError and AttentionError as `Client` does.
    """
    entities = [entity for entity in wanted if entity.kind in KINDS]
    names = {Ref(entity.kind, entity.fqn) for entity in entities}
    known = read_entities(client, entities, namespace)
    comparison = Comparison(namespace, names)
    steps: list[Step] = []
    for entity in entities:
        found = known.get(Ref(entity.kind, entity.fqn))
        if found is not None and KINDS[entity.kind].keep:
            continue
        if found is None or found.get("deleted"):
            steps.append(_create(entity, found))
        else:
            changes, differences = comparison.changes(entity, found)
            if changes:
                steps.append(Step(entity.kind, entity.fqn, "update", tuple(differences), changes, found["id"]))
    edges = [entity for entity in wanted if entity.kind == "lineage"]
    steps += edge_steps(client, edges, {ref: known[ref] for ref in names if ref in known}, namespace)
    steps += port_steps(client, [entity for entity in wanted if entity.kind == "ports"], known, namespace)
    steps += _removals(known, names, namespace)
    steps += record_steps(client, [record for record in records if record.of in names], known)
    return Plan(steps, {ref: found["id"] for ref, found in known.items()})


def read_entities(client: Client, wanted: Sequence[Entity], namespace: str) -> Known:
    """Return what the server holds of these entities, and all others that could be the mesh's."""
    known: Known = {}
    by_name: list[Entity] = []
    for kind, how in KINDS.items():
        if how.listed is None:
            by_name += [entity for entity in wanted if entity.kind == kind]
        else:
            known |= read_kind(client, kind, namespace)

    def read(entity: Entity) -> dict[str, Any] | None:
        return client.by_name(KINDS[entity.kind].path, entity.fqn, KINDS[entity.kind].fields)

    for entity, found in read_each(by_name, read):
        if found is not None:
            known[Ref(entity.kind, entity.fqn)] = found
    return known


def read_kind(client: Client, kind: str, namespace: str) -> Known:
    """Return all entities of a kind that is listed as a whole."""
    how = KINDS[kind]
    query = dict(parse_qsl((how.listed or "").format(namespace=namespace)))
    asked = {"fields": how.fields} if how.fields else {}
    listed = client.pages(how.path, **asked, **query)
    return {Ref(kind, known_as(kind, found, namespace)): found for found in listed}


def _create(entity: Entity, found: Mapping[str, Any] | None) -> Step:
    body = creation(entity)
    return Step(entity.kind, entity.fqn, "create", tuple(body), body, (found or {}).get("id", ""))


def _removals(known: Known, names: set[Ref], namespace: str) -> Iterator[Step]:
    """What the mesh has made and no longer has; contents before what contains them."""
    stale = [
        Step(ref.type, ref.fqn, "remove", (), {}, found["id"])
        for ref, found in known.items()
        if ref not in names and not found.get("deleted") and is_marked(ref.type, found, namespace)
    ]
    return reversed(stale)
