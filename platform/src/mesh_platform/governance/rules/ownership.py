"""Rules of ownership: whoever has a question about a product finds somebody who answers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mesh_platform.document import Document, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope

# What CODEOWNERS takes for an owner, beside @names.
_MAIL = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(
    r"(?i)^\W*(unknown|nobody|n/?a|none|someone|somebody|x+|<.*>)?\W*$|\b(todo|tbd|fixme|changeme)\b"
)


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
