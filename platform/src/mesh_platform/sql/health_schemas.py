"""The schemas of the relations about the products themselves: `mesh.health`, `mesh.refused` and `mesh.arrivals`."""

from __future__ import annotations

from collections.abc import Mapping

from mesh_platform.contract.contract import Field, TableSchema, platform_column

HEALTH, REFUSED, ARRIVALS = "mesh.health", "mesh.refused", "mesh.arrivals"
# What a domain without a site is in instead of a region.
SHARED = "shared"


def _column(name: str, type_: str, description: str, key: int = 0) -> Field:
    return platform_column(name, type_, description, required=bool(key), key=key)


_PRODUCT = (
    _column("product", "string", "The product, <domain>.<table>.", 1),
    _column("domain", "string", "Its domain."),
    _column("region", "string", f"The region of the domain's site; '{SHARED}' for a domain without one."),
)
_DAY = (
    *_PRODUCT,
    _column("date", "date", "The day of the events, UTC.", 2),
)


def _schema(name: str, description: str, *fields: Field) -> TableSchema:
    return TableSchema(name.partition(".")[2], description, fields, (), None, 1)


HEALTH_SCHEMAS: Mapping[str, TableSchema] = {
    HEALTH: _schema(
        HEALTH,
        "One row for each product that has a table.",
        *_PRODUCT,
        _column("team", "string", "Who owns it, by owners.yaml."),
        _column("measured_at", "timestamptz", "When this was measured, UTC."),
        _column("state", "string", "fresh, late, or unmeasured where nothing is promised or there are no rows."),
        _column("lag_hours", "double", "Age of its newest event, or of the oldest unbuilt change, in hours."),
        _column("promised_hours", "double", "What the contract promises, in hours."),
        _column("table_rows", "long", "Rows of its table."),
        _column("quarantined", "long", "Refused events that have not been accepted since."),
        _column("held", "long", "Rows that a rule of the contract holds back."),
        _column("dangling", "long", "Rows that refer to a missing row of a dimension."),
        _column("predicted_by", "string", "The model in use, or its baseline where the model broke its promise."),
        _column("accurate", "boolean", "Whether the model in use keeps its promise; missing before it was scored."),
    ),
    REFUSED: _schema(
        REFUSED,
        "One row for each product, day, reason and field of events that ingest refused.",
        *_DAY,
        _column("reason", "string", "What is wrong, as a code; docs/quarantine.md lists them.", 3),
        _column("field", "string", "The field that is wrong."),
        _column("events", "long", "How many."),
    ),
    ARRIVALS: _schema(
        ARRIVALS,
        "One row for each product and day of events that ingest accepted.",
        *_DAY,
        _column("events", "long", "How many."),
    ),
}


def health_named(sql: str) -> list[str]:
    """Return those of these relations whose name occurs anywhere in the text of `sql`."""
    return [name for name in HEALTH_SCHEMAS if name.partition(".")[2] in sql.lower()]
