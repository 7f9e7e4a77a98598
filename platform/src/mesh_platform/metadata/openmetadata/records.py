"""Records of entities, each sent once: results of test cases, runs of pipelines, profiles of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.kinds import SERIES, Record, Ref
from mesh_platform.metadata.openmetadata.step import Known, Step, read_each


def record_steps(client: Client, records: Sequence[Record], known: Known) -> Iterator[Step]:
    """Yield a step for each record that the server lacks, the oldest of each entity first."""
    ordered = sorted(records, key=lambda record: (record.of, record.at))
    of = {ref: [*each] for ref, each in groupby(ordered, key=lambda record: record.of)}
    asked = [ref for ref in of if ref in known and SERIES[ref.type].latest is None]
    there = dict(read_each(asked, lambda ref: _times(client, ref, of[ref][0].at, of[ref][-1].at)))
    for ref, each in of.items():
        name, *_, latest = SERIES[ref.type]
        newest = (known.get(ref, {}).get(latest) or {}).get("timestamp", -1) if latest else -1
        for record in each:
            if record.at > newest and record.at not in there.get(ref, ()):
                at = datetime.fromtimestamp(record.at / 1000, UTC).isoformat(timespec="milliseconds")
                yield Step(name, ref.fqn, "create", (at,), {"record": record})


def send_record(client: Client, record: Record, id_: str) -> None:
    """Send a record of the entity with this id. Raises as `Client` does."""
    series, ref = SERIES[record.of.type], record.of
    path = series.write.format(fqn=quote(ref.fqn, safe=""), id=id_)
    client.add(series.method, path, record.body(), lambda: record.at in _times(client, ref, record.at, record.at))


def _times(client: Client, ref: Ref, first: int, last: int) -> set[int]:
    path = SERIES[ref.type].read.format(fqn=quote(ref.fqn, safe=""))
    found: Mapping[str, Any] = client.get(path, startTs=str(first), endTs=str(last)) or {}
    return {each["timestamp"] for each in found.get("data", ())}
