"""`mesh up` and `mesh down`: the servers of docker-compose.yml, in containers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from mesh_platform.access.step import Credentials, new_secret
from mesh_platform.cli.output import read_settings
from mesh_platform.cli.progress import tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UnavailableError, UsageError
from mesh_platform.settings import Settings
from mesh_platform.text import counted, offer, shown

_FILE = "docker-compose.yml"
_SECRETS = "secrets"
# A variable that must be set and has no default: a secret, by the rule compose-whole.
_SECRET = re.compile(r"\$\{(\w+):?\?")
# The digest of an image that nobody has published; whoever starts it must say which one to trust.
_UNKNOWN = re.compile(r"^(?P<image>[^@]+)@\$\{(?P<name>\w+):-sha256:0{64}\}$")
# From the start of the containers; a first start pulls and builds some GB before it, without a limit.
_PATIENCE_S = 1200
_LOG_LINES = 20


@click.command(short_help="Start the servers of docker-compose.yml, and say which container failed and why.")
@click.argument("profiles", metavar="[PROFILE]...", nargs=-1)
def up(profiles: tuple[str, ...]) -> None:
    """Start the servers of docker-compose.yml in containers and wait until each is healthy: the core, and what the
    profiles add.

    \b
    mesh up                          # RabbitMQ, the S3 store, PostgreSQL, the catalog
    mesh up airflow superset
    mesh up all

    The first call makes the secrets, in compose/secrets.env in the state folder, which only its owner reads. It pulls
    and builds images, which takes minutes. A further call builds and starts what has changed or does not run, and
    applies the rights of the domains again; data and secrets stay.

    Exit code 3: Docker Compose is missing, or a container failed; the message has its state and the end of its log.
    """
    settings = read_settings()
    text = _compose_file(settings)
    services: Mapping[str, Any] = yaml.safe_load(text)["services"]
    known = sorted({name for service in services.values() for name in service.get("profiles", ())})
    for name in profiles:
        if name not in known:
            raise UsageError(f"mesh up {name}: no such profile. {offer(name, dict.fromkeys(known))}")
    made = Credentials(settings.state_dir / "compose")
    _make_secrets(made, text)
    _check_digests(made, [each for each in services.values() if {*each.get("profiles", ())} & {*profiles}])
    compose = _Compose(settings.root, made.path(_SECRETS), profiles)
    waiting = ("--detach", "--build", "--wait", "--wait-timeout", str(_PATIENCE_S))
    code = compose.run("up", *waiting)
    # Not its exit code: it takes a service that has done its work and ended for a failure (docker/compose#10596).
    wanted = compose.read("config", "--services").split()
    found = {row["Service"]: row for row in compose.containers()}
    failed = {name: _fault(found.get(name)) for name in wanted}
    if any(failed.values()):
        raise UnavailableError("\n".join(_report(compose, {k: v for k, v in failed.items() if v}, len(wanted), code)))
    write_table([{"service": name, "state": _state(found[name]), "where": _where(found[name])} for name in wanted])
    tell(f"Its passwords are in {shown(made.path(_SECRETS), settings.root)}. It ends with: mesh down")


@click.command(short_help="End the servers of docker-compose.yml; their data stay.")
def down() -> None:
    """End and remove the containers of all profiles of docker-compose.yml. Volumes, with all data, and secrets stay.

    \b
    mesh down
    """
    settings = read_settings()
    text = _compose_file(settings)
    made = Credentials(settings.state_dir / "compose")
    _make_secrets(made, text)
    code = _Compose(settings.root, made.path(_SECRETS), ("all",)).run("down")
    if code:
        raise UnavailableError(f"docker compose down: ended with {code}; its own message is above.")


def _compose_file(settings: Settings) -> str:
    path = settings.root / _FILE
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file. Go into the repository, or set MESH_ROOT.") from None


def _make_secrets(made: Credentials, text: str) -> None:
    """Make each secret that the file asks for and that is not there yet."""
    # An empty variable must not replace a secret of the file: the volumes keep the passwords of their first start.
    there = made.read(_SECRETS)
    lacking = [name for name in dict.fromkeys(_SECRET.findall(text)) if not (there.get(name) or os.environ.get(name))]
    if lacking:
        made.set(_SECRETS, {name: _new_secret(name) for name in lacking})


def _new_secret(name: str) -> str:
    # A Fernet key is 32 bytes in base64.
    return urlsafe_b64encode(secrets.token_bytes(32)).decode() if name.endswith("FERNET_KEY") else new_secret()


def _check_digests(made: Credentials, services: Sequence[Mapping[str, Any]]) -> None:
    there = {**made.read(_SECRETS), **os.environ}
    for service in services:
        found = _UNKNOWN.match(str(service.get("image")))
        if found and not there.get(found["name"]):
            raise UsageError(
                f"{found['name']}: is not set. No public file has the digest of {found['image']}. Look it up, "
                f"`docker buildx imagetools inspect {found['image']}`, and write {found['name']}=sha256:... into "
                f"{made.path(_SECRETS)}."
            )


class _Compose:
    """Docker Compose in a repository, with the secrets of a file and some profiles.

    COMPOSE_FILE and the other variables of Docker Compose mean what they mean there. Raises UnavailableError where it
    is not installed, or a command that is read fails.
    """

    def __init__(self, root: Path, secrets_file: Path, profiles: Sequence[str]) -> None:
        self._root = root
        self._words = ["docker", "compose", "--env-file", str(secrets_file)]
        self._words += [word for name in profiles for word in ("--profile", name)]
        if (
            shutil.which("docker") is None
            or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
        ):
            raise UnavailableError(
                "docker compose: is not installed. Install Docker and its plugin for Compose, 2.24 or later, "
                "or start the servers of the core without containers: scripts/stack start."
            )

    def run(self, *words: str) -> int:
        """Run a command whose output people see; return its exit code."""
        return subprocess.run([*self._words, *words], cwd=self._root).returncode

    def read(self, *words: str) -> str:
        """Return what a command prints."""
        done = subprocess.run([*self._words, *words], cwd=self._root, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().rstrip(".") or "failed"
            raise UnavailableError(f"docker compose {words[0]}: {reason}. Is Docker running?")
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """Return each container, those that have ended too: a JSON object a line, or one list before Compose 2.21."""
        text = self.read("ps", "--all", "--format", "json").strip()
        if text.startswith("["):
            rows: list[dict[str, Any]] = json.loads(text)
            return rows
        return [json.loads(line) for line in text.splitlines()]


def _fault(row: Mapping[str, Any] | None) -> str:
    """What is wrong with a container, nothing if it runs and is healthy, or has ended with 0."""
    if row is None:
        return "has no container"
    runs = row["State"] == "running" and row.get("Health", "") in ("", "healthy")
    return "" if runs or (row["State"] == "exited" and row["ExitCode"] == 0) else _state(row)


def _state(row: Mapping[str, Any]) -> str:
    health = f", {row['Health']}" if row.get("Health") else ""
    ended = f", exit code {row['ExitCode']}" if row["State"] == "exited" else ""
    return f"{row['State']}{health}{ended}"


def _where(row: Mapping[str, Any]) -> str:
    places = {
        f"{port['URL']}:{port['PublishedPort']}": None
        for port in row.get("Publishers") or ()
        if port.get("PublishedPort")
    }
    return " ".join(places)


def _report(compose: _Compose, failed: Mapping[str, str], wanted: int, code: int) -> Iterator[str]:
    yield f"mesh up: {len(failed)} of {counted(wanted, 'service')} failed; docker compose ended with {code}."
    for name, fault in failed.items():
        yield f"{name}: {fault}"
        if fault != "has no container":
            log = compose.read("logs", "--no-color", "--no-log-prefix", "--tail", str(_LOG_LINES), name)
            yield from (f"    {line}" for line in log.splitlines())
    yield "One without a container waits for another, or its image is missing. Mend that, then run 'mesh up' again."
