"""Producers: they publish the records of a source, live, in a burst or from a CSV file, to a product's queue.

A domain's producer script declares the product and the source; everything else is here.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Protocol

from mesh_platform.broker import MAX_MESSAGE_BYTES, Broker, Message, queue_of
from mesh_platform.contract.contract import Contract, Field
from mesh_platform.contract.types import FieldType
from mesh_platform.contract.wall_clock import TOO_FINE, OddTimeError, find_instant, is_too_fine, read_time
from mesh_platform.errors import ContractError, Problem, UsageError
from mesh_platform.events.event import Event, EventIds, Record, format_local, format_time, to_milliseconds
from mesh_platform.mesh.mesh import Domain, Mesh, Site
from mesh_platform.mesh.scripts import load_script
from mesh_platform.text import counted, shown

Report = Callable[[Problem], None]


class Source(Protocol):
    """The source of a producer's records when no file is replayed.

    Its attribute `producer`, if it has one, replaces the script as the producer that its events name.
    """

    def records(
        self, domain_name: str, sites: Mapping[str, Site], *, root: Path, seed: int, start: date
    ) -> Iterator[Record]:
        """Endless records in the order of their times, from the day `start`; equal for equal arguments.

        `sites` has the site of each domain that has one, by the domain's name.
        """
        ...


@dataclass(frozen=True)
class Producer:
    """The declaration of a producer script: the product `<domain>.<product>` that it feeds, and its source."""

    product: str
    source: Source


def find_producer(mesh: Mesh, contract: Contract) -> Producer:
    """The producer that a script of the contract's domain declares for the contract.

    Raises UsageError where none does, and ContractError for a script that fails to load or declares no producer.
    """
    folder = mesh.domains[contract.domain].folder / "producers"
    for path in sorted(folder.glob("produce_*.py")):
        producer = _load_script(path, mesh.root)
        if producer.product == contract.identifier:
            return producer
    raise UsageError(f"{contract.identifier}: no script in {shown(folder, mesh.root)} declares a producer for it.")


def sites_of(mesh: Mesh) -> dict[str, Site]:
    """The sites of all domains that have one, as a `Source` expects them."""
    return {name: domain.site for name, domain in mesh.domains.items() if domain.site}


def name_sender(source: object, contract: Contract) -> str:
    """The producer that the events of a source name."""
    return getattr(source, "producer", None) or f"produce_{contract.name}"


def _load_script(path: Path, root: Path) -> Producer:
    label = shown(path, root)
    fix = "Correct the script; it is run to read its `producer`."
    module = load_script(path, f"_producer_{path.parents[1].name}_{path.stem}", label, fix)
    producer = getattr(module, "producer", None)
    if not isinstance(producer, Producer):
        raise ContractError([Problem(label, 1, "declares no producer.", "Write producer = Producer(...).")])
    return producer


def wrap(contract: Contract, records: Iterable[Record], producer: str, file_name: str = "") -> Iterator[Event]:
    """The records in their envelopes, with ids that are the same for the same records.

    If the contract says so, the name of the file that they are from counts for their ids.
    """
    assert contract.event is not None
    source = f"{contract.identifier} {file_name}" if contract.event.file_in_ids and file_name else contract.identifier
    ids = EventIds(source, contract.event.names_in_ids, contract.event.times)
    for record in records:
        yield Event(
            event_id=ids.id_of(record),
            event_type=contract.event.name,
            event_time=record.time,
            producer=producer,
            schema_version=contract.version,
            payload=record.payload,
        )


def batch(lines: Iterable[bytes], size: int, prefix: str = "") -> Iterator[Message]:
    """NDJSON messages of up to `size` lines and `MAX_MESSAGE_BYTES`. Equal bodies have equal message ids.

    A single line that is too long becomes its own message, which the broker rejects.
    """
    body: list[bytes] = []
    length = 0
    for line in lines:
        if body and (len(body) >= size or length + len(line) + 1 > MAX_MESSAGE_BYTES):
            yield _message(body, prefix)
            body, length = [], 0
        body.append(line)
        length += len(line) + 1
    if body:
        yield _message(body, prefix)


def _message(lines: list[bytes], prefix: str) -> Message:
    body = b"\n".join(lines)
    return Message(body, prefix + blake2b(body, digest_size=16).hexdigest())


def publish(
    broker: Broker,
    contract: Contract,
    messages: Iterable[Message],
    confirmed: Callable[[int], None] = lambda events: None,
) -> int:
    """Send messages to the product's queue; return the number of confirmed events.

    Calls `confirmed` for each message. Raises as `Broker.publish` does; messages confirmed until then stay sent.
    """
    queue = queue_of(contract)
    broker.declare([queue])
    total = 0

    def count(message: Message) -> None:
        nonlocal total
        events = message.body.count(b"\n") + 1
        total += events
        confirmed(events)

    broker.publish(queue, messages, count)
    return total


def write(lines: Iterable[bytes], stream: IO[bytes]) -> int:
    """Write envelopes as NDJSON; return their number."""
    written = 0
    for line in lines:
        stream.write(line + b"\n")
        written += 1
    stream.flush()
    return written


def pace(records: Iterable[Record], rate: float, stopped: Callable[[], bool]) -> Iterator[Record]:
    """The records at no more than `rate` a second, until `stopped`."""
    begin = time.monotonic()
    for number, record in enumerate(records):
        ahead = number / rate - (time.monotonic() - begin)
        while ahead > 0 and not stopped():
            time.sleep(min(ahead, 0.2))
            ahead = number / rate - (time.monotonic() - begin)
        if stopped():
            return
        yield record


def stamp(
    contract: Contract, site: Site | None, records: Iterable[Record], clock: Iterable[datetime]
) -> Iterator[Record]:
    """The records with the times of `clock`, one each. Local time without a site is UTC."""
    assert contract.event is not None
    assert contract.event.time is not None
    field = contract.event.by_name[contract.event.time]
    local = field.type.name == "timestamp"
    for record, exact in zip(records, clock, strict=False):
        # To the millisecond, as in ids: a burst of the same seed and rate keeps its ids.
        time_now = exact.replace(microsecond=exact.microsecond // 1000 * 1000)
        written = format_local(time_now.astimezone(site.zone if site else UTC)) if local else format_time(time_now)
        yield replace(record, time=time_now, payload={**record.payload, field.name: written})


def read_csv(contract: Contract, domain: Domain, path: Path, report: Report) -> Iterator[Record]:
    """Read the records of a CSV file with the event's columns in any order; call `report` for each malformed line.

    An empty cell is null. A time without a zone is local time of the site. Columns may have former names, as in
    `Field.renamed_from`. Raises UsageError where the file is unreadable or its columns are not those of the contract.
    """
    assert contract.event is not None
    try:
        stream = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}. Name a CSV file that can be read.") from error
    with stream:
        # Strict: a file that ends inside quotes was truncated.
        rows = csv.reader(stream, strict=True)
        try:
            header = next(rows, [])
        except csv.Error as error:
            raise UsageError(f"{path}:1: {error}. Give the file a header of column names.") from error
        fields = contract.event.in_files
        header = _present_names(contract, path, header)
        missing = [name for name, field in fields.items() if field.required and name not in header]
        surplus = [name for name in header if name not in fields]
        if missing or surplus or len(set(header)) != len(header):
            names = (name if name.isprintable() and name else repr(name) for name in surplus)
            shown_surplus = ", ".join(names).encode("utf-8", "replace").decode()
            wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {shown_surplus}"] * bool(surplus)
            fix = "Name the columns like that and replay again."
            if surplus and not missing:
                fix += (
                    " If the event had one of these once, leave the file as it is, so that its lines keep their ids, "
                    f"and put the column back into {contract.path} with mesh.dropped: true."
                )
            raise UsageError(
                f"{path}:1: the file {' and '.join(wrong) or 'names a column twice'}. {contract.identifier} takes "
                f"the columns {', '.join(contract.event.by_name)}. {fix}"
            )
        chosen = [fields[name] for name in header]
        while True:
            begin = rows.line_num + 1
            try:
                row = next(rows, None)
                if row is None:
                    return
                if row:
                    yield _record(contract, domain.site, chosen, row)
            except (ValueError, OverflowError, csv.Error) as error:
                fix = "Correct the line and replay the file; lines already sent are recognised."
                report(Problem(str(path), begin, f"{error}.", fix))


def _present_names(contract: Contract, path: Path, header: list[str]) -> list[str]:
    """The header with the present names of columns. Raises UsageError where a column appears under two names."""
    assert contract.event is not None
    former = contract.event.former_names
    present = [former.get(name, name) for name in header]
    for name in sorted({former[old] for old in header if old in former}):
        both = [old for old, now in zip(header, present, strict=True) if now == name]
        if len(both) > 1:
            raise UsageError(
                f"{path}:1: the file has {' and '.join(both)}, which are one column of {contract.identifier} under "
                f"several of its names. Keep the one to read as {name}, drop the other, and replay again."
            )
    return present


def _record(contract: Contract, site: Site | None, fields: list[Field], row: list[str]) -> Record:
    assert contract.event is not None
    assert contract.event.time is not None
    if len(row) != len(fields):
        raise ValueError(f"{counted(len(row), 'column')}, not {len(fields)}")
    payload = {field.name: _cell(field, text) for field, text in zip(fields, row, strict=True)}
    instants = {
        field.name: _instant(field, datetime.fromisoformat(payload[field.name]), site)
        for field in fields
        if field.type.logical == "timestamp" and payload[field.name] is not None
    }
    instant = instants[contract.event.time]
    to_milliseconds(instant)
    # The contract's order of columns, so that equal records are equal events whatever the order in the file.
    ordered = {name: payload[name] for name in contract.event.by_name if payload.get(name) is not None}
    dropped = {
        field.name: value for field in contract.event.dropped if (value := payload.get(field.name)) is not None
    }
    return Record(instant.astimezone(UTC), ordered, dropped)


def _instant(field: Field, time: datetime, site: Site | None) -> datetime:
    if time.tzinfo or site is None:
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return find_instant(time, site.zone, field.ambiguous_time, field.nonexistent_time)
    except OddTimeError as error:
        raise ValueError(f"{field.name} '{format_local(time)}' {error}") from None


def _cell(field: Field, text: str) -> Any:
    """The value of one cell in its JSON form. Raises ValueError, which names the field."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{field.name} is not UTF-8")
    if "\0" in text:
        raise ValueError(f"{field.name} holds a NUL character")
    if text == "":
        if field.required:
            raise ValueError(f"{field.name} is empty and required")
        return None
    try:
        return _to_wire(field.type, text)
    except (ValueError, OverflowError):
        fine = field.type.logical == "timestamp" and is_too_fine(text)
        why = f"{TOO_FINE}; it is {field.type.on_wire}" if fine else f"is not {field.type.on_wire}"
        raise ValueError(f"{field.name} {text[:80]!r} {why}") from None


def _to_wire(type_: FieldType, text: str) -> Any:
    if type_.logical in ("integer", "number"):
        number = type_.read_number(text)
        if type_.precision:
            return type_.write(number)
        return float(text) if type_.name == "double" else int(number)
    if type_.name == "boolean":
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    if type_.name == "date":
        return date.fromisoformat(text).isoformat()
    if type_.logical == "timestamp":
        instant = read_time(text)
        if (instant.tzinfo is None) == (type_.name == "timestamptz"):
            raise ValueError
        return format_time(instant) if instant.tzinfo else format_local(instant)
    return text
