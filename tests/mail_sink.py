"""A mail server of a few lines, on a free port of this computer: it keeps what it is sent, and fails as it is told."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


class MailSink:
    """What the server has taken, and what it does at each step."""

    def __init__(self, server: Any) -> None:
        self.port: int = server.server_address[1]
        self.taken: list[EmailMessage] = []
        """The messages whose end it has read, whatever it answered then."""
        self.at: Callable[[str], str | None] = lambda _step: None
        """Called at ``connect``, ``MAIL``, ``RCPT``, ``DATA``, ``taken``; returns another answer, or '' to hang up."""
        self.steps: list[str] = []

    @property
    def subjects(self) -> list[str]:
        """The subjects in the order in which they came."""
        return [str(each["Subject"]) for each in self.taken]


@contextmanager
def mail_sink() -> Iterator[MailSink]:
    """Run the server in threads that end with the block."""

    class SinkHandler(socketserver.StreamRequestHandler):
        def answer(self, step: str, words: str) -> str:
            sink.steps.append(step)
            answer = sink.at(step)
            words = words if answer is None else answer
            if words:
                self.wfile.write(words.encode() + b"\r\n")
            return words

        def handle(self) -> None:
            with suppress(OSError):  # the other side is gone
                self.talk()

        def talk(self) -> None:
            if not self.answer("connect", "220 here"):
                return
            while line := self.rfile.readline(2000):
                word = line[:4].decode("ascii", "replace").strip().upper()
                if word == "DATA":
                    if not (words := self.answer("DATA", "354 go on")):
                        return
                    if not words.startswith("354"):
                        continue
                    lines: list[bytes] = []
                    while (line := self.rfile.readline(2000)) != b".\r\n":
                        if not line:
                            return
                        lines.append(line.removeprefix(b"."))  # RFC 5321, 4.5.2
                    sink.taken.append(message_from_bytes(b"".join(lines), policy=policy.default))
                    if not self.answer("taken", "250 taken"):
                        return
                elif word == "QUIT":
                    self.answer("QUIT", "221 bye")
                    return
                elif not self.answer(word, "250 fine"):
                    return

    class SinkServer(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = False
        block_on_close = True

    with SinkServer(("127.0.0.1", 0), SinkHandler) as server:
        sink = MailSink(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
