"""OpenLineage events with datasets and lineage, one for each table written.

OpenLineage's own settings (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, openlineage.yml; see
https://openlineage.io/docs/client/python) say where they are sent; without one they are appended to the file
lineage.jsonl of the state folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    documentation_dataset,
    output_statistics_output_dataset,
    ownership_dataset,
    schema_dataset,
)
from openlineage.client.uuid import generate_new_uuid

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from mesh_platform.sql.lineage import lineage
from mesh_platform.sql.model import Model, tables_read
from mesh_platform.sql.relations import SITES, tables_behind

NAMESPACE = "mesh"


def tell(settings: Settings, mesh: Mesh, models: Mapping[str, Model], written: Mapping[str, int]) -> None:
    """Send an event for each table in `written` (rows by table: a product's or its landing table).

    Raises what the transport raises.
    """
    sent = {landing_name(c): c for c in mesh.contracts.values() if c.event}
    made = []
    for table, rows in written.items():
        if table in sent:
            queue = InputDataset(_namespace(settings.broker), queue_of(sent[table]).name)
            made.append(_event(mesh, sent[table], landing_schema(sent[table]), table, rows, [queue], {}))
        else:
            contract = mesh.contracts[table]
            inputs = [InputDataset(NAMESPACE, name) for name in sorted({*tables_read(mesh, models, table)})]
            columns = _columns(mesh, models[table]) if table in models else {}
            made.append(_event(mesh, contract, contract.table, table, rows, inputs, columns))
    client = _client(settings.state_dir)
    try:
        for event in made:
            client.emit(event)
    finally:
        client.close()


def _event(
    mesh: Mesh,
    contract: Contract,
    table_schema: TableSchema,
    table: str,
    rows: int,
    inputs: list[InputDataset],
    columns: dict[str, column_lineage_dataset.Fields],
) -> RunEvent:
    owners = mesh.domains[contract.domain].owners
    facets = {
        "schema": schema_dataset.SchemaDatasetFacet(
            [schema_dataset.SchemaDatasetFacetFields(f.name, f.type.name, f.description) for f in table_schema.fields]
        ),
        "documentation": documentation_dataset.DocumentationDatasetFacet(table_schema.description),
        "ownership": ownership_dataset.OwnershipDatasetFacet(
            [ownership_dataset.Owner(owners.team, "team"), ownership_dataset.Owner(owners.steward, "steward")]
        ),
    }
    if columns:
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(columns)
    counted = {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)}
    return RunEvent(
        eventTime=datetime.now(UTC).isoformat(),
        producer=f"urn:{NAMESPACE}",
        run=Run(str(generate_new_uuid())),
        job=Job(NAMESPACE, table),
        eventType=RunState.COMPLETE,
        inputs=inputs,
        outputs=[OutputDataset(NAMESPACE, table, counted, facets=facets)],
    )


def _columns(mesh: Mesh, model: Model) -> dict[str, column_lineage_dataset.Fields]:
    """The source columns of each column; for an interface, those of every table behind it."""
    found = lineage(mesh, model)
    return {
        column: column_lineage_dataset.Fields(
            [
                column_lineage_dataset.InputField(NAMESPACE, table, source)
                for relation, source in found.values(column)
                if relation != SITES
                for table in tables_behind(mesh, relation)
            ]
        )
        for column in found.columns
    }


def _namespace(url: str) -> str:
    """The broker's address without user and password."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else f"{parts.scheme}://{parts.path}"


def _client(folder: Path) -> OpenLineageClient:
    names = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")
    files = (Path("openlineage.yml"), Path.home() / ".openlineage" / "openlineage.yml")
    if any(name.startswith(names) for name in os.environ) or any(file.exists() for file in files):
        return OpenLineageClient()
    file = {"type": "file", "log_file_path": str(folder / "lineage.jsonl"), "append": True}
    return OpenLineageClient(config={"transport": file})
