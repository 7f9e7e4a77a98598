"""However the events are split into runs: built after each run, every table is what one build of all events makes.

The events are the samples beside the producers, spread over three months, so that most come late in some run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.broker import Delivery
from mesh_platform.build.build import Built, build
from mesh_platform.contract.contract import Contract
from mesh_platform.events.producer import batch, read_csv, wrap
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.ingest.validator import validate
from mesh_platform.lake.catalog import arrow_schema, embedded_properties, ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog

Row = dict[str, Any]
SAMPLED = 12
DAYS = (0, 3, 29, 64)


class Lake:
    """A lake of a test's own, to which landed rows are appended as they come."""

    def __init__(self, mesh: Mesh, folder: Path) -> None:
        settings = Settings(root=mesh.root, state=folder)
        settings.state_dir.mkdir(parents=True)
        # Not the file access of the mesh, which waits for the disk: nothing here outlives the test.
        self.catalog: Catalog = load_catalog("mesh", **embedded_properties(settings))
        self.mesh = mesh

    def run(self, landed: Mapping[str, Sequence[Row]]) -> list[Built]:
        """Land rows by product, then build everything."""
        for name, rows in landed.items():
            shape = landing_schema(self.mesh.contract(name))
            table = ensure_table(self.catalog, landing_name(self.mesh.contract(name)), shape)
            if rows:
                append_rows(table, pa.Table.from_pylist(list(rows), schema=arrow_schema(shape)))
        return build(self.mesh, self.catalog)

    def rows(self, table: str) -> list[Row]:
        found = self.catalog.load_table(table).scan().to_arrow()
        return sorted(found.select(sorted(found.column_names)).to_pylist(), key=lambda row: repr(list(row.items())))


def landed_rows(mesh: Mesh, contract: Contract, random: Random) -> list[Row]:
    """Some of the sample as landing rows, each moved by some days; a third comes once more, as another event."""
    domain = mesh.domain(contract.domain)
    path = domain.folder / "producers" / f"{contract.name}.csv"
    records = read_csv(contract, domain, path, lambda problem: pytest.fail(str(problem)))
    events = list(wrap(contract, records, "sample"))
    bodies = [message.body for message in batch((event.to_json() for event in events), size=1000)]
    deliveries = [Delivery(body, None, tag, redelivered=False) for tag, body in enumerate(bodies)]
    accepted = validate(contract, deliveries, max(event.event_time for event in events)).accepted.to_pylist()
    rows = [moved(row, random.choice(DAYS)) for row in random.sample(accepted, min(SAMPLED, len(accepted)))]
    return rows + [{**row, "event_id": f"again-{row['event_id']}"} for row in rows[::3]]


def moved(row: Row, days: int) -> Row:
    """The row so many days later."""
    by = timedelta(days=days)
    return {
        name: value + by if isinstance(value, date | datetime) and name != "ingested_at" else value
        for name, value in row.items()
    }


@pytest.fixture(scope="module")
def landed(mesh: Mesh) -> dict[str, list[Row]]:
    random = Random(3)
    return {contract.identifier: landed_rows(mesh, contract, random) for contract in mesh.ingested()}


@pytest.fixture(scope="module")
def at_once(mesh: Mesh, landed: dict[str, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(mesh, tmp_path_factory.mktemp("at_once") / "state")
    lake.run(landed)
    return lake


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "runs"), [(1, 2), (2, 3)])
def test_runs_of_any_split_end_where_one_build_does(
    seed: int, runs: int, mesh: Mesh, landed: dict[str, list[Row]], at_once: Lake, tmp_path: Path
) -> None:
    random = Random(seed)
    turn = {(name, row["event_id"]): random.randrange(runs) for name, rows in landed.items() for row in rows}
    lake = Lake(mesh, tmp_path / "state")
    built: list[Built] = []
    for number in range(runs):
        built += lake.run(
            {name: [row for row in rows if turn[name, row["event_id"]] == number] for name, rows in landed.items()}
        )
    assert {"incremental", "rebuild"} <= {one.mode for one in built}
    for name in mesh.contracts:
        rows = at_once.rows(name)
        assert rows, f"{name} is empty"
        assert lake.rows(name) == rows, name
