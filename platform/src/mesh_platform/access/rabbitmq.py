"""Rights in RabbitMQ: a user for each domain, which may use what has the domain's name, and nothing else.

Queues and exchanges are named by their domain, so one pattern is a domain's right. A user may not create a queue
with dead letters: for that RabbitMQ asks for the right to write to the default exchange, and who may write to that
may publish to every queue of every domain. So the topology is made here, by the administrator. For a passive
declaration RabbitMQ asks for no right: every user can see how many messages wait in a queue whose name it knows
(https://www.rabbitmq.com/docs/access-control).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from mesh_platform.access.step import PLATFORM, Credentials, Step, new_secret, principals
from mesh_platform.broker import Queue
from mesh_platform.broker.rabbitmq import RabbitBroker
from mesh_platform.errors import AttentionError, UnavailableError, UsageError

SERVER = "rabbitmq"
VARIABLE = "MESH_BROKER_URL"
# RabbitMQ gives a tag that it does not know no rights. This one marks the users that the mesh has made.
MARK = "mesh"
_SETTING = "MESH_RABBITMQ_ADMIN_URL"


@dataclass(frozen=True)
class Permissions:
    """The three patterns of RabbitMQ: which names a user may create, publish to and bind, and consume from."""

    configure: str
    write: str
    read: str


def permissions_of(domain: str) -> Permissions:
    """Return what the user of a domain may use: the exchange, the queues and the dead letters of its name."""
    # The default exchange is called amq.default here: a domain 'amq' must not have it.
    own = rf"^(?!amq\.){re.escape(domain)}(\..*)?$"
    return Permissions(own, own, own)


def wanted_permissions(domains: Sequence[str]) -> dict[str, Permissions]:
    """Return the permissions of all principals."""
    everything = Permissions(".*", ".*", ".*")
    return {name: everything if name == PLATFORM else permissions_of(name) for name in principals(domains)}


class Management:
    """RabbitMQ's management API at `http(s)://admin:password@host:15672/<vhost>`; without a path, the vhost is `/`.

    Raises UsageError for another address. Requests raise UnavailableError where nothing answers, and AttentionError
    where RabbitMQ refuses.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username:
            raise UsageError(f"{_SETTING}: is not of the form http(s)://admin:password@host:15672/vhost.")
        self.vhost = unquote(parts.path.strip("/")) or "/"
        place = parts.netloc.rpartition("@")[2]
        self.host = re.sub(r":\d+$", "", place)
        self.address = f"{parts.scheme}://{place}"
        user, password = unquote(parts.username), unquote(parts.password or "")
        self._headers = urllib3.make_headers(basic_auth=f"{user}:{password}") | {"Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(timeout=20, retries=urllib3.Retry(3, redirect=0, backoff_factor=0.2))

    def get(self, path: str) -> Any:
        """Return what is at `path`, None if there is nothing."""
        return self._send("GET", path)

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Create or replace what is at `path`."""
        self._send("PUT", path, body)

    def delete(self, path: str) -> None:
        """Delete what is at `path`, if there is something."""
        self._send("DELETE", path)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        what = f"{self.address}: {method} /api/{path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._pool.request(method, f"{self.address}/api/{path}", body=data, headers=self._headers)
        except HTTPError as error:
            raise UnavailableError(
                f"{what}: no answer ({type(error).__name__}). Start RabbitMQ, then again."
            ) from None
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            raise AttentionError(f"{what}: {answer.status}. Give {_SETTING} a user with the tag administrator.")
        if answer.status >= 500:
            raise UnavailableError(f"{what}: {answer.status}. Try again later.")
        if answer.status >= 300:
            raise AttentionError(f"{what}: {answer.status}, {answer.data.decode('utf-8', 'replace')[:300]}.")
        return json.loads(answer.data) if answer.data else None


class RabbitRights:
    """Brings RabbitMQ in step with the domains of the mesh. `clients` is its URL for clients, of whatever user."""

    def __init__(
        self,
        server: Management,
        domains: Sequence[str],
        queues: Sequence[Queue],
        credentials: Credentials,
        clients: SplitResult,
    ) -> None:
        self.server, self.domains, self.queues = server, domains, queues
        self.credentials, self.clients = credentials, clients
        self.vhost = quote(server.vhost, safe="")

    def plan(self) -> Iterator[Step]:
        """Yield what must change. It sends only GET.

        Users that the mesh has made and whose domain has gone are removed. Others with rights in this vhost, but for
        administrators, lose these rights: no queue of a domain is open to a user that is not derived.
        """
        if self.server.get(f"vhosts/{self.vhost}") is None:
            yield Step(SERVER, PLATFORM, "create", "vhost", now=self.server.vhost)
        users = {user["name"]: user for user in self.server.get("users") or ()}
        found = {entry["user"]: entry for entry in self.server.get(f"vhosts/{self.vhost}/permissions") or ()}
        wanted = wanted_permissions(self.domains)
        for name, permissions in wanted.items():
            if name not in users or _tags(users[name]) != [MARK] or VARIABLE not in self.credentials.read(name):
                yield Step(SERVER, name, "update" if name in users else "create", "user")
            now = vars(permissions)
            was = {key: found[name][key] for key in now} if name in found else None
            if was != now:
                yield Step(SERVER, name, "update" if was else "create", "permissions", was, now)
        for name in users:
            if name not in wanted and MARK in _tags(users[name]):
                yield Step(SERVER, name, "remove", "user")
        for name, entry in found.items():
            if name not in wanted and not {MARK, "administrator"} & {*_tags(users.get(name, {}))}:
                was = {key: entry[key] for key in ("configure", "write", "read")}
                yield Step(SERVER, name, "remove", "permissions", was)
        present = {queue["name"] for queue in self.server.get(f"queues/{self.vhost}?columns=name") or ()}
        for queue in self.queues:
            if not {queue.name, queue.dead_letter} <= present:
                yield Step(SERVER, PLATFORM, "create", "queue", now=queue.name)

    def apply(self, step: Step) -> None:
        """Do one step; it may be done twice. Raises as `Management` and `RabbitBroker` do.

        The password of a user is in its file before RabbitMQ has it, so that a stop between the two loses none.
        """
        user = quote(step.principal, safe="")
        path = f"users/{user}" if step.what == "user" else f"permissions/{self.vhost}/{user}"
        match step.action, step.what:
            case "remove", _:
                self.server.delete(path)
            case _, "vhost":
                self.server.put(f"vhosts/{self.vhost}", {})
            case _, "queue":
                with RabbitBroker(self.credentials.read(PLATFORM)[VARIABLE]) as broker:
                    broker.declare([queue for queue in self.queues if queue.name == step.now])
            case _, "user":
                password = _password(self.credentials.read(step.principal)) or new_secret()
                place = self.clients.netloc.rpartition("@")[2]
                url = self.clients._replace(netloc=f"{user}:{password}@{place}", path=f"/{self.vhost}").geturl()
                self.credentials.set(step.principal, {VARIABLE: url})
                self.server.put(path, {"tags": MARK, "password": password})
            case _:
                self.server.put(path, step.now)


def _tags(user: Mapping[str, Any]) -> list[str]:
    # A list since RabbitMQ 3.9, before that one text.
    tags = user.get("tags") or []
    return [tag for tag in (tags.split(",") if isinstance(tags, str) else tags) if tag]


def _password(variables: Mapping[str, str]) -> str | None:
    return urlsplit(variables[VARIABLE]).password if VARIABLE in variables else None
