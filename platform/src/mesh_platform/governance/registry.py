"""Rules of the mesh: each is a function from a scope to problems; its name is the id, its docstring the page."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal

from mesh_platform.errors import Problem
from mesh_platform.governance.scope import Scope

Severity = Literal["error", "warning"]
Check = Callable[[Scope], Iterable[Problem]]
# Applies an automatic fix, and returns the changed files.
Mend = Callable[[Scope], list[Path]]


@dataclass(frozen=True)
class GlobalRule:
    """One rule. It is not `waivable` if nothing would run with its problems."""

    id: str
    check: Check
    severity: Severity
    waivable: bool
    mend: Mend | None

    @property
    def text(self) -> str:
        """The requirement and its reason, in Markdown; the first line is a complete sentence."""
        return inspect.getdoc(self.check) or ""

    @property
    def title(self) -> str:
        """The first line of `text`."""
        return self.text.partition("\n")[0]

    def problems(self, scope: Scope) -> Iterator[Problem]:
        """The problems by this rule."""
        for problem in self.check(scope):
            yield replace(problem, rule=self.id, severity=self.severity)


_RULES: dict[str, GlobalRule] = {}


def rule(severity: Severity = "error", waivable: bool = True, mend: Mend | None = None) -> Callable[[Check], Check]:
    """Decorator that makes a function a rule: `one_word` becomes the rule `one-word`."""

    def register(check: Check) -> Check:
        name = check.__name__.replace("_", "-")
        assert name not in _RULES, name
        _RULES[name] = GlobalRule(name, check, severity, waivable, mend)
        return check

    return register


def all_rules() -> dict[str, GlobalRule]:
    """Every rule by its id, in the order of the modules of `rules/`."""
    _load()
    return _RULES


@cache
def _load() -> None:
    package = "mesh_platform.governance.rules"
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
