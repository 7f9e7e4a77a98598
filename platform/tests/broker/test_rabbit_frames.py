"""Messages arrive complete and in order, as pika itself would read them, however their bytes are split."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.broker.rabbit_frames import Arrived, Connection
from pika.channel import ContentFrameAssembler
from pika.frame import Body, Header, Heartbeat, Method
from pika.spec import Basic, BasicProperties

BODIES = [b"", b"x", b"\xce" * 300, b"AMQP" * 40_000]


def message(tag: int, body: bytes, way: Any) -> list[Any]:
    properties = BasicProperties(message_id=f"id-{tag}" if tag % 2 else None, headers={"x-delivery-count": tag})
    parts = [Body(1, body[start : start + 131_064]) for start in range(0, len(body), 131_064)]
    return [Method(1, way), Heartbeat(), Header(1, len(body), properties), *parts]


def sent() -> bytes:
    """What a broker sends: messages, some in several frames, one from basic.get, and frames of other kinds."""
    frames: list[Any] = []
    for tag, body in enumerate(BODIES, start=1):
        frames += message(tag, body, Basic.Deliver("tag", tag, tag == 2, "", "queue"))
    frames += message(9, b"asked for", Basic.GetOk(9, False, "", "queue", 0))
    frames += message(10, b"y", Basic.Deliver("tag", 10, False, "", "queue"))
    frames += [Method(1, Basic.CancelOk("tag")), Heartbeat()]
    return b"".join(frame.marshal() for frame in frames)


def read(kind: type[Any], pieces: list[bytes], of_channel: bool = False) -> tuple[list[Any], int, bytes]:
    """What a connection of `kind` reads from the pieces: messages and frames, the bytes counted, and the rest."""
    # Without __init__, which would connect.
    connection = object.__new__(kind)
    connection.connection_state = kind.CONNECTION_OPEN
    connection._frame_buffer = b""
    connection.bytes_received = connection.frames_received = 0
    assembler = ContentFrameAssembler()
    seen: list[Any] = []

    def to_channel(frame: Any) -> None:
        if not isinstance(frame, Body | Header) and not isinstance(frame.method, Basic.Deliver | Basic.GetOk):
            seen.append(repr(frame.method))
        elif whole := assembler.process(frame):
            (method, header, body) = whole
            way, name = method.method, header.properties.message_id
            assert isinstance(way, Basic.GetOk) or kind is not Connection or of_channel
            seen.append(Arrived(way.delivery_tag, way.redelivered, name, body))

    def on_other(frame: Any) -> bool:
        if isinstance(frame, Heartbeat):
            seen.append("heartbeat")
        return isinstance(frame, Heartbeat)

    connection._deliver_frame_to_channel = to_channel
    connection._process_callbacks = on_other
    connection.on_messages = None if of_channel else seen.extend
    for piece in pieces:
        connection._on_data_available(piece)
    return seen, connection.bytes_received, connection._frame_buffer


@given(cuts=st.lists(st.integers(0, len(sent())), max_size=30))
def test_any_cut_gives_the_messages_that_pika_reads(cuts: list[int]) -> None:
    data = sent()
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places) if end > start]
    assert read(Connection, pieces) == read(pika.SelectConnection, [data])


def test_where_nobody_takes_messages_they_are_the_channels() -> None:
    assert read(Connection, [sent()], of_channel=True) == read(pika.SelectConnection, [sent()])


def test_a_body_beyond_its_size_is_an_error() -> None:
    deliver, _, header, _ = message(1, b"abc", Basic.Deliver("tag", 1, False, "", "queue"))
    with pytest.raises(pika.exceptions.BodyTooLongError):
        read(Connection, [deliver.marshal() + header.marshal() + Body(1, b"abcd").marshal()])


def test_what_came_at_once_is_told_at_once() -> None:
    deliveries = [
        frame.marshal()
        for tag, body in enumerate(BODIES, start=1)
        for frame in message(tag, body, Basic.Deliver("tag", tag, False, "", "queue"))
        if not isinstance(frame, Heartbeat)
    ]
    connection = object.__new__(Connection)
    connection.connection_state = Connection.CONNECTION_OPEN
    connection._frame_buffer, connection.bytes_received = b"", 0
    told: list[int] = []
    connection.on_messages = lambda messages: told.append(len(messages))
    connection._on_data_available(b"".join(deliveries))
    assert told == [len(BODIES)]


def test_what_is_not_whole_waits() -> None:
    data = sent()
    seen, count, rest = read(Connection, [data[:-3]])
    assert data[count:-3] == rest
    assert len(seen) == len(read(Connection, [data])[0]) - 1


def test_a_broker_that_speaks_another_protocol_is_heard() -> None:
    assert read(Connection, [b"AMQP\x00\x00\x09\x01"]) == read(pika.SelectConnection, [b"AMQP\x00\x00\x09\x01"])


@pytest.mark.parametrize("frame", [Heartbeat(), Method(1, Basic.Deliver("tag", 1, False, "", "queue"))])
def test_a_frame_without_its_end_is_an_error(frame: Any) -> None:
    with pytest.raises(pika.exceptions.InvalidFrameError):
        read(Connection, [frame.marshal()[:-1] + b"\x00"])
