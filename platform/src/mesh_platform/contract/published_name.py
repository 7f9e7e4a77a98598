"""What a column of an event is called in a published table: the name tells its kind, and that money is in dollars."""

from __future__ import annotations

from mesh_platform.contract.types import FieldType

MONEY = {"amount", "price", "cost", "revenue", "fee", "turnover"}
# The days of a calendar, which need no ending.
CALENDAR = ("date", "week", "month", "quarter", "year")


def published_name(name: str, type_: FieldType) -> str:
    """The name that the rule name-column asks for; `name` itself where it is one."""
    if type_.logical == "timestamp":
        return f"{name.removesuffix('_ts').removesuffix('_at').removesuffix('_time')}_ts"
    if type_.name == "date" and not name.endswith(("_date", "_on")) and name not in CALENDAR:
        return f"{name}_date"
    if type_.logical == "number" and MONEY & {*(words := name.split("_"))} and "usd" not in words:
        return f"{name}_usd"
    return name
