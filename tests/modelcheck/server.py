"""A plain web server over a published tree, which lets something happen before it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Hook = Callable[[str], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients keep their connection
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer
    server: WebServer

    def do_GET(self) -> None:
        data = self.server.answer(self.path.lstrip("/"))
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        """Nothing: thousands of requests."""


class WebServer(ThreadingHTTPServer):
    """Serves whatever directory is `root` at that moment, on a port of 127.0.0.1."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = Path("/nonexistent")
        self.read: Callable[[str], bytes | None] = self.file
        self.before: Hook = lambda path: None
        self.served: Callable[[str, bytes], None] = lambda path, data: None
        self.broken: BaseException | None = None
        self.requests = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def file(self, path: str) -> bytes | None:
        """The file of that path."""
        file = self.root / path
        return file.read_bytes() if ".." not in path and file.is_file() else None

    def answer(self, path: str) -> bytes | None:
        """The bytes of a file, None when there is none. What goes wrong before it is kept for who asks."""
        self.requests += 1
        try:
            self.before(path)
            data = self.read(path)
            if data is not None:
                self.served(path, data)
        except BaseException as problem:  # noqa: BLE001  the client must not hang on a harness that failed
            self.broken = problem
            return None
        return data

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._thread.join(5)
