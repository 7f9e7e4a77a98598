"""Rules of files that are generated for outside readers: they agree with the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mesh_platform.errors import Problem
from mesh_platform.governance.generated import CODEOWNERS, PAGES, differing, render_codeowners, render_pages, write
from mesh_platform.governance.registry import all_rules, rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.mesh import domain_folders


def _codeowners(scope: Scope) -> Mapping[Path, str]:
    # The owners of an unreadable domain are unknown.
    known = all(folder.name in scope.mesh.domains for folder in domain_folders(scope.mesh.root))
    return {CODEOWNERS: render_codeowners(scope.mesh)} if known else {}


def _pages(scope: Scope) -> Mapping[Path, str]:
    # A company's mesh may have no rule pages.
    return render_pages(all_rules()) if (scope.mesh.root / PAGES).is_dir() else {}


def _stale(scope: Scope, files: Mapping[Path, str]) -> Iterable[Problem]:
    for path, line in differing(scope.mesh.root, files).items():
        yield Problem(str(path), line, "is not as it follows from the mesh.", "Run 'mesh check --fix'.")


@rule(waivable=False, mend=lambda scope: write(scope.mesh.root, _codeowners(scope)))
def codeowners(scope: Scope) -> Iterable[Problem]:
    """`.github/CODEOWNERS` agrees with the owners' files, so that those concerned review a change."""
    return _stale(scope, _codeowners(scope))


@rule(waivable=False, mend=lambda scope: write(scope.mesh.root, _pages(scope)))
def rule_pages(scope: Scope) -> Iterable[Problem]:
    """`docs/rules/` has a page for each rule, with the text of the rule itself."""
    return _stale(scope, _pages(scope))
