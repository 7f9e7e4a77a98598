"""Waivers, by which a domain is exempted from a rule for a limited time, from `waivers.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import PurePosixPath

from mesh_platform.contract.yaml_model import FileModel, Reason, Stated, Word
from mesh_platform.errors import Problem
from mesh_platform.governance.domain_lists import read_entries
from mesh_platform.governance.registry import GlobalRule
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.text import offer, shown

# If an exemption is needed for longer, the rule should change.
LONGEST = timedelta(days=366)


class Waiver(FileModel):
    """An exemption of one file of the domain from one rule, until a day, for a reason.

    `file` is relative to the domain's folder. `names` limits it to the problems whose message has this name, such as
    that of a column, in quotes.
    """

    rule: Word
    file: Word
    names: Word | None = None
    reason: Reason
    owner: Stated
    until: date


class _Waivers(FileModel):
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True)
class Standing:
    """A waiver with its file and line."""

    waiver: Waiver
    domain: Domain
    path: str
    line: int

    @property
    def is_own(self) -> bool:
        """Whether it is for a file of the domain itself."""
        file = PurePosixPath(self.waiver.file)
        return not file.is_absolute() and ".." not in file.parts

    def covers(self, problem: Problem, mesh: Mesh) -> bool:
        """Whether it is for this problem, whether or not it has ended."""
        waiver = self.waiver
        return (
            problem.rule == waiver.rule
            and self.is_own
            and problem.path == shown(self.domain.folder / waiver.file, mesh.root)
            and (waiver.names is None or f"'{waiver.names}'" in problem.message)
        )


def read_waivers(mesh: Mesh) -> tuple[list[Standing], list[Problem]]:
    """All waivers of the mesh, and the problems of their files."""
    return read_entries(mesh, "waivers", _Waivers, Standing)


def apply_waivers(
    problems: Iterable[Problem], standing: Iterable[Standing], mesh: Mesh, rules: dict[str, GlobalRule], today: date
) -> list[Problem]:
    """The problems, the waived ones with the severity `waived` and the waiver's reason, and the faults of waivers."""
    found, standing = [*problems], [*standing]
    left: list[Problem] = []
    used: set[int] = set()
    valid = {i for i, each in enumerate(standing) if not _fault(each, rules, today)}
    for problem in found:
        covering = {i for i, each in enumerate(standing) if each.covers(problem, mesh)}
        used |= covering
        if not covering & valid:
            left.append(problem)
            continue
        waiver = standing[min(covering & valid)].waiver
        words = f"Waived until {waiver.until} by {waiver.owner}: {waiver.reason}"
        left.append(replace(problem, severity="waived", fix=words))
    for i, each in enumerate(standing):
        fault = _fault(each, rules, today)
        if fault is None and i not in used:
            fault = _unneeded(each, found, mesh)
        if fault:
            left.append(Problem(each.path, each.line, *fault, rule="waiver"))
    return left


def _fault(each: Standing, rules: dict[str, GlobalRule], today: date) -> tuple[str, str] | None:
    waiver = each.waiver
    if waiver.rule not in rules:
        return f"there is no rule '{waiver.rule}'.", offer(waiver.rule, rules)
    if not rules[waiver.rule].waivable:
        return (
            f"the rule '{waiver.rule}' cannot be waived.",
            "No domain may waive it; fix what breaks it.",
        )
    if waiver.until < today:
        return (
            f"the waiver of '{waiver.rule}' ended on {waiver.until}.",
            "Mend what it waives, or agree on a new end.",
        )
    if waiver.until > today + LONGEST:
        return (
            f"the waiver of '{waiver.rule}' ends on {waiver.until}.",
            f"Write until: {today + LONGEST}, or earlier.",
        )
    return None


def _unneeded(each: Standing, found: Iterable[Problem], mesh: Mesh) -> tuple[str, str]:
    """The message and the fix for a waiver that waives no problem."""
    waiver, path = each.waiver, each.domain.folder / each.waiver.file
    if not path.is_file() or not each.is_own:
        fix = "Write a path from the folder of the domain, such as contracts/<product>.odcs.yaml."
        return f"'{waiver.file}' is no file of {each.domain.name}.", fix
    label = shown(path, mesh.root)
    there = [problem.message for problem in found if (problem.rule, problem.path) == (waiver.rule, label)]
    if there:
        return f"no problem of '{waiver.rule}' there names '{waiver.names}'.", f"There is: {there[0]}"
    return f"nothing breaks '{waiver.rule}' there.", "Remove it."
