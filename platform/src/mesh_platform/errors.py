"""The errors of the platform, grouped by what the caller can do about them.

Every message says where the fault is, what it is, what is allowed and how to fix it. The command line exits with
the `exit_code` of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MeshError(Exception):
    """Base of every error that the platform raises on purpose. The command line exits with `exit_code`."""

    exit_code = 1


class UsageError(MeshError):
    """The call itself is wrong: an unknown name, a bad option. Correct the call."""

    exit_code = 2


class ConflictError(MeshError):
    """Another writer committed first. Reload and try again."""


class UnavailableError(MeshError):
    """A service, disk or network fails or refuses. Repair it, then try again."""

    exit_code = 3


class AttentionError(MeshError):
    """A state that no retry repairs: a table that does not match its contract, a failed audit. A person must act."""


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in a file. `line` counts from 1; `fix` says what is allowed and how to correct it.

    `rule` is the id of the broken rule, one of docs/rules/; `severity` is error, warning or waived.
    """

    path: str
    line: int
    message: str
    fix: str = ""
    rule: str = "contract"
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" + (f" {self.fix}" if self.fix else "")


class ContractError(MeshError):
    """Contracts or domain files are wrong. `problems` has all faults of all files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ContractError], tuple[list[Problem]]]:
        # Exceptions are pickled with their message alone, from which __init__ cannot rebuild the problems.
        return type(self), (self.problems,)
