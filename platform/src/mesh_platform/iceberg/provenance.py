"""Record provenance: what the state of a table was built from, in the table itself.

A build writes it to the summary of the snapshot that it commits: `mesh.inputs` (JSON: relation to snapshot id, or to
a hash for what is not a table), `mesh.model` and `mesh.rules` (fingerprints), `mesh.held` (the snapshot of the held
rows), and `mesh.engine` (what ran the query, if it was not DuckDB). If only the first three differ and the rows are
the same, the build commits no snapshot: the table property `mesh.model` (`<snapshot id> <model> <rules>`) or
`mesh.inputs` (`<snapshot id> <JSON>`) then overrides that part of the summary of the snapshot that it names.

Ingest writes `mesh.received`: when it received the first of the events that the snapshot brings, by the machine's
clock, in milliseconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import ancestors_of

from mesh_platform.iceberg.commit import first_to_commit

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

Inputs = dict[str, int | str | None]

RECEIVED = "mesh.received"
_INPUTS, _MODEL, _RULES, _HELD = "mesh.inputs", "mesh.model", "mesh.rules", "mesh.held"
_ENGINE = "mesh.engine"


@dataclass(frozen=True)
class Provenance:
    """What one state of a table was built from. `held` is the snapshot of the held rows that belong to it.

    `engine` ran the query, with its version; None for DuckDB.
    """

    inputs: Inputs
    model: str | None
    rules: str | None
    held: int | None = None
    engine: str | None = None

    @property
    def input_snapshots(self) -> dict[str, int]:
        """The snapshot of each input that is a table with a snapshot."""
        return {name: state for name, state in self.inputs.items() if isinstance(state, int)}

    def to_summary(self) -> dict[str, str]:
        """Return the provenance as entries of a snapshot's summary."""
        entries = {_INPUTS: _dump(self.inputs), _MODEL: self.model, _RULES: self.rules}
        entries[_HELD] = str(self.held) if self.held is not None else None
        entries[_ENGINE] = self.engine
        return {name: value for name, value in entries.items() if value is not None}

    def to_properties(self, snapshot_id: int, with_inputs: bool) -> dict[str, str]:
        """Return the table properties that override the summary of `snapshot_id`, which stays the current one."""
        properties = {_MODEL: f"{snapshot_id} {self.model} {self.rules}"}
        return properties | ({_INPUTS: f"{snapshot_id} {_dump(self.inputs)}"} if with_inputs else {})


def read_provenance(table: Table, snapshot_id: int | None) -> tuple[int, Provenance] | None:
    """Return what the state at a snapshot was built from, and the nearest ancestor snapshot that records it.

    Returns None if no build recorded anything.
    """
    snapshot = table.metadata.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    for ancestor in ancestors_of(snapshot, table.metadata):
        summary = _summary(ancestor)
        if _INPUTS in summary:
            summary = {**summary, **_properties(table, ancestor.snapshot_id)}
            inputs = json.loads(summary[_INPUTS])
            made_by = summary.get(_MODEL), summary.get(_RULES)
            found = Provenance(inputs, *made_by, held_snapshot(ancestor), engine_of(ancestor))
            return ancestor.snapshot_id, found
    return None


def held_snapshot(snapshot: Snapshot) -> int | None:
    """Return the snapshot of the held rows that belong to `snapshot`, None if there is none."""
    held = _summary(snapshot).get(_HELD)
    return int(held) if held else None


def received_ms(snapshot: Snapshot) -> int | None:
    """Return `mesh.received` of a snapshot, None if it has none."""
    received = _summary(snapshot).get(RECEIVED)
    return int(received) if received else None


def engine_of(snapshot: Snapshot) -> str | None:
    """Return the engine that ran the query of `snapshot`; None for DuckDB, and for one that no query made."""
    return _summary(snapshot).get(_ENGINE)


def note_properties(table: Table, properties: Mapping[str, str]) -> None:
    """Set properties of `table`, without a snapshot. Raises ConflictError if somebody else commits meanwhile."""
    with first_to_commit(table), table.transaction() as transaction:
        transaction.set_properties(dict(properties))


def _properties(table: Table, snapshot_id: int) -> dict[str, str]:
    noted, *made_by = table.properties.get(_MODEL, "").split(" ")
    found = dict(zip((_MODEL, _RULES), made_by, strict=False)) if noted == str(snapshot_id) else {}
    noted, _, inputs = table.properties.get(_INPUTS, "").partition(" ")
    return found | ({_INPUTS: inputs} if noted == str(snapshot_id) else {})


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}


def _dump(inputs: Inputs) -> str:
    return json.dumps(inputs, sort_keys=True)
