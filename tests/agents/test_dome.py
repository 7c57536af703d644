"""The dome's agent: it opens only when everybody says so now, and closes whatever fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pyros import messages
from pyros.errors import JournalError
from pyros.hold import Holds
from pyros.journal import Journal
from tests.agents.dome_rig import MIDNIGHT, SILENCE, TRAVEL, DomeRig

LOOK, POLL, RETRY = 5.0, 10.0, 10.0
YEAR = 365.25 * 86400


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DomeRig]:
    """With an agent that has just begun."""
    rig = DomeRig(tmp_path)
    rig.start()
    yield rig
    assert rig.close_all() == []


@pytest.fixture
def opened(rig: DomeRig) -> DomeRig:
    rig.opened()
    return rig


def closes(rig: DomeRig, within: float) -> None:
    assert rig.until(lambda: rig.shutter == "closed", within + TRAVEL + 0.2), f"it is {rig.shutter}"


# Opening ----------------------------------------------------------------------------------------------------------


def test_it_opens_when_weather_and_majordome_say_so(rig: DomeRig) -> None:
    rig.opened()
    assert rig.told(messages.DOME_OPENED)
    rig.kept(600)
    assert rig.shutter == "open"
    assert rig.commands() == ["DO close", "DO open"]


def ends(rig: DomeRig) -> list[str]:
    """Return the ends of persons' orders, as the agent's status tells them; none is under way any more."""
    status = rig.agent.figures()
    assert status["under_way"] == []
    return list(status["ended"].values())


def test_a_person_is_told_when_the_dome_is_open_and_closed(rig: DomeRig) -> None:
    rig.safe()
    rig.open(sender="program:person")
    assert len(rig.agent.figures()["under_way"]) == 1
    rig.run(TRAVEL + 1)
    assert ends(rig) == [""]
    rig.close(sender="program:person")
    assert len(rig.agent.figures()["under_way"]) == 1
    rig.run(TRAVEL + 1)
    assert ends(rig) == ["", ""]
    rig.close(sender="program:person")
    rig.run(1)
    assert ends(rig) == ["", "", ""], "it was closed already"


def test_a_person_is_told_why_the_dome_is_not_open_or_closed(rig: DomeRig) -> None:
    rig.safe()
    rig.open(sender="program:person")
    rig.unsafe("rain")
    rig.run(TRAVEL + 1)
    assert ends(rig) == ["the dome closes: weather unsafe: rain"]
    rig.safe()
    rig.by_hand("FAULT stuck for=300")
    rig.open(sender="program:person")
    rig.run(60)
    assert ends(rig)[1].startswith("Demo dome: ")
    rig.close(sender="program:person")
    rig.run(60)
    assert "no end within" in ends(rig)[2]


def test_nothing_opens_before_the_weather_was_heard_of(rig: DomeRig) -> None:
    rig.open()
    rig.keep_open()
    rig.run(30)
    assert rig.commands() == ["DO close"]
    (failure,) = rig.told(messages.DOME_FAILED)
    assert failure.reason == "not opened: no word from monitoring yet"


@pytest.mark.parametrize("age", [SILENCE + 0.1, 3600.0, None])
def test_old_good_weather_opens_nothing(rig: DomeRig, age: float | None) -> None:
    rig.safe(age)
    rig.open()
    rig.run(30)
    assert "DO open" not in rig.commands()


@pytest.mark.parametrize("age", [61.0, None])
def test_an_old_order_to_open_opens_nothing(rig: DomeRig, age: float | None) -> None:
    rig.safe()
    rig.open(age=age)
    rig.run(30)
    assert "DO open" not in rig.commands()


def test_bad_weather_after_good_weather_counts(rig: DomeRig) -> None:
    rig.safe()
    rig.unsafe(age=None)
    rig.open()
    rig.run(1)
    assert "DO open" not in rig.commands()
    rig.safe()
    rig.open()
    closed = rig.until(lambda: rig.shutter == "open", 5)
    assert closed, "until it is good again"


def test_good_weather_that_comes_after_newer_bad_weather_is_old(rig: DomeRig) -> None:
    rig.unsafe()
    rig.safe(age=5.0)
    rig.open()
    rig.run(1)
    assert "DO open" not in rig.commands()


def test_an_order_to_close_that_overtook_it_wins(rig: DomeRig) -> None:
    """The reflex closes while *Open*, said before, is still in the mailbox."""
    rig.safe()
    assert rig.host is not None
    stored = rig.full_disk()
    rig.open()
    rig.run(0.5)
    rig.close()
    stored()
    rig.run(30)
    assert "DO open" not in rig.commands()


def test_it_is_asked_again_at_the_moment_of_opening(rig: DomeRig) -> None:
    """The turn that opens is stored late, and meanwhile it rains."""
    rig.safe()
    stored = rig.full_disk()
    rig.open()
    rig.unsafe()
    stored()
    rig.run(30)
    assert "DO open" not in rig.commands()


# Leases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [0.0, 5.0, 30.0, 50.0])
def test_the_weathers_lease_counts_from_when_it_was_said(rig: DomeRig, age: float) -> None:
    said = rig.now - age
    rig.safe(age)
    rig.open()
    rig.kept(said + SILENCE - 1 - rig.now, weather=False)
    assert rig.shutter == "open"
    closes(rig, 1)
    assert rig.told(messages.DOME_CLOSED)[-1].reason == "monitoring is silent"


def test_a_late_word_makes_the_lease_no_longer(opened: DomeRig) -> None:
    opened.run(40)
    opened.keep_open()
    opened.safe(age=35.0)
    opened.run(SILENCE - 35 - 1)
    assert opened.shutter == "open"
    closes(opened, 1)


def test_the_majordomes_lease_ends_by_itself(opened: DomeRig) -> None:
    opened.kept(55, majordome=False)
    assert opened.shutter == "open"
    closes(opened, 5)
    assert opened.told(messages.DOME_CLOSED)[-1].reason == "the majordome is silent"


def test_the_shorter_lease_is_told_while_the_dome_is_open(rig: DomeRig) -> None:
    rig.opened()
    rig.kept(15)
    rig.kept(21, weather=False)
    told = rig.told(messages.TELEMETRY)
    last = told[-1]
    assert last.state == "open"
    assert SILENCE - 34 < last.values["lease"] < SILENCE - 10
    rig.unsafe("wind")
    rig.run(60)
    assert rig.told(messages.TELEMETRY)[-1].values == {"azimuth": last.values["azimuth"]}


def test_keep_open_is_answered_with_what_the_dome_does(opened: DomeRig) -> None:
    opened.keep_open()
    assert opened.told(messages.KEPT_OPEN)[-1] == messages.DomeReport(state="open", may_open="")
    opened.unsafe("wind")
    opened.run(5)
    opened.keep_open()
    assert opened.told(messages.KEPT_OPEN)[-1] == messages.DomeReport(state="closed", may_open="weather unsafe: wind")


def test_the_majordome_is_told_when_monitorings_first_word_has_come(rig: DomeRig) -> None:
    rig.keep_open()
    assert "no word from monitoring" in rig.told(messages.KEPT_OPEN)[-1].may_open
    rig.safe()
    assert rig.told(messages.KEPT_OPEN)[-1].may_open == ""


# Without turns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["Weather unsafe", "Close", "a lease ends", "found open"])
def test_a_full_disk_delays_no_closing(opened: DomeRig, why: str) -> None:
    opened.full_disk()
    match why:
        case "Weather unsafe":
            opened.unsafe()
            closes(opened, 0.1)
        case "Close":
            opened.close()
            closes(opened, 0.1)
        case "a lease ends":
            closes(opened, SILENCE)
        case _:
            opened.unsafe()
            closes(opened, 0.1)
            opened.by_hand("DO open")
            closes(opened, POLL + TRAVEL)


def test_while_nothing_can_be_stored_nothing_opens(rig: DomeRig) -> None:
    rig.full_disk()
    rig.safe()
    rig.open()
    rig.run(20)
    assert "DO open" not in rig.commands()


def test_what_is_stored_late_opens_nothing_any_more(rig: DomeRig) -> None:
    rig.safe()
    stored = rig.full_disk()
    rig.open()
    rig.run(70)
    rig.safe()
    stored()
    rig.run(30)
    assert "DO open" not in rig.commands()


def test_an_agent_whose_journal_cannot_be_opened_closes_the_dome(opened: DomeRig) -> None:
    opened.kill()
    with closing(Journal(opened.config.journal("dome"))):
        with pytest.raises(JournalError, match="in use"):
            opened.start()
        opened.host = None
        closes(opened, 1)
    opened.run(30)


# The device -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stuck", "refuse request=close", "no_answer request=close", "no_answer"])
def test_a_closing_that_fails_is_tried_until_the_device_says_closed(opened: DomeRig, fault: str) -> None:
    opened.by_hand(f"FAULT {fault} for=40")
    opened.unsafe()
    opened.run(39)
    assert opened.shutter != "closed"
    closes(opened, 1 + RETRY + 2)
    opened.run(60)
    assert opened.told(messages.DOME_CLOSED)[-1].reason == "weather unsafe: rain"
    assert any(failure.reason.startswith("Close: ") for failure in opened.told(messages.DOME_FAILED))


@pytest.mark.parametrize("fault", ["drop", "garbage", "half_line", "late_answer seconds=20"])
def test_whatever_a_device_answers_it_is_told_to_close(opened: DomeRig, fault: str) -> None:
    opened.by_hand(f"FAULT {fault} for=40")
    opened.unsafe()
    closes(opened, 0.1)
    opened.run(60)
    assert opened.told(messages.DOME_CLOSED)[-1].reason == "weather unsafe: rain"


def test_a_dome_that_somebody_opens_is_closed(rig: DomeRig) -> None:
    rig.by_hand("DO open")
    rig.run(TRAVEL)
    closes(rig, POLL)


def test_a_device_that_comes_back_is_closed_at_once(opened: DomeRig) -> None:
    opened.by_hand("FAULT no_answer for=30")
    opened.run(1)
    opened.unsafe()
    opened.run(28)
    assert opened.shutter == "open"
    closes(opened, 1 + 2 + 5)


def test_a_device_that_was_lost_opens_again_while_it_may(opened: DomeRig) -> None:
    opened.power_off()
    opened.power_on()
    opened.kept(10)
    assert opened.shutter == "open"
    assert opened.told(messages.DOME_CLOSED)[-1].reason == "the dome was lost, and is closed"


def test_what_fails_to_open_is_closed(rig: DomeRig) -> None:
    rig.by_hand("FAULT stuck for=60")
    rig.safe()
    rig.open()
    rig.kept(16)
    assert rig.told(messages.DOME_FAILED)[0].reason.startswith("Open: ")
    assert rig.commands()[-1] == "DO close"
    rig.kept(80)
    assert rig.shutter == "closed"


def test_the_majordome_is_told_at_once_that_it_closes_by_itself(opened: DomeRig) -> None:
    opened.kept(SILENCE - 20, weather=False)
    opened.sent.clear()
    opened.run(22)
    assert [report.may_open for report in opened.told(messages.KEPT_OPEN)] == ["monitoring is silent"]


def test_who_tells_it_to_close_is_not_told_that_it_may_not_be_open(opened: DomeRig) -> None:
    opened.close()
    opened.run(1)
    assert all(report.may_open == "" for report in opened.told(messages.KEPT_OPEN))


# A roof -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def roof(tmp_path: Path) -> Iterator[DomeRig]:
    """One that would hit the telescope; it is open."""
    rig = DomeRig(tmp_path, roof=True)
    rig.start()
    rig.opened()
    rig.sent.clear()
    yield rig
    assert rig.close_all() == []


def test_a_roof_closes_when_the_mount_is_parked(roof: DomeRig) -> None:
    roof.unsafe()
    assert [name for agent, name, _ in roof.sent if agent == "telescope"] == [messages.PARK, messages.TELL_STATE]
    roof.run(30)
    assert roof.shutter == "open"
    roof.say(messages.PARK_FINISHED, sender="telescope")
    closes(roof, 0.1)


@pytest.mark.parametrize("disk", ["has room", "is full"])
def test_a_roof_waits_for_the_mount_a_minute_at_most(roof: DomeRig, disk: str) -> None:
    if disk == "is full":
        roof.full_disk()
    roof.unsafe()
    roof.run(59)
    assert roof.shutter == "open"
    closes(roof, 1)


def test_only_the_telescopes_word_says_that_it_is_parked(roof: DomeRig) -> None:
    roof.unsafe()
    roof.say(messages.PARK_FINISHED, sender="majordome")
    roof.run(5)
    assert roof.shutter == "open"


def test_a_roof_that_waits_for_the_mount_is_said_to_close(roof: DomeRig) -> None:
    """Else the majordome observes on below it when monitoring is heard again, and no mount parks."""
    roof.kept(SILENCE - 20, weather=False)
    roof.sent.clear()
    roof.run(22)
    roof.safe()
    assert roof.shutter == "open"
    assert "monitoring is silent" in [report.may_open for report in roof.told(messages.KEPT_OPEN)]


def test_a_roof_that_is_closed_waits_for_nobody(roof: DomeRig) -> None:
    roof.unsafe()
    roof.say(messages.PARK_FINISHED, sender="telescope")
    closes(roof, 0.1)
    roof.run(1)
    began = roof.now
    roof.stop()
    assert roof.now - began < 0.1


def test_a_roof_that_opens_again_waits_for_the_mount_again(roof: DomeRig) -> None:
    for _ in range(2):
        roof.unsafe()
        roof.run(5)
        assert roof.shutter == "open"
        roof.say(messages.PARK_FINISHED, sender="telescope")
        closes(roof, 0.1)
        roof.run(1)
        roof.opened()


# Restarts and the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [0.0, 5.0, 3600.0])
def test_nothing_that_was_said_before_a_restart_counts_after_it(opened: DomeRig, away: float) -> None:
    opened.kill()
    opened.run(away)
    assert opened.shutter == "open"
    opened.start()
    closes(opened, 0.5)
    opened.keep_open()
    opened.run(30)
    assert opened.commands().count("DO open") == 1


def test_the_end_of_the_agent_waits_for_the_closed_dome(opened: DomeRig) -> None:
    began = opened.now
    opened.stop()
    assert opened.shutter == "closed"
    assert opened.now - began < TRAVEL + 1


def test_the_end_waits_for_a_shutter_that_sticks(opened: DomeRig) -> None:
    opened.by_hand("FAULT stuck for=60")
    opened.stop()
    assert opened.shutter == "closed"


def test_an_end_with_a_closed_dome_takes_no_time(rig: DomeRig) -> None:
    began = rig.now
    rig.stop()
    assert rig.now - began < 0.1
    assert rig.commands() == ["DO close"]


def test_an_end_without_a_device_does_not_last(opened: DomeRig) -> None:
    opened.power_off()
    began = opened.now
    opened.stop()
    assert 10 < opened.now - began < 40


def test_nothing_opens_while_the_agent_ends(opened: DomeRig) -> None:
    opened.by_hand("FAULT stuck for=20")
    assert opened.host is not None
    opened.host.stop()
    opened.safe()
    opened.open()
    opened.run(15)
    assert opened.commands().count("DO open") == 1


# People -----------------------------------------------------------------------------------------------------------


def test_close_from_a_person_is_a_hold_until_it_is_released(opened: DomeRig) -> None:
    opened.close(sender="somebody", reason="a bird")
    closes(opened, 0.1)
    hold = opened.agent.holds.hold
    assert hold is not None
    assert hold.why == "a bird"
    opened.kill()
    opened.start()
    for _ in range(3):
        opened.kept(60)
        opened.open()
    assert opened.commands().count("DO open") == 1
    assert opened.told(messages.DOME_FAILED)[-1].reason == "not opened: held by somebody: a bird"
    opened.agent.holds.release()
    opened.opened()


def test_close_from_the_majordome_holds_nothing(opened: DomeRig) -> None:
    opened.close()
    closes(opened, 0.1)
    assert opened.agent.holds.hold is None


@pytest.mark.parametrize("name", [messages.HOLD, messages.STOP])
def test_a_hold_closes_at_once(opened: DomeRig, name: str) -> None:
    opened.full_disk()
    opened.say(name, messages.HoldOrder(why="work on the roof", who="Ann"), sender="somebody")
    closes(opened, 0.1)


def test_a_hold_of_another_process_closes_soon(opened: DomeRig) -> None:
    Holds(opened.config.data, opened.clock).set("Ann", "work on the roof")
    closes(opened, LOOK)


def test_a_hold_that_cannot_be_written_counts_all_the_same(opened: DomeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyros.hold.atomic_write", full)
    opened.close(sender="somebody")
    closes(opened, 0.1)
    opened.safe()
    opened.open()
    opened.run(5)
    assert opened.commands().count("DO open") == 1


class TestService:
    """Service by hand."""

    @pytest.fixture
    def served(self, rig: DomeRig) -> DomeRig:
        rig.agent.holds.serve("Ann", "new cable", rig.now + 1200)
        rig.unsafe("wind 20 m/s")
        return rig

    def opened_by_hand(self, rig: DomeRig) -> None:
        rig.open(sender="somebody")
        assert rig.until(lambda: rig.shutter == "open", TRAVEL + 1)

    def test_a_person_opens_without_majordome_and_in_wind(self, served: DomeRig) -> None:
        self.opened_by_hand(served)
        for _ in range(30):
            served.unsafe("wind 20 m/s")
            served.run(20)
        assert served.shutter == "open"

    def test_by_day_too(self, tmp_path: Path) -> None:
        rig = DomeRig(tmp_path / "day", start=MIDNIGHT + timedelta(hours=12))
        rig.start()
        rig.agent.holds.serve("Ann", "new cable", rig.now + 1200)
        rig.safe()
        self.opened_by_hand(rig)
        assert rig.close_all() == []

    def test_the_automation_opens_nothing(self, served: DomeRig) -> None:
        served.safe()
        served.open()
        served.run(5)
        assert "DO open" not in served.commands()

    def test_a_person_without_the_key_opens_nothing(self, served: DomeRig) -> None:
        served.say(messages.OPEN, messages.Order(), sender="somebody", proved=False)
        served.run(5)
        assert "DO open" not in served.commands()

    def test_rain_closes(self, served: DomeRig) -> None:
        self.opened_by_hand(served)
        served.unsafe(wet=True)
        closes(served, 0.1)

    def test_the_silence_of_monitoring_closes(self, served: DomeRig) -> None:
        self.opened_by_hand(served)
        closes(served, SILENCE)

    def test_its_end_closes(self, served: DomeRig) -> None:
        self.opened_by_hand(served)
        end = served.now + 1190
        while served.now < end:
            served.unsafe("wind 20 m/s")
            served.run(10)
        assert served.shutter == "open"
        closes(served, 10 + LOOK)

    def test_what_is_open_for_the_automation_closes_when_it_begins(self, opened: DomeRig) -> None:
        opened.agent.holds.serve("Ann", "new cable", opened.now + 1200)
        closes(opened, LOOK)


# The Sun and the clock --------------------------------------------------------------------------------------------


def test_by_day_it_refuses_to_open(tmp_path: Path) -> None:
    rig = DomeRig(tmp_path, start=MIDNIGHT + timedelta(hours=9))
    rig.start()
    rig.safe()
    rig.open()
    rig.run(5)
    assert rig.commands() == ["DO close"]
    (failure,) = rig.told(messages.DOME_FAILED)
    assert failure.reason == "not opened: the Sun is at +31°: it is day"
    assert rig.close_all() == []


def test_at_dawn_it_closes_whatever_the_others_say(tmp_path: Path) -> None:
    rig = DomeRig(tmp_path, start=MIDNIGHT + timedelta(hours=5.5))
    rig.start()
    rig.opened()
    rig.kept(3600)
    assert rig.shutter == "closed"
    assert "it is day" in rig.told(messages.DOME_CLOSED)[-1].reason
    assert rig.close_all() == []


@pytest.mark.parametrize("step", [sign * size for size in (3.0, 3600.0, 86400.0, YEAR) for sign in (1, -1)])
def test_a_clock_that_steps_ends_all_leases(opened: DomeRig, step: float) -> None:
    opened.kept(20)
    opened.clock.step(step)
    closes(opened, LOOK)
    assert "the clock has stepped" in opened.told(messages.DOME_CLOSED)[-1].reason


@pytest.mark.parametrize("hours", [-10.0, -12.0, -1000 * 24.0 + 10])
def test_a_clock_that_steps_into_the_night_opens_nothing(tmp_path: Path, hours: float) -> None:
    rig = DomeRig(tmp_path, start=MIDNIGHT + timedelta(hours=12))
    rig.start()
    rig.safe()
    rig.clock.step(3600 * hours)
    for _ in range(10):
        rig.safe()
        rig.open()
        rig.run(30)
    assert "DO open" not in rig.commands()
    assert "it is day" in rig.told(messages.DOME_FAILED)[-1].reason
    assert rig.close_all() == []


def test_words_after_a_small_step_open_again(opened: DomeRig) -> None:
    opened.clock.step(60)
    closes(opened, LOOK)
    opened.opened()


def test_a_clock_that_drifts_closes_nothing(opened: DomeRig) -> None:
    for _ in range(60):
        opened.clock.step(0.5)
        opened.kept(10)
    assert opened.shutter == "open"


@pytest.mark.parametrize("step", [1e12, -1e12])
def test_a_clock_that_shows_nonsense_closes(opened: DomeRig, step: float) -> None:
    opened.clock.step(step)
    closes(opened, LOOK)
    opened.safe()
    opened.open()
    opened.run(5)
    assert opened.commands().count("DO open") == 1


def test_an_agent_without_its_site_closes_the_dome(opened: DomeRig) -> None:
    opened.kill()
    opened.config.site.write_text("latitude: north\n")
    opened.start()
    closes(opened, 1)
