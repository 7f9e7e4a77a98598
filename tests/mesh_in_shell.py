"""`mesh` for the commands of a shell: a script hands each call to the server that forks them, and prints its answer.

Commands of a pipe run one after the other, and read nothing from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, UnixStreamServer
from tempfile import TemporaryDirectory
from threading import Thread

from mesh_server import MeshServer

_SCRIPT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    code, out, err = json.load(server.makefile(encoding="utf-8"))
for stream, text in ((sys.stdout, out), (sys.stderr, err)):
    stream.reconfigure(encoding="utf-8")
    stream.write(text)
sys.exit(code if code >= 0 else 128 - code)
"""


@contextmanager
def mesh_in_shell(server: MeshServer, timeout: float) -> Iterator[Path]:
    """The folder of the script, for the PATH of a shell; a call ends after `timeout` seconds at the latest."""

    class Call(StreamRequestHandler):
        def handle(self) -> None:
            words, folder, environment = json.load(self.rfile)
            answer = server.run(words, Path(folder), environment, timeout)
            self.wfile.write(json.dumps(answer).encode())

    with TemporaryDirectory(prefix="mesh-shell-") as folder:
        address = str(Path(folder, "calls"))
        script = Path(folder, "mesh")
        script.write_text(_SCRIPT.format(python=sys.executable, address=address), encoding="utf-8")
        script.chmod(0o755)
        with UnixStreamServer(address, Call) as calls:
            thread = Thread(target=calls.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                yield Path(folder)
            finally:
                calls.shutdown()
                thread.join()
