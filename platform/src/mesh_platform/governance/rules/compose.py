"""The rule of the compose file: the stack starts the reviewed images, and only this machine can reach it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh_platform.contract.yaml_document import Document, Place, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope

_FILES = ("docker-compose*.yml", "docker-compose*.yaml", "compose*.yml", "compose*.yaml")
_LOOPBACK = ("127.0.0.1", "[::1]", "::1", "localhost")
_SECRET = re.compile(r"(?i)(pass(word|wd|phrase)?|secret|token|api_?key|access_?key|private_?key|credentials?)(_|$)")
_IN_URL = re.compile(r"://[^/\s:@]+:(?P<secret>[^/\s@]+)@")
_IN_COMMAND = re.compile(r"(?i)--?[\w-]*(password|secret|token)[\w-]*[= ](?P<secret>\S+)")
_STRONG = {"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "DAC_READ_SEARCH"}

_Found = Iterator[tuple[Place, str, str]]


@rule(waivable=False)
def compose_safe(scope: Scope) -> Iterable[Problem]:
    """The compose file pins versions, uses loopback, has no secrets, and gives containers no rights on the host.

    - an image has a tag that is not `latest`, or a digest;
    - a published port begins with 127.0.0.1, and no service is in the host's network;
    - a password, secret, token or key is taken from the environment, `${NAME:?}`, not written down, not as a default;
    - no service is privileged, has the host's processes, strong capabilities, or the container engine's socket.
    """
    for path in sorted({path for pattern in _FILES for path in scope.mesh.root.glob(pattern)}):
        document = read_document(path, scope.mesh.root)
        if isinstance(document, Problem):
            yield document
            continue
        services = document.data.get("services") if isinstance(document.data, dict) else None
        if not isinstance(services, dict):
            yield document.problem((), "has no services.", "A compose file has a mapping called services.")
            continue
        for name, service in services.items():
            yield from _service_problems(document, str(name), service)


def _service_problems(document: Document, name: str, service: Any) -> Iterable[Problem]:
    here: Place = ("services", name)
    if not isinstance(service, dict):
        yield document.problem(here, f"'{name}' is no mapping.", "A service has keys such as image and ports.")
        return
    for look in (_image, _ports, _secrets, _rights):
        for place, what, fix in look(service):
            yield document.problem((*here, *place), f"'{name}' {what}", fix)


def _image(service: Mapping[str, Any]) -> _Found:
    image = service.get("image")
    if image is None:
        return
    # The default of a variable counts, as most people will run it.
    text = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", str(image))
    tag = re.sub(r"^.*/", "", text).partition(":")[2]
    if "@sha256:" not in text and (not tag or tag == "latest"):
        yield ("image",), f"runs {image}, whichever version that is today.", "Name a version: image:1.2.3."


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
    # In ${NAME:-default} the default is a value in the file, too.
    plain = re.sub(r"\$\{\w+(:?\?[^}]*|:?-|)\}|\$\w+", "", value)
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


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
