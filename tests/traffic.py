"""A publisher beside whom processes die: good lines, duplicates, malformed and oversized ones, all on record."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mesh_platform.broker import MAX_MESSAGE_BYTES, Broker, Message, connect, queue_of
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, bad, in_batches, inject, lines

from conftest import State

DUPLICATES = 0.05
MALFORMED = 0.03


@dataclass
class Sent:
    """Lines that were handed to the broker. `good` are those that a contract takes; an oversized one is sent once."""

    tried: list[bytes] = field(default_factory=list)
    confirmed: list[bytes] = field(default_factory=list)
    good: set[bytes] = field(default_factory=set)
    repeatable: list[bytes] = field(default_factory=list)
    next_number: int = 0

    def note(self, message: Message) -> None:
        """Take a message that was confirmed."""
        self.confirmed += message.body.split(b"\n")
        self.repeatable += message.body.split(b"\n")


@contextmanager
def publishing(state: State, mesh: Mesh, sent: Sent, seed: float) -> Iterator[None]:
    """A publisher on a thread of its own, while the block runs. What it fails with, the block's end raises."""
    enough = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with connect(state.settings.broker) as broker:
                _publish(state, mesh, broker, sent, random.Random(seed), enough.is_set)
        except BaseException as error:
            failures.append(error)

    publisher = threading.Thread(target=run)
    publisher.start()
    try:
        yield
    finally:
        enough.set()
        publisher.join()
    if failures:
        raise failures[0]


def _publish(
    state: State, mesh: Mesh, broker: Broker, sent: Sent, chance: random.Random, enough: Callable[[], bool]
) -> None:
    queue = queue_of(mesh.contract(PRODUCT))
    broker.declare([queue])
    held_back: list[bytes] = []
    oversized = chance.randrange(10)
    for turn in range(1_000_000):
        if enough():
            return
        fresh = lines(range(sent.next_number, sent.next_number + 20), minutes=3)
        sent.next_number += 20
        sent.good.update(fresh)
        spoilt = [_spoil(chance, line, sent.next_number) for line in fresh if chance.random() < MALFORMED]
        again = [chance.choice(sent.repeatable) for _ in fresh if sent.repeatable and chance.random() < DUPLICATES]
        held_back += [*fresh, *spoilt, *again]
        chance.shuffle(held_back)
        going, held_back = held_back[:-10], held_back[-10:]
        messages = [Message(body, f"{turn}") for body in in_batches(going, chance.randint(1, 8))]
        sent.tried += going
        broker.publish(queue, messages, sent.note)
        if turn == oversized:
            body = b"%d " % sent.next_number + chance.randbytes(8) * (MAX_MESSAGE_BYTES // 8)
            body = body.replace(b"\n", b" ")
            inject(state, body)
            sent.confirmed.append(body)
        time.sleep(0.08)


def _spoil(chance: random.Random, line: bytes, number: int) -> bytes:
    """A line that a contract refuses, none like another."""
    number += chance.randrange(10**8, 10**9)
    return chance.choice(
        [
            bad(number),
            b"no json %d" % number,
            b"%d" % number + line[:-20],
            b'{"event_id": %d}' % number,
            line[:90] + b"\xff%d" % number + line[90:],
        ]
    )
