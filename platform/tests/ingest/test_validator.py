"""Every line delivered is accepted, or rejected with its reason, and never affects other lines."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.broker import MAX_MESSAGE_BYTES, Delivery
from mesh_platform.contract.contract import Contract
from mesh_platform.events.event import EventIds, Record
from mesh_platform.ingest.validator import validate
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.lake.tables import landing_schema, quarantine_schema

from tests.every_type import GOOD, NOW, PAYLOAD, changed, check, envelope, every_type, line, written


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def refused(contract: Contract, *bodies: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = check(contract, *bodies).rejected.to_pylist()
    return rows


def with_time(time: str) -> bytes:
    """A good line but for its time; the id is unchanged."""
    return changed(lambda data: data.update(event_time=time))


def at(time: str) -> bytes:
    """A good line with another time and the id for it."""
    data = envelope()
    data["event_time"] = time
    data["event_id"] = EventIds("x").id_of(Record(datetime.fromisoformat(time), {}))
    return json.dumps(data).encode()


# Good lines


def test_good_lines_are_rows_of_the_landing_table(contract: Contract) -> None:
    found = check(contract, line())
    assert (found.lines, found.rejected.num_rows) == (1, 0)
    assert found.accepted.schema == arrow_schema(landing_schema(contract))
    (row,) = found.accepted.to_pylist()
    assert row["event_id"] == envelope()["event_id"]
    assert row["event_time"].isoformat() == "2025-10-01T14:03:12.250000+00:00"
    assert (row["producer"], row["schema_version"], row["ingested_at"]) == ("test", "1.2.0", NOW)
    assert (row["name"], row["small"], row["big"], row["flag"]) == (PAYLOAD["name"], 7, -9_000_000_000, True)
    assert (row["price"], row["huge"], row["tiny"]) == (Decimal("19.90"), Decimal(PAYLOAD["huge"]), Decimal("1E-7"))
    assert row["born"].isoformat() == "2025-10-01"
    assert (row["wall"].isoformat(), row["wall"].tzinfo) == ("2025-10-01T10:03:12.250000", None)


def test_optional_fields_may_be_null_or_left_out(contract: Contract) -> None:
    optional = [name for name in PAYLOAD if name not in ("name", "at")]
    for value in (None, ...):
        (row,) = check(contract, line(**dict.fromkeys(optional, value))).accepted.to_pylist()
        assert {row[name] for name in optional} == {None}


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("price", "1.5", "1.50"), ("price", '"1.5"', "1.50"), ("price", "1.500", "1.50"),
        ("price", '"1.500"', "1.50"),
        ("price", "1e2", "100.00"), ("price", '"1E+2"', "100.00"), ("price", '"+5"', "5.00"),
        ("price", '".5"', "0.50"),
        ("price", '"0e50"', "0.00"), ("price", "0e-999999", "0.00"), ("price", '"-0"', "0.00"),
        ("price", "7", "7.00"),
        ("price", "9999999999.99", "9999999999.99"), ("price", f'"{"0" * 60}1"', "1.00"),
        ("price", f"1.{'0' * 5000}", "1.00"), ("huge", "9" * 38, "9" * 38),
        ("huge", f'"-{"9" * 38}"', "-" + "9" * 38),
        ("tiny", "1e-7", "1E-7"), ("tiny", '"99.9999999"', "99.9999999"),
    ],
)  # fmt: skip
def test_decimals_come_as_numbers_or_strings_and_stay_exact(
    contract: Contract, field: str, text: str, value: str
) -> None:
    for lines in ([written(field, text)], [GOOD[0], written(field, text), b"x"]):
        found = check(contract, b"\n".join(lines)).accepted.column(field).to_pylist()
        assert found[-1] == Decimal(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("small", "-5"), ("small", "100"), ("small", "-0"), ("big", "9223372036854775807"),
        ("big", "-9223372036854775808"), ("ratio", "1"), ("ratio", "-1.7e308"), ("ratio", "1e-999"),
        ("ratio", "-0.0"),
        ("flag", "false"), ("born", '"0001-01-01"'), ("born", '"9999-12-31"'), ("name", '""'),
        ("name", '"\\ud83d\\ude00"'),
        ("wall", '"2025-10-01"'), ("wall", '"2025-10-01 10:03"'), ("wall", '"0001-01-01T00:00:00.000001"'),
        ("at", '"2025-10-01T10:03:12+01:00"'), ("at", '"2025-10-01T10:03Z"'),
        ("wall", '"9999-12-31T23:59:59.999999"'),
        ("name", '"' + "x" * 1_000_000 + '"'),
    ],
)  # fmt: skip
def test_values_at_the_bounds_are_accepted_alone_and_among_others(contract: Contract, field: str, text: str) -> None:
    for body in (written(field, text), b"\n".join([GOOD[0], b"x", written(field, text)])):
        found = check(contract, body)
        assert "x" in {row["raw"].decode() for row in found.rejected.to_pylist()} or found.rejected.num_rows == 0
        assert found.accepted.num_rows + found.rejected.num_rows == found.lines
        assert found.accepted.num_rows == (2 if b"\nx\n" in body else 1)


@pytest.mark.parametrize("body", [b"%s\r\n%s\r\n", b"\n\n%s\n \n%s\n\t\n", b"  %s\n%s  \t\r"])
def test_line_ends_and_spaces_around_lines_change_nothing(contract: Contract, body: bytes) -> None:
    found = check(contract, body % (GOOD[0], GOOD[1]))
    assert (found.accepted.num_rows, found.lines) == (2, 2)


# Bad lines

BAD: list[tuple[str, bytes, str, str | None]] = [
    ("no json", b"hello", "not_json", None),
    ("half a line", GOOD[0][:200], "not_json", None),
    ("a list", b"[" + GOOD[0] + b"]", "not_json", None),
    ("a string", b'"x"', "not_json", None),
    ("null", b"null", "not_json", None),
    ("python", GOOD[0].replace(b'"', b"'"), "not_json", None),
    ("trailing comma", GOOD[0][:-1] + b",}", "not_json", None),
    ("a comment", GOOD[0] + b"//x}", "not_json", None),
    ("two objects", GOOD[0] + GOOD[1], "not_json", None),
    ("two objects with a space", GOOD[0] + b" " + GOOD[1], "not_json", None),
    ("two objects with a return", GOOD[0] + b"\r" + GOOD[1], "not_json", None),
    ("bytes after NUL", GOOD[0] + b"\0x}", "not_json", None),
    ("NUL within", GOOD[0][:-1] + b"\0}", "not_json", None),
    ("a raw tab in a string", written("name", b'"a\tb"'), "not_json", None),
    ("vertical tab", b"\x0b" + GOOD[0], "not_json", None),
    ("byte order mark", b"\xef\xbb\xbf" + GOOD[0], "not_json", None),
    ("leading zero", written("small", "07"), "not_json", None),
    ("plus sign", written("small", "+7"), "not_json", None),
    ("bare word", written("flag", "True"), "not_json", None),
    ("exponent out of bounds", written("price", "1e99999999999999999999"), "not_json", None),
    ("deep lists", b"[" * 1_000_000, "not_json", None),
    ("deep objects", b'{"a":' * 1_000_000, "not_json", None),
    ("deep and closed", b'{"payload":' * 100_000 + b"1" + b"}" * 100_000, "not_json", None),
    ("latin-1", written("name", b'"\xe9"'), "not_utf8", None),
    ("utf-16", GOOD[0].decode().encode("utf-16"), "not_utf8", None),
    ("surrogate in utf-8", written("name", b'"\xed\xa0\x80"'), "not_utf8", None),
    ("empty object", b"{}", "missing", "event_id"),
    ("no id", changed(lambda data: data.pop("event_id")), "missing", "event_id"),
    ("null id", changed(lambda data: data.update(event_id=None)), "missing", "event_id"),
    ("no time", changed(lambda data: data.pop("event_time")), "missing", "event_time"),
    ("no type", changed(lambda data: data.pop("event_type")), "missing", "event_type"),
    ("no producer", changed(lambda data: data.pop("producer")), "missing", "producer"),
    ("no version", changed(lambda data: data.pop("schema_version")), "missing", "schema_version"),
    ("no payload", changed(lambda data: data.pop("payload")), "missing", "payload"),
    ("null payload", changed(lambda data: data.update(payload=None)), "missing", "payload"),
    ("empty payload", changed(lambda data: data.update(payload={})), "missing", "name"),
    ("required field left out", line(name=...), "missing", "name"),
    ("required field null", line(at=None), "missing", "at"),
    ("payload a list", changed(lambda data: data.update(payload=[])), "wrong_type", "payload"),
    ("payload a string", changed(lambda data: data.update(payload="{}")), "wrong_type", "payload"),
    ("id a number", changed(lambda data: data.update(event_id=7)), "wrong_type", "event_id"),
    ("id no uuid", changed(lambda data: data.update(event_id="7")), "wrong_type", "event_id"),
    ("id in capitals", changed(lambda d: d.update(event_id=d["event_id"].upper())), "wrong_type", "event_id"),
    ("id with a line end", changed(lambda d: d.update(event_id=d["event_id"] + "\n")), "wrong_type", "event_id"),
    ("producer half a surrogate", changed(lambda data: data.update(producer="\ud800")), "wrong_type", "producer"),
    ("time a number", changed(lambda data: data.update(event_time=1759327392)), "wrong_type", "event_time"),
    ("time without zone", with_time("2025-10-01T14:03:12.250"), "wrong_type", "event_time"),
    ("time a word", with_time("now"), "wrong_type", "event_time"),
    ("time in year 0", with_time("0000-01-01T00:00:00Z"), "wrong_type", "event_time"),
    ("time before year 1", with_time("0001-01-01T00:00:00+01:00"), "wrong_type", "event_time"),
    ("time after 9999", with_time("9999-12-31T23:59:59-01:00"), "wrong_type", "event_time"),
    ("other time than the id", with_time("2025-10-01T14:03:12.251Z"), "id_time_mismatch", "event_time"),
    ("time before 1970", with_time("1969-10-01T14:03:12Z"), "id_time_mismatch", "event_time"),
    ("other type", changed(lambda data: data.update(event_type="thing_sold")), "event_type", "event_type"),
    ("NUL in the producer", changed(lambda data: data.update(producer="a\0")), "nul_character", "producer"),
    ("NUL in the version", changed(lambda data: data.update(schema_version="\0")), "nul_character", "schema_version"),
    ("unknown in the envelope", changed(lambda data: data.update(colour=1)), "unknown_field", "colour"),
    ("unknown in the payload", line(colour="red"), "unknown_field", "colour"),
    ("unknown that cannot be shown", GOOD[0][:-2] + b',"\\ud800":1}}', "unknown_field",
     "\\ud800"),
    ("unknown NUL", GOOD[0][:-2] + b',"\\u0000":1}}', "unknown_field", "\\0"),
    ("unknown and long", GOOD[0][:-2] + b',"' + b"k" * 1_000_000 + b'":1}}', "unknown_field", "k" * 200),
    ("twice in the envelope", GOOD[0][:-1] + b',"producer":"x"}', "duplicate_key", "producer"),
    ("twice, once escaped", GOOD[0][:-1] + b',"produc\\u0065r":"x"}', "duplicate_key", "producer"),
    ("twice in the payload", GOOD[0][:-2] + b',"name":"x"}}', "duplicate_key", "name"),
    ("twice and not to be shown", b'{"\\ud800":1,"\\ud800":2}', "duplicate_key", "\\ud800"),
    ("string a number", written("name", "5"), "wrong_type", "name"),
    ("string half a surrogate", written("name", '"\\ud800"'), "wrong_type", "name"),
    ("string deep", written("name", "[" * 900 + "]" * 900), "wrong_type", "name"),
    ("string an object", written("name", '{"a": 1}'), "wrong_type", "name"),
    ("NUL", written("name", '"a\\u0000b"'), "nul_character", "name"),
    ("int a string", written("small", '"7"'), "wrong_type", "small"),
    ("int a boolean", written("small", "true"), "wrong_type", "small"),
    ("int a fraction", written("small", "7.0"), "wrong_type", "small"),
    ("int with exponent", written("small", "1e1"), "wrong_type", "small"),
    ("int over 32 bits", written("small", "2147483648"), "wrong_type", "small"),
    ("int of 5000 digits", written("small", "9" * 5000), "wrong_type", "small"),
    ("long over 64 bits", written("big", "9223372036854775808"), "wrong_type", "big"),
    ("double a string", written("ratio", '"0.5"'), "wrong_type", "ratio"),
    ("double NaN", written("ratio", "NaN"), "wrong_type", "ratio"),
    ("double Infinity", written("ratio", "-Infinity"), "wrong_type", "ratio"),
    ("double too large", written("ratio", "1e999"), "wrong_type", "ratio"),
    ("double of 400 digits", written("ratio", "9" * 400), "wrong_type", "ratio"),
    ("double a boolean", written("ratio", "true"), "wrong_type", "ratio"),
    ("boolean a number", written("flag", "1"), "wrong_type", "flag"),
    ("boolean a string", written("flag", '"true"'), "wrong_type", "flag"),
    ("decimal NaN", written("price", '"NaN"'), "wrong_type", "price"),
    ("decimal bare NaN", written("price", "NaN"), "wrong_type", "price"),
    ("decimal empty", written("price", '""'), "wrong_type", "price"),
    ("decimal with underscore", written("price", '"1_0"'), "wrong_type", "price"),
    ("decimal with space", written("price", '"1.5 "'), "wrong_type", "price"),
    ("decimal in other digits", written("price", '"١"'), "wrong_type", "price"),
    ("decimal too fine", written("price", '"1.505"'), "wrong_type", "price"),
    ("decimal too large", written("price", '"10000000000"'), "wrong_type", "price"),
    ("decimal too large as number", written("price", "10000000000"), "wrong_type", "price"),
    ("decimal of 39 digits", written("huge", "1" + "0" * 38), "wrong_type", "huge"),
    ("decimal a boolean", written("price", "true"), "wrong_type", "price"),
    # For these two Arrow reads its tables out of bounds, and the second crashes the process.
    ("decimal far too fine", written("price", "1e-400"), "wrong_type", "price"),
    ("decimal that ends Arrow", written("price", "1e-2147483647"), "wrong_type", "price"),
    ("decimal string that ends Arrow", written("price", '"1e-2147483647"'), "wrong_type", "price"),
    ("escaped decimal that ends Arrow", written("price", '"1\\u0065-2147483647"'), "wrong_type", "price"),
    ("date a number", written("born", "20000"), "wrong_type", "born"),
    ("date in basic form", written("born", '"20251001"'), "wrong_type", "born"),
    ("date that is none", written("born", '"2025-02-30"'), "wrong_type", "born"),
    ("date in year 0", written("born", '"0000-12-31"'), "wrong_type", "born"),
    ("date with time", written("born", '"2025-10-01T00:00:00"'), "wrong_type", "born"),
    ("local time with zone", written("wall", '"2025-10-01T10:00:00Z"'), "wrong_type", "wall"),
    ("local time in year 0", written("wall", '"0000-01-01T00:00:00"'), "wrong_type", "wall"),
    ("time in nanoseconds", written("wall", '"2025-10-01T10:00:00.123456789"'), "wrong_type", "wall"),
    ("instant without zone", written("at", '"2025-10-01T10:00:00"'), "wrong_type", "at"),
    ("instant in year 0 that is in year 1 by UTC", written("at", '"0000-12-31T23:00-01:00"'), "wrong_type", "at"),
    ("hour after a dash", written("at", '"2025-10-01-10+01:00"'), "wrong_type", "at"),
    ("leap second", written("at", '"2025-10-01T23:59:60Z"'), "wrong_type", "at"),
    ("below", line(small=-6), "out_of_range", "small"),
    ("above", line(small=101), "out_of_range", "small"),
    ("double above", line(ratio=1.5000001), "out_of_range", "ratio"),
    ("decimal below", line(price="-0.01"), "out_of_range", "price"),
    ("pattern", line(code="a-12"), "pattern", "code"),
    ("pattern over two lines", line(code="A-12\nx"), "pattern", "code"),
    ("not allowed", line(state="New"), "not_allowed", "state"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "reason", "field"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_line_has_its_reason_and_field_and_spares_the_others(
    contract: Contract, raw: bytes, reason: str, field: str | None
) -> None:
    alone = refused(contract, raw)
    among = refused(contract, b"\n".join([GOOD[0], raw, GOOD[1], b"{", GOOD[2]]))
    assert [(row["reason"], row["field"]) for row in alone] == [(reason, field)]
    assert [(row["reason"], row["field"]) for row in among if row["raw"] != b"{"] == [(reason, field)]
    found = check(contract, b"\n".join([GOOD[0], raw, GOOD[1]]))
    assert found.accepted.column("name").to_pylist() == ["0", "1"]
    assert found.rejected.column("raw").to_pylist() == [raw]
    assert found.lines == 3
    assert 0 < len(alone[0]["detail"]) <= 3000


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_line_is_kept_as_it_came(contract: Contract, number: int) -> None:
    raw = BAD[number][1]
    row = refused(contract, GOOD[0] + b"\n" + raw)[0]
    assert row["raw"] == raw
    assert (row["raw_sha256"], row["raw_bytes"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert (row["message_id"], row["position"], row["rejected_at"]) == ("m0", 1, NOW)
    assert row["rejection_key"] == (row["event_id"] or f"m0:1:{hashlib.sha256(raw).hexdigest()}")


def test_rejected_rows_have_the_quarantines_schema(contract: Contract) -> None:
    found = check(contract, *(raw for _, raw, _, _ in BAD))
    assert found.rejected.schema == arrow_schema(quarantine_schema(contract))
    assert check(contract, line()).rejected.schema == found.rejected.schema
    assert found.accepted.schema == check(contract, line()).accepted.schema


def test_identity_is_kept_where_it_can_be_read(contract: Contract) -> None:
    known, without_time, unknown = refused(contract, line(small=101), with_time("now"), b"{")
    assert known["event_id"] == known["rejection_key"] == envelope()["event_id"]
    assert known["event_time"].isoformat() == "2025-10-01T14:03:12.250000+00:00"
    assert without_time["event_id"] == envelope()["event_id"]
    assert without_time["event_time"] is None
    assert (unknown["event_id"], unknown["rejection_key"]) == (None, f"m2:0:{hashlib.sha256(b'{').hexdigest()}")


def test_two_senders_with_the_same_message_ids_lose_nothing(contract: Contract) -> None:
    deliveries = [Delivery(body, "1", tag, False) for tag, body in enumerate([b"garbage one", b"garbage two"])]
    rows = validate(contract, deliveries, NOW).rejected.to_pylist()
    assert len({row["rejection_key"] for row in rows}) == 2


def test_without_a_message_id_the_bytes_are_the_key(contract: Contract) -> None:
    (row,) = validate(contract, [Delivery(b"{", None, 1, True)], NOW).rejected.to_pylist()
    assert row["rejection_key"] == hashlib.sha256(b"{").hexdigest()


def test_order_and_place_are_kept_over_messages(contract: Contract) -> None:
    bodies = [b"\n".join([GOOD[0], b"a", b"b"]), b"c", b"\n".join([b"d", GOOD[1], b"e"])]
    found = check(contract, *bodies)
    places = [(row["message_id"], row["position"], row["raw"]) for row in found.rejected.to_pylist()]
    assert places == [("m0", 1, b"a"), ("m0", 2, b"b"), ("m1", 0, b"c"), ("m2", 0, b"d"), ("m2", 2, b"e")]
    assert found.accepted.column("name").to_pylist() == ["0", "1"]


# Whole messages


def test_nothing_delivered_is_nothing(contract: Contract) -> None:
    found = check(contract)
    assert (found.lines, found.accepted.num_rows, found.rejected.num_rows) == (0, 0, 0)


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n", b"\x0b"])
def test_empty_message_is_seen(contract: Contract, body: bytes) -> None:
    (row,) = refused(contract, body)
    assert (row["reason"], row["raw"], row["position"]) == ("empty", body, 0)


def test_message_at_the_limit_is_read_and_one_over_it_is_cut(contract: Contract) -> None:
    empty = len(line(name=""))
    fits = line(name="x" * (MAX_MESSAGE_BYTES - empty))
    large = line(name="x" * (MAX_MESSAGE_BYTES - empty + 1))
    found = check(contract, fits, large, GOOD[0])
    assert (found.accepted.num_rows, found.lines) == (2, 3)
    (row,) = found.rejected.to_pylist()
    assert (row["reason"], row["message_id"], row["raw"]) == ("too_large", "m1", large[: 64 * 1024])
    assert (row["raw_bytes"], row["raw_sha256"]) == (MAX_MESSAGE_BYTES + 1, hashlib.sha256(large).hexdigest())


@pytest.mark.parametrize(
    ("ago", "reason"),
    [
        (timedelta(0), None),
        (timedelta(days=730), None),
        (timedelta(days=730, milliseconds=1), "beyond_retention"),
        (timedelta(days=9000), "beyond_retention"),
    ],
)
def test_event_beyond_retention_is_refused(contract: Contract, ago: timedelta, reason: str | None) -> None:
    found = refused(contract, at((NOW - ago).isoformat()))
    assert [row["reason"] for row in found] == ([reason] if reason else [])


def test_event_of_the_future_is_refused(contract: Contract) -> None:
    (row,) = refused(contract, at("2999-01-01T00:00:00+00:00"))
    assert (row["reason"], row["field"]) == ("in_the_future", "event_time")
    # A simulated clock may be ahead of the system clock; the sender's may be a day ahead of that.
    then = NOW.replace(year=2990)
    deliveries = [Delivery(at((then + timedelta(hours=h)).isoformat()), "m", h, False) for h in (23, 24, 25)]
    assert validate(contract, deliveries, then).accepted.num_rows == 2


def test_parts_of_a_millisecond_are_within_the_ids(contract: Contract) -> None:
    raw = with_time("2025-10-01T14:03:12.250999Z")
    assert check(contract, raw).accepted.num_rows == 1


@pytest.mark.parametrize("missing", ["payload", "name"])
def test_contract_without_required_fields_still_needs_a_payload(tmp_path: Path, missing: str) -> None:
    loose = every_type(tmp_path, name={"required": False})
    data = envelope()
    (data if missing == "payload" else data["payload"]).pop(missing)
    found = check(loose, json.dumps(data).encode())
    assert found.accepted.num_rows == (0 if missing == "payload" else 1)


@pytest.mark.parametrize(
    ("column", "time", "refuses"),
    [
        ("at", "9999-12-31T00:00:00Z", True),
        ("wall", "9999-12-31T00:00:00", True),
        ("at", "1000-01-01T00:00:00Z", False),
    ],
)
def test_an_event_whose_own_time_is_of_the_future_is_refused(
    tmp_path: Path, column: str, time: str, refuses: bool
) -> None:
    contract = every_type(tmp_path, time=column, wall={"required": True})
    assert contract.event is not None
    assert contract.event.time == column
    found = refused(contract, line(**{column: time}))
    assert [(row["reason"], row["field"]) for row in found] == ([("in_the_future", column)] if refuses else [])


def test_a_local_time_may_be_ahead_of_utc_by_its_zone(tmp_path: Path) -> None:
    contract = every_type(tmp_path, time="wall", wall={"required": True})
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    bodies = [line(n, wall=(now + timedelta(hours=hours)).isoformat()) for n, hours in enumerate((37, 39))]
    (row,) = refused(contract, *bodies)
    assert row["position"] == 0
    assert str(now.year) in row["detail"] or str(now.year + 1) in row["detail"]
