"""How Django's answers leave: a file is read as fast as its reader takes it, and no thread waits for that.

Twisted's WSGI server takes what an application gives as fast as it comes, and keeps in memory what nobody has read yet.
So a file (PEP 3333, "Optional Platform-Specific File Handling") is handed to the connection, which reads a piece when
there is room for it; an answer that is made while it is sent is written to a temporary file first.
"""

from __future__ import annotations

from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import Resource
from twisted.web.wsgi import WSGIResource

from pyros.reactor import Reactor

_PIECE = 1 << 16  # bytes of a file that are read at once
_IN_MEMORY = 1 << 20  # bytes of an answer that is made while it is sent; what has more is kept on the disk


class DjangoPages(Resource):
    """What a WSGI application answers, in the threads of a pool."""

    isLeaf = True

    def __init__(self, reactor: Reactor, pool: Any, application: Any) -> None:
        super().__init__()
        self._reactor, self._pool, self._application = reactor, pool, application

    def render(self, request: Any) -> Any:
        """Answer a `SendingRequest`."""
        return WSGIResource(self._reactor, self._pool, partial(self._answer, request)).render(request)

    def _answer(self, request: SendingRequest, environ: dict[str, Any], start_response: Any) -> Any:
        """Return the pieces of an answer but those of a file, which the connection gets; in a thread of the pool."""
        answer = self._application(environ | {"wsgi.file_wrapper": _AnsweredFile}, start_response)
        if isinstance(answer, _AnsweredFile):
            file = answer.file
        elif getattr(answer, "streaming", False):
            file = _written(answer)
        else:
            return answer
        self._reactor.callFromThread(request.send_file, file)  # before it is finished
        return ()


class SendingRequest(server.Request):
    """A request whose answer may be a file, which is sent when the rest of the answer is finished."""

    _file: IO[bytes] | None = None
    _lost = False

    def send_file(self, file: IO[bytes]) -> None:
        """Have a file sent as the answer's body, and closed, whatever becomes of the connection."""
        if self._lost:
            file.close()
        else:
            self._file = file

    def finish(self) -> None:
        file = self._file
        if file is None or self.method == b"HEAD":
            self._close_file()
            super().finish()
            return
        told = self.responseHeaders.getRawHeaders(b"content-length")
        whole = _Whole(file, int(told[0]) if told else None)
        sender = FileSender()
        sender.CHUNK_SIZE = _PIECE
        sending: Deferred[bytes] = sender.beginFileTransfer(whole, self)
        sending.addCallbacks(lambda _: self._cut() if whole.left else self._sent(), lambda _: self._cut())

    def connectionLost(self, reason: Failure) -> None:
        self._lost = True
        super().connectionLost(reason)
        self._close_file()

    def _sent(self) -> None:
        self._close_file()
        super().finish()

    def _cut(self) -> None:
        """End the connection in the midst, by which its reader learns that this is not the whole file."""
        self._close_file()
        if self.channel is not None:
            transport: Any = self.channel.transport
            transport.abortConnection()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _AnsweredFile:
    """Stands for a file among the pieces of an answer."""

    def __init__(self, file: IO[bytes], _: int = 0) -> None:
        self.file = file


class _Whole:
    """As much of a file as was said that there is; what it has become longer by meanwhile is left."""

    def __init__(self, file: IO[bytes], length: int | None) -> None:
        self._file = file
        self.left = length
        """Bytes that are missing; None where nothing was said."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        piece = self._file.read(size if self.left is None else min(size, self.left))
        if self.left is not None:
            self.left -= len(piece)
        return piece


def _written(answer: Any) -> IO[bytes]:
    """Return a file with all pieces of an answer, which is closed."""
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  whom it is given closes it
    try:
        for piece in answer:
            file.write(piece)
    except BaseException:
        file.close()
        raise
    finally:
        answer.close()
    file.seek(0)
    return file
