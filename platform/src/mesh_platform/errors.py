"""The errors of the platform, grouped by what the caller can do about them.

Every message says where, what, what is allowed and how to mend it. The command line maps each group to
an exit code: see `exit_code` on the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MeshError(Exception):
    """Base of every error that the platform raises on purpose. `exit_code` is the command line's."""

    exit_code = 1


class UsageError(MeshError):
    """The call itself is wrong: an unknown name, a bad option. Mend the call."""

    exit_code = 2


class ConflictError(MeshError):
    """Somebody else committed first. Reload and try again."""


class Unavailable(MeshError):
    """A service, disk or network fails or refuses. Mend that, then try again."""

    exit_code = 3


class NeedsAttention(MeshError):
    """A state that no retry will mend: a table that does not match its contract, a failed audit. Call somebody."""


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in a file: `line` counts from 1; `fix` says what is allowed and how to mend it.

    `rule` is the id of the rule that it breaks, one of docs/rules/; `severity` is error, warning, or waived.
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
    """Contracts or domain files are wrong. Carries all faults of all files together in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ContractError], tuple[list[Problem]]]:
        # Made anew from its problems, where it goes from one process to another.
        return type(self), (self.problems,)
