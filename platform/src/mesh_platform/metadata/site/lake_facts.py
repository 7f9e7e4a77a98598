"""What the lake says of a product: its age, its past as numbers over time, sample rows, snapshots and releases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract
from mesh_platform.engine.sql import quoted
from mesh_platform.iceberg.history import HistoryEntry, read_history
from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.releases import read_releases
from mesh_platform.lake.scores import models_in_use
from mesh_platform.lake.tables import MeshTable, TableKind, tables_of
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.site.plots import Series, thinned
from mesh_platform.metadata.site.wording import moment, number, span, value_text
from mesh_platform.policy.roles import ANALYST
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.status import TableStatus, read_status

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.engine.protocol import Connection
    from mesh_platform.policy.pseudonyms import Salts

SNAPSHOTS = 12
# Everybody opens the pages, so they show no more than this role reads.
SAMPLED_AS = ANALYST
_SAMPLE = 5
_PLOTTED: tuple[TableKind, ...] = ("product", "landing", "quarantine")


class LakeFacts:
    """What the lake says. Ages are relative to `now`; samples are kept in `cache` by snapshot.

    Samples are read as SAMPLED_AS, with the pseudonyms of `salts`: its masks apply to each column that is shown.
    """

    def __init__(
        self, mesh: Mesh, catalog: Catalog, now: datetime, counts: StateCache, cache: Cache, salts: Salts
    ) -> None:
        self._mesh, self._catalog, self._cache = mesh, catalog, cache
        self.now, self._salts = now, salts
        self.status = {each.table: each for each in read_status(mesh, catalog, now, counts)}
        self.releases = read_releases(catalog)
        self.models = models_in_use(catalog)
        self._stack = ExitStack()
        self._session: Connection | None = None

    def of(self, contract: Contract, hidden: Collection[str]) -> dict[str, Any] | None:
        """Return the facts of a product, None if it has no table yet; values of the columns `hidden` are left out."""
        tables = [table for table in tables_of(contract) if table.name in self.status]
        if not tables:
            return None
        histories = {table.kind: self._history(table) for table in tables}
        own = histories.get("product", [])
        releases = [
            {"name": release.name, "at": moment(release.released_at), "snapshot": str(release.tables[name])}
            for release in self.releases
            if (name := contract.identifier) in release.tables
        ]
        return {
            "tables": [_table(self.status[table.name]) for table in tables],
            "promise": self._promise(contract),
            "model": self._model(contract),
            "plots": [
                {**series._asdict(), "points": thinned(series.points)}
                for series in _series(contract, histories)
                if series.points
            ],
            "snapshots": [_snapshot(entry) for entry in own[:SNAPSHOTS]],
            "snapshots_in_all": len(own),
            "sample": self._sample(contract, hidden, own[0].snapshot_id) if own else None,
            "releases": releases[:SNAPSHOTS],
            "releases_in_all": len(releases),
        }

    def _promise(self, contract: Contract) -> dict[str, Any] | None:
        """Return the worst of the promises of a product's tables, by how they are kept."""
        found = [
            status
            for table in tables_of(contract)
            if table.kind in ("landing", "product") and (status := self.status.get(table.name)) and status.promise_s
        ]
        if not found:
            return None
        worst = min(found, key=lambda status: (status.fresh is not False, -(status.lag_s or 0)))
        return {
            "table": worst.table,
            "fresh": worst.fresh,
            "lag": span(worst.lag_s),
            "promise": span(worst.promise_s),
            "share": None if worst.lag_s is None else round(min(1.0, worst.lag_s / (worst.promise_s or 1)), 2),
        }

    def _model(self, contract: Contract) -> dict[str, Any] | None:
        """Return what predicts a product, whether the model in use keeps its promise, and its last score in words."""
        used = self.models.get(contract.identifier)
        if used is None:
            return None
        kept, words = (used.score.kept, str(used.score)) if used.score else (None, None)
        return {"predicts": used.predicts, "kept": kept, "score": words}

    def _history(self, table: MeshTable) -> list[HistoryEntry]:
        found = find_table(self._catalog, table.name)
        return read_history(found) if found else []

    def _sample(self, contract: Contract, hidden: Collection[str], snapshot: int) -> dict[str, Any]:
        shown = [field.name for field in contract.table.fields if field.name not in hidden]
        source = repr((contract.identifier, snapshot, shown)).encode()
        rows = self._cache.get("sample", source, partial(self._read_sample, contract, shown)) if shown else []
        return {"columns": shown, "rows": rows, "hidden": sorted(hidden)}

    def _read_sample(self, contract: Contract, shown: Sequence[str]) -> list[list[str | None]]:
        if self._session is None:
            only = [*self._mesh.contracts]
            opened = open_session(
                self._mesh, self._catalog, role=SAMPLED_AS, only=only, locked=False, salts=self._salts
            )
            self._session = self._stack.enter_context(opened)
            # Several threads would return other rows each time, and so another page.
            self._session.execute("SET threads = 1")
        columns = ", ".join(quoted(name) for name in shown)
        found = self._session.execute(
            f"SELECT {columns} FROM {quoted(contract.identifier)} LIMIT {_SAMPLE}"
        ).fetchall()
        return [[value_text(value) for value in row] for row in found]

    def close(self) -> None:
        """Close the session that samples were read with."""
        self._stack.close()


def _series(contract: Contract, histories: Mapping[TableKind, list[HistoryEntry]]) -> list[Series]:
    """Return the numbers over time that the snapshots of a product's tables hold."""
    # Compaction changes no rows.
    changes = {
        kind: [entry for entry in reversed(entries) if entry.operation != "replace"]
        for kind, entries in histories.items()
    }
    own, landed, refused = (changes.get(kind, []) for kind in _PLOTTED)
    arrivals = landed or own
    gaps = [
        (later.committed_at.timestamp(), round((later.committed_at - earlier.committed_at).total_seconds() / 3600, 2))
        for earlier, later in pairwise(arrivals)
    ]
    promised = contract.latency or contract.freshness
    limit = promised.total_seconds() / 3600 if promised and any(gap > 0 for _, gap in gaps) else None
    return [
        Series("Rows", "rows", [(entry.committed_at.timestamp(), entry.rows) for entry in own]),
        Series("Rows added by a commit", "rows", [(e.committed_at.timestamp(), e.added) for e in arrivals]),
        Series("Refused of all sent", "%", _shares(landed, refused)),
        Series("Rows held back", "rows", [(e.committed_at.timestamp(), e.rows) for e in changes.get("held", [])]),
        Series("Hours between commits", "h", gaps, limit),
    ]


def _shares(landed: Sequence[HistoryEntry], refused: Sequence[HistoryEntry]) -> list[tuple[float, float]]:
    """Return the percentage of refused events among all up to each commit of the quarantine."""
    found = []
    for entry in refused:
        accepted = next((each.rows for each in reversed(landed) if each.committed_at <= entry.committed_at), 0)
        total = accepted + entry.rows
        found.append((entry.committed_at.timestamp(), round(100 * entry.rows / total, 3) if total else 0.0))
    return found


def _table(status: TableStatus) -> dict[str, Any]:
    return {
        "name": status.table,
        "kind": status.kind,
        "rows": number(status.rows),
        "files": number(status.files),
        "snapshots": number(status.snapshots),
        "newest": moment(status.max_event_time) if status.max_event_time else None,
        "lag": span(status.lag_s),
        "fresh": status.fresh,
        "quarantined": status.quarantined,
        "dangling": status.dangling,
    }


def _snapshot(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "id": str(entry.snapshot_id),
        "at": moment(entry.committed_at),
        "operation": entry.operation,
        "added": number(entry.added),
        "rows": number(entry.rows),
    }
