"""`mesh` in the environment with Spark's client, and Sail as a server of Spark Connect on loopback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import ROOT, missing

MESH = ROOT / ".venv-spark" / "bin" / "mesh"
# It serves until stdin ends; or, as if somebody had killed it, until it has computed for some seconds.
_SERVE = """
import os, sys, time
from pysail.spark import SparkConnectServer
server = SparkConnectServer()
server.start(background=True)
print(server.listening_address[1], flush=True)
if len(sys.argv) > 1:
    end = time.process_time() + float(sys.argv[1])
    while time.process_time() < end:
        time.sleep(0.02)
    os._exit(9)
input()
server.stop()
"""


def mesh_with_spark(
    root: Path, state: Path, *words: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`mesh` in the environment with Spark's client; asserts its exit code."""
    if not MESH.exists():
        missing("no environment with Spark's client: make .venv-spark/done")
    done = subprocess.run(
        [str(MESH), *words],
        cwd=root,
        env={**os.environ, "MESH_STATE": str(state), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done


def json_with_spark(root: Path, state: Path, *words: str, code: int = 0, **environment: str) -> Any:
    """What `mesh ... --format json` prints there; its stderr if it prints nothing."""
    done = mesh_with_spark(root, state, *words, "--format", "json", code=code, **environment)
    return json.loads(done.stdout) if done.stdout else done.stderr


@contextmanager
def sail(dies_after_s: float | None = None, **environment: str) -> Iterator[str]:
    """Sail in a process of its own: its address."""
    if not MESH.exists():
        missing("no environment with Spark's client: make .venv-spark/done")
    words = [str(MESH.with_name("python")), "-c", _SERVE, *([str(dies_after_s)] if dies_after_s else [])]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as server:
        try:
            assert server.stdout
            yield f"sc://127.0.0.1:{server.stdout.readline().strip()}"
            if not dies_after_s:
                server.communicate("\n", timeout=60)
                assert server.returncode == 0
        finally:
            server.kill()
