"""A data product's contract as the platform knows it: its shapes, its fields and what it promises.

`contract_reader` makes one of an ODCS file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from mesh_platform.contract.quality_rule import Rule
from mesh_platform.contract.types import FieldType
from mesh_platform.contract.version import Version, read_version

# What ingest adds to each event: an event's own columns stand beside these.
LANDING_COLUMNS = ("event_id", "event_time", "producer", "schema_version", "ingested_at")
# How far back past states of tables can be read, where a contract says nothing else.
TIME_TRAVEL = timedelta(days=7)
# How far an event's time may be ahead of the clock: senders' clocks differ. Ingest refuses what is later, and it does
# not count for freshness.
AHEAD = timedelta(days=1)
# How much of what governance can ask a product keeps to, least first; `governance.rules.level` says what each asks.
LEVELS = ("bronze", "silver", "gold")


@dataclass(frozen=True)
class Field:
    """One column. `minimum`, `maximum`, `pattern` and `valid_values` are what each value must keep to.

    Of a double column that may be NaN or an infinity, `allow_non_finite` is true; bounds hold for all values but NaN.
    `references` is (`<domain>.<table>`, column) of the dimension that this column points to. `renamed_from` are the
    names that the column had before, newest first. `term` is the glossary's word for it, `<domain>.<term>`.
    `id_name` is what the column is called in the hash of an event's id, where the contract says so. Of a local time,
    `ambiguous_time` and `nonexistent_time` say what is made of one that the clock shows twice or never; see
    `wall_clock.find_instant`. One that is `dropped` was a column of the event once.
    """

    name: str
    type: FieldType
    description: str
    required: bool
    key: int
    line: int
    examples: tuple[Any, ...] = ()
    classification: str = "internal"
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    pattern: str | None = None
    valid_values: tuple[str, ...] = ()
    references: tuple[str, str] | None = None
    renamed_from: tuple[str, ...] = ()
    term: str | None = None
    allow_non_finite: bool = False
    id_name: str | None = None
    ambiguous_time: str = "reject"
    nonexistent_time: str = "reject"
    dropped: bool = False

    @property
    def name_in_ids(self) -> str:
        """What the hash of an event's id calls this column, whatever it is called by now: its first name."""
        return self.id_name or (self.renamed_from[-1] if self.renamed_from else self.name)


@dataclass(frozen=True)
class Shape:
    """One schema of a contract: the event as sent, or the table as published.

    `partition` is a list of (transform, column); an event's `time` names its column of the event time. Where a table
    keeps history, `history` names the columns from when and until before when a row is true. `rules` are what a
    table's rows are held to beyond the promises of its fields. One `by_flush` is written a little at a time.
    `dropped` are columns that an event had once: files that still have them keep their ids.
    """

    name: str
    description: str
    fields: tuple[Field, ...]
    partition: tuple[tuple[str, str], ...]
    time: str | None
    line: int
    history: tuple[str, str] | None = None
    rules: tuple[Rule, ...] = ()
    by_flush: bool = False
    dropped: tuple[Field, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by their names."""
        return {field.name: field for field in self.fields}

    @cached_property
    def in_files(self) -> Mapping[str, Field]:
        """The fields that a file of events may have, by their names: the event's, and those that it had once."""
        return {field.name: field for field in (*self.fields, *self.dropped)}

    @cached_property
    def names_in_ids(self) -> Mapping[str, str]:
        """What the hash of an event's id calls those fields that have another name; dropped ones too."""
        return {field.name: field.name_in_ids for field in self.in_files.values() if field.name_in_ids != field.name}

    @cached_property
    def times(self) -> frozenset[str]:
        """The fields that are timestamps, local ones and dropped ones too."""
        return frozenset(field.name for field in self.in_files.values() if field.type.logical == "timestamp")

    @cached_property
    def former_names(self) -> Mapping[str, str]:
        """For each name that a field had and that is nobody's now, the field's present name."""
        known = self.in_files
        return {old: field.name for field in known.values() for old in field.renamed_from if old not in known}

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, in order."""
        return tuple(f.name for f in sorted((f for f in self.fields if f.key), key=lambda f: f.key))


@dataclass(frozen=True)
class Contract:
    """What one product promises. `table` is what it publishes; `event` is what its producers send, if any.

    `freshness` is the longest allowed age of the newest row by `freshness_column`; None means that the table holds
    no running events. `latency` is how long a change of what it is built from may take to show in it. `time_travel`
    is how far back past states can be read, at most `retention`. `roles` may read columns classified `pii`. `level`
    is the quality that it claims, one of LEVELS, and `demands` the least that it asks of other domains' products.
    One that is not `maintained` is left untended, its private tables too: no file is merged or removed, no snapshot
    expires. Of a `retired` product the landing table is left, for other models of its domain to read. `time_zone` is
    that of the domain's site, joined from its domain.yaml: local times are by its clock. Without one they are UTC.
    `oldest_version` is the oldest version of the contract whose events ingest takes; where it is None, the major
    version decides.
    """

    path: str
    domain: str
    name: str
    version: str
    description: str
    table: Shape
    event: Shape | None
    freshness: timedelta | None
    freshness_column: str | None
    retention: timedelta
    implements: str | None
    roles: tuple[str, ...]
    retired: bool = False
    time_travel: timedelta = TIME_TRAVEL
    latency: timedelta | None = None
    level: str = "bronze"
    demands: str | None = None
    time_zone: str | None = None
    oldest_version: str | None = None
    maintained: bool = True

    @property
    def identifier(self) -> str:
        """`<domain>.<table>`: the product's name across the mesh, and its table's in the catalog and in SQL."""
        return f"{self.domain}.{self.table.name}"

    @property
    def oldest_taken(self) -> Version | None:
        """The oldest version of whose events ingest takes; None where the contract's own is no version."""
        own = read_version(self.version)
        if own is None:
            return None
        # 1.0.0 may be declared without any change, so it begins no line of its own.
        return read_version(self.oldest_version or "") or Version(own.major if own.major > 1 else 0, 0, 0)
