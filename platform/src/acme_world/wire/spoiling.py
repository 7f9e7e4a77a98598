"""Spoiling events: turning a good event into a line that must be quarantined, by a kind of fault.

Any sensible contract rejects them: for example a number below its minimum, or a word that is not allowed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mesh_platform.events.event import Event, format_time

from acme_world.truth import lines
from acme_world.truth.lines import Line
from acme_world.wire.faults import SPOILT

# A number of each line with a minimum; for inventory, which has several dialects, the first that is present.
NUMBERS: dict[str, tuple[str, ...]] = {
    lines.ORDERS.event: ("quantity",),
    lines.RETURNS.event: ("quantity",),
    lines.INVENTORY.event: ("quantity_change", "cases", "quantity", "on_hand_before"),
    lines.RESTOCKS.event: ("quantity",),
    lines.ORDER_ERRORS.event: ("quantity",),
    lines.DISPATCH_LOGS.event: ("package_count",),
    lines.VEHICLE_TRACKING.event: ("load_kg",),
    lines.ROUTE_UPDATES.event: ("distance_km",),
    lines.DELIVERY_SLA.event: ("load_kg",),
    lines.DEMAND_FORECAST.event: ("horizon_days",),
    lines.SLA_RISK.event: ("risk_score",),
    lines.STOCKOUT_RISK.event: ("horizon_days",),
}
# A field of the line with a list of allowed words, if there is one.
WORDS: dict[str, str] = {
    lines.ORDERS.event: "status",
    lines.RETURNS.event: "reason",
    lines.INVENTORY.event: "movement_type",
    lines.VEHICLE_TRACKING.event: "activity",
    lines.ROUTE_UPDATES.event: "status",
    lines.DELIVERY_SLA.event: "weather",
    lines.SLA_RISK.event: "risk_level",
    lines.STOCKOUT_RISK.event: "risk_level",
}
TOO_LITTLE = -1_000_000


def spoil_event(event: Event, kind: int, line: Line, rename: Mapping[str, str]) -> bytes:
    """The line to send instead of `event`, spoilt as in `SPOILT[kind - 1]`, without the newline.

    `rename` maps the names of fields to those of the producer's dialect. Different events have different bytes.
    """
    name = SPOILT[kind - 1]
    good = event.to_json()
    id_field = rename.get(line.id_field, line.id_field)
    if name == "truncated_json":
        return good[: len(good) * 3 // 4]
    if name == "invalid_utf8":
        written = str(event.payload[id_field]).encode()
        return good.replace(written, b"\xff\xfe" + written[2:])
    envelope = json.loads(good)
    payload: dict[str, Any] = envelope["payload"]
    names = [rename.get(each, each) for each in NUMBERS[line.event]]
    number = next((each for each in names if each in payload), names[0])
    if name == "missing_field":
        del payload[id_field]
    elif name == "wrong_type":
        payload[number] = "a dozen"
    elif name == "unknown_field":
        payload["coupon_code"] = "WELCOME10"
    elif name == "id_time_mismatch":
        envelope["event_time"] = format_time(event.event_time + timedelta(hours=1))
    elif name == "out_of_range":
        # A decimal is text in JSON.
        payload[number] = f"{TOO_LITTLE}" if isinstance(payload.get(number), str) else TOO_LITTLE
    elif name == "word_not_allowed":
        # Without a list of words, a value that is not text.
        word = WORDS.get(line.event)
        payload[rename.get(word, word) if word else id_field] = "teleported" if word else ["teleported"]
    elif name == "number_of_40_digits":
        payload[number] = int("1234567890" * 4)
    elif name == "other_event_type":
        other = next(each for each in lines.LINES if each != line.event)
        envelope["event_type"] = other
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()
