"""Wrong calls, wrong contracts, wrong messages, a full disk: what people read, the exit code, and nothing lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
from chaos import NAMES, broker_of
from fault_record import record
from invariants import landed_ids, quarantine, violations
from mesh_platform.broker import MAX_MESSAGE_BYTES
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, envelope, in_batches, inject, lines, send, waiting

from conftest import ROOT, SLOW_ON_RABBITMQ, State

CONTRACT = Path("domains/south_warehouse/contracts/orders_south.odcs.yaml")


_numbers = count(600)


def order(**payload: object) -> bytes:
    return json.dumps(envelope(next(_numbers), payload=payload)).encode()


def enveloped(**changes: object) -> bytes:
    return json.dumps(envelope(next(_numbers), **changes)).encode()


def altered(old: bytes, new: bytes) -> bytes:
    good = order()
    assert old in good
    return good.replace(old, new)


# What a message can be, and why it is refused.
BAD_MESSAGES = {
    "truncated": (order()[:-20], "not_json"),
    "NaN": (order(quantity=float("nan")), "wrong_type"),
    "NUL": (order(order_id="a\0b"), "nul_character"),
    "40 digits": (order(quantity=10**40), "wrong_type"),
    "40 digits as text": (order(amount="9" * 40), "wrong_type"),
    "5000 digits": (altered(b'"20.00"', b"9" * 5000), "wrong_type"),
    "a huge exponent": (altered(b'"20.00"', b"1e999999999"), "wrong_type"),
    "a tiny exponent as text": (order(amount="1e-999999999"), "wrong_type"),
    "deep nesting": (b"[" * 200_000, "not_json"),
    "deep nesting in the payload": (altered(b'"placed"', b"[" * 900 + b"]" * 900), "wrong_type"),
    "invalid UTF-8": (altered(b"SOUTH-", b"SOUTH-\xff\xfe"), "not_utf8"),
    "UTF-16": (order().decode().encode("utf-16"), "not_utf8"),
    "half a surrogate pair": (order(order_id="\ud800"), None),
    "half a surrogate pair as a name": (order(**{"\ud800": 1}), "unknown_field"),
    "nothing": (b"", "empty"),
    "null": (b"null", "not_json"),
    "a list": (b"[" + order() + b"]", "not_json"),
    "two objects": (order() + order(), "not_json"),
    "a key twice": (altered(b'"quantity": 2', b'"quantity": 2, "quantity": 3'), "duplicate_key"),
    "an unknown field": (order(discount="1"), "unknown_field"),
    "a field too few": (altered(b'"currency": "USD", ', b""), "missing"),
    "another event": (enveloped(event_type="order_cancelled"), "event_type"),
    "an id of another time": (enveloped(event_time="2025-10-02T00:00:00.000Z"), "id_time_mismatch"),
    "the year 10000": (enveloped(event_time="9999-12-31T23:59:59.999-23:00"), None),
    "no such status": (order(status="lost"), "not_allowed"),
}
TOO_LARGE = b"x" * (20 * 1024 * 1024)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ingest", "sout_warehouse"), "sout_warehouse: no such domain. Did you mean south_warehouse"),
        (("ingest", "south_warehouse.order_south"), "no such product. Did you mean south_warehouse.orders_south"),
        (("produce", "south_warehouse.orders_sout", "burst"), "Did you mean south_warehouse.orders_south"),
        (("produce", PRODUCT, "replay", "nowhere.csv"), "nowhere.csv: No such file or directory. Name a CSV file"),
        (("build", "logistics_core.fact_order"), "Did you mean logistics_core.fact_orders"),
        (("ingest", "--max-seconds", "-1"), "--max-seconds"),
    ],
)
def test_a_wrong_name_is_wrong_use_and_the_near_one_is_offered(
    state: State, words: tuple[str, ...], message: str
) -> None:
    assert message in " ".join(state.mesh(*words, check=2).err.split())


@pytest.mark.parametrize("name", ["../evil", "a/b", 'x"; import os', "{{ 7 * 7 }}", "$(touch x)", "a\nb"])
def test_a_name_that_could_do_harm_makes_no_domain(
    tmp_path: Path, mesh_copy: Path, make_state: Callable[..., State], name: str
) -> None:
    def files() -> list[Path]:
        return sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)

    before = files()
    state = make_state(tmp_path / "state", root=mesh_copy)
    words = ("--kind", "source-aligned", "--team", "t", "--steward", "s", "--events", "order_created", "--no-input")
    assert "name" in state.mesh("new", "domain", name, *words, check=2).err
    assert files() == before


def test_a_contract_with_a_wrong_type_says_where(
    tmp_path: Path, mesh_copy: Path, make_state: Callable[..., State]
) -> None:
    path = mesh_copy / CONTRACT
    text = path.read_text().replace("physicalType: int\n", "physicalType: intt\n", 1)
    path.write_text(text)
    line = text[: text.index("intt")].count("\n") + 1
    failed = make_state(tmp_path / "state", root=mesh_copy).mesh("ingest", check=1)
    assert f"{CONTRACT}:{line}: " in failed.err
    assert "intt" in failed.err
    assert "Traceback" not in failed.err


def test_a_file_of_another_shape_sends_nothing(state: State, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("order_id,colour\n1,red\n")
    failed = state.mesh("produce", PRODUCT, "replay", path, check=2)
    assert f"{path}:1: the file lacks line_number" in failed.err
    assert "has colour" in failed.err
    assert waiting(state) == 0


def test_lines_that_are_wrong_are_named_and_the_others_sent(state: State, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    header, *rows = (ROOT / "domains/south_warehouse/producers/orders_south.csv").read_bytes().splitlines()[:5]
    rows[1] = rows[1].replace(b"SOUTH", b"S\xff\xfe")
    rows[2] = rows[2].rsplit(b",", 2)[0]
    path.write_bytes(b"\n".join([header, *rows]))
    done = state.mesh("produce", PRODUCT, "replay", path, "--format", "json", check=1)
    assert done.json == {"confirmed": 2, "malformed_lines": 2}
    assert f"{path}:3: order_id is not UTF-8." in done.err
    assert f"{path}:4: " in done.err


@SLOW_ON_RABBITMQ
def test_messages_that_are_no_orders_are_kept_and_the_rest_goes_on(any_state: State, mesh: Mesh) -> None:
    good = lines(range(10))
    bodies = [body for body, _reason in BAD_MESSAGES.values()]
    confirmed = send(any_state, mesh, [*in_batches(good[:5], 2), *bodies, *in_batches(good[5:], 2)])
    inject(any_state, TOO_LARGE)
    confirmed.append(TOO_LARGE)
    (first,) = any_state.json("ingest", PRODUCT, "--until-empty")
    assert (first["deliveries"], first["appended"]) == (10 + len(bodies) + 1, 10)
    rows = {row["raw_sha256"]: row for row in quarantine(any_state.folder, PRODUCT)}
    assert len(rows) == first["quarantined"] == len(bodies) + 1
    found = {name: rows[sha256(body).hexdigest()] for name, (body, _reason) in BAD_MESSAGES.items()}
    assert {name: row["reason"] for name, row in found.items()} == {
        name: reason or found[name]["reason"] for name, (_body, reason) in BAD_MESSAGES.items()
    }
    assert all(found[name]["raw"] == body for name, (body, _reason) in BAD_MESSAGES.items())
    large = rows[sha256(TOO_LARGE).hexdigest()]
    assert (large["reason"], large["raw_bytes"]) == ("too_large", len(TOO_LARGE))
    assert large["raw"] == TOO_LARGE[: 64 * 1024]
    send(any_state, mesh, bodies)
    (again,) = any_state.json("ingest", PRODUCT, "--until-empty")
    assert (again["deliveries"], again["duplicates"]) == (len(bodies), len(bodies))
    assert (waiting(any_state), waiting(any_state, dead=True)) == (0, 0)
    assert violations(any_state.folder, PRODUCT, confirmed, runs=[[first], [again]]) == []
    how = f"{NAMES[broker_of(any_state)]}; each kind that is known, twice"
    record("messages that are no orders, and one over 8 MiB", how, 2 * len(BAD_MESSAGES) + 1)


def test_a_message_that_is_too_large_is_refused_when_it_is_published(any_state: State, mesh: Mesh) -> None:
    with pytest.raises(UsageError, match=f"{len(TOO_LARGE)} bytes; {MAX_MESSAGE_BYTES} are allowed. Send smaller"):
        send(any_state, mesh, [TOO_LARGE])
    assert UsageError.exit_code == 2
    assert waiting(any_state) == 0


def test_any_letters_go_the_whole_way(tmp_path: Path, make_state: Callable[..., State], mesh: Mesh) -> None:
    state = make_state(tmp_path / "größe 日本 50%41 #1")
    names = ["Ærøskøbing 🎉", "日本語", "a'b\"c\\d", "e\u0301 \u202e", "line\nbreak", "%s {} ${x}"]
    orders = [envelope(number, payload={"client_no": name}) for number, name in enumerate(names)]
    confirmed = send(
        state, mesh, [json.dumps(each, ensure_ascii=number % 2 == 0).encode() for number, each in enumerate(orders)]
    )
    (run,) = state.json("ingest", PRODUCT, "--until-empty")
    assert run["appended"] == len(names)
    state.mesh("build", PRODUCT)
    found = state.json("query", f"SELECT customer_id FROM {PRODUCT}", "--role", "south_ops")
    assert sorted(row["customer_id"] for row in found) == sorted(names)
    assert violations(state.folder, PRODUCT, confirmed, runs=[[run]]) == []


def test_an_empty_queue_is_fine_and_makes_no_snapshot(any_state: State) -> None:
    (run,) = any_state.json("ingest", PRODUCT, "--until-empty")
    assert (run["snapshot_id"], run["deliveries"]) == (None, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk to fill: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_ingest_and_loses_nothing(
    small_disk: Path, make_state: Callable[..., State], mesh: Mesh
) -> None:
    state = make_state(small_disk / "state")
    confirmed = send(state, mesh, in_batches(lines(range(50)), 10))
    state.mesh("ingest", PRODUCT, "--until-empty")
    sent = lines(range(50, 250))
    confirmed += send(state, mesh, in_batches(sent, 20))
    for kept_free in (0, 100_000):
        fill(small_disk, kept_free)
        failed = state.mesh("ingest", PRODUCT, "--until-empty", check=3)
        assert any(words in failed.err for words in ("No space left on device", "disk is full", "that is not full"))
        assert "Traceback" not in failed.err
        if not kept_free:
            failed = state.mesh("produce", PRODUCT, "burst", "--count", "2000", check=3)
            assert "full" in failed.err
        (small_disk / "ballast").unlink()
        assert violations(state.folder, PRODUCT, confirmed) == []
    (run,) = state.json("ingest", PRODUCT, "--until-empty")
    assert waiting(state) == 0
    assert violations(state.folder, PRODUCT, confirmed, runs=[[run]]) == []
    assert landed_ids(state.folder, PRODUCT) == sorted(json.loads(line)["event_id"] for line in confirmed)
    record("the disk is full", NAMES["embedded"], 2)


def fill(folder: Path, kept_free: int) -> None:
    """Fill the disk, but for about so many bytes."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - kept_free))
