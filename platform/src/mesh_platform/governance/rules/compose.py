"""Rules of the compose file: it starts reviewed images, for this machine alone, and all that it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from mesh_platform.contract.yaml_document import Document, Place, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope

_FILES = ("docker-compose*.yml", "docker-compose*.yaml", "compose*.yml", "compose*.yaml")
# The others, such as docker-compose.<name>.yml, say only what differs from one of these.
_WHOLE = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")
_LOOPBACK = ("127.0.0.1", "[::1]", "::1", "localhost")
# The id of an access key is the name of a user.
_SECRET = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|(api|access|private|fernet)_?key(?!_id)|credentials?)(_|$)"
)
_IN_URL = re.compile(r"://[^/\s:@]+:(?P<secret>[^/\s@]+)@")
_IN_COMMAND = re.compile(r"(?i)--?[\w-]*(password|secret|token)[\w-]*[= ](?P<secret>\S+)")
_STRONG = {"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "DAC_READ_SEARCH"}

# ${NAME}, ${NAME:-default}, ${NAME:?message}, $NAME; and $$, which is a plain dollar.
_VARIABLE = re.compile(r"\$\$|\$\{(?P<braced>\w+)(?P<more>[^}]*)\}|\$(?P<bare>\w+)")
# Keys of a service whose entries name what the file declares below the same key.
_REFERENCES = ("volumes", "secrets", "configs", "networks")

_Found = Iterator[tuple[Place, str, str]]


@rule(waivable=False)
def compose_safe(scope: Scope) -> Iterable[Problem]:
    """The compose file pins versions, uses loopback, has no secrets, and gives containers no rights on the host.

    - an image has a tag that is not `latest`, and a digest; one that is built here has its Dockerfile instead;
    - a published port begins with 127.0.0.1, and no service is in the host's network;
    - a password, secret, token or key is taken from the environment, `${NAME:?}`, not written down, not as a default;
    - no service is privileged, has the host's processes, strong capabilities, or the container engine's socket.
    """
    for document in _documents(scope):
        if isinstance(document, Problem):
            yield document
            continue
        for place, service in _services(document):
            for look in (_image, _ports, _secrets, _rights):
                for inside, what, fix in look(service):
                    yield document.problem((*place, *inside), f"'{place[1]}' {what}", fix)


@rule(waivable=False)
def compose_whole(scope: Scope) -> Iterable[Problem]:
    """The compose file bounds and watches each service, and nothing that it refers to is missing.

    - a service has a health check, or it runs once: `restart: "no"`;
    - a service has a memory limit, `mem_limit`, so that one cannot take the memory of all;
    - a variable has a default, `${NAME:-default}`, or is a secret, `${NAME:?message}`, which `mesh up` makes;
    - each service, volume, secret, config and network that a service names is declared, and a service that others
      wait for can become what they wait for: healthy with a health check, completed if it runs once.

    It holds for the main file; one such as `docker-compose.<name>.yml` says only what differs from it.
    """
    for document in _documents(scope):
        if isinstance(document, Problem) or document.label not in _WHOLE:
            continue
        services = dict(_services(document))
        for place, service in services.items():
            found = (
                _health(service),
                _memory(service),
                _references(document.data, service),
                _waits(services, service),
            )
            for inside, what, fix in chain(*found):
                yield document.problem((*place, *inside), f"'{place[1]}' {what}", fix)
        for place, text in _texts(document.data, ()):
            for what, fix in _variables(text):
                yield document.problem(place, what, fix)


def _documents(scope: Scope) -> Iterator[Document | Problem]:
    """Each compose file, or why it cannot be read."""
    for path in sorted({path for pattern in _FILES for path in scope.mesh.root.glob(pattern)}):
        document = read_document(path, scope.mesh.root)
        if isinstance(document, Document):
            document = _malformed(document) or document
        yield document


def _malformed(document: Document) -> Problem | None:
    services = document.data.get("services") if isinstance(document.data, dict) else None
    if not isinstance(services, dict):
        return document.problem((), "has no services.", "A compose file has a mapping called services.")
    for name, service in services.items():
        if not isinstance(service, dict):
            fix = "A service has keys such as image and ports."
            return document.problem(("services", str(name)), f"'{name}' is no mapping.", fix)
    return None


def _services(document: Document) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for name, service in document.data["services"].items():
        yield ("services", str(name)), service


def _image(service: Mapping[str, Any]) -> _Found:
    image = service.get("image")
    # What is built here has its versions in its Dockerfile.
    if image is None or "build" in service:
        return
    # The default of a variable counts, as most people will run it.
    text, _, digest = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", str(image)).partition("@sha256:")
    tag = re.sub(r"^.*/", "", text).partition(":")[2]
    if not tag or tag == "latest" or not digest:
        fix = "Name the version, and the digest, which no one can move: image:1.2.3@sha256:..."
        yield ("image",), f"runs {image}, whichever image that is today.", fix


def _ports(service: Mapping[str, Any]) -> _Found:
    fix = "Begin it with 127.0.0.1:, or leave it out; services reach each other by name."
    for i, port in enumerate(_items(service.get("ports"))):
        if isinstance(port, dict):
            beyond = port.get("host_ip") not in _LOOPBACK
        else:
            beyond = not str(port).startswith(tuple(f"{host}:" for host in _LOOPBACK))
        if beyond:
            yield ("ports", i), f"publishes port {port} beyond loopback.", fix
    if service.get("network_mode") == "host":
        yield ("network_mode",), "is in the host's network.", "Publish single ports on 127.0.0.1."


def _secrets(service: Mapping[str, Any]) -> _Found:
    fix = "Take it from the environment: ${NAME:?set it in .env}."
    variables = service.get("environment")
    pairs = variables.items() if isinstance(variables, dict) else [str(v).split("=", 1) for v in _items(variables)]
    for i, (key, value, *_) in enumerate((*pair, None) for pair in pairs):
        place: Place = ("environment", key if isinstance(variables, dict) else i)
        if value not in (None, "") and _is_literal(str(key), str(value)):
            yield place, f"has the secret of {key} written down.", fix
    for word in ("command", "entrypoint"):
        text = service.get(word)
        found = _IN_COMMAND.search(" ".join(map(str, text)) if isinstance(text, list) else str(text or ""))
        if found and "$" not in found["secret"]:
            yield (word,), f"has a secret written down in its {word}.", fix


def _is_literal(key: str, value: str) -> bool:
    # In ${NAME:-default} the default is a value in the file, too. A user's name before a secret is none.
    plain = re.sub(r"\$\{\w+(:?\?[^}]*|:?-|)\}|\$\w+", "", value)
    plain = "" if re.fullmatch(r"[\w-]+:\$\{[^}]*\}", value) and plain.endswith(":") else plain
    if found := _IN_URL.search(re.sub(r"\$\{\w+(:?\?[^}]*)?\}|\$\w+", "$", value)):
        return found["secret"] != "$"
    return bool(_SECRET.search(key)) and not key.upper().endswith("_FILE") and bool(plain)


def _rights(service: Mapping[str, Any]) -> _Found:
    fix = "Leave it out; nothing of this stack needs it."
    if service.get("privileged"):
        yield ("privileged",), "is privileged.", fix
    for key in ("pid", "ipc", "userns_mode", "uts"):
        if service.get(key) == "host":
            yield (key,), f"shares the host's {key}.", fix
    for i, name in enumerate(_items(service.get("cap_add"))):
        if str(name).upper().removeprefix("CAP_") in _STRONG:
            yield ("cap_add", i), f"has the capability {name}.", fix
    for i, option in enumerate(_items(service.get("security_opt"))):
        if "unconfined" in str(option):
            yield ("security_opt", i), f"runs {option}.", fix
    for i, volume in enumerate(_items(service.get("volumes"))):
        source = str(volume.get("source") if isinstance(volume, dict) else volume)
        if re.match(r"(/var)?/run/(docker|containerd|podman)|/(:|$)|/proc|/sys|/etc(:|/|$)", source):
            yield ("volumes", i), f"mounts {source.partition(':')[0]} of the host.", fix


def _health(service: Mapping[str, Any]) -> _Found:
    if not _runs_once(service) and not _is_watched(service):
        fix = 'Add healthcheck: {test: [CMD, ...]}, or restart: "no" if it runs once.'
        yield (), "has no health check.", fix


def _memory(service: Mapping[str, Any]) -> _Found:
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    if not service.get("mem_limit") and not limits.get("memory"):
        yield (), "has no memory limit.", "Add mem_limit: 512m."


def _runs_once(service: Mapping[str, Any]) -> bool:
    return service.get("restart") == "no"


def _is_watched(service: Mapping[str, Any]) -> bool:
    check = service.get("healthcheck")
    return isinstance(check, dict) and bool(check.get("test")) and not check.get("disable")


def _references(file: Mapping[str, Any], service: Mapping[str, Any]) -> _Found:
    for key in _REFERENCES:
        declared = file.get(key) or {}
        for place, name in _names(service.get(key)):
            # A path is a folder of the host; `default` is the network that every file has.
            if name and not name.startswith((".", "/", "~", "$")) and name not in (*declared, "default"):
                fix = f"Declare it below {key}: at the end of the file, or correct the name."
                yield (key, *place), f"names {name}, which no part of the file declares.", fix


def _names(value: Any) -> Iterator[tuple[Place, str]]:
    """The names in a list of short or long entries, or in a mapping, with their places."""
    for i, entry in enumerate(value) if isinstance(value, list) else ((key, key) for key in value or ()):
        if not isinstance(entry, dict):
            yield (i,), str(entry).partition(":")[0]
        elif entry.get("type", "volume") == "volume":
            yield (i,), str(entry.get("source", ""))


def _waits(services: Mapping[Place, Mapping[str, Any]], service: Mapping[str, Any]) -> _Found:
    needed = service.get("depends_on") or {}
    for name in needed:
        other = services.get(("services", str(name)))
        condition = needed[name].get("condition") if isinstance(needed, dict) else "service_started"
        place: Place = ("depends_on", name)
        if other is None:
            yield (
                place,
                f"waits for {name}, which is no service.",
                f"There is {', '.join(str(p[1]) for p in services)}.",
            )
        elif condition == "service_healthy" and not _is_watched(other):
            yield place, f"waits until {name} is healthy, which has no health check.", f"Add one to {name}."
        elif condition == "service_completed_successfully" and not _runs_once(other):
            fix = f'Write restart: "no" at {name}, or wait for service_healthy.'
            yield place, f"waits until {name} has completed, which is started again.", fix


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Every text below a value, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(each, (*place, key))


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for found in _VARIABLE.finditer(text):
        name, more = found["braced"] or found["bare"], found["more"] or ""
        if name is None or re.match(r":?-", more):
            continue
        if not more.startswith((":?", "?")):
            yield f"the variable {name} has no default.", f"Write ${{{name}:-default}}."
        elif not _SECRET.search(name):
            fix = f"Write ${{{name}:-default}}; `mesh up` makes what is called password, secret, token or key."
            yield f"nobody sets the variable {name}, which is no secret.", fix


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
