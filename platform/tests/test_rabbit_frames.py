"""Frames come whole and in order, however the bytes are cut on their way, as pika itself would read them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.broker.rabbit_frames import Connection
from pika.frame import Body, Header, Heartbeat, Method
from pika.spec import Basic, BasicProperties

BODIES = [b"", b"x", b"\xce" * 300, b"AMQP" * 40_000]


def sent() -> bytes:
    """What a broker sends: messages, some in several frames, and between them what is no message."""
    frames: list[Any] = []
    for tag, body in enumerate(BODIES, start=1):
        frames += [Method(1, Basic.Deliver("tag", tag, False, "", "queue")), Heartbeat()]
        frames += [Header(1, len(body), BasicProperties(message_id=f"id-{tag}"))]
        frames += [Body(1, body[start : start + 131_064]) for start in range(0, len(body), 131_064)]
    frames += [Method(1, Basic.CancelOk("tag")), Heartbeat()]
    return b"".join(frame.marshal() for frame in frames)


def read(kind: type[Any], pieces: list[bytes]) -> tuple[list[str], int, bytes]:
    """What a connection of `kind` makes of the pieces: its frames, the bytes that it counted, and what is left."""
    # One that was never made connects to nothing.
    connection = object.__new__(kind)
    connection.connection_state = kind.CONNECTION_OPEN
    connection._frame_buffer = b""
    connection.bytes_received = connection.frames_received = 0
    seen: list[str] = []

    def note(frame: Any) -> bool:
        shown = getattr(frame, "fragment", None) or getattr(frame, "method", None) or getattr(frame, "properties", "")
        seen.append(f"{frame.NAME} {shown!r}")
        return True

    connection._deliver_frame_to_channel = note
    connection._process_callbacks = note
    for piece in pieces:
        connection._on_data_available(piece)
    return seen, connection.bytes_received, connection._frame_buffer


@given(cuts=st.lists(st.integers(0, len(sent())), max_size=30))
def test_any_cut_gives_the_frames_that_pika_reads(cuts: list[int]) -> None:
    data = sent()
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places) if end > start]
    assert read(Connection, pieces) == read(pika.SelectConnection, [data])


def test_what_is_not_whole_waits() -> None:
    data = sent()
    seen, count, rest = read(Connection, [data[:-3]])
    assert data[count:-3] == rest
    assert len(seen) == len(read(Connection, [data])[0]) - 1


def test_a_broker_that_speaks_another_protocol_is_heard() -> None:
    assert read(Connection, [b"AMQP\x00\x00\x09\x01"]) == read(pika.SelectConnection, [b"AMQP\x00\x00\x09\x01"])


def test_a_frame_without_its_end_is_an_error() -> None:
    with pytest.raises(pika.exceptions.InvalidFrameError):
        read(Connection, [Heartbeat().marshal()[:-1] + b"\x00"])
