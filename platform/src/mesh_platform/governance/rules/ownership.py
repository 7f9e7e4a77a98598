"""Rules of ownership: there is somebody to ask about each product."""

from __future__ import annotations

from collections.abc import Iterable

from mesh_platform.contract.yaml_document import Document, read_document
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.mesh import find_unreachable


@rule()
def owner_reachable(scope: Scope) -> Iterable[Problem]:
    """Every domain, and so every product, has a team, a steward, and ways to reach them by day and at night.

    `contact` is an e-mail address, to which code reviews and alerts are sent. Placeholders are not accepted.
    """
    for domain in scope.mesh.domains.values():
        label = scope.path(domain, "owners.yaml")
        document = read_document(domain.folder / "owners.yaml", scope.mesh.root)
        lines = document if isinstance(document, Document) else None
        for key, message, fix in find_unreachable(domain.owners.model_dump()):
            yield Problem(label, lines.line((key,)) if lines else 1, message, fix)
