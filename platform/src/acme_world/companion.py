"""The simulated company in its own process, which runs at the same time as the mesh that ingests its events.

It publishes the days of a history, reports each finished product, and computes the answer keys. It shares only the
broker and a pipe with the mesh.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from mesh_platform.broker import Broker, connect
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import UnavailableError, UsageError
from mesh_platform.events.producer import batch, find_producer, publish, sites_of
from mesh_platform.mesh.mesh import Mesh, Site
from mesh_platform.settings import Settings

from acme_world.key.answer_key import AnswerKey, answer_key
from acme_world.progress_file import Progress
from acme_world.state_file import COMPANY, recall, remember
from acme_world.truth.warehouse import Stage
from acme_world.truth.world import Name, open_world
from acme_world.wire.faults import MAX_DUPLICATE_DAYS, MAX_LATE_DAYS
from acme_world.wire.sources import PRODUCER, Source

LINES_IN_MESSAGE = 500
# Of a long history, so many days of all products are published before the next ones, so that few are in memory.
DAYS_AT_ONCE = 28
# A day sends events of so many days before it; one more, because a killed run sends its last day again.
KEPT_DAYS = MAX_LATE_DAYS + MAX_DUPLICATE_DAYS + 1


@dataclass(frozen=True)
class Published:
    """A product with newly published days: the number of events confirmed by the broker, and the seconds taken."""

    product: str
    events: int
    seconds: float


@dataclass(frozen=True)
class Keys:
    """The answer keys, one for each group of domains with the same number of days, and the seconds taken."""

    groups: list[dict[str, dict[str, Any]]]
    seconds: float


class Companion:
    """The process: it publishes the missing days of `world` up to `target`, then computes the keys."""

    def __init__(self, settings: Settings, mesh: Mesh, only: str | None, world: Progress, target: int) -> None:
        # Not forked, because the child must not inherit the open databases of this process.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, settings, mesh, only, world, target), daemon=True)
        self._process.start()
        theirs.close()

    def published(self) -> Iterator[list[Published]]:
        """Yield the newly published products, until all days of all products are."""
        more = True
        while more:
            news = [self._receive()]
            while news[-1] is not None and self._pipe.poll():
                news.append(self._receive())
            more = news[-1] is not None
            if found := [each for each in news if each is not None]:
                yield found

    def keys(self) -> Keys:
        """Wait for the answer keys, and return them."""
        keys: Keys = self._receive()
        return keys

    def _receive(self) -> Any:
        try:
            news = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise UnavailableError(
                f"the simulation ended with exit code {self._process.exitcode}. Run again: what it has published is "
                "recognised."
            ) from None
        if isinstance(news, BaseException):
            raise news
        return news

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.join()
        self._pipe.close()


def find_sellers(mesh: Mesh, only: str | None) -> list[tuple[Contract, Source]]:
    """The products that the world produces for, each with its producer's source. Raises UsageError for none."""
    sellers = []
    for contract in mesh.ingested((only,) if only else ()):
        source = find_producer(mesh, contract).source
        if isinstance(source, Source):
            sellers.append((contract, source))
    if not sellers:
        raise UsageError(
            f"{only or 'the mesh'}: no producer draws from the simulated company. Check domains/*/producers."
        )
    return sellers


@dataclass(frozen=True)
class Group:
    """Domains with the same number of days, which have one key: its `feeds` and `tables` are as in `AnswerKey`."""

    domains: tuple[str, ...]
    feeds: Mapping[str, str]
    tables: list[str]

    def days(self, world: Progress) -> int:
        """The days that all of its domains have sent."""
        return min(map(world.done, self.domains))


def find_groups(mesh: Mesh, world: Progress) -> list[Group]:
    """The groups by the days done in `world`; if the numbers of days differ, each domain is a group."""
    sellers = find_sellers(mesh, None)
    lengths = {contract.domain: world.done(contract.domain) for contract, _ in sellers}
    whole = len(set(lengths.values())) == 1
    # Tables with events of several domains can only be compared if these have the same number of days.
    tables = list(mesh.contracts) if whole else []
    return [
        Group(tuple(domains), {c.identifier: s.line.event for c, s in sellers if c.domain in domains}, tables)
        for domains in ([[*lengths]] if whole else [[name] for name, days in lengths.items() if days])
    ]


def compute_keys(root: Path, mesh: Mesh, world: Progress) -> list[dict[str, dict[str, Any]]]:
    """The figures of the key of each group after the days done in `world`, computed from the start."""
    sites = sites_of(mesh)
    return [
        answer_key(root, sites, group.feeds, group.tables, world.seed, world.start, group.days(world), world.rates)
        for group in find_groups(mesh, world)
    ]


class Simulation:
    """The company of a state folder, which goes on from what the folder remembers: its world and its answer keys."""

    def __init__(self, settings: Settings, mesh: Mesh, end: Progress) -> None:
        """`end` is how far it will go."""
        self._settings, self._end, self._history = settings, end, (end.seed, end.start)
        self._world, sites = open_world(settings.root, end.seed, end.start), sites_of(mesh)
        remembered: tuple[Mapping[Name, Stage], Mapping[str, AnswerKey]] | None
        remembered = recall(settings, COMPANY, self._history)
        stages, keys = remembered or ({}, {})
        self._world.go_on(stages)
        self._keys: dict[str, tuple[Group, AnswerKey]] = {}
        for group in find_groups(mesh, end):
            places = {name: (site.warehouse_id, site.time_zone, site.currency) for name, site in sites.items()}
            name = repr((places, group, end.rates))
            key = keys.get(name)
            if key is None or key.days > group.days(end):
                key = AnswerKey(settings.root, sites, group.feeds, group.tables, self._world, end.rates)
            self._keys[name] = (group, key)

    def advance(self, world: Progress) -> None:
        """Add to the keys the days that are done in `world`."""
        for group, key in self._keys.values():
            key.advance(self._world, group.days(world))

    def end(self) -> list[dict[str, dict[str, Any]]]:
        """Go to the end, remember it, and return the figures of the keys."""
        self.advance(self._end)
        keys = {name: key for name, (_, key) in self._keys.items()}
        remember(self._settings, COMPANY, self._history, (self._world.stages(KEPT_DAYS), keys))
        return [key.figures() for key in keys.values()]


def _work(pipe: Connection, settings: Settings, mesh: Mesh, only: str | None, world: Progress, target: int) -> None:
    # Ctrl-C reaches both processes; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As in `run`: events have no cycles.
    gc.set_threshold(100_000)
    # A broken pipe means that the parent has ended.
    with suppress(BrokenPipeError):
        try:
            sellers, sites = find_sellers(mesh, only), sites_of(mesh)
            domains = {contract.domain for contract, _ in sellers}
            company = Simulation(settings, mesh, world.after(domains, target))
            company.advance(world)
            with connect(settings.broker) as broker:
                for last in _stops(min(map(world.done, domains)), target):
                    for contract, source in sellers:
                        begin = time.perf_counter()
                        events = sum(
                            _publish_day(settings, sites, broker, contract, source, world, day)
                            for day in range(world.done(contract.domain), last)
                        )
                        pipe.send(Published(contract.identifier, events, time.perf_counter() - begin))
                    world = world.after(domains, last)
                    company.advance(world)
            pipe.send(None)
            begin = time.perf_counter()
            pipe.send(Keys(company.end(), time.perf_counter() - begin))
        except BrokenPipeError:
            raise
        except BaseException as error:
            pipe.send(error)


def _stops(done: int, target: int) -> list[int]:
    """The numbers of days after which all products are published; the last is `target`."""
    return [*range(done + DAYS_AT_ONCE, target, DAYS_AT_ONCE), target]


def _publish_day(
    settings: Settings,
    sites: Mapping[str, Site],
    broker: Broker,
    contract: Contract,
    source: Source,
    world: Progress,
    day: int,
) -> int:
    assert contract.event is not None
    lines = source.arrivals(
        contract.domain,
        sites,
        root=settings.root,
        seed=world.seed,
        start=world.start,
        day=day,
        rates=world.rates,
        product=contract.identifier,
        event_type=contract.event.name,
        producer=PRODUCER,
        schema_version=contract.version,
        names_in_ids=contract.event.names_in_ids,
    )
    return publish(broker, contract, batch(lines, LINES_IN_MESSAGE, prefix=f"{PRODUCER}:"))
