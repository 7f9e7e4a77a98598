"""Alerts are sent to a log, a file, a webhook and by e-mail; the test runs its own servers."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mesh_platform.dags.alert import Alert, send, tell_of_rows
from mesh_platform.errors import AttentionError
from mesh_platform.settings import Settings

from ..small_mesh import Sale, small_mesh

ALERT = Alert(
    "north_warehouse.orders_north", "It is old: é.", "North Ops", "Ada Okafor", "north-ops@acme.example", "#north"
)


def settings(folder: Path, alerts: str) -> Settings:
    (folder / "state").mkdir(exist_ok=True)
    return Settings(root=folder, state=folder / "state", alerts=alerts)


def test_the_log_and_a_file_have_the_message_and_whom_to_reach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        send(ALERT, settings(tmp_path, "log file:alerts.jsonl"))
    assert "It is old: é.\nNorth Ops (north-ops@acme.example, at night #north)" in caplog.text
    lines = (tmp_path / "state" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["on_call"] for line in lines] == ["#north", "#north"]


def test_a_webhook_gets_it(tmp_path: Path) -> None:
    with webhook() as (port, got):
        send(ALERT, settings(tmp_path, f"json://127.0.0.1:{port}/mesh"))
    (body,) = got
    assert body["title"] == "north_warehouse.orders_north"
    assert "It is old: é." in body["message"]
    assert "Ada Okafor" in body["message"]


def test_an_e_mail_is_sent(tmp_path: Path) -> None:
    with mail_server() as (port, got):
        send(ALERT, settings(tmp_path, f"mailto://127.0.0.1:{port}?from=mesh@acme.example&to=north@acme.example"))
    (letter,) = got
    assert "To: north@acme.example" in letter
    assert "Subject: north_warehouse.orders_north" in letter


def test_those_that_fail_keep_it_from_no_other_and_are_named_without_passwords(tmp_path: Path) -> None:
    targets = "json://user:secret@127.0.0.1:1/ nonsense:secret file:not/there.jsonl file:alerts.jsonl"
    with pytest.raises(AttentionError) as error:
        send(ALERT, settings(tmp_path, targets))
    assert "secret" not in str(error.value)
    for failed in (
        "json:... (it rejected the message)",
        "nonsense:... (no target: there is log, ",
        "file:... (FileNotFound",
    ):
        assert failed in str(error.value)
    assert (tmp_path / "state" / "alerts.jsonl").exists()


@contextmanager
def webhook() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """The port of a server, and the requests that it received."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Write nothing to stderr."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server, serving(server):
        yield server.server_address[1], got


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """The port of an SMTP server, and the mails that it received."""
    got: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    letter = iter(self.rfile.readline, b".\r\n")
                    got.append(b"".join(letter).decode())
                self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server, serving(server):
        yield server.server_address[1], got


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def test_each_row_of_a_query_is_told_once_to_the_owners_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2)])
    place.build()
    select = "select event_id as id, 'alpha' as domain, concat(item_id, ' was sold') as message from core.fact_sales"
    monkeypatch.delenv("MESH_STATE", raising=False)
    monkeypatch.setenv("MESH_ALERTS", "file:alerts.jsonl")
    assert len(tell_of_rows(place.mesh, "core.fact_sales", select)) == 2
    assert tell_of_rows(place.mesh, "core.fact_sales", select) == []
    # A target that fails is tried again, and a row that is gone and comes back is told again.
    assert tell_of_rows(place.mesh, "core.fact_sales", f"{select} where event_id = 'alpha-0001'") == []
    monkeypatch.setenv("MESH_ALERTS", "nonsense:x")
    with pytest.raises(AttentionError):
        tell_of_rows(place.mesh, "core.fact_sales", select)
    monkeypatch.setenv("MESH_ALERTS", "file:alerts.jsonl")
    assert len(tell_of_rows(place.mesh, "core.fact_sales", select)) == 1
    lines = (place.root / ".mesh" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert json.loads(lines[0])["owner"] == place.mesh.domain("alpha").owners.team
