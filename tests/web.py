"""A web server of a test's own, which answers as a function says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class WebRequest(NamedTuple):
    """A request: ``path`` with its query, and what was posted."""

    method: str
    path: str
    body: bytes = b""


class WebAnswer(NamedTuple):
    """An answer; a body that comes in pieces has no length."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012


@contextmanager
def web_server(answer: Callable[[WebRequest], WebAnswer], address: str = "127.0.0.1") -> Iterator[int]:
    """Answer each GET and POST in a thread of its own; yield the port, and end all threads."""

    class WebRequestHandler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            posted = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body, status, headers = answer(WebRequest(self.command, self.path, posted))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for piece in [body] if isinstance(body, bytes) else body:
                self.wfile.write(piece)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer((address, 0), WebRequestHandler) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
