"""Asks a web server one question, within bounds: for programs and worker processes, since it blocks. No Twisted.

Only http and https are spoken, however often the server sends one on. A ``public`` question reaches no address of this
computer or of a network that only we see: each address is checked, of each server that one is sent on to, and the
address that was checked is the one that is connected to, so that no name can mean another one a moment later.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

_PART = 4096
_NOT_THERE = frozenset({404, 410})


class NotThere(OSError):
    """Raised where the server answers that it has no such thing: asking again would be in vain."""


def get(
    url: str, *, seconds: float, largest: int, headers: Mapping[str, str] | None = None, body: bytes | None = None,
    public: bool = False,
) -> bytes:  # fmt: skip
    """Return what a web address answers; with ``body`` it is asked by POST.

    ``seconds`` bounds each attempt to connect and, from the beginning, all that a server says: who sends a byte now and
    then is left in time, and who sends more than ``largest`` bytes at once. ``public`` refuses private addresses, and
    asks no proxy, for whom they would not be the same ones.

    Raises OSError whose text is for people, without a subject and without the address: TimeoutError when it is too
    slow, `NotThere` where there is no such thing.
    """
    request = urllib.request.Request(url, data=body, headers={"User-Agent": "pyros"} | dict(headers or {}))
    content = b""
    try:
        with _ended_after(seconds) as end, _opener(end, public=public).open(request, timeout=seconds) as response:
            while len(content) <= largest and (part := response.read1(_PART)):
                content += part
    except TimeoutError:
        raise _too_slow(seconds) from None
    except urllib.error.HTTPError as error:
        error.close()
        kind = NotThere if error.code in _NOT_THERE else OSError
        raise kind(f"answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        if isinstance(reason, TimeoutError):
            raise _too_slow(seconds) from None
        raise OSError(f"cannot be asked: {getattr(reason, 'strerror', None) or reason}") from None
    if len(content) > largest:
        raise OSError(f"answers more than {largest} bytes")
    return content


class _PrivateAddress(OSError):
    """Raised before a connection to an address that no public question reaches."""


class _End:
    """Ends a question that lasts too long: a socket counts its time anew with each byte."""

    def __init__(self) -> None:
        self.late = False
        self._lines: list[socket.socket] = []

    def watch(self, line: socket.socket) -> None:
        """Cut that connection off, too, when it is time."""
        self._lines.append(line)
        if self.late:
            self.cut()

    def cut(self) -> None:
        """Cut off all connections, from any thread: who reads of one finds its end."""
        self.late = True
        for line in self._lines:
            with suppress(OSError):  # it has ended
                socket.socket.shutdown(line, socket.SHUT_RDWR)


@contextmanager
def _ended_after(seconds: float) -> Iterator[_End]:
    """Raise TimeoutError in the place of whatever has come of a question that lasted too long."""
    end = _End()
    timer = threading.Timer(seconds, end.cut)
    timer.daemon = True
    timer.start()
    try:
        yield end
    except (OSError, http.client.HTTPException):
        if end.late:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
    if end.late:
        raise TimeoutError


class _Connection(http.client.HTTPConnection):
    """A connection that is cut off in time; a public one is made to public addresses alone."""

    def __init__(self, *args: Any, end: _End, public: bool, **how: Any) -> None:
        super().__init__(*args, **how)
        self._end = end
        if public:
            self._create_connection = _connect_public

    def connect(self) -> None:
        super().connect()
        self._end.watch(self.sock)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same by TLS."""


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, end: _End, *, public: bool) -> None:
        super().__init__()
        self._how: dict[str, Any] = {"end": end, "public": public}

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, **self._how), req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, end: _End, *, public: bool) -> None:
        super().__init__()
        self._how: dict[str, Any] = {"end": end, "public": public}

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SecureConnection, **self._how), req)


def _opener(end: _End, *, public: bool) -> urllib.request.OpenerDirector:
    """Return what asks: without files, FTP and data addresses, which `urllib` would follow, too."""
    opener = urllib.request.OpenerDirector()
    if not public:
        opener.add_handler(urllib.request.ProxyHandler())
    for handler in (
        _HTTPHandler(end, public=public), _HTTPSHandler(end, public=public), urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _connect_public(
    address: tuple[str, int], timeout: float | None = None, source_address: Any = None
) -> socket.socket:  # fmt: skip
    """Connect to the first address that answers, after all were checked."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not is_public(str(place[0])):
            raise _PrivateAddress(f"{address[0]} is an address of our own network")
    failure: OSError = OSError("is not found")
    for family, kind, protocol, _, place in found:
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(timeout)
            line.connect(place)
        except OSError as error:
            line.close()
            failure = error
        else:
            return line
    raise failure


def is_public(address: str) -> bool:
    """Whether an IP address may be anybody's on the internet; a multicast one is nobody's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_global and not ip.is_multicast


def _too_slow(seconds: float) -> TimeoutError:
    return TimeoutError(f"has not answered within {seconds:g} s")
