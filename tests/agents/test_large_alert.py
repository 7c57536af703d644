"""A packet too large for a message: the alert manager reads it where the broker keeps it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pyros.agents.alert_manager import AlertManagerAgent
from pyros.errors import JournalError
from pyros.journal import Journal
from pyros.messages import AlertReceived


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlertManagerAgent:
    config = SimpleNamespace(journal=lambda name: tmp_path / f"{name}.sqlite")
    monkeypatch.setattr(AlertManagerAgent, "config", config)
    return AlertManagerAgent()


def test_its_bytes_come_from_the_brokers_journal(manager: AlertManagerAgent, tmp_path: Path) -> None:
    table = (
        "CREATE TABLE events (number INTEGER PRIMARY KEY, packet BLOB NOT NULL); INSERT INTO events VALUES (7, x'00')"
    )
    Journal(tmp_path / "broker.sqlite", schema=table).close()
    assert manager.packet_of(AlertReceived(b"", "x", 0.0, kept=7)) == b"\0"
    assert manager.packet_of(AlertReceived(b"{}", "x", 0.0, kept=8)) == b"{}"
    with pytest.raises(JournalError, match=r"broker\.sqlite: has no event 8"):
        manager.packet_of(AlertReceived(b"", "x", 0.0, kept=8))


def test_no_such_journal_is_said(manager: AlertManagerAgent) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        manager.packet_of(AlertReceived(b"", "x", 0.0, kept=7))
