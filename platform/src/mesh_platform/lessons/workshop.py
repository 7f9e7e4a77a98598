"""The folder in which lessons run: a copy of the mesh with one simulated day, made once and restored for each lesson.

Lessons change contracts, kill processes and roll tables back. None of it touches the mesh or the state of the user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mesh_platform.errors import AttentionError
from mesh_platform.lessons.console import Command

# What the lessons need of a repository.
_COPIED = ("domains", "docs/examples")
# One warehouse is enough for the lessons, and quick.
PREPARE = "mesh run --days 1 --domain west_warehouse --format json"
_GIT = "git init -q && git add -A && git -c user.name=lesson -c user.email=lesson@localhost commit -qm lesson"


@dataclass(frozen=True)
class Printed:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workshop:
    """A workshop below `folder` for the mesh at `root`. Programs are looked for in the folders `before` first."""

    root: Path
    folder: Path
    before: Sequence[Path] = ()

    @property
    def bench(self) -> Path:
        """The copy of the mesh in which commands run, with its own state folder."""
        return self.folder / "bench"

    def open(self, on_prepare: Callable[[], None] = lambda: None) -> None:
        """Put the bench in order: the mesh as it is, with one simulated day. Calls `on_prepare` if that must be made.

        The day is simulated at the bench's own path, since a lake knows where it is; later it is copied back there.
        Raises AttentionError where the simulation fails.
        """
        day, known_by = self.folder / "day", self._fingerprint()
        stamp = day / "of"
        shutil.rmtree(self.bench, ignore_errors=True)
        if not stamp.exists() or stamp.read_text() != known_by:
            on_prepare()
            shutil.rmtree(day, ignore_errors=True)
            for name in _COPIED:
                shutil.copytree(
                    self.root / name, self.bench / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
                )
            (self.bench / ".gitignore").write_text(".mesh*/\n__pycache__/\n")
            for command in (PREPARE, _GIT):
                if (done := self.run(Command(command, ()))).code:
                    raise AttentionError(f"{command}: exit {done.code}\n{done.err}The lessons need it. Mend that.")
            shutil.copytree(self.bench, day, symlinks=True)
            # Written last: a day that a killed call left is made again.
            stamp.write_text(known_by)
            return
        shutil.copytree(day, self.bench, symlinks=True)
        (self.bench / "of").unlink()

    def run(self, command: Command) -> Printed:
        """Run a command at the bench, by bash."""
        # Its broker, catalog and clock are those of its state folder, whatever the user has set.
        foreign = ("MESH_", "PYICEBERG_", "OPENLINEAGE", "GIT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = os.pathsep.join([*map(str, self.before), str(Path(sys.executable).parent), kept.get("PATH", "")])
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=self.bench,
            env={**kept, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return Printed(done.returncode, done.stdout, done.stderr)

    def _fingerprint(self) -> str:
        """What the day depends on: the files that are copied, and where the bench is."""
        found = sha256(str(self.bench).encode())
        for name in _COPIED:
            for path in sorted((self.root / name).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    found.update(f"{path.relative_to(self.root)} ".encode() + sha256(path.read_bytes()).digest())
        return found.hexdigest()
