"""A message by e-mail and through apprise: what is surely not taken is told apart from what nobody knows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyros.notices import delivery
from pyros.notices.delivery import SendJob, apprise_problem, ping, send
from pyros.notices.rules import MailServer, Recipient
from tests.conftest import free_port
from tests.mail_sink import MailSink, mail_sink
from tests.web import WebAnswer, WebRequest, web_server


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as made:
        yield made


def job(
    port: int, *, body: str = "the dome is stuck\n.\n", file: str = "", to: tuple[str, ...] = ("a@b.org",)
) -> SendJob:
    server = MailServer(host="127.0.0.1", port=port, sender="pyros@example.org", security="none")
    return SendJob(
        recipient=Recipient(name="ada", mail=to), server=server, subject="[demo] ALARM: dôme\r\nBcc: eve@example.org",
        body=body, identifier="12.1@demo.pyros", made=1_790_000_000.0, file=file,
    )  # fmt: skip


def test_a_message_arrives_as_it_was_written(sink: MailSink, tmp_path: Path) -> None:
    (tmp_path / "night.md").write_text("# The night of …\n")
    assert send(job(sink.port, file=str(tmp_path / "night.md"))).outcome == "sent"
    (mail,) = sink.taken
    assert mail["Subject"] == "[demo] ALARM: dôme  Bcc: eve@example.org"
    assert mail["Bcc"] is None
    assert mail["To"] == "a@b.org"
    assert mail["Message-ID"] == "<12.1@demo.pyros>"
    assert mail["Date"].datetime.timestamp() == 1_790_000_000
    assert mail.get_content().replace("\r\n", "\n") == "the dome is stuck\n.\n\n# The night of …\n"


@pytest.mark.parametrize(
    ("step", "answer", "outcome"),
    [
        ("connect", "421 busy", "not taken"),
        ("connect", "", "not taken"),
        ("MAIL", "550 who are you", "not taken"),
        ("RCPT", "550 nobody of that name", "not taken"),
        ("DATA", "451 later", "not taken"),
        ("taken", "552 too large", "not taken"),
        ("taken", "", "unknown"),
    ],
)
def test_how_a_server_fails_says_whether_it_may_have_it(sink: MailSink, step: str, answer: str, outcome: str) -> None:
    sink.at = lambda at: answer if at == step else None
    result = send(job(sink.port))
    assert result.outcome == outcome
    assert result.reason


def test_one_bad_address_does_not_keep_the_others_from_it(sink: MailSink) -> None:
    answers = iter(["550 nobody", None])
    sink.at = lambda at: next(answers) if at == "RCPT" else None
    result = send(job(sink.port, to=("x@example.org", "a@example.org")))
    assert (result.outcome, result.reason) == ("sent", "x@example.org: 550 nobody")


def test_a_dead_and_a_silent_server_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Connection refused" in send(job(free_port())).reason
    monkeypatch.setattr(delivery, "SOCKET_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = send(job(silent.getsockname()[1]))
    assert result.outcome == "not taken"
    assert "timed out" in result.reason


@contextmanager
def web(code: int) -> Iterator[tuple[int, list[str]]]:
    """Serve one answer to whatever is asked; yields the port and what was asked."""
    asked: list[str] = []

    def answer(request: WebRequest) -> WebAnswer:
        asked.append(f"{request.method} {request.path} {request.body.decode()}".strip())
        return WebAnswer(status=code)

    with web_server(answer) as port:
        yield port, asked


def write_secret(folder: Path, text: str) -> Path:
    file = folder / "secret"
    file.touch(0o600)
    file.write_text(text)
    return file


@pytest.mark.filterwarnings("default")  # apprise's own
@pytest.mark.parametrize(("code", "outcome"), [(200, "sent"), (500, "not taken")])
def test_apprise_carries_a_message_and_its_secret_stays_here(tmp_path: Path, code: int, outcome: str) -> None:
    pytest.importorskip("apprise")
    with web(code) as (port, asked):
        file = write_secret(tmp_path, f"json://me:TheSecret@127.0.0.1:{port}/")
        to = Recipient(name="phone", apprise=file)
        assert apprise_problem(file) == ""
        result = send(SendJob(recipient=to, server=None, subject="[demo] x", body="y\n", identifier="1", made=1.0))
    assert result.outcome == outcome
    assert "TheSecret" not in result.reason
    assert len(asked) == 1
    assert "[demo] x" in asked[0]


@pytest.mark.filterwarnings("default")
def test_a_url_that_apprise_does_not_know_is_told(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    problem = apprise_problem(write_secret(tmp_path, "nothing://TheSecret"))
    assert "no URL that apprise knows" in problem
    assert "TheSecret" not in problem


@pytest.mark.parametrize(("code", "problem"), [(200, ""), (404, "answers 404 Not Found")])
def test_a_ping_asks_its_address(tmp_path: Path, code: int, problem: str) -> None:
    with web(code) as (port, asked):
        file = write_secret(tmp_path, f"http://127.0.0.1:{port}/TheSecret")
        assert ping(str(file)) == problem
    assert asked == ["GET /TheSecret"]


def test_a_ping_that_nobody_answers_does_not_tell_its_address(tmp_path: Path) -> None:
    problem = ping(str(write_secret(tmp_path, f"http://127.0.0.1:{free_port()}/TheSecret")))
    assert problem == "cannot be asked: Connection refused"
