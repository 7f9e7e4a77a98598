"""Records of the source that a domain's script declares reach a queue as messages, at the requested rate."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mesh_platform.broker import MAX_MESSAGE_BYTES, Message, connect, queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.events.event import Record
from mesh_platform.events.producer import batch, find_producer, pace, publish, stamp, write
from mesh_platform.mesh.mesh import Domain, Mesh, load_mesh

from tests.every_type import NOW, PAYLOAD, every_type, lines_of, shop


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def test_batches_are_split_by_count() -> None:
    lines = [str(i).encode() for i in range(7)]
    assert [message.body for message in batch(lines, 3)] == [b"0\n1\n2", b"3\n4\n5", b"6"]
    assert list(batch([], 3)) == []


def test_batches_are_split_by_bytes_and_lose_nothing() -> None:
    third = MAX_MESSAGE_BYTES // 3
    lines = [bytes([65 + i]) * third for i in range(5)] + [b"x"] * 3
    messages = list(batch(lines, 1000))
    assert [message.body.count(b"\n") + 1 for message in messages] == [2, 2, 4]
    assert b"\n".join(message.body for message in messages).split(b"\n") == lines
    assert all(len(message.body) <= MAX_MESSAGE_BYTES for message in messages)


def test_line_that_is_too_long_is_alone() -> None:
    lines = [b"a", b"b" * (MAX_MESSAGE_BYTES + 1), b"c"]
    assert [len(message.body) for message in batch(lines, 10)] == [1, MAX_MESSAGE_BYTES + 1, 1]


def test_equal_bodies_have_equal_message_ids() -> None:
    first, second, third = batch([b"a", b"b", b"a", b"b", b"b", b"a"], 2)
    assert first == second
    assert first.message_id != third.message_id
    (prefixed,) = batch([b"a", b"b"], 2, prefix="again-")
    assert prefixed == Message(b"a\nb", f"again-{first.message_id}")


def test_published_events_are_counted_as_confirmed(contract: Contract, tmp_path: Path) -> None:
    heard: list[int] = []
    with connect(f"sqlite:///{tmp_path}/broker.db") as broker:
        total = publish(broker, contract, batch([b"x"] * 7, 3), heard.append)
        assert (total, heard) == (7, [3, 3, 1])
        with broker.consume(queue_of(contract).name, 10) as consumer:
            assert [delivery.body for delivery in consumer.receive(10, 1)] == [b"x\nx\nx", b"x\nx\nx", b"x"]


def test_written_lines_are_ndjson(contract: Contract) -> None:
    stream = io.BytesIO()
    lines = lines_of(contract, [Record(NOW, {"name": "a\nb"}), Record(NOW, {"name": "c"})])
    assert write(lines, stream) == 2
    assert [json.loads(line)["payload"]["name"] for line in stream.getvalue().splitlines()] == ["a\nb", "c"]


def test_stamp_writes_the_time_as_the_site_does(contract: Contract, tmp_path: Path) -> None:
    site = shop(tmp_path).site
    assert site
    times = [datetime(2025, 10, 1, 12, tzinfo=UTC), datetime(2025, 10, 1, 13, tzinfo=UTC)]
    local = every_type(tmp_path, time="wall", wall={"required": True})
    records = [Record(NOW, PAYLOAD)] * 3
    assert [r.payload["at"] for r in stamp(contract, site, records, times)] == [
        "2025-10-01T12:00:00.000Z",
        "2025-10-01T13:00:00.000Z",
    ]
    stamped = list(stamp(local, site, records, times))
    assert [record.payload["wall"] for record in stamped] == ["2025-10-01T08:00:00.000", "2025-10-01T09:00:00.000"]
    assert [record.time for record in stamped] == times


def test_pace_stops_when_told_and_keeps_every_record_before() -> None:
    calls = iter([False, False, True])
    records = [Record(NOW, {"n": i}) for i in range(5)]
    assert list(pace(records, 1e9, lambda: next(calls))) == records[:2]
    assert list(pace(records, 1e9, lambda: False)) == records


# Producer scripts


@pytest.fixture
def scripts(tmp_path: Path) -> Callable[[dict[str, str]], Mesh]:
    """Creates a mesh with one domain that has the given producer scripts, by name."""

    def make(texts: dict[str, str]) -> Mesh:
        folder = tmp_path / "domains" / "shop"
        (folder / "producers").mkdir(parents=True)
        for name, text in texts.items():
            (folder / "producers" / name).write_text(text)
        domain: Domain = replace(shop(tmp_path), folder=folder)
        return Mesh(tmp_path, {"shop": domain})

    return make


SCRIPT = 'from mesh_platform.events.producer import Producer\nproducer = Producer("shop.{name}", source=None)\n'


def test_script_for_the_product_is_found(contract: Contract, scripts: Callable[[dict[str, str]], Mesh]) -> None:
    texts = {
        "produce_a.py": SCRIPT.format(name="others"),
        "produce_b.py": SCRIPT.format(name="things"),
        "other.py": "1/0",
    }
    assert find_producer(scripts(texts), contract).product == "shop.things"


@pytest.mark.parametrize("texts", [{}, {"produce_a.py": SCRIPT.format(name="others")}])
def test_no_script_for_the_product_is_wrong_use(
    contract: Contract, scripts: Callable[[dict[str, str]], Mesh], texts: dict[str, str]
) -> None:
    with pytest.raises(
        UsageError, match=r"shop\.things: no script in domains/shop/producers declares a producer for it"
    ):
        find_producer(scripts(texts), contract)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "declares no producer. Write producer = Producer(...)."),
        ("producer = 5\n", 1, "declares no producer"),
        ("x = 1\ndef f(:\n", 2, "SyntaxError: invalid syntax"),
        ("x = 1\n\nimport nothing_of_the_kind\n", 3, "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("x = '\x00'\n", 1, "null bytes"),
    ],
)
def test_script_that_cannot_be_loaded_is_named(
    contract: Contract, scripts: Callable[[dict[str, str]], Mesh], text: str, line: int, words: str
) -> None:
    with pytest.raises(ContractError) as error:
        find_producer(scripts({"produce_things.py": text}), contract)
    assert str(error.value).startswith(f"domains/shop/producers/produce_things.py:{line}: ")
    assert words in str(error.value)


def test_every_sent_product_of_the_repository_has_its_producer(mesh: Mesh) -> None:
    found = [find_producer(mesh, contract).product for contract in load_mesh(mesh.root).ingested()]
    assert found == [contract.identifier for contract in mesh.ingested()]
