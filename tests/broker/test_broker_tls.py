"""TLS: authors, subscribers and our own subscriptions, with certificates that the test's own authority has signed."""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from pyros import config as config_module
from pyros.broker.vtp import tls as tls_module
from pyros.broker.vtp.author import send_event
from pyros.broker.vtp.protocol import frame
from pyros.broker.vtp.tls import Tls
from pyros.certificates import ended
from pyros.errors import ConfigError
from pyros.tls_words import of_certificate, of_failure
from tests.broker.conftest import Configuration, Start, make_event
from tests.conftest import PATIENCE, wait_until

HERE = Path(__file__).parent
NOW = datetime.now(UTC)
Until = Callable[[Callable[[], Any]], Any]


class Files:
    """An authority's certificates, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.authority = folder, trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, ends: datetime = NOW + timedelta(days=365)) -> tuple[Path, Path]:
        """Make a certificate and its key."""
        issued = self.authority.issue_cert("127.0.0.1", f"{name}.example.org", not_after=ends)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, key

    def client(self, name: str = "") -> ssl.SSLContext:
        """Return what a program on the other side uses; with a certificate when it has a name."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if name:
            context.load_cert_chain(*self.issue(name))
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "tls")


def add(config: Path, section: str, **keys: object) -> Path:
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    config.write_text(f"{config.read_text()}[{section}]\n{lines}")
    return config


@pytest.fixture
def config(configuration: Configuration, files: Files) -> Path:
    """Configure a broker whose ports with TLS are for those who have a certificate."""
    certificate, key = files.issue("broker")
    return add(
        configuration("upstream"), "broker tls", certificate=certificate, key=key, client_ca=files.ca,
        receiver_port=8198, broadcaster_port=8199,
    )  # fmt: skip


def send(port: int, packet: bytes, context: ssl.SSLContext) -> bytes:
    """As an author does; the answer."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as author,
    ):
        author.sendall(frame(packet))
        return read(author)


def read(connection: ssl.SSLSocket) -> bytes:
    """One packet; what there is when the connection ends before."""
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data[4:]


def test_authors_and_subscribers_with_a_certificate(start: Start, config: Path, files: Files) -> None:
    broker = start(config)
    with (
        socket.create_connection(("127.0.0.1", broker.ports["tls broadcaster_port"]), PATIENCE) as plain,
        files.client("subscriber").wrap_socket(plain, server_hostname="127.0.0.1") as subscriber,
    ):
        assert b'role="authenticate"' in read(subscriber)
        answer = send(broker.ports["tls receiver_port"], make_event(), files.client("author"))
        assert b'role="ack"' in answer
        assert read(subscriber) == make_event()
    send_event("127.0.0.1", broker.receiver, make_event("ivo://test.observatory/bursts#2"))  # as ever
    assert broker.stop()["received"] == 2


def test_nobody_else(start: Start, config: Path, files: Files, tmp_path: Path) -> None:
    broker = start(config)
    port = broker.ports["tls receiver_port"]
    stranger = Files(tmp_path / "another authority")
    forged = files.client()
    forged.load_cert_chain(*stranger.issue("author"))
    for context in (files.client(), forged):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            assert b"ack" in send(port, make_event(), context)
    with pytest.raises(ssl.SSLCertVerificationError):
        send(port, make_event(), stranger.client("author"))  # and who doesn't trust the broker says nothing to it
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        plain.sendall(frame(make_event()))
        with selectors.DefaultSelector() as selector:
            selector.register(plain, selectors.EVENT_READ)
            assert selector.select(PATIENCE)
        assert b"ack" not in plain.recv(65536)
    status = broker.stop()
    assert (status["received"], status["refused"], status["failed"]) == (0, 0, 0)


def test_a_subscription_with_tls_and_filters(
    start: Start, config: Path, configuration: Configuration, files: Files
) -> None:
    upstream = start(config)
    certificate, key = files.issue("near")
    address = f"127.0.0.1:{upstream.ports['tls broadcaster_port']}"
    wanted = '//Param[@name="importance" and @value > 0.7]\n  /*[@role="utility"]'
    near = start(add(
        configuration("near"), "remote upstream", address=address, tls="yes", ca=files.ca, certificate=certificate,
        key=key, filters=wanted,
    ))  # fmt: skip
    wait_until(lambda: upstream.said("filters by /*[@role"))
    author = upstream.receiver
    for number, importance in enumerate((0.1, 0.9, 0.2, 0.8)):
        send_event("127.0.0.1", author, make_event(f"ivo://test.observatory/bursts#{number}", importance=importance))
    wait_until(lambda: len(near.outbox()) == 2)
    assert [alert.packet.count(b"#1") + alert.packet.count(b"#3") for alert in near.outbox()] == [1, 1]
    remote = near.stop()["remotes"][address]
    assert (remote["connected"], remote["tls"], remote["received"], remote["trouble"]) == (True, True, 2, "")
    assert remote["filters"] == ['//Param[@name="importance" and @value > 0.7]', '/*[@role="utility"]']
    assert remote["heard"] > 0
    upstream.stop()


@pytest.mark.parametrize(
    ("keys", "said", "upstream_said"),
    [
        ({"ca": "stranger"}, "is signed by none of those whom we trust: ca", "does not know who has signed"),
        (
            {"server_name": "elsewhere.example.org"},
            "not one of elsewhere.example.org: server_name",
            "does not take our",
        ),
        ({"certificate": None}, "it wants a certificate", "it showed no certificate"),
        ({"certificate": "stranger"}, "does not know who has signed our", "is signed by none of those whom we trust"),
        ({"certificate": "old"}, "says that our certificate has expired", "its certificate has expired, or"),
    ],
)
def test_a_remote_that_is_somebody_else_or_takes_us_for_that(
    start: Start,
    config: Path,
    configuration: Configuration,
    files: Files,
    tmp_path: Path,
    keys: dict[str, str | None],
    said: str,
    upstream_said: str,
) -> None:
    upstream, stranger = start(config), Files(tmp_path / "another authority")
    address = f"127.0.0.1:{upstream.ports['tls broadcaster_port']}"
    shown = {"near": files.issue("near"), "stranger": stranger.issue("near"), None: None,
             "old": files.issue("old", NOW - timedelta(days=1))}[keys.get("certificate", "near")]  # fmt: skip
    section: dict[str, object] = {"ca": stranger.ca if "ca" in keys else files.ca}
    section |= {"certificate": shown[0], "key": shown[1]} if shown else {}
    section |= {"server_name": keys["server_name"]} if "server_name" in keys else {}
    near = start(add(configuration("near"), "remote upstream", address=address, tls="yes", **section))
    wait_until(lambda: near.said(said))
    wait_until(lambda: upstream.said(upstream_said))
    remote = near.stop()["remotes"][address]
    assert said in remote["trouble"]
    assert (remote["received"], remote["heard"]) == (0, None)


def test_what_openssl_says_in_words() -> None:
    assert of_certificate("CN=a", 10) == "its certificate (CN=a) has expired"
    assert of_certificate("CN=a", 77) == "its certificate (CN=a) is not valid (error 77 of OpenSSL)"
    said = {
        "wrong version number": "it does not speak TLS",
        "something new": "[('SSL routines', '', 'something new')]",
    }
    for text, words in said.items():
        assert of_failure(Failure(SSL.Error([("SSL routines", "", text)]))) == words
    assert of_failure(Failure(ConnectionLost())) == ""


# The files ------------------------------------------------------------------------------------------------------------


def problems(config: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Tls(config_module.load(config))
    return [problem.removeprefix(f"{config}: ") for problem in caught.value.problems]


def test_every_mistake_in_the_files_is_told(configuration: Configuration, files: Files) -> None:
    certificate, _ = files.issue("one")
    _, key = files.issue("other")
    text = files.folder / "text"
    text.write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    path = add(configuration(), "broker tls", certificate=certificate, key=key, client_ca=text, receiver_port=8198)
    add(path, "remote a", address="a.example.org", tls="yes", certificate=text, key=certificate)
    assert problems(path) == [
        f"[broker tls] key: {key} is not the key of {certificate}",
        f"[broker tls] client_ca: {text} holds no certificate in PEM",
        f"[remote a] certificate: {text} holds no certificate in PEM",
        f"[remote a] key: {certificate} holds no private key without a passphrase",
    ]


def test_what_ends_soon_is_told(configuration: Configuration, files: Files) -> None:
    certificate, key = files.issue("broker", NOW + timedelta(days=10))
    path = add(configuration(), "broker tls", certificate=certificate, key=key, receiver_port=8198)
    found = Tls(load(path))
    assert found.expiring(NOW - timedelta(days=100)) == []
    (warning,) = found.expiring(NOW)
    assert warning.startswith(f"{path}: [broker tls] certificate: {certificate}: the certificate of ")
    assert warning.endswith(f"ends on {NOW + timedelta(days=10):%Y-%m-%d}; get a new one")
    assert list(ended(found.certificates, NOW)) == []
    (problem,) = ended(found.certificates, NOW + timedelta(days=11))
    assert "has ended on" in problem


def test_without_the_extra(configuration: Configuration, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = files.issue("broker")
    path = add(configuration(), "broker tls", certificate=certificate, key=key, receiver_port=8198)
    monkeypatch.setattr(tls_module, "MISSING", "No module named 'OpenSSL'")
    (problem,) = problems(path)
    assert problem == "[broker tls]: needs: pip install 'pyros-observatory[tls]' (No module named 'OpenSSL')"


def test_without_tls_nothing_is_needed(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "MISSING", "No module named 'OpenSSL'")
    assert Tls(load(configuration())).certificates == []


def load(path: Path) -> config_module.Config:
    return config_module.load(path)
