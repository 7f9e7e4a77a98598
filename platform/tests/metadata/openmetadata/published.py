"""A small mesh with owners and a glossary, and a double of OpenMetadata that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.openmetadata import apply
from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.entities import desired
from mesh_platform.metadata.openmetadata.kinds import Entity, Record
from mesh_platform.metadata.openmetadata.plan import make_plan
from mesh_platform.metadata.openmetadata.step import Step
from mesh_platform.sql.model import read_models

from ...small_mesh import Place, add_dashboard, small_mesh
from .double import TOKEN, Double
from .double_http import serving

NAMESPACE = "mesh"
SUPERSET = "https://superset.example"
RULES = [
    {
        "type": "sql",
        "name": "no refunds",
        "query": "SELECT count(*) FROM ${object} WHERE amount < 0",
        "mustBe": 0,
        "customProperties": [{"property": "mesh.onFailure", "value": "hold"}],
    },
    {"metric": "rowCount", "name": "some sales", "mustBeGreaterThan": 0},
    {
        "metric": "duplicateValues",
        "name": "one a buyer",
        "arguments": {"properties": ["item_id", "buyer"]},
        "mustBe": 0,
        "customProperties": [{"property": "mesh.onFailure", "value": "warn"}],
    },
]


def owned_mesh(root: Path) -> Place:
    """The small mesh; domains have a team with an address, `core` a dashboard, rules, and a term on a column."""
    place = small_mesh(root)
    for name in ("alpha", "beta", "core"):
        owners = {
            "team": f"Team {name}",
            "steward": f"Sam {name}",
            "contact": f"{name}@acme.example",
            "on_call": f"#{name}",
        }
        place.write(f"{name}/owners.yaml", yaml.safe_dump(owners))
    term = {"definition": "What a buyer pays.", "instead_of": ["price"]}
    place.write("core/glossary.yaml", yaml.safe_dump({"terms": {"amount": term}}))
    link = [{"url": "../glossary.yaml#amount", "type": "businessDefinition"}]
    edit_column(
        place, "core/contracts/fact_sales", "amount", lambda column: {**column, "authoritativeDefinitions": link}
    )
    edit_contract(place, "core/contracts/fact_sales", lambda each: each["schema"][-1].update(quality=RULES))
    add_dashboard(place)
    return place


def edit_contract(place: Place, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the contract `<domain>/contracts/<product>`."""
    path = place.root / "domains" / f"{name}.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    edit(contract)
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def edit_column(place: Place, name: str, column: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change a column of the table of a contract."""

    def change(contract: dict[str, Any]) -> None:
        properties = contract["schema"][-1]["properties"]
        contract["schema"][-1]["properties"] = [edit(each) if each["name"] == column else each for each in properties]

    edit_contract(place, name, change)


def entities_of(place: Place) -> list[Entity]:
    """What OpenMetadata must hold of a mesh."""
    return desired(mesh_graph(place.mesh, read_models(place.mesh)), NAMESPACE, SUPERSET)


@dataclass
class Server:
    """A double that is served, and its client."""

    double: Double
    url: str
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.url, TOKEN, attempts=1)

    def plan(self, wanted: Sequence[Entity], records: Sequence[Record] = ()) -> list[Step]:
        return [*make_plan(self.client, wanted, NAMESPACE, records).steps]

    def publish(self, wanted: Sequence[Entity], records: Sequence[Record] = ()) -> list[Step]:
        return apply.publish(self.client, wanted, NAMESPACE, records)


@contextmanager
def server(double: Double | None = None) -> Iterator[Server]:
    """Serve a double, by default an empty one."""
    held = double or Double()
    with serving(held) as url:
        yield Server(held, url)


def shown(steps: Sequence[Step]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(step.entity, step.fqn, step.action, step.fields) for step in steps]
