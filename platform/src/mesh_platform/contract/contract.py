"""The contract of a data product: its schemas, its fields and its promises.

`reader.read_contract` creates one from an ODCS file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from mesh_platform.contract.calendar import Calendar
from mesh_platform.contract.quality_rule import Rule
from mesh_platform.contract.types import FieldType, parse_type
from mesh_platform.contract.version import Version, read_version

# The columns that ingest adds to those of each event.
LANDING_COLUMNS = ("event_id", "event_time", "producer", "schema_version", "ingested_at")
# The partition of a landing table, unless the contract says otherwise.
LANDING_PARTITION = (("day", "event_time"),)
# How far back past states of tables can be read, unless the contract says otherwise.
TIME_TRAVEL = timedelta(days=7)
# How far the time of an event may be ahead of the clock, because the clocks of senders differ. Ingest rejects later
# events, and freshness does not count them.
AHEAD = timedelta(days=1)
# The quality levels of products, lowest first; `governance.rules.level` says what each requires.
LEVELS = ("bronze", "silver", "gold")
# The states of a contract in its life, as ODCS names them.
STATUSES = ("proposed", "draft", "active", "deprecated", "retired")


def partition_name(transform: str, column: str) -> str:
    """Return the name of a table's partition field. No column can have it, except for that of an identity."""
    return column if transform == "identity" else f"{column}_{transform.split('[')[0]}"


@dataclass(frozen=True)
class Field:
    """One column. Each value must satisfy `minimum`, `maximum`, `pattern` and `valid_values`.

    `allow_non_finite` lets a double column hold NaN and infinities; bounds apply to all values but NaN.
    `references` is (`<domain>.<table>`, column) of the dimension that this column points to. `renamed_from` has the
    former names of the column, newest first. `term` is its term in a glossary, `<domain>.<term>`. `id_name` is the
    name of the column in the hash of an event's id, where the contract sets it. `ambiguous_time` and
    `nonexistent_time` say how to read a local time that the clock shows twice or never; see
    `wall_clock.find_instant`. A `dropped` field is a former column of the event. A `deprecated` one should
    not be used by new work. `synonyms` are other words that people look for it with. `mask` is the masking action
    that its contract names (`contract.masking`); with `stable_pseudonyms` all sessions have the same pseudonyms.
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
    deprecated: bool = False
    synonyms: tuple[str, ...] = ()
    mask: str | None = None
    stable_pseudonyms: bool = False

    @property
    def name_in_ids(self) -> str:
        """The name of this column in the hash of an event's id: its first name, which renames do not change."""
        return self.id_name or (self.renamed_from[-1] if self.renamed_from else self.name)


def platform_column(name: str, type_: str, description: str, required: bool = True, key: int = 0) -> Field:
    """Return a column of a table that the platform defines, and no contract."""
    return Field(name=name, type=parse_type(type_), description=description, required=required, key=key, line=1)


@dataclass(frozen=True)
class TableSchema:
    """One schema of a contract: the event as sent, or the table as published.

    `partition` is a list of (transform, column). `time` names the event's column of the event time. `history` names
    the columns of the start (inclusive) and end (exclusive) of a row's validity, where a table keeps history.
    `rules` are the quality rules of a table beyond the promises of its fields. `by_flush` marks a table that is
    written in small commits. `dropped` are former columns of an event: files that still have them keep their ids.
    `file_in_ids` says that the name of a replayed file counts for the ids of its events. `deprecated` and `synonyms`
    are as those of a field.
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
    deprecated: bool = False
    synonyms: tuple[str, ...] = ()
    file_in_ids: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def in_files(self) -> Mapping[str, Field]:
        """The fields that a file of events may have, by name: the present ones and the dropped ones."""
        return {field.name: field for field in (*self.fields, *self.dropped)}

    @cached_property
    def names_in_ids(self) -> Mapping[str, str]:
        """The names in the hash of an event's id, for the fields, dropped ones too, where they differ."""
        return {field.name: field.name_in_ids for field in self.in_files.values() if field.name_in_ids != field.name}

    @cached_property
    def times(self) -> frozenset[str]:
        """The names of the timestamp fields, local and dropped ones too."""
        return frozenset(field.name for field in self.in_files.values() if field.type.logical == "timestamp")

    @cached_property
    def former_names(self) -> Mapping[str, str]:
        """The present name of a field for each former name that no other field has now."""
        known = self.in_files
        return {old: field.name for field in known.values() for old in field.renamed_from if old not in known}

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, in their order."""
        return tuple(f.name for f in sorted((f for f in self.fields if f.key), key=lambda f: f.key))


def exact_from_1970(schema: TableSchema) -> list[tuple[str, str]]:
    """The partitions of a schema by day or month of a timestamp, in which DuckDB finds times from 1970 on only.

    It rounds the time in a filter towards zero where Iceberg's transforms round down, and so skips the files of
    earlier times (duckdb/duckdb-iceberg#1361; 1.5.5 lacks that). Years and the days of dates are right.
    """
    return [
        (transform, column)
        for transform, column in schema.partition
        if transform in ("day", "month") and schema.by_name[column].type.logical == "timestamp"
    ]


@dataclass(frozen=True)
class Contract:
    """The promises of one product. `table` is what it publishes; `event` is what its producers send, if any.

    `freshness` is the maximum age of the newest row by `freshness_column`, in the workdays of `calendar` if it has
    one; None means that the table holds no running events. `latency` is the maximum time until a change of an input
    shows in the table. `accuracy` is the share of its baseline's loss that the model behind the events stays within.
    Rows older than `retention` are removed if the product `expires`, as its contract says; otherwise it is only the
    age from which ingest refuses events. `time_travel` is how far back past states can be read, at most `retention`.
    `roles` may read columns classified `pii`. `level` is the claimed quality, one of LEVELS, and `demands` the lowest
    level accepted of products of other domains. Without `maintained`, no file of its tables, private ones too, is
    merged or removed, and no snapshot expires. A `retired` product keeps its landing table, for other models of its
    domain to read. `time_zone` is that of the domain's site, from domain.yaml: local times follow its clock; without
    one they are UTC. `oldest_version` is the oldest contract version whose events ingest accepts; None leaves it to
    the major version. `status` is one of STATUSES. `id` names the contract for other tools.
    """

    path: str
    domain: str
    name: str
    version: str
    description: str
    table: TableSchema
    event: TableSchema | None
    freshness: timedelta | None
    freshness_column: str | None
    retention: timedelta
    implements: str | None
    roles: tuple[str, ...]
    retired: bool = False
    time_travel: timedelta = TIME_TRAVEL
    latency: timedelta | None = None
    accuracy: float | None = None
    level: str = "bronze"
    demands: str | None = None
    time_zone: str | None = None
    oldest_version: str | None = None
    maintained: bool = True
    expires: bool = False
    status: str = "active"
    id: str = ""
    calendar: Calendar | None = None

    @property
    def deprecated(self) -> bool:
        """Whether new work should not use the product: by its status, or by a mark at its table."""
        return self.status == "deprecated" or self.table.deprecated

    def age(self, since: datetime, now: datetime) -> timedelta:
        """Return the age of a row, as `freshness` counts it: workdays are those of the site's clock."""
        if self.calendar is None or now < since:
            return now - since
        return self.calendar.worked(since, now, ZoneInfo(self.time_zone or "UTC"))

    @property
    def oldest(self) -> timedelta | None:
        """The maximum age of the newest row, pauses of the calendar included; None without a promise of freshness."""
        if self.freshness is None or self.calendar is None:
            return self.freshness
        return self.calendar.longest(self.freshness)

    @property
    def identifier(self) -> str:
        """`<domain>.<table>`: the name of the product across the mesh, and of its table in the catalog and in SQL."""
        return f"{self.domain}.{self.table.name}"

    @property
    def oldest_taken(self) -> Version | None:
        """The oldest version whose events ingest accepts; None where the contract's own version is invalid."""
        own = read_version(self.version)
        if own is None:
            return None
        # A contract may become 1.0.0 without any change, so events of 0.x.y are still accepted.
        return read_version(self.oldest_version or "") or Version(own.major if own.major > 1 else 0, 0, 0)
