"""The one way in: whatever goes wrong with a packet is that packet's own trouble."""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactorClock

from pyros.broker import intake as intake_module
from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from tests.broker.conftest import kept_rows, make_event, outcome


@pytest.mark.parametrize("strict", [True, False])
def test_a_mistake_of_ours_refuses_one_packet_and_keeps_what_nobody_sends_again(
    store: EventStore, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    store.start(lambda _: None)
    intake = Intake(store, lambda *_: None)

    def breaks(_: bytes) -> None:
        raise RecursionError("too deep\nfor us")

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "parse", breaks)
        refused = intake.receive(make_event(), "kafka gcn", strict=strict)
        reactor.advance(0)
    receipt = outcome(refused)
    assert receipt.outcome == "refused"
    assert receipt.reason.startswith("cannot be understood: RecursionError('too deep")
    kept = kept_rows(store.journal, "SELECT packet, source FROM rejected")
    assert kept == ([] if strict else [(make_event(), "kafka gcn")])
    taken = intake.receive(make_event(), "kafka gcn", strict=strict)
    reactor.advance(0)
    assert outcome(taken).outcome == "new"
