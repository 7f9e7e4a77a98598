"""What tests across the repository share: a state folder of their own, the command line, and both brokers."""

from __future__ import annotations

import fcntl
import gc
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import jinja2
import pytest
from mesh_platform.broker import connect, queue_of
from mesh_platform.errors import UnavailableError
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings
from mesh_server import MeshServer

if TYPE_CHECKING:
    from native_stack import Stack

# What has not ended by then hangs. What gives way to Airflow in the gate takes ten times as long as alone.
HANG = 1800.0


def draws(usual: int, thorough: int | None = None) -> int:
    """How many examples a random test draws: a sixth of them in `make test`, more of some in `make test-thorough`."""
    if thorough and "THOROUGH" in os.environ:
        return thorough
    return ceil(usual / 6) if "QUICK" in os.environ else usual


# A machine that is busy is no failure; and the gate must not depend on the draw of the day.
hypothesis.settings.register_profile("local", deadline=None, max_examples=draws(100))
hypothesis.settings.register_profile("ci", deadline=None, max_examples=draws(100), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# The template lists what is installed for each new domain. That takes half a second, and does not change meanwhile.
importlib.metadata.packages_distributions = cache(importlib.metadata.packages_distributions)

_compile_template = jinja2.Environment.compile
_TEMPLATES: dict[tuple[object, ...], Any] = {}


def _compile_template_once(of: jinja2.Environment, source: Any, *more: Any, **options: Any) -> Any:
    """Compile a template for all environments of its kind and syntax: most of a first catalog was that."""
    if not isinstance(source, str):
        return _compile_template(of, source, *more, **options)
    # Environments of one syntax share their lexer.
    key = (type(of), of.lexer, of.autoescape, *of.extensions, source, *more, *options.items())
    if key not in _TEMPLATES:
        _TEMPLATES[key] = _compile_template(of, source, *more, **options)
    return _TEMPLATES[key]


jinja2.Environment.compile = _compile_template_once  # type: ignore[method-assign]

ROOT = Path(__file__).resolve().parent
SERVER = MeshServer()
AMQP_URL = os.environ.get("MESH_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is imported by now stays, so that garbage is not looked for in it: that took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_unconfigure() -> None:
    """End the server of `mesh`, and wait for it, so that its time counts as that of the tests."""
    SERVER.close()


@pytest.fixture(autouse=True)
def alone_with_rabbitmq(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test of RabbitMQ waits until no other one, of whatever process, uses the same broker: they share queues."""
    if not request.node.get_closest_marker("rabbitmq"):
        yield
        return
    name = f"mesh-tests-{sha256(AMQP_URL.encode()).hexdigest()[:12]}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Result:
    """What one call of `mesh` did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON object on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class State:
    """A state folder, and the command line on it; `environment` is that of every call."""

    root: Path
    folder: Path
    environment: dict[str, str]

    def mesh(self, *words: object, check: int | None = 0, timeout: float = HANG, **environment: str) -> Result:
        """Call `mesh` in a process of its own; asserts its exit code, any where `check` is None."""
        result = self._run([*map(str, words)], {**self.environment, **environment}, timeout)
        if check is not None:
            assert result.code == check, (
                f"mesh {' '.join(map(str, words))}: exit {result.code}\n{result.out}\n{result.err}"
            )
        return result

    def _run(self, words: list[str], environment: dict[str, str], timeout: float) -> Result:
        if "MUTATION" not in os.environ and MeshServer.can_run(environment):
            return Result(*SERVER.run(words, self.root, environment, timeout))
        done = self.start(*words, **environment)
        try:
            out, err = done.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            done.kill()
            raise
        return Result(done.returncode, out, err)

    def json(self, *words: object, **environment: str) -> Any:
        """What `mesh ... --format json` prints."""
        return self.mesh(*words, "--format", "json", **environment).json

    def start(self, *words: object, stdin: int | None = None, **environment: str) -> subprocess.Popen[str]:
        """`mesh` as a process that the test goes on beside."""
        # Tests of the tests set MUTATION, and see with tests/mutations.py whether anybody notices.
        mutated = [sys.executable, str(ROOT / "tests" / "mutations.py"), os.environ.get("MUTATION", ""), "--"]
        command = mutated if "MUTATION" in os.environ else [str(Path(sys.executable).with_name("mesh"))]
        return subprocess.Popen(
            [*command, *map(str, words)],
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def settings(self) -> Settings:
        """The settings that calls of this state have."""
        url = self.environment.get("MESH_BROKER_URL", "")
        return Settings(root=self.root, state=self.folder, broker_url=url)


def _clean_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MESH_", "PYICEBERG_", "OPENLINEAGE"))}
    return {**kept, "COLUMNS": "200"}


def new_state(folder: Path, root: Path = ROOT, broker_url: str = "") -> State:
    """A state in a folder, with the embedded broker or that of a URL."""
    environment = {**_clean_environment(), "MESH_ROOT": str(root), "MESH_STATE": str(folder)}
    if broker_url:
        environment["MESH_BROKER_URL"] = broker_url
    return State(root, folder, environment)


@pytest.fixture(scope="session")
def make_state() -> Callable[..., State]:
    """Makes a state in a folder, with the embedded broker or that of a URL."""
    return new_state


@pytest.fixture
def state(tmp_path: Path, make_state: Callable[..., State]) -> State:
    """An empty state folder with the embedded broker, on the repository's own mesh."""
    return make_state(tmp_path / "state")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """PostgreSQL, MinIO, a REST catalog and RabbitMQ, which all tests of the marker `stack` share."""
    from native_stack import native_stack

    # A disk that a test can fill.
    with native_stack(disk_mb=1024) as servers:
        yield servers


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def any_state(request: pytest.FixtureRequest, tmp_path: Path, make_state: Callable[..., State]) -> Iterator[State]:
    """An empty state folder with either broker; RabbitMQ's queues of the mesh are emptied before and after."""
    if request.param == "embedded":
        yield make_state(tmp_path / "state")
        return
    url = require_amqp()
    empty_queues(url)
    yield make_state(tmp_path / "state", broker_url=url)
    empty_queues(url)


# For a test that is quick with the embedded broker alone.
SLOW_ON_RABBITMQ = pytest.mark.parametrize(
    "any_state",
    ["embedded", pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.slow])],
    indirect=True,
)


@pytest.fixture
def mesh_copy(tmp_path: Path) -> Path:
    """A copy of the mesh that a test may change: its domains and templates."""
    root = tmp_path / "copy"
    for name in ("domains", "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    return root


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    """The repository's own mesh."""
    return load_mesh(ROOT)


def missing(message: str) -> NoReturn:
    """Skip the test, or fail it with MESH_REQUIRE_SERVICES: `message` says what is not there, and what to start."""
    if Settings(root=ROOT).require_services:
        pytest.fail(message)
    pytest.skip(message)


def require_amqp() -> str:
    """The URL of a RabbitMQ that answers. Without one the test is skipped, or fails with MESH_REQUIRE_SERVICES."""
    try:
        with connect(AMQP_URL):
            return AMQP_URL
    except UnavailableError as error:
        missing(f"no RabbitMQ at {AMQP_URL}: start one with 'scripts/rabbitmq start'. ({error})")


def empty_queues(url: str) -> None:
    """Purge the queues of the repository's mesh."""
    with connect(url) as broker:
        queues = [queue_of(contract) for contract in load_mesh(ROOT).ingested()]
        broker.declare(queues)
        for queue in queues:
            broker.purge(queue.name)
            broker.purge(queue.dead_letter)
