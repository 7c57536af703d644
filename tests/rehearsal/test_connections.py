"""Connections between agents that live stay, whatever became of others before."""

from __future__ import annotations

from pathlib import Path

from pyros.rehearsal.rehearsal import Rehearsal


def test_a_connection_on_which_nothing_is_to_say_stays(tmp_path: Path) -> None:
    observatory = Rehearsal(tmp_path / "observatory")
    observatory.run(60)
    observatory.restart("monitoring")
    observatory.run(30)
    connections = set(observatory.reactor.network.transports)
    observatory.run(120)
    assert set(observatory.reactor.network.transports) == connections
    observatory.close()
