"""A server that behaves as OpenMetadata does, as far as the mesh uses it. It is no proof of what a real one does.

Each rule names where it comes from: `source` is OpenMetadata's public source (EntityRepository, LineageRepository,
RuleEvaluator, of 2026), read, not run; `client` is the code of openmetadata-ingestion 2.0.6.0; `assumed` is a guess
on the strict side that a real server must confirm. docs/openmetadata.md lists what is open.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid4, uuid5

from .double_apart import Refused, answer_apart

TOKEN = "a-token-of-a-bot"
Doc = dict[str, Any]

# Collection: its kind, and the field of a create request that has the name of what contains it.
COLLECTIONS = {
    "classifications": ("classification", None),
    "tags": ("tag", "classification"),
    "dataQuality/testDefinitions": ("testDefinition", None),
    "policies": ("policy", None),
    "roles": ("role", None),
    "teams": ("team", None),
    "users": ("user", None),
    "domains": ("domain", None),
    "dataProducts": ("dataProduct", None),
    "glossaries": ("glossary", None),
    "glossaryTerms": ("glossaryTerm", "glossary"),
    "services/messagingServices": ("messagingService", None),
    "topics": ("topic", "service"),
    "services/pipelineServices": ("pipelineService", None),
    "pipelines": ("pipeline", "service"),
    "services/databaseServices": ("databaseService", None),
    "databases": ("database", "service"),
    "databaseSchemas": ("databaseSchema", "database"),
    "tables": ("table", "databaseSchema"),
    "services/dashboardServices": ("dashboardService", None),
    "charts": ("chart", "service"),
    "dashboards": ("dashboard", "service"),
    "dataContracts": ("dataContract", None),
    "dataQuality/testCases": ("testCase", None),
}
_COLLECTION_OF = {kind: collection for collection, (kind, _) in COLLECTIONS.items()}
_SERVICES = ("messagingService", "pipelineService", "databaseService", "dashboardService")
# Source: kept as relations, and returned only where `fields` asks for them.
ON_REQUEST = (
    "owners",
    "tags",
    "domains",
    "dataProducts",
    "experts",
    "teams",
    "policies",
    "tableConstraints",
    "tasks",
    "charts",
    "testDefinition",
    "testSuite",
    "testCaseResult",
    "pipelineStatus",
)
# Fields of references in create requests: what the strings in them are names of.
NAMES = {"domains": "domain", "dataProducts": "dataProduct", "experts": "user", "charts": "chart"}


@dataclass
class Double:
    """What the server holds. `requests` are the methods and paths so far; `cut` is the request at which it dies."""

    bot: bool = True
    entities: dict[str, Doc] = field(default_factory=dict)
    by_name: dict[tuple[str, str], str] = field(default_factory=dict)
    edges: dict[tuple[str, str], Doc] = field(default_factory=dict)
    sources: dict[str, dict[str, None]] = field(default_factory=dict)
    # By the id of a product and the side, the ids of its ports; by kind and id of an entity, what was sent of it.
    ports: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    series: dict[tuple[str, str], dict[int, Doc]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, Doc]] = field(default_factory=list)
    patched: list[tuple[str, Doc]] = field(default_factory=list)
    cut: int | None = None
    cut_after: bool = False
    answers: list[int] = field(default_factory=list)
    version: str = "2.0.6"
    # It answers again after so many requests, each only after `delay_s`, with at most `page` entities at once.
    heal_after: int | None = None
    delay_s: float = 0
    page: int = 1000

    # Access for tests.

    def get(self, kind: str, fqn: str) -> Doc:
        return self.entities[self.by_name[kind, fqn]]

    def of(self, kind: str) -> list[Doc]:
        return [found for (each, _), id_ in self.by_name.items() if each == kind for found in [self.entities[id_]]]

    def changing(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] != "GET"]

    def ref(self, kind: str, fqn: str) -> Doc:
        return {"id": self.get(kind, fqn)["id"], "type": kind, "fullyQualifiedName": fqn}

    def state(self) -> Any:
        """All that it holds, without ids, to compare."""
        names = {id_: f"{kind} {fqn}" for (kind, fqn), id_ in self.by_name.items()}

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: plain(each) for name, each in value.items()}
            if isinstance(value, list):
                return [plain(each) for each in value]
            return names.get(value, value) if isinstance(value, str) else value

        held = {names[id_]: plain(found) for id_, found in self.entities.items()}
        edges = {f"{names[one]} -> {names[two]}": plain(each) for (one, two), each in self.edges.items()}
        ports = {
            (names[of], side): sorted(names[id_] for id_ in ids) for (of, side), ids in self.ports.items() if ids
        }
        return [held, edges, ports, {(kind, names[id_]): each for (kind, id_), each in self.series.items() if each}]

    # The interface.

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if path == "system/version":
            return {"version": self.version, "revision": "", "timestamp": 0}
        if path.startswith("lineage"):
            return self._lineage(method, path, body)
        if apart := answer_apart(self, method, path, query, body):
            return apart
        parts = path.split("/")
        split = 2 if parts[0] in ("services", "dataQuality") else 1
        collection, rest = "/".join(parts[:split]), parts[split:]
        if collection not in COLLECTIONS:
            raise Refused(404, f"no collection {collection}")
        kind = COLLECTIONS[collection][0]
        if method == "PUT":
            return self._bulk(kind, collection, body) if rest == ["bulk"] else self._put(kind, collection, body)
        if method == "GET" and not rest:
            return self._list(kind, query)
        found = self.find(kind, rest, include=query.get("include", ""))
        if method == "GET":
            return self._shown(found, query)
        if method == "PATCH":
            return self._patch(kind, found, body)
        return self._delete(found, query.get("hardDelete") == "true")

    def find(self, kind: str, rest: list[str], include: str) -> Doc:
        id_ = self.by_name.get((kind, unquote(rest[1]))) if rest[0] == "name" else rest[0]
        found = self.entities.get(id_ or "")
        # Source: reading and PATCH see no deleted entity, unless asked to include all.
        if found is None or (found.get("deleted") and include != "all"):
            raise Refused(404, f"{kind} instance for {rest[-1]} not found")
        return found

    def _list(self, kind: str, query: dict[str, str]) -> Doc:
        scopes = ("service", "database", "parent", "entityFQN")
        scope = next((query[name] for name in scopes if name in query), "")
        found = [
            each for each in self.of(kind) if each["fullyQualifiedName"].startswith(f"{scope}." if scope else "")
        ]
        if query.get("include") != "all":
            found = [each for each in found if not each.get("deleted")]
        start, limit = int(query.get("after", "0")), min(int(query.get("limit", "10")), self.page)
        page = [self._shown(each, query) for each in found[start : start + limit]]
        paging = {"total": len(found)} | ({"after": str(start + limit)} if start + limit < len(found) else {})
        return {"data": page, "paging": paging}

    def _shown(self, found: Doc, query: dict[str, str]) -> Doc:
        asked = query.get("fields", "").split(",")
        shown = {name: value for name, value in found.items() if name not in ON_REQUEST or name in asked}
        if "columns" in shown and "tags" not in asked:
            shown["columns"] = [{k: v for k, v in each.items() if k != "tags"} for each in shown["columns"]]
        return shown

    def _bulk(self, kind: str, collection: str, bodies: list[Doc]) -> Doc:
        # Source: one after the other; the answer names what failed, with the status of a success.
        failed = []
        for body in bodies:
            try:
                self._put(kind, collection, body)
            except Refused as error:
                failed.append({"request": body["name"], "message": error.message, "status": error.status})
        status = "success" if not failed else "partialSuccess" if len(failed) < len(bodies) else "failure"
        return {"status": status, "failedRequest": failed, "numberOfRowsProcessed": len(bodies)}

    def _put(self, kind: str, collection: str, body: Doc) -> Doc:
        self.bodies.append((kind, deepcopy(body)))
        parent = COLLECTIONS[collection][1]
        above = body.get(parent or "", "")
        if parent and not any((each, above) in self.by_name for each in self._containers(kind)):
            raise Refused(404, f"{parent} instance for {above} not found")
        fqn = self._full_name(kind, above, body)
        new = self._stored(kind, fqn, body)
        id_ = self.by_name.get((kind, fqn))
        if id_ is None:
            if kind == "dataContract" and any(each["entity"] == new["entity"] for each in self.of(kind)):
                # Source.
                raise Refused(400, f"A data contract already exists for entity {new['entity']['id']}")
            new["id"] = str(uuid4())
            self.by_name[kind, fqn] = new["id"]
            self.entities[new["id"]] = new
            return new
        old = self.entities[id_]
        # Source: PUT on a deleted entity restores it, and all that it contains.
        for each in self._inside(old):
            each.pop("deleted", None)
        self._put_over(old, new)
        return old

    def _full_name(self, kind: str, above: str, body: Doc) -> str:
        name = body["name"]
        quoted = '"' + name.replace('"', '""') + '"' if "." in name or '"' in name else name
        # Source: both hang on what they are about.
        if kind == "testCase":
            table = body["entityLink"].removeprefix("<#E::table::").removesuffix(">")
            self._reference("table", table)
            return f"{table}.{quoted}"
        if kind == "dataContract":
            return f"{self._by_id(body['entity']['id'])['fullyQualifiedName']}.dataContract_{name}"
        return f"{above}.{quoted}" if above else quoted

    def _put_over(self, old: Doc, new: Doc) -> None:
        """Source: what a PUT does to an entity that exists, depending on whether a bot sends it."""
        for name, value in new.items():
            if name == "tags":
                # For everybody: merged, never removed.
                old["tags"] = _merged(old.get("tags", []), value)
            elif (name in ("description", "domains", "dataProducts", "extension") and self.bot and old.get(name)) or (
                name in ("owners", "domains") and not value
            ):
                continue
            elif name == "columns":
                before = {each["name"]: each for each in old["columns"]}
                old["columns"] = [self._column_over(before.get(each["name"]), each) for each in value]
            else:
                old[name] = value
        if not self.bot and "description" not in new:
            old.pop("description", None)

    def _column_over(self, old: Doc | None, new: Doc) -> Doc:
        if old is None:
            return new
        tags = _merged(old.get("tags", []), new.get("tags", []))
        kept = {"description": old["description"]} if self.bot and old.get("description") else {}
        return {**new, **kept, "tags": tags}

    def _containers(self, kind: str) -> tuple[str, ...]:
        return {
            "tag": ("classification",), "glossaryTerm": ("glossary",), "topic": ("messagingService",),
            "pipeline": ("pipelineService",), "database": ("databaseService",), "databaseSchema": ("database",),
            "table": ("databaseSchema",), "chart": ("dashboardService",), "dashboard": ("dashboardService",),
        }[kind]  # fmt: skip

    def _stored(self, kind: str, fqn: str, body: Doc) -> Doc:
        """A create request as an entity: names are references, everything has a full name."""
        found: Doc = {"fullyQualifiedName": fqn}
        for name, value in body.items():
            if name == "testDefinition" or name == COLLECTIONS[_COLLECTION_OF[kind]][1]:
                parent = next(each for each in (name, *_SERVICES) if (each, value) in self.by_name)
                found[name] = self._reference(parent, value)
            elif name in NAMES:
                found[name] = [self._reference(NAMES[name], each) for each in value]
            elif name == "policies":
                known = (each if kind == "role" else self._by_id(each)["fullyQualifiedName"] for each in value)
                found[name] = [self._reference("policy", each) for each in known]
            elif name == "teams":
                found[name] = [self._reference("team", self._by_id(each)["fullyQualifiedName"]) for each in value]
            elif name == "owners":
                found[name] = [self._named(each) for each in value]
            else:
                found[name] = deepcopy(value)
        if kind == "testCase":
            # Source: the first case of a table makes a suite for it, which the mesh never names.
            suite = f"{body['entityLink']}.testSuite"
            found["testSuite"] = {"id": str(uuid5(NAMESPACE_URL, suite)), "type": "testSuite", "name": suite}
        self._check(kind, found)
        for each in found.get("columns", ()):
            each["fullyQualifiedName"] = f"{fqn}.{each['name']}"
        return found

    def _check(self, kind: str, found: Doc) -> None:
        if kind == "dataContract":
            # Source: types may differ, names may not.
            columns = {each["name"] for each in self._by_id(found["entity"]["id"])["columns"]}
            if lost := [each["name"] for each in found.get("schema", ()) if each["name"] not in columns]:
                raise Refused(400, f"Schema validation failed. These do not exist in the table: {lost}")
        if kind == "testCase":
            # Source: values of parameters that the definition does not have.
            known = {each["name"] for each in self._by_id(found["testDefinition"]["id"])["parameterDefinition"]}
            if not {each["name"] for each in found.get("parameterValues", ())} <= known:
                raise Refused(400, "Parameter Values doesn't match Test Definition Parameters")
        # Source: a label, a name in a condition, must exist. The referred columns of a foreign key: assumed.
        fields = found.get("messageSchema", {}).get("schemaFields", ())
        lists = [found, *found.get("columns", ()), *found.get("schema", ()), *fields]
        for label in [label for each in lists for label in each.get("tags", ())]:
            where = "glossaryTerm" if label["source"] == "Glossary" else "tag"
            if (where, label["tagFQN"]) not in self.by_name:
                raise Refused(404, f"{where} instance for {label['tagFQN']} not found")
        for rule in found.get("rules", ()) if kind == "policy" else ():
            for function, names in re.findall(r"(matchAnyTag|hasAnyRole)\(([^)]*)\)", rule.get("condition", "")):
                for name in re.findall(r"'([^']*)'", names):
                    if ({"matchAnyTag": "tag", "hasAnyRole": "role"}[function], name) not in self.by_name:
                        raise Refused(400, f"{function}: {name} not found")
        for constraint in found.get("tableConstraints") or ():
            for column in constraint.get("referredColumns", ()):
                table = ("table", column.rpartition(".")[0])
                if table not in self.by_name:
                    raise Refused(404, f"table instance for {table[1]} not found")
        # Source: one team, or several users, own an entity.
        if len([each for each in found.get("owners", ()) if each["type"] == "team"]) > 1:
            raise Refused(400, "Entity can have one team as an owner.")

    def _by_id(self, id_: str) -> Doc:
        if id_ not in self.entities:
            raise Refused(404, f"instance for {id_} not found")
        return self.entities[id_]

    def _reference(self, kind: str, fqn: str) -> Doc:
        if (kind, fqn) not in self.by_name:
            raise Refused(404, f"{kind} instance for {fqn} not found")
        return self.ref(kind, fqn)

    def _named(self, ref: Doc) -> Doc:
        return {
            "id": ref["id"],
            "type": ref["type"],
            "fullyQualifiedName": self._by_id(ref["id"])["fullyQualifiedName"],
        }

    def _patch(self, kind: str, found: Doc, operations: list[Doc]) -> Doc:
        self.patched.append((kind, {each["path"][1:]: each.get("value") for each in operations}))
        new = deepcopy(found)
        for operation in operations:
            name = operation["path"].removeprefix("/")
            assert "/" not in name, "the mesh sets whole fields"
            if operation["op"] == "remove":
                # RFC 6902: what is removed must exist.
                if name not in new:
                    raise Refused(400, f"{name} is not there")
                del new[name]
                continue
            value = deepcopy(operation["value"])
            is_references = (
                isinstance(value, list) and value and all(isinstance(v, dict) and "id" in v for v in value)
            )
            new[name] = [self._named(each) for each in value] if is_references else value
            if name == "testDefinition":
                new[name] = self._named(value)
        self._check(kind, new)
        for each in new.get("columns", ()):
            each["fullyQualifiedName"] = f"{new['fullyQualifiedName']}.{each['name']}"
        found.clear()
        found.update(new)
        return found

    def _inside(self, found: Doc) -> list[Doc]:
        start = f"{found['fullyQualifiedName']}."
        kind = next(kind for (kind, _), id_ in self.by_name.items() if id_ == found["id"])
        families = (
            ("databaseService", "database", "databaseSchema", "table", "dataContract", "testCase"),
            ("glossary", "glossaryTerm"),
            ("classification", "tag"), ("messagingService", "topic"), ("pipelineService", "pipeline"),
            ("dashboardService", "chart", "dashboard"),
        )  # fmt: skip
        below = next((family[family.index(kind) + 1 :] for family in families if kind in family), ())
        return [
            found,
            *(each for name in below for each in self.of(name) if each["fullyQualifiedName"].startswith(start)),
        ]

    def _delete(self, found: Doc, hard: bool) -> Doc:
        for each in self._inside(found):
            if not hard:
                each["deleted"] = True
                continue
            del self.entities[each["id"]]
            self.by_name = {key: id_ for key, id_ in self.by_name.items() if id_ != each["id"]}
            self.edges = {ends: details for ends, details in self.edges.items() if each["id"] not in ends}
            self.ports = {end: held for end, held in self.ports.items() if each["id"] != end[0]}
            self.series = {key: held for key, held in self.series.items() if key[1] != each["id"]}
            for held in self.ports.values():
                held.pop(each["id"], None)
            # Source: labels and references go with what they name.
            for other in self.entities.values():
                _forget(other, each)
        return found

    def _lineage(self, method: str, path: str, body: Any) -> Any:
        parts = path.split("/")[1:]
        if method == "PUT":
            self.bodies.append(("lineage", deepcopy(body)))
            edge = body["edge"]
            ends = edge["fromEntity"]["id"], edge["toEntity"]["id"]
            one, two = map(self._by_id, ends)
            # Source: each column must be one of its end's.
            for each in edge["lineageDetails"].get("columnsLineage", ()):
                for end, name in [(two, each["toColumn"]), *((one, name) for name in each["fromColumns"])]:
                    fields = end.get("columns") or end.get("messageSchema", {}).get("schemaFields", ())
                    known = {f"{end['fullyQualifiedName']}.{column['name']}" for column in fields}
                    # Source: those of a dashboard are its charts; a chart has none.
                    if name not in known | {chart["fullyQualifiedName"] for chart in end.get("charts", ())}:
                        raise Refused(400, f"Invalid column name {name}")
            # Source: one edge for a pair; another PUT replaces its details.
            self.edges[ends] = deepcopy(edge["lineageDetails"])
            self.sources.setdefault(ends[1], {})[ends[0]] = None
            return {}
        if method == "DELETE":
            # Client: /lineage/<type>/<id>/<type>/<id>.
            if self.edges.pop((parts[1], parts[3]), None) is None:
                raise Refused(404, "no such edge")
            return {}
        if parts[0] == "getLineageEdge":
            # Client.
            if (parts[1], parts[2]) not in self.edges:
                raise Refused(404, "no such edge")
            return {"edge": self.edges[parts[1], parts[2]]}
        me = self.find(parts[0], parts[1:], include="all")
        up = [
            {"fromEntity": one, "toEntity": me["id"], "lineageDetails": self.edges[one, me["id"]]}
            for one in self.sources.get(me["id"], ())
            if (one, me["id"]) in self.edges
        ]
        return {"entity": {"id": me["id"], "type": parts[0]}, "nodes": [], "upstreamEdges": up, "downstreamEdges": []}


def _merged(old: list[Doc], new: list[Doc]) -> list[Doc]:
    known = {(each["source"], each["tagFQN"]) for each in old}
    return [*old, *(each for each in new if (each["source"], each["tagFQN"]) not in known)]


def _forget(other: Doc, gone: Doc) -> None:
    for each in [other, *other.get("columns", ()), *other.get("messageSchema", {}).get("schemaFields", ())]:
        if "tags" in each:
            each["tags"] = [label for label in each["tags"] if label["tagFQN"] != gone["fullyQualifiedName"]]
    for name in ("owners", "domains", "dataProducts", "experts", "teams", "policies", "charts"):
        if name in other:
            other[name] = [ref for ref in other[name] if ref["id"] != gone["id"]]
