"""What commands print on a terminal of a number of columns.

python -m terminal write    writes docs/terminal.md (PYTHONPATH=tests); a test compares it
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
MESH = str(Path(sys.executable).with_name("mesh"))
PAGE = ROOT / "docs" / "terminal.md"
BEGIN = """\
# What commands print

Commands fit the terminal: a narrow one gets fewer columns and shorter texts, and stderr says what is not shown and
how to see it. A pipe and `--format json` get everything. These are captures of terminals of 80 and of 120 columns
after `make run`; `...` stands for what differs between machines. This page is made by `PYTHONPATH=tests
.venv/bin/python -m terminal write`, and a test compares it.
"""
# A title, the words after `mesh`, and the patch that is applied before.
COMMANDS = (
    ("The state of all products", ("status",), None),
    ("What a product is", ("explain", "logistics_core.fact_orders"), None),
    (
        "Rows of a wide table",
        ("query", "select * from logistics_core.dim_product order by product_id limit 3"),
        None,
    ),
    ("A contract that breaks a rule", ("check", "--base", "HEAD"), "retype_quantity"),
    ("A build of some tables", ("build", "logistics_core.dim_product"), None),
    ("The end of a run", ("run", "--days", "28"), None),
)


def on_a_terminal(
    words: Sequence[str], columns: int, environment: Mapping[str, str], folder: Path | None = None
) -> str:
    """What a command prints on a terminal, without colours and movements of the cursor."""
    ours, theirs = pty.openpty()
    variables = {**environment, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=folder):
        os.close(theirs)
        sent = b""
        while part := _read(ours):
            sent += part
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent.decode()).replace("\r\n", "\n")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:
        # Linux raises this when the other end is closed.
        return b""


def page(repository: Path, environment: Mapping[str, str]) -> str:
    """The page, made in a repository in which `make run` has been called."""
    # Messages of a check name the day.
    environment = {**environment, "MESH_CLOCK": "2025-10-29T00:00:00Z"}
    found = [BEGIN]
    for title, words, patch in COMMANDS:
        found.append(f"\n## {title}\n")
        if patch:
            _git(repository, "apply", f"docs/examples/{patch}.patch")
        for columns in (80, 120):
            printed = _steady(on_a_terminal([MESH, *words], columns, environment, repository))
            command = " ".join(f'"{word}"' if " " in word else word for word in words)
            found.append(
                f"\n`mesh {command}`, {columns} columns:\n\n```text\n{printed}```\n".replace("\n\n\n", "\n\n")
            )
        if patch:
            _git(repository, "checkout", "-q", "domains")
    return "".join(found)


def _steady(printed: str) -> str:
    """`printed` without what differs between runs: progress, durations, ids of snapshots, the place of `mesh`."""
    lines = []
    for line in re.sub(r"\d{16,19}", "...", printed.replace(MESH, "mesh")).splitlines():
        # A bar overwrites its line; a pause of the machine shows it at another place.
        if re.search(r"\d+:\d\d:\d\d$", line):
            continue
        lines.append(re.sub(r"^((?:\w+ )+(?:\(beside\))?\s+)\d+\.\d$", r"\1...", line.rpartition("\r")[2].rstrip()))
    return "\n".join(lines).strip("\n") + "\n"


def _git(repository: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=repository, check=True)


def main() -> None:
    """Write the page anew, from a clone with a state of its own."""
    if sys.argv[1:] != ["write"]:
        sys.exit(__doc__)
    with TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        subprocess.run(["git", "clone", "-q", ROOT, repository], check=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        subprocess.run([MESH, "run"], cwd=repository, env=environment, check=True, stdout=subprocess.DEVNULL)
        PAGE.write_text(page(repository, environment), encoding="utf-8")


if __name__ == "__main__":
    main()
