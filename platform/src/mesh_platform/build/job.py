"""Describe one build of one table: its state, its inputs and rules now, and those that its last build recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mesh_platform.contract.contract import Contract
from mesh_platform.iceberg.provenance import Inputs, Provenance
from mesh_platform.iceberg.snapshot_diff import changed_files, current_snapshot_id, has_snapshot
from mesh_platform.sql.audit import Audited, Check
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.table import Table

Mode = Literal["noop", "incremental", "rebuild"]
DUCKDB = "DuckDB"


@dataclass(frozen=True)
class Built:
    """What a build did to one table: `partitions` and `rows` count what it wrote, `inputs` are the states it read.

    `held` counts the rows that rules held back, `warnings` say which rules that only warn are broken. `engine` ran
    the query; where Spark runs whole queries and did not run this one, `why_not_spark` is a sentence.
    """

    table: str
    mode: Mode
    partitions: int
    rows: int
    snapshot_id: int | None
    inputs: Mapping[str, int | str | None]
    held: int = 0
    warnings: tuple[str, ...] = ()
    engine: str = DUCKDB
    why_not_spark: str = ""

    @property
    def remarks(self) -> list[str]:
        """What a person should know, a sentence each: rows held back, rules that only warn, another engine."""
        rows = counted(self.held, "row")
        held = [f"{self.table}: {rows} held back in {self.table}__held; held_reason says why."] if self.held else []
        stayed = [f"{self.table}: DuckDB ran its query: {self.why_not_spark}"] if self.why_not_spark else []
        return held + [f"{self.table}: warning: {words}" for words in self.warnings] + stayed


@dataclass(frozen=True)
class Job:
    """One attempt to build one table.

    `inputs`, `model` and `rules` are current; the `was_*` fields are what the last build recorded, in the snapshot
    `recorded_at`. `was_held` is the snapshot of held rows that belongs to it. If that record `notes_version_1` of the
    fingerprint, `was_model` and `was_rules` are its translation. `engine` and `why_not_spark` are those of `Built`.
    No table was loaded before `began`, in seconds of the monotonic clock.
    """

    contract: Contract
    output: Table
    inputs: Inputs
    model: str
    rules: str
    checks: tuple[Check, ...]
    began: float
    was_inputs: Inputs | None = None
    was_model: str | None = None
    was_rules: str | None = None
    was_held: int | None = None
    recorded_at: int | None = None
    notes_version_1: bool = False
    engine: str = DUCKDB
    why_not_spark: str = ""

    def built(self, mode: Mode, partitions: int = 0, audited: Audited | None = None) -> Built:
        """Return what this attempt did with the `audited` rows."""
        rows, held = (audited.rows.num_rows, audited.held) if audited else (0, None)
        warnings = audited.warnings if audited else ()
        return Built(
            self.contract.identifier,
            mode,
            partitions,
            rows,
            current_snapshot_id(self.output),
            self.inputs,
            held.num_rows if held else 0,
            warnings,
            self.engine,
            self.why_not_spark,
        )

    def provenance(self, held: int | None = None) -> Provenance:
        """Return the provenance to record for a build now; `held` is the snapshot of its held rows."""
        return Provenance(self.inputs, self.model, self.rules, held, self.engine if self.engine != DUCKDB else None)

    def is_current(self) -> bool:
        """Whether the table is already what a build would make."""
        return (self.was_inputs, self.was_model, self.was_rules) == (self.inputs, self.model, self.rules)

    def changed_inputs(self) -> set[str] | None:
        """Return the inputs that changed since the last build; None if the model or the set of inputs changed too."""
        was = self.was_inputs
        if was is None or was.keys() != self.inputs.keys() or self.was_model != self.model:
            return None
        return {name for name, now in self.inputs.items() if was[name] != now}

    def recorded(self, name: str) -> int | None:
        """Return the snapshot of the table `name` that the output was last built from."""
        recorded = (self.was_inputs or {})[name]
        assert not isinstance(recorded, str), f"{name} is no table"
        return recorded

    def has_same_rows(self, tables: Mapping[str, Table], changed: set[str]) -> bool:
        """Whether the `changed` inputs still have the same rows: they were compacted, or recorded provenance only."""
        return all(
            name in tables
            and has_snapshot(tables[name], self.recorded(name))
            and changed_files(tables[name], self.recorded(name)) == ([], [])
            for name in changed
        )
