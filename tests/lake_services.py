"""Servers for the lake, for the length of a test: Iceberg's own REST catalog, and moto's S3 store; on loopback.

A folder arrives, a URL leaves. Each server is a process of the test's own, ended by its id.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from conftest import HANG, ROOT, missing

JARS = ROOT / "build" / "rest-catalog"
# The second compiler pays off after minutes. Until then it took a third of the CPU of a test and its server.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@contextmanager
def rest_catalog(folder: Path) -> Iterator[str]:
    """Iceberg's REST catalog on SQLite and files in `folder`; skips, or fails, where it is not installed."""
    java = shutil.which("java")
    if java is None or not (JARS / "pom.xml").is_file():
        missing("no REST catalog: run 'scripts/rest-catalog install', which needs a Java runtime and Maven.")
    port = _free_port()
    # The simple logger's level; a refused commit is no error here.
    words = [java, "-Xmx256m", *QUICK_START, "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", f"{JARS}/*"]
    words += ["org.eclipse.jetty.xml.XmlConfiguration", f"port={port}", f"folder={folder}"]
    words += [str(ROOT / "tests" / "rest_catalog" / "server.xml")]
    with _running(
        [str(word) for word in words], folder / "rest-catalog.log", f"http://127.0.0.1:{port}", "/v1/config"
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """moto's S3 store in memory, with an empty bucket `lake`."""
    port = _free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running(words, folder / "object-store.log", url, "/moto-api/"):
        with urlopen(Request(f"{url}/lake", method="PUT"), timeout=HANG):
            pass
        yield url


@contextmanager
def _running(words: list[str], log: Path, url: str, path: str) -> Iterator[None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + HANG
            while not _answers(url + path):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"{words[0]} does not answer at {url}: {log.read_text()}"
                time.sleep(0.05)
            yield
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=HANG):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
