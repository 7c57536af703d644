"""A desk with rules of a test's own, and what it would send."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pyros.notices.desk import Desk
from pyros.notices.notice import Notice, NoticeBook
from pyros.notices.rules import NoticeRules

KEY = b"k" * 32
NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
RECIPIENTS = """
mail: {server: "127.0.0.1:25", from: pyros@example.org, security: none}
recipients:
  ada: {mail: ada@example.org}
  bob: {mail: bob@example.org}
rules:
"""


class NoticeDeskRig:
    """A desk, and the messages that it has given out, all of which were taken."""

    def __init__(self, rules: NoticeRules) -> None:
        self.rules = rules
        self.book = NoticeBook()
        self.now = NOW
        self.sent: list[tuple[str, str]] = []
        self.bodies: list[str] = []

    @property
    def desk(self) -> Desk:
        return Desk(self.rules, self.book, "test", KEY)

    def restart(self) -> None:
        """Live on with what the journal has."""
        self.book = msgspec.json.decode(msgspec.json.encode(self.book), type=NoticeBook)
        self.desk.recover(self.now)

    def take(self, notice: Notice, after: float = 0.0) -> list[tuple[str, str]]:
        """Take a notice so much later; returns (recipient, subject) of what is sent then."""
        self.go(after)
        self.desk.take(notice, self.now)
        return self._deliver()

    def go(self, seconds: float) -> list[tuple[str, str]]:
        """Let time go by, doing what is due on the way; returns what is sent."""
        end, sent = self.now + seconds, list[tuple[str, str]]()
        while (due := self.desk.next(self.now)) is not None and due <= end:
            self.now = max(due, self.now + 0.01)
            sent += self._deliver()
        self.now = end
        return sent + self._deliver()

    def _deliver(self) -> list[tuple[str, str]]:
        self.desk.tick(self.now)
        sent = []
        while begun := self.desk.begin(self.now):
            for each in begun:
                sent.append((each.recipient, each.subject))
                self.bodies.append(each.body)
                self.desk.end(each.number, each.attempts, "sent", "", self.now)
        self.sent += sent
        return sent


def alarm(text: str = "the dome does not close", key: str = "close", *, over: bool = False) -> Notice:
    return Notice(kind="alarm", source="dome", key=key, text=text, critical=True, over=over)


def fault(text: str = "the camera is not connected", key: str = "away", *, over: bool = False) -> Notice:
    return Notice(kind="fault", source="camera", key=key, text=text, over=over)


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., NoticeDeskRig]:
    """Make a `NoticeDeskRig` of the YAML of some rules."""

    def make(rules: str, more: str = "") -> NoticeDeskRig:
        file = tmp_path / "notices.yaml"
        file.write_text(RECIPIENTS + textwrap.indent(textwrap.dedent(rules), "  ") + "\n" + textwrap.dedent(more))
        return NoticeDeskRig(NoticeRules.load(file))

    return make
