"""The advice for a queue with other arguments, followed step by step on RabbitMQ, loses no message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner
from mesh_platform.broker import Queue, connect, queue_of
from mesh_platform.cli import mesh as command
from mesh_platform.errors import AttentionError
from mesh_platform.mesh.mesh import load_mesh

from conftest import require_amqp

from ..broker_rig import delete
from ..small_mesh import Place, small_mesh

PRODUCT = "alpha.sales_alpha"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path / "mesh")


@pytest.fixture
def queue(place: Place) -> Iterator[Queue]:
    url, queue = require_amqp(), queue_of(load_mesh(place.root).contract(PRODUCT))
    delete(url, queue)
    yield queue
    delete(url, queue)


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("arguments", "options"),
    [({"x-message-ttl": 86_400_000}, {"if_empty": True}), ({"x-queue-type": "quorum"}, {})],
    ids=["classic", "quorum"],
)
def test_the_advice_for_other_arguments_can_be_followed_and_loses_nothing(
    place: Place,
    queue: Queue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, object],
    options: dict[str, bool],
) -> None:
    url = require_amqp()
    env = {"MESH_ROOT": str(place.root), "MESH_STATE": str(tmp_path / "state"), "MESH_BROKER_URL": url}
    (tmp_path / "sales.csv").write_text(
        "item_id,buyer,amount,sold_at\n" + "".join(f"i{n},ann,1.00,2025-10-01T10:00:00Z\n" for n in range(3))
    )
    replay = ("produce", PRODUCT, "replay", str(tmp_path / "sales.csv"))

    def ingested() -> tuple[dict[str, int], str]:
        caplog.clear()
        done = CliRunner().invoke(command, ("ingest", queue.name, "--until-empty", "--format", "json"), env=env)
        assert done.exit_code == 0, done.output
        (row,) = json.loads(done.stdout)
        return row, caplog.text

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue.name, durable=True, arguments=arguments)
    lines = CliRunner().invoke(command, (*replay, "--to", "-"), env=env).stdout.splitlines()
    for number, line in enumerate(lines[:2]):
        channel.basic_publish("", queue.name, line.encode(), pika.BasicProperties(message_id=str(number)))

    refused = CliRunner().invoke(command, replay, env=env)
    assert isinstance(refused.exception, AttentionError)
    assert f"'mesh ingest {queue.name} --until-empty' does so all the same" in str(refused.exception)
    assert f"rabbitmqctl delete_queue {queue.name} --if-empty" in str(refused.exception)
    row, warned = ingested()
    assert row["appended"] == 2
    assert "exists with other arguments" in warned
    channel.queue_delete(queue.name, **options)
    connection.close()
    assert CliRunner().invoke(command, replay, env=env).exit_code == 0
    row, warned = ingested()
    assert (row["appended"], row["duplicates"]) == (1, 2)
    assert "other arguments" not in warned
    with connect(url) as broker:
        assert broker.depth(queue.name) == 0
