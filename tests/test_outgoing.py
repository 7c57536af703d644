"""Questions to web servers: bounds, redirections, and addresses that no public question reaches."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyros import outgoing
from tests.web import WebAnswer, WebRequest, web_server

ELSEWHERE = "127.0.0.2"
"""An address that the tests call private, while 127.0.0.1 is public."""


def answer(request: WebRequest) -> WebAnswer:
    """Send on who asks for /to/..., and answer others with what they sent."""
    where = request.path.removeprefix("/to/")
    if where != request.path:
        return WebAnswer(status=302, headers={"Location": where})
    return WebAnswer(request.body or request.path.encode())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with web_server(answer, "0.0.0.0") as port:
        yield port


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "is_public", lambda address: address == "127.0.0.1")


def ask(url: str, **how: Any) -> bytes:
    return outgoing.get(url, seconds=30.0, largest=1000, **how)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("192.0.43.8", True), ("2001:4860:4860::8888", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False),
        ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:127.0.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert outgoing.is_public(address) is public


def test_a_public_question_reaches_no_private_address(port: int) -> None:
    with pytest.raises(OSError, match="own network"):
        ask(f"http://127.0.0.1:{port}/", public=True)
    with pytest.raises(OSError, match="own network"):
        ask(f"https://localhost:{port}/", public=True)
    assert ask(f"http://127.0.0.1:{port}/x") == b"/x"


@pytest.mark.usefixtures("loopback_is_public")
def test_each_server_that_one_is_sent_on_to_is_checked(port: int) -> None:
    own = f"http://127.0.0.1:{port}"
    assert ask(f"{own}/to/{own}/to/{own}/end", public=True) == b"/end"
    with pytest.raises(OSError, match="own network"):
        ask(f"{own}/to/{own}/to/http://{ELSEWHERE}:{port}/end", public=True)
    assert ask(f"{own}/to/http://{ELSEWHERE}:{port}/end") == b"/end"


@pytest.mark.usefixtures("loopback_is_public")
def test_the_address_that_was_checked_is_connected_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["127.0.0.1", ELSEWHERE]  # the second is what the name means a moment later

    def named(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", named)
    assert ask(f"http://rebinding.example:{port}/", public=True) == b"/"
    assert answers == [ELSEWHERE]
    with pytest.raises(OSError, match="own network"):
        ask(f"http://rebinding.example:{port}/", public=True)


@pytest.mark.parametrize("where", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:text/plain,x"])
def test_nothing_but_http_is_followed(port: int, where: str) -> None:
    for url in (where, f"http://127.0.0.1:{port}/to/{where}"):
        with pytest.raises(OSError, match=r"cannot be asked|answers 302"):
            ask(url)


def test_a_body_is_posted_and_a_large_answer_refused(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    assert ask(url, body=b"a=b") == b"a=b"
    with pytest.raises(OSError, match="more than 1000 bytes"):
        ask(url, body=b"x" * 1001)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_server_that_sends_a_byte_now_and_then_is_left_in_time(begin: bytes) -> None:
    rest, left = (b"HTTP/1.0 200 OK\r\nX: " + b"y" * 400 + b"\r\n\r\n").removeprefix(begin), threading.Event()

    def drip(listening: socket.socket) -> None:
        line, _ = listening.accept()
        with line:
            try:
                line.sendall(begin)
                for byte in rest:
                    line.sendall(bytes([byte]))
                    time.sleep(0.01)
            except OSError:
                left.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        with pytest.raises(TimeoutError, match=r"has not answered within 0\.2 s"):
            outgoing.get(f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=0.2, largest=1000)
        thread.join()
    assert left.is_set()
