"""Producer, validator and SQL resolve a local time that a clock shows twice or never to the same instant, or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_platform.build.reference import _odd_time
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.wall_clock import OddTimeError, find_instant, find_odd
from mesh_platform.errors import Problem
from mesh_platform.events.event import Event, EventIds, Record, format_local
from mesh_platform.events.producer import read_csv, stamp, wrap
from mesh_platform.governance.local_times import find_misread

from conftest import draws
from tests.every_type import PAYLOAD, check, every_type, shop

ZONES = [
    "America/New_York",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",  # winter time is the one that the clock is set to
    "Australia/Lord_Howe",  # by half an hour
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "UTC",
]
AUTUMN, SPRING = "2025-11-02T01:30:00.000", "2025-03-09T02:30:00.000"
EARLIER, LATER, SHIFTED = "2025-11-02T05:30:00.000Z", "2025-11-02T06:30:00.000Z", "2025-03-09T07:30:00.000Z"
NEW_YORK = "America/New_York"
POLICIES = {"mesh.ambiguousTime": ("earlier", "later", "reject"), "mesh.nonexistentTime": ("shift", "reject")}


def local_contract(folder: Path, zone: str = NEW_YORK, time: str = "wall", **words: str) -> Contract:
    """A contract whose column of local time is `wall`, with the options `words`."""
    said = [{"property": f"mesh.{name}", "value": word} for name, word in words.items()]
    contract = every_type(folder, time=time, wall={"required": True, "customProperties": said})
    return replace(contract, time_zone=zone)


def saying(contract: Contract, zone: str, ambiguous: str, nonexistent: str) -> Contract:
    """The contract with these options, and the site in that zone."""
    assert contract.event is not None
    said = [
        replace(field, ambiguous_time=ambiguous, nonexistent_time=nonexistent) if field.name == "wall" else field
        for field in contract.event.fields
    ]
    long = timedelta(days=36500)
    return replace(contract, event=replace(contract.event, fields=tuple(said)), time_zone=zone, retention=long)


def event(wall: str, event_time: str, number: int = 0) -> bytes:
    """An event with the local time `wall`."""
    time = datetime.fromisoformat(event_time)
    event_id = EventIds(f"test {number}").id_of(Record(time, {}))
    line = Event(event_id, "thing_made", time, "test", "1.2.0", {**PAYLOAD, "wall": wall})
    return line.to_json()


def reasons(contract: Contract, wall: str, event_time: str) -> list[tuple[str, str]]:
    return [(row["reason"], row["field"]) for row in check(contract, event(wall, event_time)).rejected.to_pylist()]


def replay(contract: Contract, wall: str, folder: Path, zone: str = NEW_YORK) -> tuple[list[Record], list[Problem]]:
    path = folder / "file.csv"
    names = [name for name in PAYLOAD if name not in ("name",)]
    cells = [str({**PAYLOAD, "wall": wall}[name]) for name in names]
    path.write_text(f"name,{','.join(names)}\nLamp,{','.join(cells)}\n")
    problems: list[Problem] = []
    return list(read_csv(contract, shop(folder, zone), path, problems.append)), problems


# The contract says which


@pytest.mark.parametrize(
    ("wall", "said", "instant"),
    [
        (AUTUMN, {"ambiguousTime": "earlier"}, EARLIER),
        (AUTUMN, {"ambiguousTime": "later"}, LATER),
        (SPRING, {"nonexistentTime": "shift"}, SHIFTED),
    ],
)
def test_a_file_is_read_as_the_contract_says(tmp_path: Path, wall: str, said: dict[str, str], instant: str) -> None:
    contract = local_contract(tmp_path, **said)
    (record,), problems = replay(contract, wall, tmp_path)
    assert problems == []
    assert record.time == datetime.fromisoformat(instant)
    assert record.payload["wall"] == wall
    assert reasons(contract, wall, instant) == []


@pytest.mark.parametrize(
    ("wall", "said", "words"),
    [
        (AUTUMN, {"nonexistentTime": "shift"}, "is shown twice by the clock in America/New_York; mesh.ambiguousTime"),
        (SPRING, {"ambiguousTime": "later"}, "is never shown by the clock in America/New_York; mesh.nonexistentTime"),
    ],
)
@pytest.mark.parametrize("time", ["wall", "at"])
def test_a_line_with_an_odd_time_is_malformed(
    tmp_path: Path, wall: str, said: dict[str, str], words: str, time: str
) -> None:
    records, (problem,) = replay(local_contract(tmp_path, time=time, **said), wall, tmp_path)
    assert records == []
    assert problem.line == 2
    assert f"wall '{wall}' {words}" in problem.message


@pytest.mark.parametrize("instant", [EARLIER, LATER])
def test_the_envelope_says_which_of_two_instants_it_was(tmp_path: Path, instant: str) -> None:
    assert reasons(local_contract(tmp_path), AUTUMN, instant) == []
    fine = AUTUMN[:-3] + "123456"
    assert reasons(local_contract(tmp_path), fine, instant.replace(".000Z", ".123Z")) == []


@pytest.mark.parametrize(
    ("wall", "event_time", "reason"),
    [
        (AUTUMN, "2025-11-02T07:30:00.000Z", "ambiguous_time"),
        (SPRING, SHIFTED, "nonexistent_time"),
        (SPRING, "2025-03-09T06:30:00.000Z", "nonexistent_time"),
    ],
)
def test_an_event_with_an_odd_time_is_quarantined(tmp_path: Path, wall: str, event_time: str, reason: str) -> None:
    contract = local_contract(tmp_path)
    assert reasons(contract, wall, event_time) == [(reason, "wall")]
    (row,) = check(contract, event(wall, event_time)).rejected.to_pylist()
    assert "The clock in America/New_York" in row["detail"]
    lenient = local_contract(tmp_path, ambiguousTime="earlier", nonexistentTime="shift")
    assert reasons(lenient, wall, event_time) == []


def test_of_a_column_that_is_not_the_events_time_the_envelope_says_nothing(tmp_path: Path) -> None:
    contract = local_contract(tmp_path, time="at")
    assert reasons(contract, AUTUMN, EARLIER) == [("ambiguous_time", "wall")]
    assert reasons(contract, "2025-11-02T02:00:00.000", EARLIER) == []
    assert reasons(local_contract(tmp_path, time="at", ambiguousTime="earlier"), AUTUMN, EARLIER) == []


def test_a_column_that_may_be_missing_is_not_odd_where_it_is(tmp_path: Path) -> None:
    contract = replace(every_type(tmp_path), time_zone="Africa/Monrovia")
    lines = [json.loads(event("1972-01-07T00:30:00", EARLIER, number)) for number in (1, 2)]
    del lines[0]["payload"]["wall"]
    found = check(contract, *(json.dumps(line).encode() for line in lines))
    assert found.accepted.num_rows == 1
    # On that day the clock was set from 00:00 to 00:44:30.
    assert found.rejected["reason"].to_pylist() == ["nonexistent_time"]


def test_without_a_site_local_times_are_utc(tmp_path: Path) -> None:
    contract = replace(local_contract(tmp_path), time_zone=None)
    for wall in (AUTUMN, SPRING):
        assert reasons(contract, wall, f"{wall}Z") == []
        domain = replace(shop(tmp_path), site=None)
        (tmp_path / "file.csv").write_text(f"name,wall,at\nLamp,{wall},{EARLIER}\n")
        (record,) = read_csv(contract, domain, tmp_path / "file.csv", print)
        assert record.time == datetime.fromisoformat(f"{wall}Z")


def test_reference_data_is_held_to_it_too(tmp_path: Path) -> None:
    field = local_contract(tmp_path).event.by_name["wall"]  # type: ignore[union-attr]
    assert "is shown twice" in (_odd_time(field, datetime.fromisoformat(AUTUMN), NEW_YORK) or "")
    assert "is never shown" in (_odd_time(field, datetime.fromisoformat(SPRING), NEW_YORK) or "")
    assert _odd_time(field, datetime.fromisoformat(AUTUMN), None) is None
    assert _odd_time(replace(field, ambiguous_time="later"), datetime.fromisoformat(AUTUMN), NEW_YORK) is None


# Producer, validator and SQL agree


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """Read once; `saying` changes its options."""
    return local_contract(tmp_path_factory.mktemp("contract"))


@pytest.fixture(scope="module")
def session() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


@st.composite
def near_a_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant, within hours of a day on which clocks are set there or any other."""
    zone = draw(st.sampled_from(ZONES))
    any_time = st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1))
    sundays = [datetime(2025, 3, 9, 7), datetime(2025, 11, 2, 6), datetime(2025, 3, 30, 1), datetime(2025, 10, 26, 1),
               datetime(2025, 4, 5, 15), datetime(2025, 10, 4, 15, 30)]  # fmt: skip
    close = st.builds(
        lambda day, away: day + timedelta(microseconds=away),
        st.sampled_from(sundays),
        st.integers(-3 * 3600 * 10**6, 3 * 3600 * 10**6),
    )
    return zone, draw(close | any_time).replace(tzinfo=UTC)


def in_sql(session: duckdb.DuckDBPyConnection, expression: str, **values: object) -> object:
    names = ", ".join(f"${name} as {name}" for name in values)
    (found,) = session.execute(f"select {expression} from (select {names})", values).fetchone() or (None,)
    return found


@settings(deadline=None, max_examples=draws(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(near_a_change())
def test_what_a_clock_showed_is_the_same_instant_for_all(
    session: duckdb.DuckDBPyConnection, local: Contract, tmp_path: Path, drawn: tuple[str, datetime]
) -> None:
    zone, instant = drawn
    instant = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    contract = saying(local, zone, "reject", "reject")
    domain = shop(tmp_path, zone)
    (record,) = stamp(contract, domain.site, [Record(instant, PAYLOAD)], [instant])
    (sent,) = wrap(contract, [record], "test")
    found = check(contract, sent.to_json())
    assert {*found.rejected["reason"].to_pylist()} <= {"in_the_future"}
    if found.accepted.num_rows:
        assert found.accepted["event_time"].to_pylist() == [instant]
    wall = datetime.fromisoformat(record.payload["wall"])
    sql = "case when timezone(zone, instant) = wall then instant else timezone(zone, wall) end"
    assert in_sql(session, sql, zone=zone, wall=wall, instant=instant) == instant


@settings(deadline=None, max_examples=draws(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(near_a_change())
def test_timezone_in_sql_reads_as_later_and_shift_do(
    session: duckdb.DuckDBPyConnection, drawn: tuple[str, datetime]
) -> None:
    zone, instant = drawn
    # Used as local times, some of which are skipped and some shown twice.
    offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    wall = (instant + offset).replace(tzinfo=None)
    for shown in (wall, wall + timedelta(hours=1)):
        clock = ZoneInfo(zone)
        earlier, later = (find_instant(shown, clock, word, "shift") for word in ("earlier", "later"))
        assert in_sql(session, "timezone(zone, wall)", zone=zone, wall=shown) == later
        (odd,) = [*find_odd(_micros(shown), zone)] or [None]
        if odd is None:
            assert find_instant(shown, clock, "reject", "reject") == earlier == later
            continue
        with pytest.raises(OddTimeError, match="twice" if odd[1].twice else "never"):
            find_instant(shown, clock, "reject", "reject")
        assert odd[1].twice == (earlier != later)
        shown_us = int(_micros(shown)[0])
        assert _instant(shown_us - odd[1].before) == earlier
        assert not odd[1].twice or _instant(shown_us - odd[1].after) == later


def _instant(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _micros(local: datetime) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([(local - datetime(1970, 1, 1)) // timedelta(microseconds=1)], np.int64)


@settings(deadline=None, max_examples=draws(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(near_a_change(), st.sampled_from(["earlier", "later"]))
def test_a_file_of_local_times_lands_as_the_instants_that_sql_reads(
    session: duckdb.DuckDBPyConnection, local: Contract, tmp_path: Path, drawn: tuple[str, datetime], word: str
) -> None:
    zone, instant = drawn
    wall = format_local(instant.astimezone(ZoneInfo(zone)))
    contract = saying(local, zone, word, "shift")
    (record,), problems = replay(contract, wall, tmp_path, zone)
    assert problems == []
    (sent,) = wrap(contract, [record], "test")
    found = check(contract, sent.to_json())
    assert {*found.rejected["reason"].to_pylist()} <= {"in_the_future"}
    read = {"zone": zone, "wall": datetime.fromisoformat(wall), "instant": record.time}
    assert in_sql(session, "case when timezone(zone, instant) = wall then instant end", **read) == record.time
    if word == "later":
        assert in_sql(session, "timezone(zone, wall)", **read) == record.time
    else:
        earlier = "timezone(zone, wall - interval 2 hour) + interval 2 hour"
        sql = f"case when timezone(zone, {earlier}) = wall then {earlier} else timezone(zone, wall) end"
        assert in_sql(session, sql, **read) == record.time


@pytest.mark.parametrize("year", [1, 2, 1883, 1970, 9998, 9999])
def test_the_ends_of_the_calendar_have_no_surprises(year: int) -> None:
    days = np.array([(datetime(year, 1, 1) - datetime(1970, 1, 1)) // timedelta(microseconds=1)], np.int64)
    assert [*find_odd(days, "Europe/Berlin")] == []


# SQL that would read another instant is found


LOCAL = {
    ("shop.sales__raw", "wall"): "timezone(zone, event_time) = wall then event_time",
    ("shop.sales__raw", "due"): "timezone(zone, due - interval 2 hour) + interval 2 hour then due",
    ("shop.sales__raw", "sent"): "",
}


@pytest.mark.parametrize(
    ("sql", "lines"),
    [
        ("select timezone('Europe/Berlin', r.wall) as t from shop.sales__raw as r", [1]),
        ("select\n timezone('Etc/UTC', wall) as t,\n wall at time zone 'UTC' as u from shop.sales__raw", [2, 3]),
        ("select r.wall, timezone('UTC', r.sure) as t from shop.sales__raw as r", []),
        ("with w as (select wall as x from shop.sales__raw) select timezone('UTC', w.x) as t from w", [1]),
        ("select timezone('UTC', event_time) as t from shop.sales__raw", []),
        ("select case when timezone(z, event_time) = wall then event_time else timezone(z, wall) end as t "
         "from shop.sales__raw", []),
        ("select case when wall = timezone(z, event_time) then event_time else timezone(z, wall) end as t "
         "from shop.sales__raw", []),
        ("select case when wall > due then event_time else timezone(z, wall) end as t from shop.sales__raw", [1]),
        ("select case when timezone(z, event_time) = wall then 1 else timezone(z, due) end as t from shop.sales__raw",
         [1]),
        ("select timezone(z, sent) as t from shop.sales__raw", []),
        ("select\n sent::timestamptz as t,\n cast(r.wall as timestamp with time zone) as u,\n"
         " try_cast(due as timestamptz) as v from shop.sales__raw as r", [2, 3, 4]),
        ("with w as (select sent as x from shop.sales__raw) select w.x::timestamptz as t from w", [1]),
        ("select sent::date as d, event_time::timestamptz as t, sure::timestamptz as u from shop.sales__raw", []),
        ("select case when timezone(z, event_time) = wall then wall::timestamptz end as t from shop.sales__raw", [1]),
    ],
)  # fmt: skip
def test_a_call_or_a_cast_that_may_be_hours_off_is_found(sql: str, lines: list[int]) -> None:
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert sorted(line for line, _, _ in find_misread(tree, LOCAL)) == lines
