"""Data products as documents of the Open Data Product Standard (Bitol's ODPS, v1.0.0), from the graph of the mesh.

See https://bitol-io.github.io/open-data-product-standard/v1.0.0/ for the fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from mesh_platform.metadata.graph import Graph, Node

# Facts of a product for which ODPS has no field of its own, by the name that they get.
_CUSTOM: Mapping[str, str] = {
    "level": "level",
    "freshness_s": "freshnessSeconds",
    "latency_s": "latencySeconds",
    "retention_days": "retentionDays",
    "time_travel_days": "timeTravelDays",
    "synonyms": "synonyms",
}


def odps_document(graph: Graph, product: str) -> dict[str, Any]:
    """Return a product of the graph, `<domain>.<product>`, as an ODPS document of JSON values.

    Its output ports are its table and the views with its rows, each with the contract that promises it and the
    contracts that it depends on. Its input ports are what it is computed from. Raises KeyError for an unknown
    product.
    """
    node = graph.nodes[f"product:{product}"]
    (domain,) = graph.of(node.id, "part of")
    inputs = [*_inputs(graph, node)]
    document = {
        "apiVersion": "v1.0.0",
        "kind": "DataProduct",
        "id": product,
        "name": product.partition(".")[2],
        "version": node.facts["version"],
        "status": "deprecated" if node.facts.get("deprecated") else node.facts["status"],
        "domain": domain.name,
        "description": {"purpose": node.description},
        "tags": [tag.name for tag in graph.of(node.id, "tagged")],
        "inputPorts": inputs,
        "outputPorts": [*_outputs(graph, node, inputs)],
        "support": [*_support(domain)],
        "team": _team(graph, domain),
        "customProperties": [*_custom(graph, node, domain)],
    }
    return {name: value for name, value in document.items() if value != []}


def _inputs(graph: Graph, product: Node) -> Iterator[dict[str, Any]]:
    for source in graph.of(product.id, "input"):
        # What nobody else's contract promises, events and reference data, is a part of the product's own.
        own = source.kind in ("queue", "file")
        contract = product if own else _contract(graph, source)
        if contract:
            yield {"name": source.name, "version": contract.facts["version"], "contractId": contract.facts["id"]}


def _outputs(graph: Graph, product: Node, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    own = product.facts["id"]
    needed = {each["contractId"]: each["version"] for each in inputs if each["contractId"] != own}
    for target in graph.of(product.id, "output"):
        contract = _contract(graph, target) or product
        port = {
            "name": target.name,
            "description": target.description,
            "type": target.kind,
            "version": contract.facts["version"],
            "contractId": contract.facts["id"],
            "inputContracts": [{"id": name, "version": version} for name, version in needed.items()],
        }
        yield {name: value for name, value in port.items() if value != []}


def _contract(graph: Graph, relation: Node) -> Node | None:
    """The product or interface whose contract promises a table or view; the view of sites has none."""
    return next((each for each in graph.of(relation.id, "part of") if each.kind in ("product", "interface")), None)


def _support(domain: Node) -> Iterator[dict[str, str]]:
    for name, scope in (("contact", "interactive"), ("on_call", "issues")):
        if url := _url(domain.facts[name]):
            yield {"channel": domain.facts[name], "url": url, "scope": scope}


def _team(graph: Graph, domain: Node) -> dict[str, Any]:
    (team,) = graph.of(domain.id, "owned by")
    # owners.yaml has the names of stewards and no accounts.
    stewards = [
        {"username": each.name, "name": each.name, "role": "data steward"} for each in graph.of(domain.id, "steward")
    ]
    return {"name": team.name, "description": f"Owns {domain.name}.", "members": stewards}


def _custom(graph: Graph, product: Node, domain: Node) -> Iterator[dict[str, Any]]:
    for fact, name in _CUSTOM.items():
        if fact in product.facts:
            yield {"property": name, "value": product.facts[fact]}
    for interface in graph.of(product.id, "implements"):
        yield {"property": "implements", "value": interface.name}
    yield {"property": "domainKind", "value": domain.facts["kind"]}
    for name, known in (("contact", "contact"), ("on_call", "onCall")):
        # A channel without an address is no support channel of ODPS.
        if not _url(domain.facts[name]):
            yield {"property": known, "value": domain.facts[name]}


def _url(contact: str) -> str | None:
    if urlsplit(contact).scheme in ("http", "https", "mailto"):
        return contact
    return f"mailto:{contact}" if "@" in contact and " " not in contact else None
