"""A small mesh to test with: two shops send sales, `core` owns their union, its facts and its dimensions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import yaml
from mesh_platform.build.build import build
from mesh_platform.build.job import Built
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.provenance import RECEIVED
from mesh_platform.lake.catalog import arrow_schema, embedded_properties, ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog

from conftest import State, new_state

from .written_once import write_once

START = datetime(2025, 10, 1, tzinfo=UTC)
SALE = {
    "event_id": "string key",
    "item_id": "string required",
    "buyer": "string required pii",
    "site_id": "string required",
    "sold_at": "timestamptz required",
    "amount": "decimal(12,2) required",
}
EVENT = {
    "item_id": "string required",
    "buyer": "string required pii",
    "amount": "decimal(12,2) required",
    "sold_at": "timestamptz required",
}
SALES_SQL = """-- Each sale, with the site that made it.
select r.event_id, r.item_id, r.buyer, s.warehouse_id as site_id, r.sold_at, r.amount
from {domain}.sales_{domain}__raw as r
inner join mesh.sites as s on s.domain = '{domain}'
"""
FACT_SQL = "select event_id, item_id, buyer, site_id, sold_at, amount from core.sale_v1\n"
ITEM_SQL = "select item_id, label from core.items\nunion all\nselect 'unknown', 'Unknown item'\n"
BUYER_SQL = """select buyer, count(*) as sales, cast(sum(amount) as decimal(18, 2)) as total
from core.fact_sales
group by buyer
"""


@dataclass(frozen=True)
class Sale:
    """One sale; `number` makes its id, `hours` its time since `START`."""

    number: int
    hours: int = 0
    item: str = "i1"
    buyer: str = "ann"
    amount: Decimal = Decimal("1.00")

    @property
    def time(self) -> datetime:
        return START + timedelta(hours=self.hours)


_OPEN: dict[tuple[int, Path], Catalog] = {}
_READ: dict[Path, tuple[list[tuple[str, int, int]], Mesh]] = {}


@dataclass(frozen=True)
class Place:
    """A mesh of files and its lake, in one folder."""

    root: Path

    @property
    def mesh(self) -> Mesh:
        """The mesh as its files say now; read again where one of them has changed."""
        files = sorted((self.root / "domains").rglob("*"))
        facts = [(str(file), stat.st_mtime_ns, stat.st_size) for file in files for stat in [file.stat()]]
        read = _READ.get(self.root)
        if read is None or read[0] != facts:
            _READ.clear()
            read = _READ[self.root] = (facts, load_mesh(self.root))
        return read[1]

    @property
    def catalog(self) -> Catalog:
        """The catalog of the lake, opened once by each process that asks for it, and again after `close`."""
        key = (os.getpid(), self.root)
        if key not in _OPEN:
            _OPEN.clear()
            settings = Settings(root=self.root)
            settings.state_dir.mkdir(exist_ok=True)
            io = {"py-io-impl": "mesh_platform.iceberg.durable_io.DurableFileIO"}
            _OPEN[key] = load_catalog("mesh", **embedded_properties(settings), **io)
        return _OPEN[key]

    def close(self) -> None:
        """Let go of the catalog, as before another lake comes into its place, or to see it opened."""
        _OPEN.clear()

    def land(self, domain: str, sales: Iterable[Sale], received: float | None = None) -> int:
        """Append sales to the landing table of `domain`; the snapshot's id. Ingest notes when it `received` them."""
        contract = self.mesh.contracts[f"{domain}.sales_{domain}"]
        table = ensure_table(self.catalog, landing_name(contract), landing_schema(contract))
        rows = [
            {
                "event_id": f"{domain}-{sale.number:04}",
                "event_time": sale.time,
                "item_id": sale.item,
                "buyer": sale.buyer,
                "amount": sale.amount,
                "sold_at": sale.time,
                "producer": "test",
                "schema_version": "1.0.0",
                "ingested_at": sale.time,
            }
            for sale in sales
        ]
        noted = {} if received is None else {RECEIVED: str(round(1000 * received))}
        return append_rows(table, pa.Table.from_pylist(rows, schema=arrow_schema(landing_schema(contract))), noted)

    def build(self, *tables: str, full: bool = False, release: bool = False) -> dict[str, Built]:
        """Build `tables`, by default all; a release of all of them, which takes long, only where it is asked for."""
        published = [name for name, contract in self.mesh.contracts.items() if not contract.retired]
        chosen = tables or ([] if release else published)
        return {built.table: built for built in build(self.mesh, self.catalog, chosen, full)}

    @property
    def state(self) -> State:
        """The command line on this mesh and its lake, in processes of their own."""
        return new_state(self.root / ".mesh", self.root)

    def rows(self, table: str, *columns: str) -> list[tuple[object, ...]]:
        """The rows of a table as plain pyiceberg reads it, sorted."""
        found = self.catalog.load_table(table).scan(selected_fields=columns or ("*",)).to_arrow()
        return sorted(tuple(row[name] for name in found.column_names) for row in found.to_pylist())

    def snapshots(self, table: str) -> list[int]:
        return [snapshot.snapshot_id for snapshot in self.catalog.load_table(table).snapshots()]

    def files(self, table: str) -> set[str]:
        return {task.file.file_path for task in self.catalog.load_table(table).scan().plan_files()}

    def write(self, path: str, text: str) -> None:
        (self.root / "domains" / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / "domains" / path).write_text(text)


def small_mesh(root: Path) -> Place:
    """Write the mesh below `root`."""
    write_once(_write, root)
    return Place(root)


def _write(root: Path) -> None:
    place = Place(root)
    for name in ("alpha", "beta"):
        add_shop(place, name)
    add_domain(place, "core", site=False)
    add_contract(place, "core", "sale.v1", {"sale": SALE}, folder="interfaces")
    references = SALE | {"item_id": "string required pii ->dim_item.item_id", "buyer": "string required pii"}
    add_contract(place, "core", "fact_sales", {"fact_sales": references}, partition="month(sold_at)", roles=["boss"])
    add_contract(place, "core", "items", {"items": {"item_id": "string key", "label": "string required"}})
    add_contract(place, "core", "dim_item", {"dim_item": {"item_id": "string key pii", "label": "string required"}})
    buyer = {"buyer": "string key pii", "sales": "long required", "total": "decimal(18,2) required"}
    add_contract(place, "core", "dim_buyer", {"dim_buyer": buyer}, roles=["boss"])
    place.write("core/reference/items.csv", 'item_id,label\ni1,Lamp\ni2,"Chair, red"\n')
    place.write("core/models/fact_sales.sql", FACT_SQL)
    place.write("core/models/dim_item.sql", ITEM_SQL)
    place.write("core/models/dim_buyer.sql", BUYER_SQL)


def add_shop(place: Place, name: str) -> None:
    """A domain that sends sales and implements the interface `sale.v1`."""
    add_domain(place, name, site=True)
    shapes = {"sale_made": EVENT, f"sales_{name}": SALE}
    add_contract(place, name, f"sales_{name}", shapes, partition="month(sold_at)", implements="sale.v1", roles=[name])
    place.write(f"{name}/models/sales_{name}.sql", SALES_SQL.format(domain=name))


def add_domain(place: Place, name: str, site: bool) -> None:
    """A domain without contracts."""
    where = {"warehouse_id": f"WH-{name.upper()}", "name": name, "region": name, "city": "X", "country": "US"}
    where |= {"time_zone": "America/New_York", "currency": "USD", "opened_on": START.date()}
    domain = {"name": name, "kind": "source-aligned" if site else "aggregate", "description": "A test."}
    place.write(f"{name}/domain.yaml", yaml.safe_dump(domain | ({"site": where} if site else {})))
    owners = dict.fromkeys(("team", "steward", "contact", "on_call"), "t")
    place.write(f"{name}/owners.yaml", yaml.safe_dump(owners))


def add_dashboard(
    place: Place, sql: str = "select * from core.fact_sales__resolved join core.dim_item using (item_id)"
):
    """A dashboard of `core` with two charts: one of the items, one of all sales and how healthy their tables are."""
    files = {
        "dashboard.yaml": "dashboard_title: Sales\ndescription: What is sold.\nrows:\n"
        "  - [{chart: by_item, width: 6, height: 20}, {chart: late, width: 6, height: 20}]\n",
        "charts/by_item.yaml": "slice_name: Which items sell\nviz_type: table\ndataset: sales\n"
        "params: {metrics: [sold], groupby: [label]}\n",
        "charts/late.yaml": "slice_name: What is late\nviz_type: big_number_total\ndataset: health\n"
        "params: {metric: late}\n",
        "datasets/sales.yaml": "description: Sales.\nmetrics: {sold: {expression: sum(amount)}}\n",
        "datasets/sales.sql": f"{sql}\n",
        "datasets/health.yaml": "description: Health.\nmetrics: {late: {expression: max(lag_hours)}}\n",
        "datasets/health.sql": "select * from mesh.health\n",
    }
    for path, text in files.items():
        place.write(f"core/dashboards/sales/{path}", text)


def add_contract(
    place: Place,
    domain: str,
    name: str,
    shapes: dict[str, dict[str, str]],
    folder: str = "contracts",
    partition: str | None = None,
    implements: str | None = None,
    roles: Sequence[str] = (),
) -> None:
    """A contract; the last of `shapes` is the table.

    A column is `<type> [key|required] [pii] [dropped] [->table.column] [<-earlier name]`.
    """
    schema = []
    for shape, columns in shapes.items():
        is_table = shape == list(shapes)[-1]
        custom = [] if is_table else [{"property": "mesh.eventTime", "value": "sold_at"}]
        if is_table and partition:
            custom = [{"property": "mesh.partition", "value": [partition]}]
        schema.append(
            {
                "name": shape,
                "physicalType": "table" if is_table else "event",
                "description": "A row.",
                "properties": [_property(column, words.split()) for column, words in columns.items()],
                **({"customProperties": custom} if custom else {}),
            }
        )
    freshness = {"property": "freshness", "value": 24, "unit": "h", "element": f"{list(shapes)[-1]}.sold_at"}
    contract = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"urn:{domain}:{name}",
        "name": name,
        "version": "1.0.0",
        "status": "active",
        "domain": domain,
        "description": {"purpose": "A test."},
        "schema": schema,
        "slaProperties": [freshness] if len(shapes) > 1 else [{"property": "retention", "value": 1, "unit": "y"}],
        "roles": [{"role": role, "access": "read"} for role in roles],
        "customProperties": [{"property": "mesh.implements", "value": implements}] if implements else [],
    }
    place.write(f"{domain}/{folder}/{name}.odcs.yaml", yaml.safe_dump(contract, sort_keys=False))


def _property(name: str, words: list[str]) -> dict[str, object]:
    logical = {"string": "string", "timestamptz": "timestamp", "long": "integer", "int": "integer"}.get(
        words[0], "number"
    )
    found: dict[str, object] = {"name": name, "logicalType": logical, "physicalType": words[0], "description": "A."}
    found["required"] = "required" in words or "key" in words
    if "key" in words:
        found["primaryKey"] = True
    if "pii" in words:
        found["classification"] = "pii"
    targets = [word.removeprefix("->") for word in words if word.startswith("->")]
    if targets:
        found["relationships"] = [{"to": targets[0]}]
    earlier = [word.removeprefix("<-") for word in words if word.startswith("<-")]
    custom: list[dict[str, object]] = [{"property": "mesh.renamedFrom", "value": earlier}] if earlier else []
    custom += [{"property": "mesh.dropped", "value": True}] if "dropped" in words else []
    return {**found, **({"customProperties": custom} if custom else {})}
