"""`mesh evolve` by command on a copy of the mesh: the east's contract changes, and nobody else's snapshot moves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import State

PRODUCT = "east_warehouse.orders_east"
RAW = f"{PRODUCT}__raw"
CONTRACT = "contracts/orders_east.odcs.yaml"
MODEL = "models/orders_east.sql"
HEADER = "order_id,line_number,customer_id,product_id,quantity,unit_price,amount,currency,status,order_time"
NOTE = """      - &gift_note
        name: gift_note
        logicalType: string
        physicalType: string
        description: What the customer wrote on the card.
        examples: [Happy birthday]
"""
PARCELS = """      - &parcels
        name: parcels
        logicalType: integer
        physicalType: int
        description: Parcels that the line was packed in.
        examples: [1]
"""


@pytest.fixture
def state(mesh_copy: Path, tmp_path: Path, make_state: Callable[..., State]) -> State:
    """A day of the whole mesh, on a copy of it."""
    made = make_state(tmp_path / "state", root=mesh_copy)
    made.json("run", "--days", 1)
    return made


def edit(state: State, path: str, *pairs: tuple[str, str]) -> None:
    """Replace each old text, which must be there, in a file of the east."""
    file = state.root / "domains" / "east_warehouse" / path
    text = file.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    file.write_text(text)


def add_column(state: State, column: str, yaml: str) -> None:
    """An optional column more, in event and table, and in the SQL between them."""
    event_time, table_end = "      - name: order_time\n", "      - *status\n      - *currency\n"
    edit(state, CONTRACT, (event_time, yaml + event_time), (table_end, f"{table_end}      - *{column}\n"))
    edit(state, MODEL, ("    r.currency\n", f"    r.currency,\n    r.{column}\n"))


def snapshots(state: State) -> dict[str, tuple[int, int]]:
    """Each table's snapshot, and how many led to it."""
    return {row["table"]: (row["snapshot_id"], row["snapshots"]) for row in state.json("status")}


def others(state: State) -> dict[str, tuple[int, int]]:
    return {table: moved for table, moved in snapshots(state).items() if not table.startswith("east_warehouse.")}


def send(state: State, product: str, header: str, *lines: str) -> None:
    path = state.folder / "sent.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    assert state.json("produce", product, "replay", path) == {"confirmed": len(lines), "malformed_lines": 0}


def line(order: str, *more: object, time: str = "2025-10-01T10:00:00") -> str:
    return ",".join(map(str, (order, 1, "C-EAST-00001", "P-0001", 2, "1.50", "3.00", "USD", "paid", time, *more)))


def ask(state: State, sql: str, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = state.json("query", "--role", "owner", sql, *options)
    return rows


def columns(state: State, table: str, *options: str) -> dict[str, str]:
    rows = ask(state, f"describe {table}", *options)
    return {row["column_name"]: row["column_type"] for row in rows}


def changes(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["table"], row["change"], row["field"]) for row in rows]


@pytest.mark.slow
def test_an_optional_column_moves_no_other_domain(state: State) -> None:
    before, shown = snapshots(state), columns(state, PRODUCT)
    counted = ask(state, f"select count(*)::int as n from {PRODUCT}")[0]["n"]
    old = {table: f"{table}@{before[table][0]}" for table in (RAW, PRODUCT)}
    add_column(state, "gift_note", NOTE)
    refused = state.mesh("ingest", PRODUCT, "--until-empty", check=1).err
    lacks = "the table lacks gift_note (string); rows that are there read null. Nothing was changed."
    assert f"{RAW}: {lacks} Run 'mesh evolve {PRODUCT}'" in refused
    planned = state.json("evolve", PRODUCT, "--plan")
    assert changes(planned) == [(RAW, "add", "gift_note"), (PRODUCT, "add", "gift_note")]
    assert not any(row["breaking"] for row in planned)
    # Ended between the two tables, it is finished by the next.
    assert state.mesh("evolve", PRODUCT, check=None, MESH_FAULT="evolve.committed:kill").code == -9
    assert changes(state.json("evolve", PRODUCT)) == [(PRODUCT, "add", "gift_note")]
    assert state.json("evolve", PRODUCT) == state.json("evolve", PRODUCT, "--plan") == []
    assert {row["mode"] for row in state.json("build")} == {"noop"}
    assert snapshots(state) == before

    assert columns(state, PRODUCT) == {**shown, "gift_note": "VARCHAR"}
    assert columns(state, PRODUCT, "--as-of", old[PRODUCT]) == shown
    assert "gift_note" not in columns(state, RAW, "--as-of", old[RAW])

    # What knows nothing of the column goes on as before.
    assert state.json("run")["key_ok"] is True
    unmoved = others(state)
    send(state, PRODUCT, HEADER, line("EAST-1"))
    send(state, PRODUCT, f"{HEADER},gift_note", line("EAST-2", "Happy birthday"))
    (report,) = state.json("ingest", PRODUCT, "--until-empty")
    assert (report["appended"], report["quarantined"]) == (2, 0)
    (built,) = state.json("build", PRODUCT)
    assert (built["mode"], built["rows"]) == ("incremental", 2)
    assert others(state) == unmoved
    notes = (
        f"select order_id, gift_note from {PRODUCT} where gift_note is not null or order_id in ('EAST-1', 'EAST-2')"
    )
    assert ask(state, f"{notes} order by 1") == [
        {"order_id": "EAST-1", "gift_note": None},
        {"order_id": "EAST-2", "gift_note": "Happy birthday"},
    ]
    assert ask(state, f"select count(*)::int as n from {PRODUCT}", "--as-of", old[PRODUCT]) == [{"n": counted}]
    assert columns(state, PRODUCT, "--as-of", old[PRODUCT]) == shown

    # The rows pass on, and the whole is what a build from nothing makes.
    facts = {row["table"]: row for row in state.json("build")}["logistics_core.fact_orders"]
    assert (facts["mode"], facts["rows"]) == ("incremental", 2)
    rows = f"select * from {PRODUCT} order by event_id"
    made = ask(state, rows)
    state.json("build", PRODUCT, "--full")
    assert ask(state, rows) == made


@pytest.mark.slow
def test_wider_and_renamed_columns_keep_their_history(state: State) -> None:
    add_column(state, "parcels", PARCELS)
    state.json("evolve", PRODUCT)
    send(state, PRODUCT, f"{HEADER},parcels", line("EAST-1", 3))
    state.json("ingest", PRODUCT, "--until-empty")
    state.json("build")
    before = snapshots(state)
    old = f"{PRODUCT}@{before[PRODUCT][0]}"
    rename = "        customProperties: [{property: mesh.renamedFrom, value: [parcels]}]\n"
    edit(
        state,
        CONTRACT,
        ("      - &parcels\n        name: parcels\n", f"      - &boxes\n        name: boxes\n{rename}"),
        ("      - *parcels\n", "      - *boxes\n"),
        ("physicalType: int\n        description: Parcels", "physicalType: long\n        description: Boxes"),
    )
    told = state.mesh("evolve", PRODUCT, "--plan", check=1)
    assert f"the table {RAW} has parcels" not in told.err
    assert "has parcels, which the contract renames to boxes" in told.out
    assert f"domains/east_warehouse/{MODEL}" in told.err
    assert snapshots(state) == before
    edit(state, MODEL, ("r.parcels", "r.boxes"))
    kinds = ("rename", "widen", "describe")
    assert changes(state.json("evolve", PRODUCT)) == [
        (table, kind, "boxes") for table in (RAW, PRODUCT) for kind in kinds
    ]
    assert {row["mode"] for row in state.json("build")} == {"noop"}
    assert snapshots(state) == before
    boxes = f"select boxes from {PRODUCT} where order_id = 'EAST-1'"
    assert ask(state, boxes) == ask(state, boxes, "--as-of", old) == [{"boxes": 3}]
    assert columns(state, PRODUCT)["boxes"] == "BIGINT"
    assert columns(state, PRODUCT, "--as-of", old)["boxes"] == "INTEGER"
    send(state, PRODUCT, f"{HEADER},boxes", line("EAST-2", 2**40))
    state.json("ingest", PRODUCT, "--until-empty")
    assert {row["table"]: row["mode"] for row in state.json("build")}[PRODUCT] == "incremental"
    assert ask(state, f"select sum(boxes)::bigint as n from {PRODUCT}") == [{"n": 2**40 + 3}]


@pytest.mark.slow
def test_what_breaks_is_refused_and_runs_as_version_2_beside_version_1(state: State) -> None:
    before = snapshots(state)
    sold = ask(state, f"select event_id, order_id, order_ts, amount_usd from {PRODUCT} order by 1")
    contract = (state.root / "domains/east_warehouse" / CONTRACT).read_text()
    # An instant instead of local time, and the channel of every sale: neither can be said of the old events.
    local = r"(- name: order_time\n.*\n.*physicalType: )timestamp\n.*mesh\.ambiguousTime.*\n"
    text = re.sub(local, r"\1timestamptz\n", contract)
    text = text.replace('["2025-10-01T10:03:12.250"]', '["2025-10-01T14:03:12.250Z"]')
    channel = NOTE.replace("gift_note", "channel").replace("Happy birthday", "web")
    channel = channel.replace("        description", "        required: true\n        description")
    text = text.replace("      - name: order_time\n", f"{channel}      - name: order_time\n")
    text = text.replace(
        "      - *status\n      - *currency\n", "      - *status\n      - *currency\n      - *channel\n"
    )
    edit(state, CONTRACT, (contract, text))
    edit(
        state, MODEL, ("r.currency", "r.currency, r.channel"), ("timezone(s.time_zone, r.order_time)", "r.order_time")
    )
    sql = (
        (state.root / "domains/east_warehouse" / MODEL)
        .read_text()
        .replace("timezone(s.time_zone, r.event_time)", "r.event_time")
    )
    sql = sql.replace("else timezone(s.time_zone, r.order_time)", "else r.order_time")
    (state.root / "domains/east_warehouse" / MODEL).write_text(sql)

    planned = state.mesh("evolve", PRODUCT, "--plan", "--format", "json", check=1)
    breaking = [(row["table"], row["change"], row["field"]) for row in planned.json if row["breaking"]]
    assert breaking == [
        (RAW, "add_required", "channel"),
        (RAW, "retype", "order_time"),
        (PRODUCT, "add_required", "channel"),
    ]
    refused = state.mesh("evolve", PRODUCT, check=1).err
    assert re.search(
        rf"{CONTRACT}:\d+: the table {RAW} has order_time as timestamp, the contract says timestamptz", refused
    )
    assert "version 2 next to this one, as docs/evolution.md says" in refused
    assert snapshots(state) == before

    # The recipe of docs/evolution.md. First both beside each other.
    folder = state.root / "domains/east_warehouse"
    second = text.replace("orders_east", "orders_east_v2").replace("order_created", "order_created_v2")
    second = second.replace("version: 1.0.0", "version: 2.0.0").partition(
        "customProperties:\n  - {property: mesh.implements"
    )[0]
    (folder / "contracts/orders_east_v2.odcs.yaml").write_text(second)
    (folder / CONTRACT).write_text(contract.replace("status: active", "status: deprecated", 1))
    both = {name: _union(name) for name in ("orders_east", "orders_east_v2")}
    for name, query in both.items():
        (folder / f"models/{name}.sql").write_text(query)
    unmoved = others(state)
    state.json("build", "east_warehouse")
    assert others(state) == unmoved
    v2 = f"{PRODUCT}_v2"
    send(state, PRODUCT, HEADER, line("EAST-1"))
    send(state, v2, f"{HEADER},channel", line("EAST-2", "web", time="2025-10-01T14:00:00Z"))
    reports = state.json("ingest", PRODUCT, v2, "--until-empty")
    assert [(report["appended"], report["quarantined"]) for report in reports] == [(1, 0), (1, 0)]
    state.json("build")
    same = "select event_id, order_id, order_ts, amount_usd from {} order by 1"
    rows = ask(state, same.format(PRODUCT))
    assert len(rows) == len(sold) + 2
    assert [row for row in rows if row["order_id"] not in ("EAST-1", "EAST-2")] == sold
    assert {row["order_ts"] for row in rows if row["order_id"] in ("EAST-1", "EAST-2")} == {"2025-10-01T14:00:00Z"}
    assert ask(state, same.format(v2)) == rows
    channels = f"select channel, count(*)::int as n from {v2} group by 1 order by 1"
    assert ask(state, channels) == [{"channel": "unknown", "n": len(sold) + 1}, {"channel": "web", "n": 1}]
    facts = "select event_id, order_id, order_ts from logistics_core.fact_orders order by 1"
    published = ask(state, facts)
    assert len([row for row in published if row["order_id"].startswith("EAST-")]) == len(rows)

    # Then readers change over, and version 1 ends.
    implements = "customProperties:\n  - {property: mesh.implements, value: order.v1}\n"
    (folder / "contracts/orders_east_v2.odcs.yaml").write_text(second + implements)
    edit(state, CONTRACT, (implements, ""))
    state.json("build")
    assert ask(state, facts) == published
    edit(state, CONTRACT, ("status: deprecated", "status: retired"))
    (folder / MODEL).unlink()
    assert PRODUCT not in {row["table"] for row in state.json("build")}
    assert "no such product" in state.mesh("ingest", PRODUCT, check=2).err
    send(state, v2, f"{HEADER},channel", line("EAST-3", "shop", time="2025-10-01T15:00:00Z"))
    state.json("ingest", "--until-empty")
    state.json("build")
    after = ask(state, facts)
    assert [row for row in after if row["order_id"] != "EAST-3"] == published
    assert len(after) == len(published) + 1


def _union(product: str) -> str:
    """The SQL of one version: its own events, and those of the other in its form."""
    shared = ("event_id", "order_id", "line_number", "customer_id", "product_id", "quantity", "status", "currency")
    selects = []
    for sent, time, channel in (
        ("orders_east", "timezone(s.time_zone, r.order_time)", "'unknown'"),
        ("orders_east_v2", "r.order_time", "r.channel"),
    ):
        shown = [f"r.{name}" for name in shared]
        shown += ["s.warehouse_id", f"{time} as order_ts", "r.unit_price as unit_price_usd", "r.amount as amount_usd"]
        if product.endswith("_v2"):
            shown.append(f"{channel} as channel")
        source = f"from east_warehouse.{sent}__raw as r inner join mesh.sites as s on s.domain = 'east_warehouse'"
        selects.append(f"select {', '.join(shown)}\n{source}\n")
    return "union all\n".join(selects)
