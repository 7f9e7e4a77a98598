"""Rules of ownership: whoever has a question about a product finds somebody who answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mesh_platform.document import Document, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.codeowners import PLACE, render_codeowners, write_codeowners
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope

# What CODEOWNERS takes for an owner, beside @names.
_MAIL = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(r"(?i)\b(todo|tbd|fixme|unknown|nobody|n/?a|none|changeme|someone)\b|^\W*$|^x+$")


@rule()
def owner_reachable(scope: Scope) -> Iterable[Problem]:
    """Every domain, and so every product, has a team, a steward, and ways to reach them by day and at night.

    `contact` is an e-mail address, which is what code reviews and alerts are sent to. Placeholders are no names.
    """
    for domain in scope.mesh.domains.values():
        label = scope.path(domain, "owners.yaml")
        document = read_document(domain.folder / "owners.yaml", scope.mesh.root)
        lines = document if isinstance(document, Document) else None
        for key, value in domain.owners.model_dump().items():
            line = lines.line((key,)) if lines else 1
            if _PLACEHOLDER.search(value):
                yield Problem(label, line, f"{key} is '{value}'.", "Say who it is; a placeholder answers nobody.")
            elif key == "contact" and not _MAIL.fullmatch(value):
                fix = "Give one e-mail address, such as north-ops@acme.example."
                yield Problem(label, line, f"contact is '{value}'.", fix)


def _write(scope: Scope) -> list[Path]:
    return write_codeowners(scope.mesh)


@rule(mend=_write)
def codeowners(scope: Scope) -> Iterable[Problem]:
    """`.github/CODEOWNERS` is what follows from the owners' files, so that a change is reviewed by whom it concerns.

    `mesh check --fix` writes it.
    """
    path = scope.mesh.root / PLACE
    wanted = render_codeowners(scope.mesh)
    try:
        found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    except OSError:
        found = None
    # Of a domain that cannot be read nothing is known, its owners neither.
    known = all(scope.mesh.domains.get(f.name) for f in _folders(scope))
    if found != wanted and known:
        what = "is missing." if found is None else "is not what the owners' files say."
        line = 1 if found is None else _first_difference(found, wanted)
        yield Problem(str(PLACE), line, what, "Run 'mesh check --fix'.")


def _folders(scope: Scope) -> Iterable[Path]:
    folders = (scope.mesh.root / "domains").iterdir()
    return (path for path in folders if path.is_dir() and not path.name.startswith((".", "_")))


def _first_difference(found: str, wanted: str) -> int:
    lines = zip(found.splitlines(), wanted.splitlines(), strict=False)
    same = next((i for i, (a, b) in enumerate(lines, start=1) if a != b), None)
    return same or min(found.count("\n"), wanted.count("\n")) + 1
