"""Derive the tables of a product, their names, kinds and columns, from its contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mesh_platform.contract.contract import LANDING_PARTITION, Contract, Field, TableSchema
from mesh_platform.contract.types import BINARY, FieldType, parse_type
from mesh_platform.mesh.mesh import Mesh

TableKind = Literal["landing", "quarantine", "ledger", "product", "held"]


@dataclass(frozen=True)
class MeshTable:
    """One table of a product, whether or not the catalog has it yet."""

    contract: Contract
    kind: TableKind

    @property
    def name(self) -> str:
        """`<domain>.<table>`."""
        return f"{self.contract.identifier}{SUFFIXES[self.kind]}"

    @property
    def schema(self) -> TableSchema:
        """Its columns and partitions."""
        return _SCHEMAS[self.kind](self.contract)


def tables_of(contract: Contract) -> list[MeshTable]:
    """Return the tables of a product: those of its events if it has any, its own, and the one of its held rows."""
    kinds: tuple[TableKind, ...] = ("product", "held")
    return [MeshTable(contract, kind) for kind in ((*EVENT_TABLES, *kinds) if contract.event else kinds)]


def all_tables(mesh: Mesh) -> Iterator[MeshTable]:
    """Yield the tables of all products, retired ones included."""
    for contract in (*mesh.contracts.values(), *mesh.retired.values()):
        yield from tables_of(contract)


def table_named(mesh: Mesh, name: str) -> MeshTable | None:
    """Return the table of a product, retired or not, that has this name; None if there is none."""
    product, kind = split_name(name)
    contract = mesh.contracts.get(product) or mesh.retired.get(product)
    table = MeshTable(contract, kind) if contract else None
    return table if table and table in tables_of(table.contract) else None


def split_name(name: str) -> tuple[str, TableKind]:
    """Return the product that a table belongs to by its name, and the kind of table that it is."""
    kind = next(kind for kind, suffix in SUFFIXES.items() if name.endswith(suffix))
    return name.removesuffix(SUFFIXES[kind]), kind


def landing_name(contract: Contract) -> str:
    """Return `<domain>.<product>__raw`, the landing table: the events as sent."""
    return MeshTable(contract, "landing").name


def quarantine_name(contract: Contract) -> str:
    """Return `<domain>.<product>__rejected`, the quarantine: what was sent and is not valid."""
    return MeshTable(contract, "quarantine").name


def ledger_name(contract: Contract) -> str:
    """Return `<domain>.<product>__removed`, the ledger: events removed on purpose, which ingest refuses."""
    return MeshTable(contract, "ledger").name


def landing_schema(contract: Contract) -> TableSchema:
    """Return the schema of a landing table: the event's own columns between those of its envelope.

    By default it is partitioned by the day of `event_time`, which is the time in the event's id.
    """
    event = contract.event
    assert event is not None, f"{contract.identifier} has no event"
    return TableSchema(
        name=_table_name(contract, "landing"),
        description=f"{event.description} As sent, valid against the contract.",
        fields=(_EVENT_ID, _EVENT_TIME, *event.fields, _PRODUCER, _SCHEMA_VERSION, _INGESTED_AT),
        partition=event.partition or LANDING_PARTITION,
        time="event_time",
        line=event.line,
        by_flush=True,
        dropped=event.dropped,
    )


def quarantine_schema(contract: Contract) -> TableSchema:
    """Return the schema of a quarantine: one row for each event or message refused; a redelivery has the same key."""
    return TableSchema(
        _table_name(contract, "quarantine"),
        "What was sent and is not valid.",
        _REJECTED,
        partition=(),
        time="rejected_at",
        line=1,
        by_flush=True,
    )


def held_name(contract: Contract) -> str:
    """Return `<domain>.<product>__held`: rows that a rule of the contract holds back from publication."""
    return MeshTable(contract, "held").name


def held_schema(contract: Contract) -> TableSchema:
    """Return the schema of a held table: the product's columns, none required, and what is wrong with each row."""
    own = tuple(replace(field, required=False, key=0, references=None) for field in contract.table.fields)
    return TableSchema(
        _table_name(contract, "held"), "Rows that a rule keeps out.", (*own, *_HELD), (), None, contract.table.line
    )


def ledger_schema(contract: Contract) -> TableSchema:
    """Return the schema of a ledger: ids that the landing table once had and that must not come back."""
    fields = (
        _EVENT_ID,
        _EVENT_TIME,
        _column("reason", "string", "Why: rollback, erasure or retention."),
        _column("removed_at", "timestamptz", "When the removal was decided, UTC."),
    )
    partition = landing_schema(contract).partition
    return TableSchema(
        _table_name(contract, "ledger"), "Events removed on purpose.", fields, partition, "event_time", 1
    )


def _table_name(contract: Contract, kind: TableKind) -> str:
    return f"{contract.table.name}{SUFFIXES[kind]}"


def _column(name: str, type_: str | FieldType, description: str, required: bool = True, key: int = 0) -> Field:
    field_type = parse_type(type_) if isinstance(type_, str) else type_
    return Field(name=name, type=field_type, description=description, required=required, key=key, line=1)


_EVENT_ID = _column("event_id", "string", "Id of the event; its first 48 bits are event_time in milliseconds.", key=1)
_EVENT_TIME = _column("event_time", "timestamptz", "When it happened, UTC.")
_PRODUCER = _column("producer", "string", "Who sent it.")
_SCHEMA_VERSION = _column("schema_version", "string", "Version of the contract that the producer knew.")
_INGESTED_AT = _column("ingested_at", "timestamptz", "When ingest received it, UTC.")
HELD_RULE, HELD_REASON = "held_rule", "held_reason"
_HELD = (
    _column(HELD_RULE, "string", "The rules that it breaks, by name."),
    _column(HELD_REASON, "string", "What is wrong with it."),
)
_REJECTED = (
    _column("rejection_key", "string", "Event id, else message id, place and hash of the bytes.", key=1),
    _column("event_id", "string", "Id of the event, where one could be read.", required=False),
    _column("event_time", "timestamptz", "Time of the event, where one could be read.", required=False),
    _column("message_id", "string", "Id of the message that brought it.", required=False),
    _column("position", "int", "Place in the message, from 0."),
    _column("reason", "string", "What is wrong, as a code; docs/quarantine.md lists them."),
    _column("field", "string", "The field that is wrong.", required=False),
    _column("detail", "string", "What was found and what is allowed."),
    _column("raw", BINARY, "What was sent; of a message over 8 MiB the first 64 KiB."),
    _column("raw_sha256", "string", "SHA-256 of all that was sent, hexadecimal."),
    _column("raw_bytes", "long", "Length of all that was sent, in bytes."),
    _column("rejected_at", "timestamptz", "When it was refused, UTC."),
)

# The tables that one flush of ingest writes to.
EVENT_TABLES: tuple[TableKind, ...] = ("landing", "quarantine", "ledger")
LANDING_SUFFIX = "__raw"
SUFFIXES: dict[TableKind, str] = {
    "landing": LANDING_SUFFIX,
    "quarantine": "__rejected",
    "ledger": "__removed",
    "held": "__held",
    "product": "",
}
_SCHEMAS: dict[TableKind, Callable[[Contract], TableSchema]] = {
    "landing": landing_schema,
    "quarantine": quarantine_schema,
    "ledger": ledger_schema,
    "held": held_schema,
    "product": lambda contract: contract.table,
}
