"""An event's id contains its time, depends on its content alone, and numbers equal records."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mesh_platform.events.event import ENVELOPE, Event, EventIds, Record, format_time, to_milliseconds

TIME = datetime(2025, 10, 1, 14, 3, 12, 250_000, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30))])
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES)
RECORDS = st.builds(Record, TIMES, st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))


def ids(records: list[Record], source: str = "shop.things") -> list[str]:
    give = EventIds(source)
    return [give.id_of(record) for record in records]


def event(record: Record, event_id: str = "i") -> Event:
    return Event(event_id, "thing_made", record.time, "test", "1.0.0", record.payload)


@settings(deadline=None)
@given(record=RECORDS)
def test_id_has_the_layout_of_version_7(record: Record) -> None:
    (text,) = ids([record])
    found = UUID(text)
    assert str(found) == text
    # RFC 9562, section 5.7: 48 bits of milliseconds, 4 of version, 12 of content, 2 of variant, 62 of content.
    assert found.int >> 80 == to_milliseconds(record.time)
    assert (found.int >> 76 & 0xF, found.int >> 62 & 0b11) == (7, 0b10)
    assert (found.version, found.variant) == (7, RFC_4122)


@settings(deadline=None)
@given(record=RECORDS)
def test_id_and_written_time_agree_to_the_millisecond(record: Record) -> None:
    (text,) = ids([record])
    written = datetime.fromisoformat(json.loads(event(record).to_json())["event_time"])
    assert written.tzinfo == UTC
    assert (written - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == UUID(text).int >> 80
    assert written == record.time


@pytest.mark.parametrize("microseconds", [0, 1, 499, 500, 999])
def test_an_id_has_milliseconds_and_a_written_time_has_microseconds(microseconds: int) -> None:
    time = TIME + timedelta(microseconds=microseconds)
    assert to_milliseconds(time) == to_milliseconds(TIME)
    assert format_time(time) == f"2025-10-01T14:03:12.250{microseconds:03}Z".replace(".250000", ".250")


def test_equal_records_are_told_apart_and_stay_as_many() -> None:
    records = [Record(TIME, {"a": 1})] * 255
    found = ids(records)
    assert len(set(found)) == 255
    assert ids(records) == found


def test_parts_of_a_millisecond_make_no_other_record() -> None:
    records = [Record(TIME, {}), Record(TIME + timedelta(microseconds=999), {})]
    assert ids(records) == ids([records[1], records[0]])
    assert len(set(ids(records))) == 2


@settings(deadline=None)
@given(records=st.lists(RECORDS, max_size=8), twice=st.integers(0, 3), seed=st.integers())
def test_order_changes_no_id(records: list[Record], twice: int, seed: int) -> None:
    records = records + records[:twice]
    shuffled = list(records)
    random.Random(seed).shuffle(shuffled)
    assert sorted(ids(records)) == sorted(ids(shuffled))
    assert len(set(ids(records))) == len(records)


@settings(deadline=None)
@given(records=st.lists(RECORDS, max_size=8), length=st.integers(0, 8))
def test_longer_file_keeps_the_ids_of_its_beginning(records: list[Record], length: int) -> None:
    assert ids(records)[:length] == ids(records[:length])


@pytest.mark.parametrize(
    "other",
    [Record(TIME, {"a": 2}), Record(TIME, {"b": 1}), Record(TIME, {"a": "1"}), Record(TIME, {"a": 1, "b": None}),
     Record(TIME + timedelta(milliseconds=1), {"a": 1}), Record(TIME, {"a": [1]})],
)  # fmt: skip
def test_other_content_or_time_is_another_id(other: Record) -> None:
    assert ids([other]) != ids([Record(TIME, {"a": 1})])


def test_source_is_part_of_the_id_and_the_order_of_fields_is_not() -> None:
    record = Record(TIME, {"a": 1, "b": 2})
    assert ids([record], "shop.things") != ids([record], "shop.others")
    assert ids([record]) == ids([Record(TIME, {"b": 2, "a": 1})])
    assert ids([record]) == ids([Record(TIME.astimezone(timezone(timedelta(hours=5, minutes=30))), record.payload)])


@pytest.mark.parametrize(
    ("names", "payload"),
    [({"c": "a"}, {"c": 1, "x": 2}), ({"b": "a"}, {"x": 2, "b": 1}), ({"b": "a"}, {"a": 1, "x": 2}),
     ({"x": "a", "a": "x"}, {"x": 1, "a": 2})],
)  # fmt: skip
def test_an_id_calls_a_field_by_its_first_name(names: dict[str, str], payload: dict[str, Any]) -> None:
    before = ids([Record(TIME, {"a": 1, "x": 2})])
    assert EventIds("shop.things", names).id_of(Record(TIME, payload)) == before[0]


def test_a_field_under_two_of_its_names_takes_no_other_records_id() -> None:
    give = EventIds("shop.things", {"b": "a"})
    found = [
        give.id_of(Record(TIME, payload)) for payload in ({"a": 1, "b": 2}, {"a": 2, "b": 1}, {"b": 1}, {"b": 2})
    ]
    assert len({*found}) == 4


def test_ids_are_pinned() -> None:
    # A change here gives every replayed file new ids, and so stores all of its events twice.
    record = Record(TIME, {"amount": Decimal("1.50"), "name": "Zoë", "on": date(2025, 10, 1), "at": TIME})
    assert ids([record, record]) == ["0199a015-91fa-703e-a60b-adabd1ad7463", "0199a015-91fa-7508-8724-b35a766a3a8f"]


@pytest.mark.parametrize(
    "text", ["\ud800", "\udfff\ud800", "\x00", "\U0010ffff", "\u2028", '"\\\n', "Zoë", "x" * 1_000_000]
)
def test_any_text_has_an_id(text: str) -> None:
    assert ids([Record(TIME, {"a": text})]) == ids([Record(TIME, {"a": text})])
    assert ids([Record(TIME, {"a": text})]) != ids([Record(TIME, {"a": text + "x"})])


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", float("nan"), float("inf"), {"x": -float("inf")}])
def test_what_json_in_utf8_cannot_hold_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"surrogates not allowed|not JSON compliant"):
        event(Record(TIME, {"a": value})).to_json()


def test_what_has_no_form_on_the_wire_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes has no form on the wire"):
        ids([Record(TIME, {"a": b"x"})])


@pytest.mark.parametrize(
    ("time", "words"),
    [(datetime(2025, 10, 1), "has no time zone; an event time is an instant"),
     (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "is before 1970"),
     (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=1))), "is before 1970"),
     (datetime.min.replace(tzinfo=UTC), "is before 1970")],
)  # fmt: skip
def test_time_without_a_place_in_an_id_is_refused(time: datetime, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ids([Record(time, {})])


def test_first_and_last_times_have_ids() -> None:
    for time in (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)):
        assert UUID(ids([Record(time, {})])[0]).int >> 80 == to_milliseconds(time)


@settings(deadline=None)
@given(payload=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
@example(payload={"a": "line\nbreak\r\u2028\x85\x00"})
def test_line_is_one_line_of_json_in_utf8(payload: dict[str, Any]) -> None:
    line = event(Record(TIME, payload), "some-id").to_json()
    assert b"\n" not in line
    assert b"\r" not in line
    data = json.loads(line.decode("utf-8"))
    assert set(data) == set(ENVELOPE)
    assert data["payload"] == payload
    assert (data["event_id"], data["event_time"]) == ("some-id", "2025-10-01T14:03:12.250Z")


def test_values_on_the_wire() -> None:
    payload = {"d": Decimal("10.50"), "day": date(2025, 10, 1), "at": TIME, "wall": datetime(2025, 10, 1, 9, 0, 0, 1)}
    assert json.loads(event(Record(TIME, payload)).to_json())["payload"] == {
        "d": "10.50",
        "day": "2025-10-01",
        "at": "2025-10-01T14:03:12.250Z",
        "wall": "2025-10-01T09:00:00.000001",
    }
