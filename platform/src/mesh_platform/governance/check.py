"""Running all rules on one mesh: the result is every problem, sorted by file and line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date
from pathlib import Path

from mesh_platform.cache.cache import Cache
from mesh_platform.errors import MeshError, Problem, UsageError
from mesh_platform.governance.parity.expected import read_expected
from mesh_platform.governance.registry import GlobalRule, all_rules
from mesh_platform.governance.scope import Scope
from mesh_platform.governance.waivers import apply_waivers, read_waivers
from mesh_platform.mesh.remembered import read_remembered
from mesh_platform.text import offer, shown

# Rules for unreadable files, to which no other rule was applied.
_UNREAD = ("contract", "domain-files")


def open_scope(root: Path, today: date, base: str | None = None, cache: Cache | None = None) -> Scope:
    """Read the valid parts of the mesh at `root`. Raises UsageError where there is none."""
    cache = cache or Cache()
    mesh, faults = read_remembered(root, cache)
    return Scope(mesh, tuple(faults), today, base, cache)


def check(
    scope: Scope, only: Collection[str] = (), progress: Callable[[int], None] = lambda rules: None
) -> list[Problem]:
    """The problems by all rules of the mesh, or `only` some; waived problems have the severity `waived`.

    `progress` is called with 1 for each rule that has been applied.

    Raises UsageError for an unknown rule.
    """
    rules = all_rules()
    for name in only:
        if name not in rules:
            raise UsageError(f"{name}: no such rule. {offer(name, rules)}")
    # Whether a waiver is needed is only known after applying every rule.
    held = {*only, *_UNREAD} if only and "waiver" not in only else {*rules}
    standing, faults = read_waivers(scope.mesh)
    faults += [*scope.consents[1], *read_expected(scope.mesh)[1]]
    for name, rule in rules.items():
        if name in held:
            faults += _problems(rule, scope)
        progress(1)
    about = [each for each in standing if each.waiver.rule in held or each.waiver.rule not in rules]
    found = apply_waivers(faults, about, scope.mesh, rules, scope.today)
    # Unreadable files were not checked by any rule, so they are always reported.
    asked = {*(only or rules), *_UNREAD}
    return sorted({_readable(problem) for problem in found if problem.rule in asked})


def _problems(rule: GlobalRule, scope: Scope) -> list[Problem]:
    try:
        return [*rule.problems(scope)]
    except MeshError:
        raise
    except Exception as error:
        # A fault in one rule must not hide the results of the others.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = shown(Path(place.filename), scope.mesh.root)
        fix = "Report it to the maintainers of the platform: the rule has a fault."
        return [Problem(where, place.lineno or 1, f"the rule failed: {error!r}.", fix, rule=rule.id)]


def _readable(problem: Problem) -> Problem:
    """Replace halves of surrogate pairs, which file names and escapes may contain, and no output accepts."""
    texts = {name: getattr(problem, name) for name in ("path", "message", "fix")}
    whole = {name: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for name, text in texts.items()}
    return replace(problem, **whole)


def mend(scope: Scope) -> list[Path]:
    """Apply all automatic fixes; return the changed files."""
    return [path for rule in all_rules().values() if rule.mend for path in rule.mend(scope)]
