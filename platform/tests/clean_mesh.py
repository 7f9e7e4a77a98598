"""The smallest mesh that keeps to all rules: `shop` sends sales, `core` has fact and figures, `lab` predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from mesh_platform.errors import Problem
from mesh_platform.governance.check import check, mend, open_scope

from .written_once import write_once

TODAY = date(2026, 6, 1)
_EXAMPLES = {"string": "abc", "timestamptz": "2025-10-01T14:03:12Z", "date": "2025-10-01", "long": 7, "int": 7}
_LOGICAL = {"string": "string", "timestamptz": "timestamp", "date": "date", "long": "integer", "int": "integer"}
_SALE = {
    "event_id": "string key",
    "product_id": "string",
    "customer_id": "string pii",
    "sold_ts": "timestamptz",
    "amount_usd": "decimal(12,2)",
}


@dataclass(frozen=True)
class CleanMesh:
    """A repository in a folder."""

    root: Path

    def path(self, name: str) -> Path:
        """A file by its place under domains/, or by its place in the repository with a slash before."""
        return self.root / name[1:] if name.startswith("/") else self.root / "domains" / name

    def write(self, name: str, text: str) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text, encoding="utf-8")

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Change what a YAML file holds."""
        data = yaml.load(self.path(name).read_text(encoding="utf-8"), yaml.CSafeLoader)
        change(data)
        self.write(name, yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))

    def column(self, contract: str, column: str, /, **words: object) -> None:
        """Change words of a column of a contract's table; None takes one away."""

        def change(data: Any) -> None:
            (found,) = (each for each in data["schema"][-1]["properties"] if each["name"] == column)
            found.update(words)
            for word in [word for word, value in words.items() if value is None]:
                del found[word]

        self.edit(contract, change)

    def check(self, *only: str, today: date = TODAY) -> list[Problem]:
        return check(open_scope(self.root, today), only)

    def mend(self) -> list[Path]:
        return mend(open_scope(self.root, TODAY))


def clean_mesh(root: Path) -> CleanMesh:
    """Write the mesh below `root`."""
    write_once(_write, root)
    return CleanMesh(root)


def _write(root: Path) -> None:
    mesh = CleanMesh(root)
    for name, kind in (("shop", "source-aligned"), ("core", "aggregate"), ("lab", "consumer-aligned")):
        add_domain(mesh, name, kind)
    site = {"warehouse_id": "WH-SHOP", "name": "Shop", "region": "south", "city": "X", "country": "US"}
    site |= {"time_zone": "America/New_York", "currency": "USD", "opened_on": date(2020, 1, 1)}
    mesh.edit("shop/domain.yaml", lambda domain: domain.update(site=site))
    event = {name: words for name, words in _SALE.items() if name != "event_id"}
    sales = {"sale_made": event, "sales": _SALE}
    add_contract(mesh, "shop", "sales", sales, {"freshness": 24}, implements="sale.v1", roles=["shop_staff"])
    mesh.write("shop/models/sales.sql", f"select {', '.join(_SALE)} from shop.sales__raw\n")
    mesh.write("shop/producers/produce_sales.py", '"""Sells."""\n')
    add_contract(mesh, "core", "sale.v1", {"sale": _SALE}, {}, folder="interfaces")
    fact = _SALE | {"product_id": "string ->dim_product.product_id"}
    add_contract(mesh, "core", "fact_sales", {"fact_sales": fact}, {"freshness": 26}, roles=["boss"])
    mesh.write("core/models/fact_sales.sql", f"select {', '.join(_SALE)} from core.sale_v1\n")
    product = {"product_id": "string key", "label": "string"}
    add_contract(mesh, "core", "products", {"products": product}, {"latency": 2})
    mesh.write("core/reference/products.csv", "product_id,label\nabc,Lamp\n")
    add_contract(mesh, "core", "dim_product", {"dim_product": product}, {"latency": 4})
    mesh.write("core/models/dim_product.sql", "select product_id, label from core.products\n")
    figure = {"product_id": "string key", "sale_count": "long"}
    add_contract(mesh, "core", "kpi_sales", {"kpi_sales": figure}, {"latency": 8})
    link = [{"type": "businessDefinition", "url": "../glossary.yaml#sale_count"}]
    mesh.column("core/contracts/kpi_sales.odcs.yaml", "sale_count", authoritativeDefinitions=link)
    counted = "select product_id, count(*) as sale_count from core.fact_sales group by product_id\n"
    mesh.write("core/models/kpi_sales.sql", counted)
    terms = {
        "sale_count": {"definition": "How many sales there were.", "kpi": True},
        "customer_id": {"definition": "Somebody who buys.", "instead_of": ["client_no", "forecast"]},
    }
    mesh.write("core/glossary.yaml", yaml.safe_dump({"terms": terms}))
    add_contract(mesh, "lab", "outlook", {"outlook": figure}, {"latency": 10})
    mesh.column("lab/contracts/outlook.odcs.yaml", "sale_count", name="expected_count")
    guess = "select product_id, sale_count + 1 as expected_count from core.kpi_sales\n"
    mesh.write("lab/models/outlook.sql", guess)
    mesh.mend()


def add_domain(mesh: CleanMesh, name: str, kind: str) -> None:
    """A domain without contracts."""
    mesh.write(f"{name}/domain.yaml", yaml.safe_dump({"name": name, "kind": kind, "description": "A test."}))
    owners = {"team": "Team", "steward": "Ada Okafor", "contact": f"{name}@acme.example", "on_call": "#call"}
    mesh.write(f"{name}/owners.yaml", yaml.safe_dump(owners))


def add_contract(
    mesh: CleanMesh,
    domain: str,
    name: str,
    shapes: dict[str, dict[str, str]],
    promises: dict[str, int],
    folder: str = "contracts",
    implements: str | None = None,
    roles: list[str] | None = None,
) -> None:
    """A contract; the last of `shapes` is the table. A column is `<type> [key] [pii] [->table.column]`."""
    table = [*shapes][-1]
    schema = []
    for shape, columns in shapes.items():
        time = [] if shape == table else [{"property": "mesh.eventTime", "value": "sold_ts"}]
        schema.append(
            {
                "name": shape,
                "physicalType": "table" if shape == table else "event",
                "description": "One row each.",
                "properties": [_column(column, words.split()) for column, words in columns.items()],
                **({"customProperties": time} if time else {}),
            }
        )
    sla = [{"property": "retention", "value": 1, "unit": "y"}]
    for promise, hours in promises.items():
        element = {"element": f"{table}.sold_ts"} if promise == "freshness" else {}
        sla.append({"property": promise, "value": hours, "unit": "h", **element})
    contract = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": f"urn:{domain}:{name}",
        "name": name,
        "version": "1.0.0",
        "status": "active",
        "domain": domain,
        "description": {"purpose": "What a test needs."},
        "schema": schema,
        "slaProperties": sla,
        "roles": [{"role": role, "access": "read"} for role in roles or []],
        "customProperties": [{"property": "mesh.implements", "value": implements}] if implements else [],
    }
    mesh.write(f"{domain}/{folder}/{name}.odcs.yaml", yaml.safe_dump(contract, sort_keys=False))


def _column(name: str, words: list[str]) -> dict[str, object]:
    kind = words[0]
    found: dict[str, object] = {"name": name, "logicalType": _LOGICAL.get(kind, "number"), "physicalType": kind}
    found |= {"required": True, "description": "What a test needs.", "examples": [_EXAMPLES.get(kind, "1.50")]}
    found |= {"primaryKey": True} if "key" in words else {}
    found |= {"classification": "pii"} if "pii" in words else {}
    targets = [word.removeprefix("->") for word in words if word.startswith("->")]
    return found | ({"relationships": [{"to": targets[0]}]} if targets else {})
