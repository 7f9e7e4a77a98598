"""An HTTP proxy on loopback that lets requests through to one server, and spoils those that a test names.

Requests arrive; the server's answers leave, or an error instead of one, a cut connection, or nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What may become of a request. With "after" the server has done what it says before the client hears of it, or not.
# A test may name any other status, too.
STATUSES = ("403", "409", "429", "500", "502", "503", "504")
BEFORE = (*STATUSES, "cut", "stall")
AFTER = tuple(f"{kind} after" for kind in BEFORE)
KINDS = (*BEFORE, *AFTER)
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "expect"}


@dataclass
class Faults:
    """Spoils, of the requests that `of` picks, `times` in a row from the one numbered `at`, counted from 1."""

    kind: str = ""
    at: int = 1
    times: int = 1
    of: Callable[[str, str], bool] = lambda method, path: True
    count: int = 0
    spoiled: list[str] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, method: str, path: str) -> str:
        """What becomes of this request: a kind, or nothing."""
        with self._turn:
            if not self.kind or not self.of(method, path):
                return ""
            self.count += 1
            if not self.at <= self.count < self.at + self.times:
                return ""
            self.spoiled.append(f"{method} {path}")
            return self.kind


class Proxy:
    """The proxy's URL, the faults that it is to make, and the requests `seen`; `over` wakes what stalls."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.faults = Faults()
        self.over = threading.Event()
        # The method and the path of each.
        self.seen: list[tuple[str, str]] = []


@contextmanager
def flaky_proxy(target: str) -> Iterator[Proxy]:
    """A proxy before the server at the URL `target`."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.body()
            proxy.seen.append((self.command, self.path))
            kind = proxy.faults.draw(self.command, self.path)
            if kind and not kind.endswith("after"):
                self.spoil(kind)
                return
            try:
                upstream = HTTPConnection(host, timeout=60)
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in {*_HOP, "content-length"}
                }
                length = {"Content-Length": str(len(body))} if body else {}
                upstream.request(self.command, self.path, body, {**headers, "Connection": "close", **length})
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
            except (OSError, HTTPException):
                kind = "cut"
            if kind:
                self.spoil(kind.removesuffix(" after"))
                return
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in {*_HOP, "content-length"}:
                    self.send_header(name, value)
            if answer.status not in (204, 304):
                size = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", size or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(chunks)

        def spoil(self, kind: str) -> None:
            self.close_connection = True
            if kind == "stall":
                proxy.over.wait(60)
            if not kind.isdigit():
                return
            self.send_response_only(int(kind))
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def handle(self) -> None:
            # A client may have gone, tired of waiting.
            with suppress(OSError):
                super().handle()

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.over.set()
            server.shutdown()
            thread.join()
