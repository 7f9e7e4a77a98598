"""The simulated company in its own process, which runs at the same time as the mesh that ingests its events.

It publishes the days of a history, reports each finished product, and computes the answer keys. It shares only the
broker and a pipe with the mesh.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

from mesh_platform.broker import Broker, connect
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import UnavailableError, UsageError
from mesh_platform.events.producer import batch, find_producer, publish, sites_of
from mesh_platform.mesh.mesh import Mesh, Site, load_mesh
from mesh_platform.settings import Settings

from acme_world.key.answer_key import answer_key
from acme_world.key.key_check import PRODUCER
from acme_world.progress_file import Progress
from acme_world.wire.sources import Source

LINES_IN_MESSAGE = 500


@dataclass(frozen=True)
class Published:
    """A product whose days are all published: the number of events confirmed by the broker, and the seconds taken."""

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

    def __init__(self, settings: Settings, only: str | None, world: Progress, target: int) -> None:
        # Not forked, because the child must not inherit the open databases of this process.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, settings, only, world, target), daemon=True)
        self._process.start()
        theirs.close()

    def published(self, products: int) -> Iterator[list[Published]]:
        """Yield the newly published products, until there are `products` in total."""
        while products:
            news = [self._receive()]
            while len(news) < products and self._pipe.poll():
                news.append(self._receive())
            products -= len(news)
            yield news

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


def compute_keys(settings: Settings, mesh: Mesh, world: Progress) -> Keys:
    """The keys of the days done in `world`; if the numbers of days differ, each domain has its own key."""
    begin = time.perf_counter()
    sellers = find_sellers(mesh, None)
    lengths = {contract.domain: world.done(contract.domain) for contract, _ in sellers}
    whole = len(set(lengths.values())) == 1
    # Tables with events of several domains can only be compared if these have the same number of days.
    tables = list(mesh.contracts) if whole else []
    groups = [({*lengths}, min(lengths.values()))] if whole else [({d}, n) for d, n in lengths.items() if n]
    keys, sites = [], sites_of(mesh)
    for domains, length in groups:
        feeds = {c.identifier: source.line.event for c, source in sellers if c.domain in domains}
        history = (world.seed, world.start, length, world.rates)
        keys.append(answer_key(settings.root, sites, feeds, tables, *history))
    return Keys(keys, time.perf_counter() - begin)


def _work(pipe: Connection, settings: Settings, only: str | None, world: Progress, target: int) -> None:
    # Ctrl-C reaches both processes; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A broken pipe means that the parent has ended.
    with suppress(BrokenPipeError):
        try:
            mesh = load_mesh(settings.root)
            sellers, sites = find_sellers(mesh, only), sites_of(mesh)
            with connect(settings.broker) as broker:
                for contract, source in sellers:
                    begin = time.perf_counter()
                    events = sum(
                        _publish_day(settings, sites, broker, contract, source, world, day)
                        for day in range(world.done(contract.domain), target)
                    )
                    pipe.send(Published(contract.identifier, events, time.perf_counter() - begin))
            pipe.send(compute_keys(settings, mesh, world.after([c.domain for c, _ in sellers], target)))
        except BrokenPipeError:
            raise
        except BaseException as error:
            pipe.send(error)


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
