"""What the lake says of its tables over time, as records: runs, results of rules, sizes.

A commit is a run that went well; runs that failed leave none, and are read from the file that run reports go to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mesh_platform.build.fingerprint import has_checked
from mesh_platform.contract.contract import Contract
from mesh_platform.engine.sql import quoted
from mesh_platform.iceberg.history import HistoryEntry, read_history
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, files_at, has_snapshot, read_files
from mesh_platform.lake.catalog import find_table, open_catalog
from mesh_platform.lake.scores import models_in_use
from mesh_platform.lake.tables import HELD_RULE, held_name, landing_name, quarantine_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.openmetadata.entities import pipeline_fqn, table_fqn
from mesh_platform.metadata.openmetadata.kinds import Record, Ref
from mesh_platform.metadata.openmetadata.quality import ACCURACY, DANGLING, REFUSED, case_fqn, named_checks
from mesh_platform.metadata.pipelines import dag_id
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.status import read_status
from mesh_platform.settings import Settings
from mesh_platform.sql.audit import Check, is_met, measure
from mesh_platform.sql.references import tables_referred_to
from mesh_platform.text import counted

if TYPE_CHECKING:
    from decimal import Decimal

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

# Of each table the newest commits only: a landing table has thousands.
_PAST = 10
# Of the file of run reports only its end, in bytes: some thousand runs.
_TAIL = 16_000_000
_FAILED = ("FAIL", "ABORT")
_WORDS = {
    DANGLING: ("row refers to a row that is missing", "rows refer to a row that is missing"),
    REFUSED: ("event waits in quarantine", "events wait in quarantine"),
}


def records_of(settings: Settings, mesh: Mesh, namespace: str) -> list[Record]:
    """Return what the lake of these settings says over time; nothing without a lake. Raises UnavailableError."""
    if not settings.has_lake:
        return []
    counts = StateCache(settings.state_dir / "counted.json")
    reports = settings.state_dir / "lineage.jsonl"
    return LakeRecords(mesh, open_catalog(settings), namespace, settings.now(), counts, reports).all()


class Run(NamedTuple):
    """One run of ingest or a build for one product, which ended `at`, in milliseconds; `rows` were added."""

    product: str
    kind: str
    at: int
    id: str
    state: str = "Successful"
    rows: int | None = None


class LakeRecords:
    """Makes the records of a lake. `counts` keeps what has to be counted in rows, as for `mesh status`.

    `reports` is the file of run reports, if there is one.
    """

    def __init__(
        self, mesh: Mesh, catalog: Catalog, namespace: str, now: datetime, counts: StateCache, reports: Path
    ) -> None:
        self._mesh, self._catalog, self._namespace, self._reports = mesh, catalog, namespace, reports
        self._find = cache(partial(find_table, catalog))
        self._status = {each.table: each for each in read_status(mesh, catalog, now, counts)}
        self._models = models_in_use(catalog)
        self._history = cache(self._read_history)
        self._measured = cache(self._measure)

    def all(self) -> list[Record]:
        """Return all records, those of runs last."""
        contracts = self._mesh.contracts.values()
        found = [record for contract in contracts for record in self._of_product(contract)]
        return [*found, *self._runs()]

    def _of_product(self, contract: Contract) -> Iterator[Record]:
        name = contract.identifier
        table = self._find(name)
        if table is not None:
            yield from self._profiles(contract, table)
            yield from self._results(contract, table)
            yield from self._counted(name, DANGLING, [name, *tables_referred_to(contract)])
            yield from self._accuracy(contract)
        if contract.event:
            yield from self._counted(
                landing_name(contract), REFUSED, [landing_name(contract), quarantine_name(contract)]
            )

    def _profiles(self, contract: Contract, table: Table) -> Iterator[Record]:
        for entry in self._history(contract.identifier)[:_PAST]:
            snapshot = table.metadata.snapshot_by_id(entry.snapshot_id)
            size = snapshot.summary["total-files-size"] if snapshot and snapshot.summary else None
            profile = {
                "timestamp": _ms(entry),
                "rowCount": entry.rows,
                "columnCount": len(contract.table.fields),
                **({"sizeInByte": int(size)} if size else {}),
            }
            yield Record(self._table(contract.identifier), _ms(entry), partial(dict, tableProfile=profile))

    def _results(self, contract: Contract, table: Table) -> Iterator[Record]:
        """The results of the rules that the last build has checked."""
        checks = named_checks(self._mesh, contract)
        noted = read_provenance(table, current_snapshot_id(table)) if checks else None
        if noted is None or not has_checked(noted[1].rules, [*checks.values()]):
            return
        built = next((each for each in self._history(contract.identifier) if each.snapshot_id == noted[0]), None)
        if built is None:
            return
        for name, check in checks.items():
            body = partial(self._result, contract, name, check, _ms(built), noted[1].held)
            yield Record(self._case(contract.identifier, name), _ms(built), body)

    def _result(self, contract: Contract, name: str, check: Check, at: int, held: int | None) -> dict[str, Any]:
        # The rows of a table that was published break no rule that blocks.
        number: Decimal | int | None = 0 if check.is_of_rows else None
        if check.on_failure == "hold":
            number = self._held(contract, check, held)
            return _result(at, not number, f"{counted(number, 'row')} held back", number)
        if check.on_failure == "warn":
            number = self._measured(contract)[name]
            met = is_met(check, number)
            return _result(at, met, f"{check.subject} is {number} and {check.bound}", number)
        return _result(at, True, "The build checked it before its commit.", number)

    def _held(self, contract: Contract, check: Check, snapshot: int | None) -> int:
        table = self._find(held_name(contract))
        if table is None or snapshot is None or not has_snapshot(table, snapshot):
            return 0
        rules = read_files(table, files_at(table, snapshot), [HELD_RULE])[HELD_RULE].to_pylist()
        # Names may have what separates them.
        return sum(f"; {check.name}; " in f"; {rule}; " for rule in rules)

    def _measure(self, contract: Contract) -> dict[str, Decimal | None]:
        checks = {
            name: check for name, check in named_checks(self._mesh, contract).items() if check.on_failure == "warn"
        }
        name = contract.identifier
        with open_session(self._mesh, self._catalog, only=[name], locked=False) as session:
            numbers = measure(session, quoted(name), [*checks.values()])
        return {name: numbers[check] for name, check in checks.items()}

    def _counted(self, table: str, case: str, of: Iterable[str]) -> Iterator[Record]:
        """A result of what `mesh status` counts in the tables `of`."""
        status = self._status.get(table)
        number = (status.dangling if case == DANGLING else status.quarantined) if status else None
        times = [_ms(entries[0]) for name in of if (entries := self._history(name))]
        if number is None or not times:
            return
        words = counted(number, *_WORDS[case])
        yield Record(self._case(table, case), max(times), partial(_result, max(times), not number, words, number))

    def _accuracy(self, contract: Contract) -> Iterator[Record]:
        """The last score of the model in use; a model that was published since keeps the promise until it has one."""
        used = self._models.get(contract.identifier)
        if used is None or contract.accuracy is None:
            return
        training, score = used.training, used.score
        at = round((score.scored_at if score else training.trained_at).timestamp() * 1000)
        words = str(score) if score else f"{training.name} was not scored yet"
        number = score.loss / score.loss_of_baseline if score and score.loss_of_baseline else None
        body = partial(_result, at, not used.fell_back, words, number)
        yield Record(self._case(contract.identifier, ACCURACY), at, body)

    def _runs(self) -> Iterator[Record]:
        """The runs of each DAG; those that ended in the same millisecond are one."""
        ended: dict[tuple[str, int], list[Run]] = {}
        for run in (*self._commits(), *_failures(self._reports, self._mesh)):
            domain = self._mesh.domains[self._mesh.contracts[run.product].domain]
            ended.setdefault((dag_id(domain, run.kind), run.at), []).append(run)
        for (dag, at), runs in ended.items():
            yield Record(Ref("pipeline", pipeline_fqn(self._namespace, dag)), at, partial(_status, at, runs))

    def _commits(self) -> Iterator[Run]:
        for name, contract in self._mesh.contracts.items():
            tables = {"build": name, **({"ingest": landing_name(contract)} if contract.event else {})}
            for kind, table in tables.items():
                # Maintenance replaces files, and has a DAG without tasks in the catalog.
                entries = [each for each in self._history(table) if each.operation != "replace"]
                for entry in entries[:_PAST]:
                    yield Run(name, kind, _ms(entry), str(entry.snapshot_id), rows=entry.added)

    def _read_history(self, name: str) -> list[HistoryEntry]:
        table = self._find(name)
        return read_history(table) if table is not None else []

    def _table(self, name: str) -> Ref:
        return Ref("table", table_fqn(self._namespace, name))

    def _case(self, table: str, name: str) -> Ref:
        return Ref("testCase", case_fqn(self._table(table).fqn, name))


def _failures(reports: Path, mesh: Mesh) -> Iterator[Run]:
    """The runs that run reports call failed; what stopped them may name rows, and is left out."""
    if not reports.exists():
        return
    tables = {name: (name, "build") for name in mesh.contracts}
    tables |= {
        landing_name(contract): (name, "ingest") for name, contract in mesh.contracts.items() if contract.event
    }
    with reports.open("rb") as file:
        file.seek(max(0, reports.stat().st_size - _TAIL))
        lines = file.read().splitlines()
    for line in lines:
        if not any(b'"%s"' % state.encode() in line for state in _FAILED):
            continue
        try:
            event = json.loads(line)
            state, at = event["eventType"], datetime.fromisoformat(event["eventTime"])
            table, _, kind = str(event["job"]["name"]).rpartition(".")
            id_ = str(event["run"]["runId"])
        except (ValueError, KeyError, TypeError):
            # The first line is cut, and the last one may be still written.
            continue
        if state in _FAILED and tables.get(table, ("", ""))[1] == kind:
            yield Run(tables[table][0], kind, round(at.timestamp() * 1000), id_, "Failed")


def _status(at: int, runs: list[Run]) -> Mapping[str, Any]:
    tasks = [
        {
            "name": run.product,
            "executionStatus": run.state,
            "endTime": run.at,
            "taskId": run.id,
            **({} if run.rows is None else {"metrics": {"rowsWritten": run.rows}}),
        }
        for run in runs
    ]
    state = "Failed" if any(run.state == "Failed" for run in runs) else "Successful"
    return {"timestamp": at, "executionStatus": state, "executionId": runs[0].id, "endTime": at, "taskStatus": tasks}


def _result(at: int, passed: bool, words: str, number: Decimal | float | None) -> dict[str, Any]:
    values = [] if number is None else [{"name": "number", "value": str(number)}]
    status = "Success" if passed else "Failed"
    return {"timestamp": at, "testCaseStatus": status, "result": words, "testResultValue": values}


def _ms(entry: HistoryEntry) -> int:
    return round(entry.committed_at.timestamp() * 1000)
