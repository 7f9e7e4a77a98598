"""The bodies of requests: those that publishing sends, and all at once for OpenMetadata's own ingestion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mesh_platform.metadata.openmetadata.kinds import IDS, IDS_OF, KINDS, NAMES, NAMES_OF, Entity, Ref

# Where openmetadata-ingestion has the model of the request that creates each kind, below metadata.generated.schema.
MODELS: Mapping[str, str] = {
    "classification": "api.classification.createClassification:CreateClassificationRequest",
    "tag": "api.classification.createTag:CreateTagRequest",
    "testDefinition": "api.tests.createTestDefinition:CreateTestDefinitionRequest",
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
    "dashboardService": "api.services.createDashboardService:CreateDashboardServiceRequest",
    "chart": "api.data.createChart:CreateChartRequest",
    "dashboard": "api.data.createDashboard:CreateDashboardRequest",
    "dataContract": "api.data.createDataContract:CreateDataContractRequest",
    "testCase": "api.tests.createTestCase:CreateTestCaseRequest",
    "lineage": "api.lineage.addLineage:AddLineageRequest",
}
# Instead of an id, what `metadata ingest` asks the server for when it comes to the request.
ID_OF = "id of "
_FOREIGN_KEY = "FOREIGN_KEY"
IdOf = Callable[[Ref], str]


def creation(entity: Entity) -> dict[str, Any]:
    """Return the body that creates an entity, with a `Ref` for references, as far as all of it can exist by then."""
    body: dict[str, Any] = _without_none(entity.body)
    constraints = body.get("tableConstraints") or ()
    if any(each["constraintType"] == _FOREIGN_KEY for each in constraints):
        # The columns that a key refers to may not exist yet; the next look at the table adds it.
        body["tableConstraints"] = [each for each in constraints if each["constraintType"] != _FOREIGN_KEY]
    return body


def body_of(kind: str, request: Mapping[str, Any], id_of: IdOf) -> dict[str, Any]:
    """Return the body of a request that creates one of a kind, with names and ids in place of references."""
    names, ids = NAMES | NAMES_OF.get(kind, frozenset()), IDS | IDS_OF.get(kind, frozenset())
    body: dict[str, Any] = {}
    for name, value in request.items():
        if name in names:
            body[name] = value.fqn if isinstance(value, Ref) else [ref.fqn for ref in value]
        elif name in ids:
            body[name] = [id_of(ref) for ref in value]
        else:
            body[name] = plain(value, id_of)
    return body


def plain(value: Any, id_of: IdOf) -> Any:
    """Return `value` with the id of each entity that it refers to."""
    if isinstance(value, Ref):
        return {"id": id_of(value), "type": value.type}
    if isinstance(value, Mapping):
        return {name: plain(each, id_of) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each, id_of) for each in value]
    return value


def requests_for_ingest(wanted: Sequence[Entity]) -> Iterator[dict[str, Any]]:
    """Yield a request for each entity and edge, with the path of its model. Ports have none, and are left out."""

    def id_of(ref: Ref) -> str:
        return f"{ID_OF}{KINDS[ref.type].path} {ref.fqn}"

    for entity in wanted:
        if entity.kind in MODELS:
            yield {"model": MODELS[entity.kind], "body": body_of(entity.kind, creation(entity), id_of)}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value
