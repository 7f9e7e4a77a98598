"""The kinds of entities in OpenMetadata that the mesh publishes, and how each is addressed, listed and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Ref(NamedTuple):
    """A reference to an entity. Requests take its id, or its fully qualified name, depending on the field."""

    type: str
    fqn: str


@dataclass(frozen=True)
class Entity:
    """One entity, one edge of lineage, or the ports of one product, as OpenMetadata must hold it.

    `body` is what a request that creates it takes, with a `Ref` wherever it refers to another entity. None is a value
    that must be absent; a key that is missing is none of the mesh's business.
    """

    kind: str
    fqn: str
    body: Mapping[str, Any]


class Record(NamedTuple):
    """What was true of an entity at a time, in milliseconds since 1970, UTC: it is sent once and never changed.

    `body` is called only where it must be sent.
    """

    of: Ref
    at: int
    body: Callable[[], Mapping[str, Any]]


class Kind(NamedTuple):
    """How entities of a kind are handled.

    `fields` are those that a GET must ask for. `listed` is the query that lists all candidates, with `{namespace}`;
    None: each is read by its name, and none is ever removed. `hard`: removal is final, for kinds that others cannot
    use once they are marked as deleted. `bulk`: many are created by one request. `keep`: once it exists, it is left
    as it is.
    """

    path: str
    fields: str = ""
    listed: str | None = None
    hard: bool = False
    bulk: bool = False
    keep: bool = False


KINDS: Mapping[str, Kind] = {
    "classification": Kind("classifications"),
    "tag": Kind("tags", listed="parent={namespace}", hard=True),
    "testDefinition": Kind("dataQuality/testDefinitions"),
    "policy": Kind("policies"),
    "role": Kind("roles", "policies"),
    "team": Kind("teams", "policies"),
    "user": Kind("users", keep=True),
    "domain": Kind("domains", "owners,experts,tags", listed="", hard=True),
    "dataProduct": Kind("dataProducts", "owners,domains,tags", listed="", hard=True),
    "glossary": Kind("glossaries", "owners,tags", listed="", hard=True),
    "glossaryTerm": Kind("glossaryTerms", "tags", listed="", hard=True),
    "messagingService": Kind("services/messagingServices", "tags"),
    "topic": Kind(
        "topics", "owners,tags,domains,dataProducts", listed="service={namespace}_events&include=all", bulk=True
    ),
    "pipelineService": Kind("services/pipelineServices", "tags"),
    "pipeline": Kind(
        "pipelines", "owners,tags,domains,tasks,pipelineStatus", listed="service={namespace}_pipelines&include=all"
    ),
    "databaseService": Kind("services/databaseServices", "tags"),
    "database": Kind("databases", "tags"),
    "databaseSchema": Kind(
        "databaseSchemas", "owners,tags,domains", listed="database={namespace}.{namespace}&include=all"
    ),
    "table": Kind(
        "tables",
        "owners,tags,domains,dataProducts,columns,tableConstraints,tablePartition",
        listed="database={namespace}.{namespace}&include=all",
        bulk=True,
    ),
    "dashboardService": Kind("services/dashboardServices", "tags"),
    "chart": Kind("charts", "owners,tags,domains", listed="service={namespace}_dashboards&include=all"),
    "dashboard": Kind(
        "dashboards", "owners,tags,domains,charts", listed="service={namespace}_dashboards&include=all"
    ),
    "dataContract": Kind("dataContracts", "owners", listed="", hard=True),
    "testCase": Kind(
        "dataQuality/testCases",
        "testDefinition,testCaseResult",
        listed="entityFQN={namespace}.{namespace}&includeAllTests=true&include=all",
    ),
}


class Series(NamedTuple):
    """How records of entities of a kind are called, read and written; paths take `{fqn}` and `{id}`.

    `latest` is the field of the entity that has its newest record; None: a GET must ask for them.
    """

    name: str
    read: str
    method: str
    write: str
    latest: str | None = None


SERIES: Mapping[str, Series] = {
    "table": Series("tableProfile", "tables/{fqn}/tableProfile", "PUT", "tables/{id}/tableProfile"),
    "testCase": Series(
        "testCaseResult",
        "dataQuality/testCases/testCaseResults/{fqn}",
        "POST",
        "dataQuality/testCases/testCaseResults/{fqn}",
        "testCaseResult",
    ),
    "pipeline": Series("pipelineStatus", "pipelines/{fqn}/status", "PUT", "pipelines/{fqn}/status", "pipelineStatus"),
}

# Fields of a request that takes names, or bare ids, where an entity has references.
NAMES = frozenset({"domains", "dataProducts", "experts", "testDefinition", "charts"})
IDS = frozenset({"teams"})
# The same fields on some kinds only: a role names its policies, a team has their ids.
NAMES_OF = {"role": frozenset({"policies"})}
IDS_OF = {"team": frozenset({"policies"})}
# They place an entity when it is created, and are part of its name.
PLACE = frozenset({
    "name", "service", "database", "databaseSchema", "glossary", "classification", "provider", "serviceType",
    "entity", "entityLink", "entityType",
})  # fmt: skip


def quoted(name: str) -> str:
    """Return a name as part of a fully qualified name: in double quotes if it has a dot or a quote."""
    return '"' + name.replace('"', '""') + '"' if "." in name or '"' in name else name


def label(fqn: str, source: str = "Classification") -> dict[str, str]:
    """Return the label by which the mesh sets a tag or a term. People's own labels are `Manual`."""
    return {"tagFQN": fqn, "source": source, "labelType": "Automated", "state": "Confirmed"}


def published(namespace: str) -> str:
    """Return the tag that marks what the mesh has made."""
    return f"{namespace}.published"


def rule_definition(namespace: str) -> str:
    """Return the definition that the test cases of the mesh are of."""
    return f"{namespace}_rule"


def contract_fqn(table: str, namespace: str) -> str:
    """Return the full name of the contract of a table; OpenMetadata makes it of both."""
    return f"{table}.dataContract_{namespace}"


def known_as(kind: str, found: Mapping[str, Any], namespace: str) -> str:
    """Return the full name that the mesh has for an entity that the server holds.

    A table has one contract: one of another name is that of the mesh, too.
    """
    fqn: str = found["fullyQualifiedName"]
    return contract_fqn(fqn.rpartition(".dataContract_")[0], namespace) if kind == "dataContract" else fqn


def is_marked(kind: str, found: Mapping[str, Any], namespace: str) -> bool:
    """Return whether the mesh of this namespace has made an entity that the server holds.

    Tags cannot carry tags: the mesh makes them as the provider `automation`, and people as `user`. Nor can contracts,
    which have its name; test cases inherit those of their table, and are known by their definition.
    """
    if kind == "tag":
        return found.get("provider") == "automation"
    if kind == "dataContract":
        return bool(found["name"] == namespace)
    if kind == "testCase":
        return bool((found.get("testDefinition") or {}).get("fullyQualifiedName") == rule_definition(namespace))
    mark = published(namespace)
    labels = found.get("tags") or ()
    return any(each["tagFQN"] == mark and each.get("labelType") == "Automated" for each in labels)
