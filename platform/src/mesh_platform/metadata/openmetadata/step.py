"""One step of a plan, and how all that must be read one by one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mesh_platform.metadata.openmetadata.client import CONNECTIONS
from mesh_platform.metadata.openmetadata.kinds import Ref

Action = Literal["create", "update", "remove"]
Known = dict[Ref, dict[str, Any]]
_Asked = TypeVar("_Asked")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Step:
    """One thing to do. `fields` names what differs; `request` is the body to send, or the fields to set.

    References in it are of the type `Ref`. `id` is that of the entity, where it exists.
    """

    entity: str
    fqn: str
    action: Action
    fields: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = field(default="", repr=False)

    def as_value(self) -> dict[str, Any]:
        """Return what `mesh catalog publish` prints of it."""
        return {"entity": self.entity, "fqn": self.fqn, "action": self.action, "fields": [*self.fields]}


def read_each(asked: Sequence[_Asked], read: Callable[[_Asked], _Read]) -> Iterator[tuple[_Asked, _Read]]:
    """Yield each with what `read` returns for it, which many threads call at once."""
    # One task for each would take half as long as what it does.
    size = max(1, len(asked) // (CONNECTIONS * 4))
    parts = [asked[start : start + size] for start in range(0, len(asked), size)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for part, found in zip(parts, pool.map(lambda part: [*map(read, part)], parts), strict=True):
            yield from zip(part, found, strict=True)


def live_ids(known: Known) -> dict[Ref, str]:
    """Return the ids of those that are not marked as deleted."""
    return {ref: found["id"] for ref, found in known.items() if not found.get("deleted")}
