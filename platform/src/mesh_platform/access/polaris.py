"""Rights in Apache Polaris: a principal for each domain, which owns the domain's namespace and reads what it may.

A principal has a principal role, which has a catalog role, which has the grants; all three have the domain's name.
Polaris grants only on what exists. So the namespaces are made here, by the administrator, and the right to read a
table of another domain is granted once that table is there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from mesh_platform.access.rights import Right
from mesh_platform.access.step import PLATFORM, Credentials, Step, principals
from mesh_platform.errors import AttentionError, UnavailableError, UsageError

SERVER = "polaris"
CREDENTIAL = "PYICEBERG_CATALOG__MESH__CREDENTIAL"
# A property of the entities that the mesh has made; those of others stay.
MARK = {"made-by": "mesh"}
_SETTING = "MESH_CATALOG_ADMIN_URL"
_TOKENS, _MANAGEMENT, _CATALOG = "/api/catalog/v1/oauth/tokens", "/api/management/v1", "/api/catalog/v1"
_KINDS = ("principal", "principal role", "catalog role")
# What a grant is on, if it is in a namespace, and the field with its name.
_NAMED = {"table": "tableName", "view": "viewName", "policy": "policyName"}
# What it is on, where that is (empty for the catalog), and the privilege.
Grant = tuple[str, str, str]


class Polaris:
    """Polaris' management API at `http(s)://id:secret@host:8181`, and the catalog of that name there.

    Raises UsageError for another address. Requests raise UnavailableError where nothing answers, and AttentionError
    where Polaris refuses.
    """

    def __init__(self, url: str, catalog: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username or not parts.password:
            raise UsageError(f"{_SETTING}: is not of the form http(s)://id:secret@host:8181.")
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.catalog = catalog
        self._root = {"client_id": unquote(parts.username), "client_secret": unquote(parts.password)}
        self._pool = urllib3.PoolManager(timeout=20, retries=urllib3.Retry(3, redirect=0, backoff_factor=0.2))
        self._token = ""

    @property
    def own(self) -> str:
        """The path of the catalog in the management API."""
        return f"{_MANAGEMENT}/catalogs/{quote(self.catalog, safe='')}"

    @property
    def namespaces(self) -> str:
        """The path of the namespaces in the catalog's own API."""
        return f"{_CATALOG}/{quote(self.catalog, safe='')}/namespaces"

    @property
    def settings(self) -> dict[str, str]:
        """What pyiceberg needs to ask this server for a token, without the credential."""
        prefix = "PYICEBERG_CATALOG__MESH__"
        return {
            f"{prefix}SCOPE": "PRINCIPAL_ROLE:ALL",
            f"{prefix}OAUTH2_SERVER_URI": f"{self.address}{_TOKENS}",
        }

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request. Returns the answer; None if there is nothing at `path`, or if it is there already."""
        answer = self._authorized(method, path, body)
        if answer.status == 401:
            # The token has expired.
            self._token = ""
            answer = self._authorized(method, path, body)
        if answer.status in (404, 409):
            return None
        self._check(answer, f"{method} {path}")
        return answer.json() if answer.data else {}

    def base_location(self) -> str:
        """Return where the tables of the catalog are. Raises AttentionError if there is no such catalog."""
        found = self.send("GET", self.own)
        if found is None:
            fix = (
                f"Create it, or correct PYICEBERG_CATALOG__MESH__WAREHOUSE: it is the name of a catalog in {SERVER}."
            )
            raise AttentionError(f"{self.address}: has no catalog '{self.catalog}'. {fix}")
        return str(found["properties"]["default-base-location"])

    def make_catalog(self, warehouse: str, endpoint: str, region: str) -> None:
        """Make the catalog if it is missing, with its tables below `warehouse`; its administrators may write tables.

        Clients have keys and an address of the store of their own. So Polaris hands out no keys (`stsUnavailable`),
        and `endpoint` is for its own use alone.
        """
        storage = {
            "storageType": "S3",
            "allowedLocations": [warehouse],
            "endpointInternal": endpoint,
            "region": region,
            "pathStyleAccess": True,
            "stsUnavailable": True,
        }
        place = {"default-base-location": warehouse}
        catalog = {"name": self.catalog, "type": "INTERNAL", "properties": place, "storageConfigInfo": storage}
        self.send("POST", f"{_MANAGEMENT}/catalogs", {"catalog": catalog})
        grant = write_grant(("catalog", "", "CATALOG_MANAGE_CONTENT"))
        self.send("PUT", f"{self.own}/catalog-roles/catalog_admin/grants", {"grant": grant})
        roles = f"{_MANAGEMENT}/principal-roles/service_admin/catalog-roles/{quote(self.catalog, safe='')}"
        self.send("PUT", roles, {"catalogRole": {"name": "catalog_admin"}})

    def accepts(self, credential: str) -> bool:
        """Whether a principal gets a token for its credential, `id:secret`."""
        identity, _, secret = credential.partition(":")
        answer = self._ask_token({"client_id": identity, "client_secret": secret})
        if answer.status in (400, 401):
            return False
        self._check(answer, f"POST {_TOKENS}")
        return True

    def _authorized(self, method: str, path: str, body: Mapping[str, Any] | None) -> urllib3.BaseHTTPResponse:
        self._token = self._token or self._new_token()
        return self._request(method, path, json=body, headers={"Authorization": f"Bearer {self._token}"})

    def _new_token(self) -> str:
        answer = self._ask_token(self._root)
        self._check(answer, f"POST {_TOKENS}")
        return str(answer.json()["access_token"])

    def _ask_token(self, credential: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        fields = {"grant_type": "client_credentials", "scope": "PRINCIPAL_ROLE:ALL", **credential}
        return self._request("POST", _TOKENS, fields=fields, encode_multipart=False)

    def _request(self, method: str, path: str, **how: Any) -> urllib3.BaseHTTPResponse:
        if how.get("json") is None:
            how.pop("json", None)
        try:
            return self._pool.request(method, f"{self.address}{path}", **how)
        except HTTPError as error:
            name = type(error).__name__
            raise UnavailableError(
                f"{self.address}: {method} {path}: no answer ({name}). Start Polaris, then again."
            ) from None

    def _check(self, answer: urllib3.BaseHTTPResponse, what: str) -> None:
        if answer.status < 300:
            return
        where = f"{self.address}: {what}: {answer.status}"
        if answer.status in (401, 403):
            raise AttentionError(f"{where}. Give {_SETTING} a principal with the role service_admin.")
        if answer.status >= 500:
            raise UnavailableError(f"{where}. Try again later.")
        raise AttentionError(f"{where}, {answer.data.decode('utf-8', 'replace')[:300]}.")


class PolarisRights:
    """Brings a catalog of Polaris in step with the rights of the domains."""

    def __init__(
        self, server: Polaris, domains: Sequence[str], rights: Sequence[Right], credentials: Credentials
    ) -> None:
        self.server, self.domains, self.credentials = server, domains, credentials
        self.readable: dict[str, list[str]] = {name: [] for name in principals(domains)}
        for right in rights:
            if right.resource == "table" and not right.name.startswith(f"{right.domain}."):
                self.readable[right.domain].append(right.name)

    def plan(self) -> Iterator[Step]:
        """Yield what must change. It sends only GET, and asks for tokens."""
        self.server.base_location()
        present = self._namespaces()
        for namespace in (*self.domains, PLATFORM):
            if namespace not in present:
                yield Step(SERVER, PLATFORM, "create", "namespace", now=namespace)
        tables = {
            table
            for namespace in (*self.domains, PLATFORM)
            if namespace in present
            for table in self._tables(namespace)
        }
        found = {kind: self._found(kind) for kind in _KINDS}
        for name in self.readable:
            for kind in _KINDS:
                if name not in found[kind] or (kind == "principal" and not self._may_enter(name)):
                    yield Step(SERVER, name, "update" if name in found[kind] else "create", kind)
            for kind, owner in (
                ("role of the principal", "principal"),
                ("catalog role of the role", "principal role"),
            ):
                has = self._assigned(kind, name) if name in found[owner] else []
                for other in sorted({*has} - {name}):
                    yield Step(SERVER, name, "remove", kind, was=other)
                if name not in has:
                    yield Step(SERVER, name, "create", kind, now=name)
            for kind, owner in (
                ("holder of the role", "principal role"),
                ("holder of the catalog role", "catalog role"),
            ):
                holders = self._holders(kind, name) if name in found[owner] else set()
                for other in sorted(holders - self.readable.keys()):
                    yield Step(SERVER, name, "remove", kind, was=other)
            granted = self._grants(name) if name in found["catalog role"] else set()
            wanted = self._wanted(name, tables)
            for grant in sorted(granted - wanted):
                yield Step(SERVER, name, "remove", "grant", was=grant)
            for grant in sorted(wanted - granted):
                yield Step(SERVER, name, "create", "grant", now=grant)
        for kind in _KINDS:
            for name, properties in found[kind].items():
                if name not in self.readable and properties.items() >= MARK.items():
                    yield Step(SERVER, name, "remove", kind)

    def apply(self, step: Step) -> None:
        """Do one step; it may be done twice.

        The secret of a principal is in its file before Polaris has it, so that a stop between the two loses none.
        """
        send, own, name = self.server.send, self.server.own, quote(step.principal, safe="")
        match step.action, step.what:
            case "remove", kind if kind in _KINDS:
                send("DELETE", f"{self._path(kind)}/{name}")
            case _, "namespace":
                send("POST", self.server.namespaces, {"namespace": [step.now]})
            case _, "principal":
                self._make_principal(step.principal)
            case _, "principal role":
                send("POST", self._path(step.what), {"principalRole": {"name": step.principal, "properties": MARK}})
            case _, "catalog role":
                send("POST", self._path(step.what), {"catalogRole": {"name": step.principal, "properties": MARK}})
            case "remove", "grant":
                send("POST", f"{own}/catalog-roles/{name}/grants", {"grant": write_grant(step.was)})
            case _, "grant":
                send("PUT", f"{own}/catalog-roles/{name}/grants", {"grant": write_grant(step.now)})
            case "remove", "holder of the role":
                send("DELETE", f"{self._assignments('role of the principal', step.was)}/{name}")
            case "remove", "holder of the catalog role":
                send("DELETE", f"{self._assignments('catalog role of the role', step.was)}/{name}")
            case "remove", kind:
                send("DELETE", f"{self._assignments(kind, step.principal)}/{quote(step.was, safe='')}")
            case _, kind:
                body = "principalRole" if kind == "role of the principal" else "catalogRole"
                send("PUT", self._assignments(kind, step.principal), {body: {"name": step.now}})

    def _may_enter(self, name: str) -> bool:
        """Whether Polaris takes the credential in a principal's file; after a stop it may have another one."""
        credential = self.credentials.read(name).get(CREDENTIAL)
        return credential is not None and self.server.accepts(credential)

    def _make_principal(self, name: str) -> None:
        known = self.credentials.read(name).get(CREDENTIAL)
        # Polaris takes 16 and 32 hexadecimal digits.
        credential = known or f"{secrets.token_hex(8)}:{secrets.token_hex(16)}"
        self.credentials.set(name, {CREDENTIAL: credential, **self.server.settings})
        identity, _, secret = credential.partition(":")
        body = {"principal": {"name": name, "properties": MARK}, "credentialRotationRequired": False}
        self.server.send("POST", self._path("principal"), body)
        path = f"{self._path('principal')}/{quote(name, safe='')}/reset"
        self.server.send("POST", path, {"clientId": identity, "clientSecret": secret})

    def _wanted(self, name: str, tables: set[str]) -> set[Grant]:
        """The grants that a principal must have, of those on the tables that exist."""
        if name == PLATFORM:
            return {("catalog", "", "CATALOG_MANAGE_CONTENT")}
        readable = {("table", table, "TABLE_READ_DATA") for table in self.readable[name] if table in tables}
        # Names alone: what is in a table, only those see who may read it.
        names = {("catalog", "", "NAMESPACE_LIST"), ("catalog", "", "TABLE_LIST")}
        return {("namespace", name, "CATALOG_MANAGE_CONTENT"), *names, *readable}

    def _namespaces(self) -> set[str]:
        found = self.server.send("GET", self.server.namespaces)
        return {".".join(name) for name in found["namespaces"]}

    def _tables(self, namespace: str) -> set[str]:
        found = self.server.send("GET", f"{self.server.namespaces}/{quote(namespace, safe='')}/tables") or {}
        return {".".join([*each["namespace"], each["name"]]) for each in found.get("identifiers", ())}

    def _found(self, kind: str) -> dict[str, dict[str, str]]:
        """The names of a kind, with their properties."""
        answer = self.server.send("GET", self._path(kind)) or {}
        return {each["name"]: each.get("properties") or {} for each in answer.get("principals") or answer["roles"]}

    def _grants(self, name: str) -> set[Grant]:
        answer = self.server.send("GET", f"{self.server.own}/catalog-roles/{quote(name, safe='')}/grants") or {}
        return {read_grant(grant) for grant in answer.get("grants", ())}

    def _assigned(self, kind: str, name: str) -> list[str]:
        answer = self.server.send("GET", self._assignments(kind, name)) or {}
        return [each["name"] for each in answer.get("roles", ())]

    def _holders(self, kind: str, name: str) -> set[str]:
        """Who has a role: principals, or of a catalog role the principal roles."""
        of_role = kind == "holder of the role"
        path = f"{self._path('principal role' if of_role else 'catalog role')}/{quote(name, safe='')}"
        answer = self.server.send("GET", f"{path}/{'principals' if of_role else 'principal-roles'}") or {}
        return {each["name"] for each in answer.get("principals" if of_role else "roles", ())}

    def _assignments(self, kind: str, name: str) -> str:
        of_principal = kind == "role of the principal"
        last = "principal-roles" if of_principal else f"catalog-roles/{quote(self.server.catalog, safe='')}"
        return f"{self._path('principal' if of_principal else 'principal role')}/{quote(name, safe='')}/{last}"

    def _path(self, kind: str) -> str:
        if kind == "catalog role":
            return f"{self.server.own}/catalog-roles"
        return f"{_MANAGEMENT}/{kind.replace(' ', '-')}s"


def read_grant(resource: Mapping[str, Any]) -> Grant:
    """Return a grant of Polaris' API, on whatever it is: somebody else may have made it."""
    namespace = [*resource.get("namespace", ())]
    for kind, field in _NAMED.items():
        if resource.get(field):
            return kind, ".".join([*namespace, resource[field]]), resource["privilege"]
    return "namespace" if namespace else "catalog", ".".join(namespace), resource["privilege"]


def write_grant(grant: Grant) -> dict[str, Any]:
    """Return what Polaris' API takes for a grant."""
    kind, place, privilege = grant
    found: dict[str, Any] = {"type": kind, "privilege": privilege}
    if kind == "catalog":
        return found
    namespace = place.split(".")
    if kind in _NAMED:
        found[_NAMED[kind]] = namespace.pop()
    return {**found, "namespace": namespace}
