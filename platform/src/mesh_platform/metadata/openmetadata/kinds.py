"""The kinds of entities in OpenMetadata that the mesh publishes, and how each is addressed, listed and removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Ref(NamedTuple):
    """A reference to an entity. Requests take its id, or its fully qualified name, depending on the field."""

    type: str
    fqn: str


@dataclass(frozen=True)
class Entity:
    """One entity, or one edge of lineage, as OpenMetadata must hold it.

    `body` is what a request that creates it takes, with a `Ref` wherever it refers to another entity. None is a value
    that must be absent; a key that is missing is none of the mesh's business.
    """

    kind: str
    fqn: str
    body: Mapping[str, Any]


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
    "pipeline": Kind("pipelines", "owners,tags,domains,tasks", listed="service={namespace}_pipelines&include=all"),
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
}

# Fields of a request that takes names, or bare ids, where an entity has references.
NAMES = frozenset({"domains", "dataProducts", "experts"})
IDS = frozenset({"teams"})
# The same fields on some kinds only: a role names its policies, a team has their ids.
NAMES_OF = {"role": frozenset({"policies"})}
IDS_OF = {"team": frozenset({"policies"})}
# They place an entity when it is created, and are part of its name.
PLACE = frozenset({
    "name", "service", "database", "databaseSchema", "glossary", "classification", "provider", "serviceType",
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


def is_marked(kind: str, found: Mapping[str, Any], namespace: str) -> bool:
    """Return whether the mesh of this namespace has made an entity that the server holds.

    Tags cannot carry tags: the mesh makes them as the provider `automation`, and people as `user`.
    """
    if kind == "tag":
        return found.get("provider") == "automation"
    mark = published(namespace)
    labels = found.get("tags") or ()
    return any(each["tagFQN"] == mark and each.get("labelType") == "Automated" for each in labels)
