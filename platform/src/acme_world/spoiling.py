"""Lines that a producer got wrong.

A good event and a kind of fault arrive; the bytes of a line that must be quarantined leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mesh_platform.event import Event, format_time

from acme_world.faults import SPOILT


def spoil_line(event: Event, kind: int, rename: Mapping[str, str]) -> bytes:
    """The line sent instead of the order line `event`, spoilt as `SPOILT[kind - 1]` says; without the newline.

    `rename` maps the names of fields to those of the producer's dialect. No two events spoil to the same bytes.
    """
    name = SPOILT[kind - 1]
    line = event.to_json()
    if name == "truncated_json":
        return line[: len(line) * 3 // 4]
    if name == "invalid_utf8":
        customer = str(event.payload[rename.get("customer_id", "customer_id")]).encode()
        return line.replace(customer, b"C-\xff\xfe" + customer[2:])
    envelope = json.loads(line)
    payload: dict[str, Any] = envelope["payload"]
    quantity = rename.get("quantity", "quantity")
    if name == "missing_field":
        del payload[rename.get("order_id", "order_id")]
    elif name == "wrong_type":
        payload[quantity] = "a dozen"
    elif name == "unknown_field":
        payload["coupon_code"] = "WELCOME10"
    elif name == "id_time_mismatch":
        envelope["event_time"] = format_time(event.event_time + timedelta(hours=1))
    elif name == "out_of_range":
        # Some are 0, some below it.
        payload[quantity] = 1 - payload[quantity]
    elif name == "status_not_allowed":
        payload[rename.get("status", "status")] = "teleported"
    elif name == "number_of_40_digits":
        payload[quantity] = int("1234567890" * 4)
    elif name == "other_event_type":
        envelope["event_type"] = "inventory_movement"
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()
