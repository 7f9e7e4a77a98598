"""Ports of data products: references that OpenMetadata keeps apart from the product, with requests of their own.

A port has no field that could carry a mark. As with other references, those to entities of the mesh are the mesh's,
and those to others stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mesh_platform.errors import AttentionError
from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.kinds import Entity, is_marked
from mesh_platform.metadata.openmetadata.step import Action, Known, Step, live_ids, read_each

SIDES = ("inputPorts", "outputPorts")
_MOST = "1000"


def port_steps(client: Client, wanted: Sequence[Entity], known: Known, namespace: str) -> Iterator[Step]:
    """Yield a step for each product whose ports differ; `known` is all that the server holds."""
    live = live_ids(known)
    names = {id_: ref for ref, id_ in live.items()}
    there = [entity for entity in wanted if entity.body["of"] in live]

    def read(entity: Entity) -> Mapping[str, Any] | None:
        path = f"dataProducts/{live[entity.body['of']]}/portsView"
        return client.get(path, inputLimit=_MOST, outputLimit=_MOST)

    views = {entity.fqn: view or {} for entity, view in read_each(there, read)}
    for entity in wanted:
        request: dict[str, Any] = {"of": entity.body["of"]}
        for side in SIDES:
            held = (port["id"] for port in views.get(entity.fqn, {}).get(side, {}).get("data", ()))
            current = [names[id_] for id_ in held if id_ in names]
            # A server does not show those that are marked as deleted.
            mine = [ref for ref in current if is_marked(ref.type, known[ref], namespace)]
            request[f"{side}/remove"] = [ref for ref in mine if ref not in entity.body[side]]
            request[f"{side}/add"] = [ref for ref in entity.body[side] if ref not in current]
        paths = [f"{side}/{what}" for side in SIDES for what in ("remove", "add")]
        if differs := tuple(f"{path.partition('/')[0]}.{ref.fqn}" for path in paths for ref in request[path]):
            action: Action = "update" if entity.fqn in views else "create"
            yield Step("ports", entity.fqn, action, differs, request)


def send_ports(client: Client, product: str, assets: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    """Add and remove ports of the product with this id; `assets` has references by the end of the path.

    Raises AttentionError if the server refuses one: an asset is either input or output, and an output must be one of
    the product's own.
    """
    # What changes sides must be removed first.
    for path in (f"{side}/{what}" for what in ("remove", "add") for side in SIDES):
        if not assets[path]:
            continue
        answer = client.put(f"dataProducts/{product}/{path}", {"assets": [*assets[path]]})
        if failed := answer.get("failedRequest"):
            first = "; ".join(str(each.get("message")) for each in failed[:5])
            raise AttentionError(f"{client.address}: {path} of a data product is refused: {first}.")
