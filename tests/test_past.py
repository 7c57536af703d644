"""How each day of an agent began is kept in its journal, in files and in objects."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pyros.agents import Agent, Message
from pyros.journal import SQLITE, AnyJournals, MemoryJournals, past
from pyros.journal.past import DayBegun
from tests.rig import AgentRig

FIRST = past.day_of(1774049400.0)  # 2026-03-20 23:30, where `AgentRig` begins


class TallyAgent(Agent):
    state: dict[str, int]

    def __init__(self) -> None:
        super().__init__("counting")
        self.actions_by_message["Count"] = self.count

    def count(self, message: Message) -> None:
        self.state["n"] = self.state.get("n", 0) + 1


@pytest.fixture(params=["files", "objects"])
def journals(request: pytest.FixtureRequest) -> AnyJournals:
    return SQLITE if request.param == "files" else MemoryJournals()


def test_a_day_begins_with_its_first_turn(journals: AnyJournals, tmp_path: Path) -> None:
    rig = AgentRig(TallyAgent(), tmp_path, "other", journals=journals)
    rig.turn("Count", "Count")
    rig.clock.step(past.DAY_SECONDS)
    rig.turn("Count")
    rig.turn("Count")
    rig.host.kill()
    rig.reactor.advance(5)
    again = AgentRig(TallyAgent(), tmp_path, "other", journals=journals)
    with closing(again.journal.reader()) as reader:
        assert past.days(reader) == [DayBegun(FIRST, 0, None), DayBegun(FIRST + 1, 2, None)]
        assert past.state(reader, FIRST) is None
        assert msgspec.json.decode(past.state(reader, FIRST + 1) or b"") == {"n": 2}
        assert [each.number for each in past.starts(reader, 0)] == [0, 4]
        assert [each.number for each in past.starts(reader, 1)] == [4]
    again.stop()


def test_a_message_whose_write_fails_begins_a_day_too(journals: AnyJournals, tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no luck")

    rig = AgentRig(TallyAgent(), tmp_path, "other", journals=journals)
    rig.clock.step(past.DAY_SECONDS)
    rig.agent.actions_by_message["Count"] = lambda: rig.agent.in_transaction(fail)
    rig.turn("Count")
    with closing(rig.journal.reader()) as reader:
        assert [each.day for each in past.days(reader)] == [FIRST, FIRST + 1]
        assert reader.received(failed=True)[0][0] == 1
    rig.stop()


def test_what_is_old_or_too_much_is_forgotten(
    journals: AnyJournals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "KEPT_DAYS", 2)
    monkeypatch.setattr(past, "MAX_STARTS", 2)
    for day in range(4):
        rig = AgentRig(TallyAgent(), tmp_path, "other", journals=journals)
        rig.clock.step(day * past.DAY_SECONDS)
        rig.turn("Count")
        rig.host.kill()
        rig.reactor.advance(5)
    with closing(journals.reader(rig.journal.path)) as reader:
        assert [each.day for each in past.days(reader)] == [FIRST + 2, FIRST + 3]
        assert [each.number for each in past.starts(reader, 0)] == [2, 3]
