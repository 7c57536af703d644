"""Whether a device is there, and every way in which a server may misbehave: typed, in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from pyros.errors import ConnectionLost, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.alpaca.client import ANSWER_BYTES
from tests.instruments.alpaca.conftest import PORT, AlpacaError, AlpacaRig, Http, Raw

WHERE = f"http://127.0.0.1:{PORT}/safetymonitor/0"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_it_is_connected_and_named(server: AlpacaRig) -> None:
    safety = server.device("safety")
    assert not safety.connected
    server.set(issafe=True)
    assert server.result(safety.read()).safe
    assert safety.connected
    assert safety.name == "Old device"
    assert server.told == [(True, f"Old device at {WHERE}")]
    assert server.count("PUT connected") == 1
    assert server.last("PUT connected") == {"Connected": "True"}


def test_platform_7_connects_without_blocking(server: AlpacaRig) -> None:
    left = iter([True, True, False])

    def connect(_: object) -> None:
        server.is_connected = True

    server.answers |= {"PUT connect": connect, "GET connecting": lambda _: next(left), "GET issafe": True}
    safety = server.device("safety")
    assert server.result(safety.read(), 5).safe
    assert server.count("GET connecting") == 3
    assert server.count("PUT connected") == 0


def test_it_is_asked_over_kept_connections_with_numbers(server: AlpacaRig) -> None:
    server.set(issafe=True)
    safety = server.device("safety")
    for _ in range(20):
        server.result(safety.read())
        server.run(2)
    assert len(server.lines) == 1
    numbers = [int(parameters["ClientTransactionID"]) for _, parameters in server.asked]
    assert numbers == sorted(set(numbers))
    assert len({parameters["ClientID"] for _, parameters in server.asked}) == 1


def test_nobody_there(server: AlpacaRig) -> None:
    server.away()
    safety = server.device("safety")
    server.fails(ConnectionLost, "refused", safety.read(), 10)
    assert [up for up, _ in server.told] == [False]


def test_a_server_that_comes_and_goes(server: AlpacaRig) -> None:
    server.set(issafe=True)
    safety = server.device("safety")
    server.result(safety.read())
    server.away()
    server.run(4)
    assert not safety.connected
    server.back()
    assert server.result(safety.read(), 5).safe
    assert server.count("PUT connected") == 2
    assert [up for up, _ in server.told] == [True, False, True]


def test_a_server_started_again_between_two_looks(server: AlpacaRig) -> None:
    """A command that was under way is not under way any more, though nobody saw the server away."""
    server.set(cansetazimuth=True, azimuth=0.0, slewing=True)
    dome = server.device("dome")
    turn = dome.rotate(90.0)
    server.run(1)
    server.is_connected = False
    server.fails(ConnectionLost, "its server was started again, or disconnected it", turn, 3)
    server.run(1)
    assert dome.connected
    assert [up for up, _ in server.told] == [True, False, True]


def test_what_a_device_can_is_asked_again_once_its_server_was_started_again(server: AlpacaRig) -> None:
    server.set(maxstep=5000)
    focuser = server.device("focuser")
    assert server.result(focuser.limits()).most == 5000
    server.set(maxstep=3000)
    server.is_connected = False
    server.run(5)
    assert server.result(focuser.limits()).most == 3000


def test_silence(server: AlpacaRig) -> None:
    server.set(issafe=None)
    safety = server.device("safety")
    server.fails(NoAnswer, r"GET issafe: no answer within 5 s", safety.read(), 6)
    assert server.told[-1][0] is False


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Http(400, b"Unknown device"), DeviceRefused, "VALUE: .* HTTP 400: Unknown device"),
        (Http(404, b'{"detail":"Not Found"}'), DeviceRefused, "UNSUPPORTED: .* HTTP 404"),
        (Http(500, b"Traceback\n  File x"), DeviceFailed, "HTTP 500: Traceback File x"),
        (Http(302, b"", more="Location: http://elsewhere/\r\n"), DeviceFailed, "HTTP 302"),
        (Http(200, b"<html>hello</html>"), DeviceFailed, "answered '<html>hello</html>'"),
        (Http(200, b""), DeviceFailed, "answered ''"),
        (Http(200, b'{"Value": "maybe"}'), DeviceFailed, "Expected `bool`"),
        (Http(200, b"x" * (ANSWER_BYTES + 1)), DeviceFailed, "an answer of more than 1048576 bytes"),
        (AlpacaError(0x500, "stuck"), DeviceFailed, r"stuck \(error 0x500\)"),
        (AlpacaError(0x407, "not connected"), DeviceRefused, "STATE"),
        (Raw(b"\x00\x01garbage\r\n\r\n"), DeviceFailed, "an answer that is no HTTP"),
        (Raw(b"SSH-2.0-OpenSSH\r\n"), DeviceFailed, "an answer that is no HTTP"),
        (Raw(OK + b"Content-Length: x\r\n\r\n"), DeviceFailed, "an answer that is no HTTP"),
        (Raw(OK + b"Content-Length: -5\r\n\r\n"), InstrumentError, ":"),
        (Raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), InstrumentError, ":"),
        (Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000), InstrumentError, ":"),
        (Raw(OK + b"Content-Length: 10\r\n\r\n{"), NoAnswer, "no answer within 5 s"),
        (Raw(b"HTTP/1.1 2"), NoAnswer, "no answer within 5 s"),
    ],
)  # fmt: skip
def test_every_wrong_answer(answer: Any, error: type[Exception], words: str, server: AlpacaRig) -> None:
    server.set(issafe=answer)
    safety = server.device("safety")
    with pytest.raises(error, match=words) as caught:
        server.result(safety.read(), 8)
    assert len(str(caught.value)) < 1000
    server.set(issafe=False)
    server.run(3)
    assert not server.result(safety.read(), 8).safe


def test_a_body_without_end(server: AlpacaRig) -> None:
    server.set(issafe=Raw(OK + b"\r\n" + b"x" * (1 << 19)))
    safety = server.device("safety")
    reading = safety.read()
    for _ in range(4):
        server.run(0.1)
        server.lines[-1].transport.write(b"x" * (1 << 19))  # type: ignore[union-attr]
    server.fails(DeviceFailed, "an answer of more than 1048576 bytes", reading, 1)


def test_an_answer_that_ends_with_the_connection(server: AlpacaRig) -> None:
    """As small devices' servers do, which have no kept connections and tell no length."""

    def closing(_: object) -> Any:
        server.world.callLater(0.5, server.world.drop)
        return Raw(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"Value": true, "ErrorNumber": 0}')

    server.set(issafe=closing)
    assert server.result(server.device("safety").read(), 3).safe


def test_a_connection_that_breaks_in_an_answer(server: AlpacaRig) -> None:
    def breaking(_: object) -> Any:
        server.world.callLater(0.5, server.world.drop)
        return Raw(OK + b"Content-Length: 100\r\n\r\n{")

    server.set(issafe=breaking)
    safety = server.device("safety")
    server.fails(ConnectionLost, "", safety.read(), 3)


def test_disconnecting_ends_what_is_asked(server: AlpacaRig) -> None:
    server.set(issafe=None)
    safety = server.device("safety")
    reading = safety.read()
    server.run(1)
    server.result(safety.disconnect())
    for asked in (reading, safety.read()):
        server.fails(ConnectionLost, "disconnected", asked)


def test_cancelling_stops_the_waiting(server: AlpacaRig) -> None:
    server.set(issafe=None)
    safety = server.device("safety")
    reading = safety.read()
    server.run(1)
    reading.cancel()
    server.fails(CancelledError, "", reading)
    server.set(issafe=True)
    assert server.result(safety.read(), 3).safe


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.binary(max_size=60), st.booleans(), st.integers(1, 50))
def test_any_bytes_at_all(server: AlpacaRig, body: bytes, head: bool, cut: int) -> None:
    server.world.cut = cut
    server.set(issafe=True)
    safety = server.device("safety")
    server.result(safety.read(), 20)
    server.set(issafe=Http(200, body) if head else Raw(body))
    with suppress(InstrumentError):
        server.result(safety.read(), 20)
    server.world.cut = 1 << 20
    server.result(safety.disconnect(), 10)


def test_https(tmp_path: Path) -> None:
    """As any other where the computer trusts the authority of its certificate, and else not at all."""
    authorities = {"trusted": trustme.CA(), "unknown": trustme.CA()}
    for name, authority in authorities.items():
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.certificate"))
    authorities["trusted"].cert_pem.write_to_path(str(tmp_path / "authorities"))
    trust = {"SSL_CERT_FILE": str(tmp_path / "authorities"), "SSL_CERT_DIR": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.instruments.alpaca.https_reader", *(tmp_path / name for name in authorities)],
        capture_output=True, text=True, timeout=90, check=False, cwd=Path(__file__).parents[3], env=os.environ | trust,
    )  # fmt: skip
    trusted, unknown = done.stdout.splitlines()
    assert trusted.startswith("True Old device at https://localhost"), done.stderr
    assert unknown.startswith("False safety at https://localhost"), done.stderr
    assert "certificate verify failed" in unknown
