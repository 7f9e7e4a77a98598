"""Validate request bodies with OpenMetadata's own models; run in the environment that has openmetadata-ingestion.

Reads [[kind, body], ...] from stdin, and writes [[number, message], ...] of those that are refused to stdout.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types

MODELS = {
    "classification": "api.classification.createClassification:CreateClassificationRequest",
    "tag": "api.classification.createTag:CreateTagRequest",
    "policy": "api.policies.createPolicy:CreatePolicyRequest",
    "role": "api.teams.createRole:CreateRoleRequest",
    "team": "api.teams.createTeam:CreateTeamRequest",
    "user": "api.teams.createUser:CreateUserRequest",
    "domain": "api.domains.createDomain:CreateDomainRequest",
    "dataProduct": "api.domains.createDataProduct:CreateDataProductRequest",
    "glossary": "api.data.createGlossary:CreateGlossaryRequest",
    "glossaryTerm": "api.data.createGlossaryTerm:CreateGlossaryTermRequest",
    "messagingService": "api.services.createMessagingService:CreateMessagingServiceRequest",
    "topic": "api.data.createTopic:CreateTopicRequest",
    "pipelineService": "api.services.createPipelineService:CreatePipelineServiceRequest",
    "pipeline": "api.data.createPipeline:CreatePipelineRequest",
    "databaseService": "api.services.createDatabaseService:CreateDatabaseServiceRequest",
    "database": "api.data.createDatabase:CreateDatabaseRequest",
    "databaseSchema": "api.data.createDatabaseSchema:CreateDatabaseSchemaRequest",
    "table": "api.data.createTable:CreateTableRequest",
    "lineage": "api.lineage.addLineage:AddLineageRequest",
}


def main() -> None:
    # The package's own __init__ imports all connectors, for a quarter of a minute.
    found = importlib.util.find_spec("metadata")
    assert found is not None
    stub = types.ModuleType("metadata")
    stub.__path__ = list(found.submodule_search_locations or ())
    sys.modules["metadata"] = stub
    refused = []
    for number, (kind, body) in enumerate(json.load(sys.stdin)):
        module, _, name = MODELS[kind].partition(":")
        try:
            getattr(importlib.import_module(f"metadata.generated.schema.{module}"), name).model_validate(body)
        except ValueError as error:
            refused.append([number, str(error)])
    json.dump(refused, sys.stdout)


if __name__ == "__main__":
    main()
