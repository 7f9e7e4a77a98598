"""Triggers that start DAGs when messages wait in queues.

A trigger only reads the depth of its queue; the DAG consumes. A lost or repeated event does no harm: the DAG drains
the queue or finds it empty. All triggers of a triggerer share one request to the broker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from mesh_platform.broker import connect
from mesh_platform.errors import MeshError
from mesh_platform.settings import Settings

log = logging.getLogger(__name__)

# Seconds between two requests to the broker; until messages that still wait fire the trigger again; until the next
# attempt if the broker does not answer.
LOOK_EVERY = 2.0
AGAIN_AFTER = 30.0
AWAY_FOR = 10.0


class QueueTrigger(BaseEventTrigger):
    """Fires when messages begin to wait in `queue`, and every `AGAIN_AFTER` seconds while they still do."""

    # The queues of all active triggers in this process, with their number of triggers.
    _watched: ClassVar[dict[str, int]] = {}

    def __init__(self, queue: str) -> None:
        super().__init__()
        self.queue = queue

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments; the broker is in the settings of the triggerer's own process."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"queue": self.queue}

    def shared_stream_key(self) -> Hashable:
        """The same key for all queues, as one request to the broker serves all."""
        return ("mesh", "queues")

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Mapping[str, int], None]:
        """The depths of all watched queues, every `LOOK_EVERY` seconds, forever; none while the broker is away."""
        complained = ""
        while True:
            try:
                yield await asyncio.to_thread(_look, sorted(cls._watched))
                complained = ""
            except MeshError as error:
                if str(error) != complained:
                    log.warning("Queues trigger no DAGs now: %s", error)
                complained = str(error)
                await asyncio.sleep(AWAY_FOR)
            await asyncio.sleep(LOOK_EVERY)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncGenerator[TriggerEvent, None]:
        """An event, with the queue and its depth, each time that this trigger fires."""
        fired_at, was_waiting = float("-inf"), False
        self._watched[self.queue] = self._watched.get(self.queue, 0) + 1
        try:
            async for depths in shared_stream:
                waiting = depths.get(self.queue, 0)
                if waiting and (not was_waiting or time.monotonic() - fired_at >= AGAIN_AFTER):
                    fired_at = time.monotonic()
                    yield TriggerEvent({"queue": self.queue, "waiting": waiting})
                was_waiting = bool(waiting)
        finally:
            self._watched[self.queue] -= 1
            if not self._watched[self.queue]:
                del self._watched[self.queue]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same events, with its own requests to the broker."""
        async with (
            aclosing(self.open_shared_stream({})) as stream,
            aclosing(self.filter_shared_stream(stream)) as own,
        ):
            async for event in own:
                yield event


def _look(queues: list[str]) -> dict[str, int]:
    if not queues:
        return {}
    with connect(Settings().broker) as broker:
        return broker.depths(queues)
