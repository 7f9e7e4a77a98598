"""Rules of freshness: each product promises its maximum age, and the pipelines can keep the promise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from mesh_platform.contract.contract import Contract
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.schedule import longest
from mesh_platform.sql.model import driving_inputs, upstream
from mesh_platform.sql.relations import tables_behind


@rule()
def freshness_promised(scope: Scope) -> Iterable[Problem]:
    """Every product promises its freshness: the age of its newest row, or the delay until a change shows in it.

    `freshness` is for tables whose newest row advances with time, such as facts. `latency` is for the others, such as
    dimensions and reference data: the longest time until a change of their inputs shows.
    """
    for contract in scope.mesh.contracts.values():
        if contract.freshness is None and contract.latency is None:
            fix = (
                "Add to slaProperties {property: freshness, value: 24, unit: h, element: <table>.<timestamp "
                "column>}, or {property: latency, value: 8, unit: h}."
            )
            yield Problem(contract.path, 1, "promises neither freshness nor latency.", fix)


@rule()
def freshness_kept(scope: Scope) -> Iterable[Problem]:
    """A promise of freshness can be kept: it leaves time for the inputs, the next scheduled run, and the build.

    A table may be as old as the oldest input of its rows may be, plus an hour until the next scheduled run if no
    event triggers one, plus the time limit of one hour for a build. Events are ingested within half an hour of the
    hourly run. A latency is the same sum along the longest path to the table. The problem shows the chain; inputs
    that a table only uses for lookups do not count for its freshness. An input with another `mesh.calendar` may be
    as old as its promise and the pauses of its calendar together.
    """
    proof = _Proof(scope)
    for contract in scope.mesh.contracts.values():
        for promised, chain in (
            (contract.freshness, proof.age_of_inputs(contract)),
            (contract.latency, proof.delay_of_inputs(contract)),
        ):
            needed = sum((step.takes for step in chain), timedelta())
            if promised is not None and chain and needed > promised:
                way = " + ".join(f"{step.what} {_hours(step.takes)}" for step in chain)
                what = "freshness" if promised is contract.freshness else "latency"
                message = f"promises a {what} of {_hours(promised)}, and {way} are {_hours(needed)}."
                fix = f"Promise {_hours(needed)} or more, or let what is upstream promise less."
                yield Problem(contract.path, 1, message, fix)


@dataclass(frozen=True)
class _Step:
    what: str
    takes: timedelta


class _Proof:
    """The worst case of age and delay for the tables of a mesh, as chains of steps."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._delays: dict[str, Sequence[_Step]] = {}

    def age_of_inputs(self, contract: Contract) -> Sequence[_Step]:
        """The chain from the oldest promise of its row inputs to its build; empty if no input promises freshness."""
        build = _Step("build", longest("build"))
        if contract.event:
            return [_Step("ingest", longest("ingest")), build]
        promises = [
            _Step(each.identifier, promised)
            for each in self._rows_from(contract)
            if (promised := _oldest(each, contract)) is not None
        ]
        return [max(promises, key=lambda step: step.takes), build] if promises else []

    def delay_of_inputs(self, contract: Contract) -> Sequence[_Step]:
        """The longest path of a change to the table: its ingest and builds, in order."""
        name = contract.identifier
        if name not in self._delays:
            # A cycle ends here; another rule reports it.
            self._delays[name] = []
            build = _Step(f"build of {name}", longest("build"))
            before = [self.delay_of_inputs(each) for each in self._inputs(contract)]
            if contract.event:
                before.append([_Step("ingest", longest("ingest"))])
            slowest = max(before, key=lambda chain: sum((s.takes for s in chain), timedelta()), default=[])
            self._delays[name] = [*slowest, build]
        return self._delays[name]

    def _inputs(self, contract: Contract) -> list[Contract]:
        mesh = self.scope.mesh
        return [mesh.contracts[name] for name in upstream(mesh, self.scope.models, contract.identifier)]

    def _rows_from(self, contract: Contract) -> list[Contract]:
        """The products whose rows it maps, without those that it only uses for lookups; all if this is unknown."""
        mesh, model = self.scope.mesh, self.scope.models.get(contract.identifier)
        driving = driving_inputs(model) if model else ()
        names = [name for relation in driving for name in tables_behind(mesh, relation) if name in mesh.contracts]
        return [mesh.contracts[name] for name in names] or self._inputs(contract)


def _oldest(source: Contract, contract: Contract) -> timedelta | None:
    """The maximum age of the rows of an input, as the calendar of `contract` counts it."""
    if source.freshness is None or source.calendar is None or source.calendar != contract.calendar:
        return source.oldest
    # Both leave out the same days, of two clocks.
    zones = [ZoneInfo(each.time_zone or "UTC") for each in (source, contract)]
    offsets = [[zone.utcoffset(datetime(2025, month, 1)) or timedelta() for zone in zones] for month in (1, 7)]
    return source.freshness + max(abs(one - other) for one, other in offsets)


def _hours(time: timedelta) -> str:
    return f"{time / timedelta(hours=1):g} h"
