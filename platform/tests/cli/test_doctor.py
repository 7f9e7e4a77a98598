"""`mesh doctor` asks what the settings name, creates nothing, and says what does not answer."""

from __future__ import annotations

import socket
from typing import Any

from mesh_platform.broker import connect, queue_of
from mesh_platform.lake.catalog import ensure_table, open_catalog
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh

from conftest import State


def asked(state: State, code: int = 0, **environment: str) -> dict[str, dict[str, Any]]:
    """What is said of each service, by its name."""
    return {row["service"]: row for row in state.mesh("doctor", "--format", "json", check=code, **environment).json}


def test_where_nothing_is_yet_it_says_so_and_creates_nothing(state: State) -> None:
    found = asked(state)
    assert {name: row["ok"] for name, row in found.items()} == {"platform": True, "broker": True, "lake": True}
    assert "not there yet" in found["lake"]["says"]
    assert not state.folder.exists()


def test_a_broker_and_a_lake_that_answer_are_as_they_were_before(state: State, mesh: Mesh) -> None:
    contract = mesh.contract("south_warehouse.orders_south")
    with connect(state.settings.broker) as broker:
        broker.declare([queue_of(contract)])
    ensure_table(open_catalog(state.settings), landing_name(contract), landing_schema(contract))
    before = sorted(path for path in state.folder.rglob("*") if path.is_file())
    found = asked(state)
    assert all(row["ok"] for row in found.values())
    assert "1 of 30 queues" in found["broker"]["says"]
    assert "south_warehouse" in found["catalog"]["says"]
    assert sorted(path for path in state.folder.rglob("*") if path.is_file()) == before


def test_a_service_without_answer_is_named_and_no_secret_is_shown(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gone = {
        "MESH_BROKER_URL": f"amqp://north:a-secret@127.0.0.1:{port}/",
        "MESH_RABBITMQ_ADMIN_URL": f"http://admin:a-secret@127.0.0.1:{port}/",
        "MESH_OPENMETADATA_URL": f"http://127.0.0.1:{port}",
        "MESH_OPENMETADATA_TOKEN": "a-secret",
        "PYICEBERG_CATALOG__MESH__URI": f"http://127.0.0.1:{port}",
        "PYICEBERG_CATALOG__MESH__WAREHOUSE": "s3://lake/warehouse",
        "PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY": "a-secret",
    }
    found = asked(state, 3, **gone)
    assert {name for name, row in found.items() if not row["ok"]} == {
        "broker", "rabbitmq management", "catalog", "storage", "openmetadata",
    }  # fmt: skip
    assert "a-secret" not in str(found)
    assert f"127.0.0.1:{port}" in found["broker"]["where"]


def test_a_catalog_that_is_no_database_is_named(state: State) -> None:
    state.folder.mkdir(parents=True)
    (state.folder / "catalog.db").write_bytes(b"this is no database, and long enough to look like one" * 100)
    found = asked(state, 1)
    assert not found["catalog"]["ok"]
    assert "missing or damaged" in found["catalog"]["says"]
