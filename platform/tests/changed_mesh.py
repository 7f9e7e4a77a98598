"""The small mesh under git, whose contracts change: `insight` reads `core`, which reads the shops by a union."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from mesh_platform.errors import Problem
from mesh_platform.governance.change.assessment import Assessed
from mesh_platform.governance.check import check, open_scope

from .small_mesh import Place, add_contract, add_domain, small_mesh
from .written_once import write_once

TODAY = date(2026, 3, 1)
REPORT_SQL = "select event_id, item_id, buyer, sold_at, amount * 2 as twice from core.fact_sales\n"
REPORT = {"event_id": "string key", "item_id": "string required", "buyer": "string required pii"}
REPORT |= {"sold_at": "timestamptz required", "twice": "decimal(18,2)"}
ALPHA = "domains/alpha/contracts/sales_alpha.odcs.yaml"
FACT = "domains/core/contracts/fact_sales.odcs.yaml"
INTERFACE = "domains/core/interfaces/sale.v1.odcs.yaml"


def clean_environment() -> dict[str, str]:
    """The environment without what a hook, or the machine, says of git."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    who = {f"GIT_{role}_{part}": "t@t" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    return {**kept, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


@dataclass(frozen=True)
class Repository:
    """A mesh of files under git."""

    root: Path

    @property
    def place(self) -> Place:
        return Place(self.root)

    def git(self, *words: object) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.root), *map(str, words)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def edit(self, path: str, change: Callable[[Any], None]) -> None:
        """Change what the YAML file at `path` holds."""
        data = yaml.load((self.root / path).read_text(encoding="utf-8"), yaml.CSafeLoader)
        change(data)
        text = yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def problems(self, base: str | None = None, rule: str = "change") -> list[Problem]:
        return [each for each in check(open_scope(self.root, TODAY, base), [rule]) if each.rule == rule]

    def assessed(self, base: str | None = None) -> dict[str, Assessed]:
        return {each.change.relation: each for each in open_scope(self.root, TODAY, base).assessed}


def new_repository(root: Path) -> Repository:
    """The small mesh and a domain that reads its facts, all committed on main."""
    write_once(_write, root)
    return Repository(root)


def _write(root: Path) -> None:
    place = small_mesh(root)
    add_domain(place, "insight", site=False)
    add_contract(place, "insight", "report", {"report": REPORT}, roles=["boss"])
    place.write("insight/models/report.sql", REPORT_SQL)
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    (root / ".gitignore").write_text(".mesh/\n")
    repository.commit()


def version(data: dict[str, Any], text: str) -> None:
    """Say that a contract is of this version."""
    data["version"] = text


def column(data: dict[str, Any], name: str, schema: int = -1) -> dict[str, Any]:
    """A property of a contract's schema, by default of its table."""
    found: dict[str, Any] = next(item for item in data["schema"][schema]["properties"] if item["name"] == name)
    return found


def drop(data: dict[str, Any], name: str, schema: int = -1) -> None:
    """Drop a property of a contract's schema."""
    data["schema"][schema]["properties"].remove(column(data, name, schema))
