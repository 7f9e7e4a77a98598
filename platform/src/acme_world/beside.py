"""The company at work in a process of its own, beside the mesh that takes its events in.

A history and its target arrive; each product's name leaves when all its days are published, and then the answer keys.
Nothing is shared with the mesh but the broker and a pipe.
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
from mesh_platform.errors import Unavailable, UsageError
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
    """All days of a product are with the broker: how many events it confirmed, and the seconds that they took."""

    product: str
    events: int
    seconds: float


@dataclass(frozen=True)
class Keys:
    """What the tables must hold, a key for each group of domains that have come as far, and the seconds it took."""

    groups: list[dict[str, dict[str, Any]]]
    seconds: float


class Beside:
    """Publishes the days of `world` up to `target` that the domains lack, then computes the keys."""

    def __init__(self, settings: Settings, only: str | None, world: Progress, target: int) -> None:
        # Not forked: a copy of this process's open databases would be of no use to anybody.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, settings, only, world, target), daemon=True)
        self._process.start()
        theirs.close()

    def published(self, products: int) -> Iterator[list[Published]]:
        """Those products that are published since the last time, until there were so many."""
        while products:
            news = [self._receive()]
            while len(news) < products and self._pipe.poll():
                news.append(self._receive())
            products -= len(news)
            yield news

    def keys(self) -> Keys:
        """The answer keys; waits for them."""
        keys: Keys = self._receive()
        return keys

    def _receive(self) -> Any:
        try:
            news = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise Unavailable(
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
    """The keys of the days that `world` says are done; domains of another length have a key for themselves."""
    begin = time.perf_counter()
    sellers = find_sellers(mesh, None)
    lengths = {contract.domain: world.done(contract.domain) for contract, _ in sellers}
    whole = len(set(lengths.values())) == 1
    # What is made of several domains' events is compared where all have come as far.
    tables = list(mesh.contracts) if whole else []
    groups = [({*lengths}, min(lengths.values()))] if whole else [({d}, n) for d, n in lengths.items() if n]
    keys, sites = [], sites_of(mesh)
    for domains, length in groups:
        feeds = {c.identifier: source.line.event for c, source in sellers if c.domain in domains}
        history = (world.seed, world.start, length, world.rates)
        keys.append(answer_key(settings.root, sites, feeds, tables, *history))
    return Keys(keys, time.perf_counter() - begin)


def _work(pipe: Connection, settings: Settings, only: str | None, world: Progress, target: int) -> None:
    # Ctrl-C goes to both processes; the other one ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A broken pipe says that the other one is gone.
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
