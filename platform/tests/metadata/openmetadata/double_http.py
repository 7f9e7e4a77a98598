"""Serves a double over HTTP on loopback, and breaks off where it is asked to."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .double import TOKEN, Double
from .double_apart import Refused


@contextmanager
def serving(double: Double) -> Iterator[str]:
    """Serve it on loopback; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(double: Double) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Answers are two small writes, which would wait for each other.
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix("/api/v1/")
            text = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            time.sleep(double.delay_s)
            with lock:
                double.requests.append((self.command, path))
                if double.heal_after is not None and len(double.requests) > double.heal_after:
                    double.cut = double.heal_after = None
                due = double.cut is not None and len(double.requests) >= double.cut
                # Once cut it stays silent, as after a kill.
                if due and (not double.cut_after or len(double.requests) > (double.cut or 0)):
                    self.close_connection = True
                    return
                if double.answers and (status := double.answers.pop(0)) != 200:
                    self._write(status, {"code": status, "message": "busy"})
                    return
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    said = self.headers.get("Authorization", "")
                    self._write(401, {"code": 401, "message": f"Token not valid: {said}"})
                    return
                try:
                    found = double.answer(
                        self.command, path, dict(parse_qsl(parts.query)), json.loads(text) if text else None
                    )
                except Refused as error:
                    self._write(error.status, {"code": error.status, "message": error.message})
                    return
                if due:
                    self.close_connection = True
                    return
                self._write(200, found)

        def _write(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = _serve

    return Handler


def main() -> None:
    """Serve an empty one, print its address, and end with the input."""
    with serving(Double()) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
