"""How often an agent that isn't there is asked for."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from pyros import config as configuration
from pyros.config import Address
from pyros.rehearsal.reactor import MemoryReactor
from pyros.sender.carrier import TcpCarrier
from pyros.sender.liveness import Path


class CountingReactor(MemoryReactor):
    """Notes when somebody tries to connect."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []

    def connectTCP(self, *where: Any, **how: Any) -> Any:
        self.attempts.append(self.seconds())
        return super().connectTCP(*where, **how)


@pytest.mark.parametrize(("host", "pause"), [("127.0.0.1", 4.0), ("192.0.2.7", 2.0)])
def test_an_agent_of_this_computer_is_asked_less_often_after_half_a_minute(host: str, pause: float) -> None:
    section = configuration.load(configuration.demo_file()).agent("dome")
    section = msgspec.structs.replace(section, at=Address(host, 5000), dangerous=True)
    reactor = CountingReactor()
    carrier = TcpCarrier(reactor, section, Path(), Mock(), Mock())
    carrier.start(Mock())
    reactor.run_until(600.0)
    pauses = [after - before for before, after in zip(reactor.attempts, reactor.attempts[1:], strict=False)]
    assert max(pauses[:19]) == pytest.approx(2.0)
    assert 25 < sum(pauses[:19]) < 40
    assert pauses[20:] == pytest.approx([pause] * len(pauses[20:]))
    carrier.stop()
