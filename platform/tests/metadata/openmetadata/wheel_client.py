"""Read what was published with the client of openmetadata-ingestion; run in the environment that has it.

Takes an address, a token and the name of a table, and writes what it sees to stdout, as JSON.
"""

from __future__ import annotations

import json
import sys

from metadata.generated.schema.entity.data.chart import Chart
from metadata.generated.schema.entity.data.dashboard import Dashboard
from metadata.generated.schema.entity.data.dataContract import DataContract
from metadata.generated.schema.entity.data.pipeline import Pipeline
from metadata.generated.schema.entity.data.table import Table
from metadata.generated.schema.entity.data.topic import Topic
from metadata.generated.schema.entity.domains.dataProduct import DataProduct
from metadata.generated.schema.entity.domains.domain import Domain
from metadata.generated.schema.entity.services.connections.metadata.openMetadataConnection import (
    AuthProvider,
    OpenMetadataConnection,
)
from metadata.generated.schema.security.client.openMetadataJWTClientConfig import OpenMetadataJWTClientConfig
from metadata.generated.schema.tests.testCase import TestCase
from metadata.ingestion.ometa.ometa_api import OpenMetadata


def main(url: str, token: str, table: str) -> None:
    connection = OpenMetadataConnection(
        hostPort=f"{url}/api",
        authProvider=AuthProvider.openmetadata,
        securityConfig=OpenMetadataJWTClientConfig(jwtToken=token),
    )
    # It compares the versions when it is made.
    client = OpenMetadata(connection)
    fact = client.get_by_name(Table, table, fields=["columns", "tags", "owners", "domains", "dataProducts"])
    topic = client.get_by_name(Topic, 'mesh_events."alpha.sales_alpha"', fields=["tags"])
    domain = client.get_by_name(Domain, "core", fields=["owners", "experts"])
    product = client.get_by_name(DataProduct, "core__fact_sales", fields=["domains", "tags"])
    pipeline = client.get_by_name(Pipeline, "mesh_pipelines.core__build", fields=["tasks", "tags", "pipelineStatus"])
    contract = client.get_by_name(DataContract, f"{table}.dataContract_mesh", fields=["owners"])
    case = client.get_by_name(
        TestCase, f"{table}.no refunds", fields=["testDefinition", "testSuite", "testCaseResult"]
    )
    dashboard = client.get_by_name(Dashboard, 'mesh_dashboards."core.sales"', fields=["charts", "owners"])
    chart = client.get_by_name(Chart, dashboard.charts.root[0].fullyQualifiedName, fields=["owners"])
    shown = client.get_lineage_by_name(Dashboard, dashboard.fullyQualifiedName.root, up_depth=1, down_depth=0)
    lineage = client.get_lineage_by_name(Table, table, up_depth=1, down_depth=0)
    found = {
        "healthy": client.health_check(),
        "version": client.get_server_version(),
        "columns": {
            column.name.root: [column.dataType.value, [tag.tagFQN.root for tag in column.tags]]
            for column in fact.columns
        },
        "owners": [owner.type for owner in fact.owners.root],
        "domains": [each.fullyQualifiedName for each in fact.domains.root],
        "products": [each.fullyQualifiedName for each in fact.dataProducts.root],
        "schema": fact.databaseSchema.fullyQualifiedName,
        "fields": [field.name.root for field in topic.messageSchema.schemaFields],
        "experts": [each.fullyQualifiedName for each in domain.experts.root],
        "product": [product.displayName, [each.fullyQualifiedName for each in product.domains.root]],
        "tasks": sorted(task.name for task in pipeline.tasks),
        "run": pipeline.pipelineStatus.executionStatus.value,
        "rules": [rule.name for rule in contract.odcsQualityRules],
        "result": case.testCaseResult.testCaseStatus.value,
        "dashboard": [dashboard.displayName, dashboard.sourceUrl.root, dashboard.owners.root[0].type],
        "chart": [chart.displayName, chart.chartType.value],
        "shown": sorted(len(edge["lineageDetails"]["columnsLineage"]) for edge in shown["upstreamEdges"]),
        "upstream": len(lineage["upstreamEdges"]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
