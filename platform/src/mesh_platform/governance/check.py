"""All rules on one mesh: a repository arrives, every problem of it leaves, sorted by place."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import partial
from pathlib import Path

from mesh_platform.contract_reader import SUFFIX, read_contract
from mesh_platform.domain import domain_folders, offer, read_mesh
from mesh_platform.errors import Problem, UsageError
from mesh_platform.governance.cache import Cache
from mesh_platform.governance.consents import read_consents
from mesh_platform.governance.registry import GlobalRule, all_rules
from mesh_platform.governance.scope import Scope, contract_source, remembering
from mesh_platform.governance.waivers import apply_waivers, read_waivers


def open_scope(root: Path, today: date, base: str | None = None, cache: Cache | None = None) -> Scope:
    """What can be read of the mesh at `root`. Raises UsageError where there is none."""
    cache = cache or Cache()
    paths = [path for folder in domain_folders(root) for path in folder.glob(f"*/*{SUFFIX}")]
    look = [(contract_source(p, root), partial(read_contract, p, root, p.parts[-3])) for p in paths]
    cache.get_all("contract", look)
    mesh, faults = read_mesh(root, remembering(cache))
    return Scope(mesh, tuple(faults), today, base, cache)


def check(scope: Scope, only: Collection[str] = ()) -> list[Problem]:
    """What breaks the rules of the mesh, or `only` some; what a waiver lets off has the severity `waived`.

    Raises UsageError where there is no such rule.
    """
    rules = all_rules()
    chosen = [rules[name] for name in only or rules if name in rules] if _known(only, rules) else []
    standing, faults = read_waivers(scope.mesh)
    faults += read_consents(scope.mesh)[1]
    found = [problem for rule in chosen for problem in rule.problems(scope)]
    if not only or "domain-files" in only:
        found += faults
    about = [each for each in standing if not only or each.waiver.rule in only]
    return sorted(set(apply_waivers(found, about, scope.mesh, rules, scope.today)))


def mend(scope: Scope) -> list[Path]:
    """Mend what is mechanical; the files that changed."""
    return [path for rule in all_rules().values() if rule.mend for path in rule.mend(scope)]


def _known(names: Collection[str], rules: dict[str, GlobalRule]) -> bool:
    for name in names:
        if name not in rules:
            raise UsageError(f"{name}: no such rule. {offer(name, rules)}")
    return True
