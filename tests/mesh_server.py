"""`mesh` for tests in processes that begin at once: a parent that has imported everything forks one for each call.

`python -m mesh_server` is that parent. It reads one call a line, JSON, and answers each with the exit code. A
call is a process of its own, as `mesh` is, and costs 30 ms instead of a second of imports. Unlike `mesh` it ends as
soon as the command has: what Python does at its exit is not seen. `State.start` calls the real command.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from threading import Lock

_KILL_WITH_PARENT = 1
_LIBRARIES = (
    *("click", "duckdb", "pika", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow", "rich.progress"),
    *("sqlalchemy.dialects.sqlite", "sqlglot.dialects.duckdb", "sqlglot.dialects.spark", "sqlglot.transforms"),
)
_ROOT = Path(__file__).resolve().parents[1]
# These read the environment when they are imported, so each call imports them itself.
_NOT_YET = ("mesh_platform.cli.", "mesh_platform.dags.", "acme_world.commands")
# It runs in another environment.
_ELSEWHERE = "mesh_platform.metadata.openmetadata.ingest_source"


class MeshServer:
    """The parent, which begins with the first call. Calls are made one after the other."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._printed: TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    @staticmethod
    def can_run(environment: Mapping[str, str]) -> bool:
        """Whether a call with this environment may be forked: pyiceberg reads its settings when it is imported."""
        return not any(name.startswith("PYICEBERG_") for name in environment)

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, str, str]:
        """Call `mesh` with these words in a folder: its exit code, negative for a signal, stdout and stderr.

        Raises subprocess.TimeoutExpired after `timeout` seconds, and ends the call.
        """
        with self._turn:
            return self._run(words, folder, environment, timeout)

    def _run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, str, str]:
        server = self._running()
        assert self._printed is not None
        out, err = Path(self._printed.name, "out"), Path(self._printed.name, "err")
        command = {"words": [*words], "cwd": str(folder), "env": {**environment}, "out": str(out), "err": str(err)}
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(command) + "\n")
        server.stdin.flush()
        if not select([server.stdout], [], [], timeout)[0]:
            self.close()
            raise subprocess.TimeoutExpired(["mesh", *words], timeout, err.read_bytes())
        answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server of mesh ended with {server.wait()}")
        return json.loads(answer), *(file.read_text(encoding="utf-8") for file in (out, err))

    def close(self) -> None:
        """End the parent, and with it what runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._printed = self._printed or TemporaryDirectory(prefix="mesh-tests-")
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("MESH_", "PYICEBERG_"))}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mesh_server"],
                env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


def serve() -> None:
    """Fork a process for each call that stdin names, until it ends."""
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if not pid:
            _call(**command)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become_child(environment: Mapping[str, str], out: str | Path, err: str | Path) -> None:
    """In a forked process: end with the parent, read nothing, write to these files, and have this environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
    for target, path, mode in ((0, os.devnull, "rb"), (1, out, "wb"), (2, err, "wb")):
        with Path(path).open(mode) as file:
            os.dup2(file.fileno(), target)
    os.environ.clear()
    os.environ.update(environment)


def _call(words: Sequence[str], cwd: str, env: Mapping[str, str], out: str, err: str) -> None:
    code = 1
    try:
        become_child(env, out, err)
        os.chdir(cwd)
        from mesh_platform.cli import main

        main(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _warm_up() -> None:
    """Import what calls import, each of them late. As `mesh` does, tell Arrow first which memory it takes."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for name in _LIBRARIES:
        importlib.import_module(name)
    for package in ("mesh_platform", "acme_world"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}.", onerror=lambda _name: None):
            if not module.name.startswith((*_NOT_YET, _ELSEWHERE)) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    # Calls find what the contracts say; each reads the files again, as a copy of the mesh has others.
    from mesh_platform.mesh.mesh import read_mesh

    read_mesh(_ROOT)
    # Calls neither look for garbage in what they share, nor copy it by doing so.
    gc.collect()
    gc.freeze()
    early = [name for name in sys.modules if name.startswith(_NOT_YET)]
    assert not early, f"{early} would see the environment of the server"


if __name__ == "__main__":
    _warm_up()
    serve()
