"""Asks a web server one question, within bounds: for programs and worker processes, since it blocks. No Twisted.

Only http and https are spoken, however often the server sends one on. A ``public`` question reaches no address of this
computer or of a network that only we see: each address is checked, of each server that one is sent on to, and the
address that was checked is the one that is connected to, so that no name can mean another one a moment later.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from pyros.clock import Deadline

_PART = 4096
_NOT_THERE = frozenset({404, 410})


class NotThere(OSError):
    """Raised where the server answers that it has no such thing: asking again would be in vain."""


def get(
    url: str, *, seconds: float, largest: int, headers: Mapping[str, str] | None = None, body: bytes | None = None,
    public: bool = False,
) -> bytes:  # fmt: skip
    """Return what a web address answers; with ``body`` it is asked by POST.

    ``seconds`` bounds each wait for the server, and the reading of its answer as a whole; who sends a byte now and then
    is left in time, and who sends more than ``largest`` bytes at once. ``public`` refuses private addresses, and asks
    no proxy, for whom they would not be the same ones.

    Raises OSError whose text is for people, without a subject and without the address: TimeoutError when it is too
    slow, `NotThere` where there is no such thing.
    """
    deadline = Deadline(seconds)
    request = urllib.request.Request(url, data=body, headers={"User-Agent": "pyros"} | dict(headers or {}))
    content = b""
    try:
        with _opener(public).open(request, timeout=seconds) as response:
            while part := response.read1(_PART):
                content += part
                if len(content) > largest:
                    break
                if deadline.left() <= 0:
                    raise TimeoutError
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


class _PublicHTTP(http.client.HTTPConnection):
    """Connects to public addresses alone."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._create_connection = _connect_public


class _PublicHTTPS(http.client.HTTPSConnection):
    """Connects to public addresses alone."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._create_connection = _connect_public


class _PublicHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHTTP, req)


class _PublicSecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHTTPS, req)


def _opener(public: bool) -> urllib.request.OpenerDirector:
    """Return what asks: without files, FTP and data addresses, which `urllib` would follow, too."""
    opener = urllib.request.OpenerDirector()
    handlers: tuple[Any, ...] = (
        (_PublicHandler, _PublicSecureHandler)
        if public
        else (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler)
    )
    common = (urllib.request.UnknownHandler, urllib.request.HTTPDefaultErrorHandler,
              urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor)  # fmt: skip
    for handler in (*handlers, *common):
        opener.add_handler(handler())
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
