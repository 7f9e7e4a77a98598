"""What to do so that OpenMetadata holds what the mesh is: read it, compare, list the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from mesh_platform.metadata.openmetadata.client import CONNECTIONS, Client
from mesh_platform.metadata.openmetadata.compare import Comparison
from mesh_platform.metadata.openmetadata.entities import edge_mark, edge_name
from mesh_platform.metadata.openmetadata.kinds import KINDS, Entity, Ref, is_marked

Action = Literal["create", "update", "remove"]
Known = dict[Ref, dict[str, Any]]
_FOREIGN_KEY = "FOREIGN_KEY"


@dataclass(frozen=True)
class Step:
    """One thing to do. `fields` names what differs; `request` is the body to send, or the fields to set.

    References in it are of the type `Ref`. `id` is that of the entity, where it exists.
    """

    entity: str
    fqn: str
    action: Action
    fields: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = field(default="", repr=False)

    def as_value(self) -> dict[str, Any]:
        """Return what `mesh catalog publish` prints of it."""
        return {"entity": self.entity, "fqn": self.fqn, "action": self.action, "fields": [*self.fields]}


@dataclass(frozen=True)
class Plan:
    """The steps, in an order in which they can be done, and the ids of all that the server holds."""

    steps: Sequence[Step]
    ids: dict[Ref, str]


def make_plan(client: Client, wanted: Sequence[Entity], namespace: str) -> Plan:
    """Read what the server holds and return what must change. It sends only GET.

    Raises UnavailableError and AttentionError as `Client` does.
    """
    entities = [entity for entity in wanted if entity.kind != "lineage"]
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
    steps += _edges(client, edges, {ref: known[ref] for ref in names if ref in known}, namespace)
    steps += _removals(known, names, namespace)
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
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        read = pool.map(
            lambda entity: client.by_name(KINDS[entity.kind].path, entity.fqn, KINDS[entity.kind].fields), by_name
        )
        for entity, found in zip(by_name, read, strict=True):
            if found is not None:
                known[Ref(entity.kind, entity.fqn)] = found
    return known


def read_kind(client: Client, kind: str, namespace: str) -> Known:
    """Return all entities of a kind that is listed as a whole."""
    how = KINDS[kind]
    query = dict(parse_qsl((how.listed or "").format(namespace=namespace)))
    asked = {"fields": how.fields} if how.fields else {}
    return {Ref(kind, found["fullyQualifiedName"]): found for found in client.pages(how.path, **asked, **query)}


def _create(entity: Entity, found: Mapping[str, Any] | None) -> Step:
    body = _without_none(entity.body)
    constraints = body.get("tableConstraints") or ()
    if any(each["constraintType"] == _FOREIGN_KEY for each in constraints):
        # The columns that a key refers to may not exist yet; the next look at the table adds it.
        body["tableConstraints"] = [each for each in constraints if each["constraintType"] != _FOREIGN_KEY]
    return Step(entity.kind, entity.fqn, "create", tuple(body), body, (found or {}).get("id", ""))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value


def _removals(known: Known, names: set[Ref], namespace: str) -> Iterator[Step]:
    """What the mesh has made and no longer has; contents before what contains them."""
    stale = [
        Step(ref.type, ref.fqn, "remove", (), {}, found["id"])
        for ref, found in known.items()
        if ref not in names and not found.get("deleted") and is_marked(ref.type, found, namespace)
    ]
    return reversed(stale)


def _edges(client: Client, wanted: Sequence[Entity], known: Known, namespace: str) -> Iterator[Step]:
    """The steps for edges: those of the mesh that differ, then those that it has made and no longer has."""
    mark = edge_mark(namespace)
    live = {ref: found["id"] for ref, found in known.items() if not found.get("deleted")}
    ends = {id_: ref for ref, id_ in live.items()}
    current: dict[str, Mapping[str, Any]] = {}
    stale: dict[str, tuple[Ref, Ref]] = {}
    names = {entity.fqn for entity in wanted}
    targets = [ref for ref in live if ref.type == "table"]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        read = pool.map(
            lambda ref: client.get(f"lineage/table/{live[ref]}", upstreamDepth="1", downstreamDepth="0"), targets
        )
        for ref, found in zip(targets, read, strict=True):
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
