"""The guardian and the beat of the dome's agent, on virtual time: who closes the dome, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from pyros import config as configuration
from pyros import keys, messages
from pyros.agents.beat import START_SECONDS, BeatSender
from pyros.clock import VirtualClock
from pyros.errors import AgentError
from pyros.guardian import NOT_CLOSED, SILENT, Guardian
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.rehearsal.reactor import MemoryReactor
from pyros.simulators import Simulator
from pyros.simulators import load as load_simulator

REPOSITORY = Path(__file__).parents[1]
BOUND = 5 + 1 + 2
"""Seconds from the last beat until the shutter is closed: beat, poll, and the simulated shutter's two seconds."""


class _Stranger(Protocol):
    """Says something, and keeps what is answered."""

    def __init__(self) -> None:
        self.heard = b""
        self.gone = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True

    def say(self, line: str) -> None:
        assert self.transport is not None
        self.transport.write(line.encode())


class GuardianRig:
    """A simulated dome and mount, a guardian, and the beat of an agent that is alive as long as the test wants."""

    def __init__(self, folder: Path, *, roof: str = "no", guardian: str = "") -> None:
        for name in ("site.yaml", "alert_rules.yaml"):
            (folder / name).write_text((REPOSITORY / "observatory" / name).read_text())
        self.simulators = {}
        self.reactor = MemoryReactor()
        self.clock = VirtualClock(self.reactor, datetime(2026, 3, 20, 23, 30, tzinfo=UTC))
        for name in ("dome", "telescope"):
            text = (REPOSITORY / "observatory/simulators" / f"{name}.yaml").read_text()
            file = folder / f"{name}.yaml"
            file.write_text(text.replace("site: ../site.yaml", "site: site.yaml"))
            self.simulators[name] = Simulator(load_simulator(file), self.reactor, self.clock)
            self.simulators[name].start()
        path = folder / configuration.FILE_NAME
        path.write_text(
            "[observatory]\nname = test\nsite = site.yaml\nalert_rules = alert_rules.yaml\n"
            f"[guardian]\nport = 5016\n{guardian}\n"
            "[monitoring]\nport = 5005\n[majordome]\nport = 5003\n"
            f"[dome]\nport = 5008\ndriver = native\naddress = tcp:127.0.0.1:6012\nroof = {roof}\n"
            "[telescope]\nport = 5010\ndriver = native\naddress = tcp:127.0.0.1:6010\n"
        )
        self.config = configuration.load(path)
        self.told: list[tuple[str, Any]] = []
        self.said: list[tuple[str, Any]] = []
        self.deaf = False
        self.guardian = self.make_guardian()
        self.guardian.start()
        self.alive: Callable[[], bool] = lambda: True
        self.presence: list[tuple[float, bool, str]] = []
        self.at_rest = False
        self.stirred: list[float] = []
        self.beat = self.make_beat()
        self.beat.start()

    def make_guardian(self) -> Guardian:
        return Guardian(self.config, self.reactor, self.clock, send=self._send)

    def make_beat(self) -> BeatSender:
        def on_presence(present: bool, reason: str) -> None:
            self.presence.append((self.now, present, reason))

        return BeatSender(
            self.reactor, self.clock, self.config, Logger("dome"), self._is_alive, on_presence,
            lambda: self.at_rest, lambda: self.stirred.append(self.now),
        )  # fmt: skip

    def _is_alive(self) -> bool:
        return self.alive()

    def _send(self, agent: str, name: str, payload: Any) -> None:
        if self.deaf:
            raise OSError("nobody there")
        (self.told if agent == "monitoring" else self.said).append((name, payload))

    @property
    def now(self) -> float:
        return self.reactor.seconds()

    @property
    def shutter(self) -> str:
        return str(self.simulators["dome"].device.state)

    def run(self, seconds: float) -> None:
        self.reactor.run_until(self.now + seconds)

    def until(self, condition: Callable[[], Any], seconds: float = 300.0) -> float:
        """Let time pass until it is so; returns how long that took."""
        began = self.now
        assert self.reactor.run_until(began + seconds, lambda: bool(condition())), self.guardian.status()
        return self.now - began

    def connect(self, port: int = 5016) -> _Stranger:
        stranger = _Stranger()
        TCP4ClientEndpoint(self.reactor, "127.0.0.1", port).connect(Factory.forProtocol(lambda: stranger))
        self.run(0.1)
        return stranger

    def device(self, name: str, line: str) -> None:
        """Give the simulated device a line, as somebody else would."""
        self.connect(self.simulators[name].port).say(f"{line}\n")
        self.run(0.1)

    def open(self) -> None:
        self.device("dome", "DO open")
        self.until(lambda: self.shutter == "open")

    def alarms(self, key: str) -> list[str]:
        return [name for name, payload in self.told if payload.key == key]

    def close(self) -> list[Any]:
        self.beat.stop()
        self.guardian.stop()
        for simulator in self.simulators.values():
            simulator.stop()
        self.run(2)
        return [*self.reactor.getDelayedCalls(), *self.reactor.listening]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., GuardianRig]]:
    made: list[GuardianRig] = []

    def make(**keys: Any) -> GuardianRig:
        made.append(GuardianRig(tmp_path, **keys))
        return made[-1]

    yield make
    for each in made:
        assert each.close() == [], "timers or ports are left behind"


def test_a_dome_whose_agent_beats_stays_open(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.run(600)
    assert here.shutter == "open"
    assert here.told == []
    assert [present for _, present, _ in here.presence] == [True]
    assert here.guardian.status()["dome"] == "open"


def test_a_dome_whose_agent_is_silent_is_closed_in_time(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.alive = lambda: False
    assert here.until(lambda: here.shutter == "closed") <= BOUND
    assert here.alarms(SILENT) == [messages.ALARM]
    here.run(60)
    here.alive = lambda: True
    here.until(lambda: here.alarms(SILENT) == [messages.ALARM, messages.ALARM_OVER])


def test_a_dome_that_was_open_before_the_guardian_is_closed(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.beat.stop()
    here.guardian.stop()
    here.open()
    here.guardian = here.make_guardian()
    here.guardian.start()
    assert here.until(lambda: here.shutter == "closed") <= BOUND


@pytest.mark.parametrize(
    "fault", ["stuck for=60", 'refuse request="DO close" for=60', 'no_answer request="DO close" for=60', "drop for=30"]
)
def test_a_dome_that_does_not_close_is_closed_again_and_again(fault: str, place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.device("dome", f"FAULT {fault}")
    here.alive = lambda: False
    assert here.until(lambda: here.shutter == "closed") <= 100
    here.run(5)
    assert here.alarms(NOT_CLOSED)[0] == messages.ALARM
    assert here.alarms(NOT_CLOSED)[-1] == messages.ALARM_OVER


def test_a_dome_that_is_opened_by_somebody_without_a_beat_is_closed(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.alive = lambda: False
    here.run(60)
    for _ in range(3):
        here.device("dome", "DO open")
        here.until(lambda: here.shutter != "closed")
        assert here.until(lambda: here.shutter == "closed") <= 5


def test_a_closed_dome_is_asked_seldom_while_its_agent_beats(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.run(60)
    here.simulators["dome"].requests.clear()
    here.run(600)
    assert 30 <= len(here.simulators["dome"].requests) <= 60


def test_a_dome_at_rest_costs_four_beats_a_minute(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.at_rest = True
    here.run(60)
    before = here.guardian.beats
    here.run(600)
    assert here.guardian.beats - before == 40
    assert here.told == []
    assert [present for _, present, _ in here.presence] == [True]


def test_a_dome_at_rest_that_a_hand_opens_is_told_to_its_agent(place: Callable[..., GuardianRig]) -> None:
    """The agent lives, so the guardian leaves the closing to it."""
    here = place()
    here.at_rest = True
    for second in range(16):
        here.run(40 + second)
        here.stirred.clear()
        here.device("dome", "DO open")
        here.until(lambda: here.stirred, 12)
        here.run(20)
        assert here.shutter == "open"
        here.device("dome", "DO close")
    assert here.told == []


@pytest.mark.parametrize("second", range(16))
def test_a_dome_at_rest_whose_agent_dies_is_closed_when_it_opens(
    place: Callable[..., GuardianRig], second: int
) -> None:
    here = place()
    here.at_rest = True
    here.run(40 + second)
    here.beat.stop()
    here.device("dome", "DO open")
    assert here.until(lambda: here.shutter == "closed") <= BOUND


def test_an_agent_whose_dome_rests_and_that_hangs_is_missed(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.at_rest = True
    here.run(60)
    here.alive = lambda: False
    here.run(40)
    here.device("dome", "DO open")
    assert here.until(lambda: here.shutter == "closed") <= 5
    assert here.alarms(SILENT) == [messages.ALARM]


def test_a_dome_that_leaves_its_rest_is_beaten_for_at_once(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.at_rest = True
    here.run(63)
    here.at_rest, beats = False, here.guardian.beats
    here.beat.beat_now()
    here.beat.beat_now()
    here.run(0.1)
    assert here.guardian.beats == beats + 2, "the second one after the answer"
    here.open()
    here.run(60)
    assert here.shutter == "open"


def test_a_dome_that_has_just_opened_closes_in_time_when_its_agent_dies(place: Callable[..., GuardianRig]) -> None:
    """However long ago the guardian has asked the device last."""
    here = place()
    for second in range(14):
        here.run(60 + second)
        here.device("dome", "DO open")
        here.alive = lambda: False
        assert here.until(lambda: here.shutter == "closed") <= BOUND
        here.alive = lambda: True


def test_the_guardian_opens_nothing(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.alive = lambda: False
    here.run(60)
    here.alive = lambda: True
    here.run(600)
    assert here.shutter == "closed"
    said = [line for _, line in here.simulators["dome"].requests if "DO" in line]
    assert ["open" in line for line in said].count(True) == 1


def test_a_roof_closes_after_the_mount_is_parked(place: Callable[..., GuardianRig]) -> None:
    here = place(roof="yes")
    here.open()
    here.alive = lambda: False
    here.until(lambda: here.shutter == "closing")
    assert here.simulators["telescope"].device.state == "parked"
    here.until(lambda: here.shutter == "closed")


def test_a_mount_that_is_sent_off_meanwhile_is_parked_again_before_the_roof_closes(
    place: Callable[..., GuardianRig],
) -> None:
    here = place(roof="yes")
    here.open()
    here.device("telescope", "DO unpark")
    ra, dec = place_overhead(Site.load(here.config.site), here.clock.now())
    here.device("telescope", f"DO slew ra={ra} dec={dec}")
    here.run(60)
    here.alive = lambda: False
    here.until(lambda: here.simulators["telescope"].device.state == "parking")
    here.device("telescope", f"DO slew ra={ra} dec={dec}")
    here.until(lambda: here.shutter == "closing")
    assert here.simulators["telescope"].device.state == "parked"


def test_the_majordome_is_told_until_it_takes_it_or_the_agent_is_back(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.deaf, here.alive = True, lambda: False
    here.run(25)
    assert not here.said
    here.deaf = False
    here.run(60)
    ((name, report),) = here.said
    assert (name, report.may_open) == (messages.KEPT_OPEN, "the guardian closes it, for the dome's agent is silent")
    here.alive = lambda: True
    here.run(60)
    here.open()
    here.deaf, here.alive = True, lambda: False
    here.run(15)
    here.deaf, here.alive = False, lambda: True
    here.run(60)
    assert len(here.said) == 1


@pytest.mark.parametrize("fault", ["stuck for=600", 'refuse request="DO park" for=600', "garbage for=600"])
def test_a_roof_closes_though_the_mount_cannot_be_parked(fault: str, place: Callable[..., GuardianRig]) -> None:
    here = place(roof="yes")
    here.open()
    here.device("telescope", "DO unpark")
    here.device("telescope", f"FAULT {fault}")
    here.alive = lambda: False
    assert here.until(lambda: here.shutter == "closed") <= 60 + BOUND


def test_an_alarm_is_told_until_monitoring_takes_it(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.deaf, here.alive = True, lambda: False
    here.run(100)
    here.deaf = False
    here.run(15)
    assert here.alarms(SILENT) == [messages.ALARM]


# The beat ----------------------------------------------------------------------------------------------------------


def signed(here: GuardianRig, greeting: bytes, number: int) -> str:
    nonce = greeting.split()[2].decode()
    return keys.sign(keys.read_key(here.config.data / keys.FILE), "beat", nonce, number)


@pytest.mark.parametrize("line", ["BEAT 1 {other}", "BEAT 1", "BEAT", "BEAT x {right}", "BEAT 2 {right}", "OPEN", "\t"])
def test_what_a_stranger_says_is_no_beat(line: str, place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.alive = lambda: False
    stranger = here.connect()
    beats = here.guardian.beats
    right = signed(here, stranger.heard, 1)
    stranger.say(line.format(right=right, other=keys.sign(bytes(32), "beat", "x", 1)) + "\n")
    here.run(1)
    assert here.guardian.beats == beats
    assert stranger.heard.splitlines()[1].startswith(b"ERR ")
    assert stranger.gone


def test_a_beat_counts_once(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.alive = lambda: False
    client = here.connect()
    beats = here.guardian.beats
    line = f"BEAT 3 {signed(here, client.heard, 3)}\n"
    client.say(line)
    here.run(0.1)
    assert here.guardian.beats == beats + 1
    assert client.heard.splitlines()[1] == b"OK closed"
    client.say(line)
    other = here.connect()
    other.say(line)
    here.run(0.1)
    assert here.guardian.beats == beats + 1
    assert client.gone
    assert other.gone


def test_anybody_may_ask_how_the_guardian_is(place: Callable[..., GuardianRig]) -> None:
    here = place()
    stranger = here.connect()
    stranger.say("STATUS\n")
    here.run(0.1)
    said = json.loads(stranger.heard.splitlines()[1])
    assert (said["guardian"], said["dome"], said["closing"], said["alarms"]) == ("test", "closed", False, [])
    assert stranger.gone


def test_strangers_do_not_keep_the_beat_out(place: Callable[..., GuardianRig]) -> None:
    here = place()
    strangers = [here.connect() for _ in range(40)]
    here.run(20)
    assert [present for _, present, _ in here.presence] == [True]
    assert len([each for each in strangers if not each.gone]) < 16
    here.run(30)
    assert all(each.gone for each in strangers), "who says nothing is left"


def test_a_line_without_an_end_is_cut_off(place: Callable[..., GuardianRig]) -> None:
    here = place()
    stranger = here.connect()
    stranger.say("BEAT " * 100)
    here.run(0.1)
    assert stranger.gone


def test_only_allowed_networks_may_speak_to_the_guardian(place: Callable[..., GuardianRig]) -> None:
    here = place(guardian="allow = 192.0.2.0/24")
    here.run(2)
    assert here.connect().heard == b""
    assert here.guardian.beats == 0


def test_a_guardian_that_is_gone_is_told_at_once(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.run(10)
    here.guardian.stop()
    gone = here.now
    here.until(lambda: not here.presence[-1][1])
    assert here.now - gone <= 1
    here.guardian = here.make_guardian()
    here.guardian.start()
    assert here.until(lambda: here.presence[-1][1]) <= 2


def test_a_guardian_that_starts_with_the_agent_has_some_time(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.guardian.stop()
    here.run(START_SECONDS - 2)
    assert here.presence == []
    assert not here.beat.present
    here.run(4)
    ((_, present, reason),) = here.presence
    assert not present
    assert reason.startswith("there is no guardian at 127.0.0.1:5016: ")
    here.guardian = here.make_guardian()
    here.guardian.start()


def test_a_guardian_that_hangs_is_told_within_seconds(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.run(10)
    here.guardian.connections[0].lineReceived = lambda line: None  # type: ignore[method-assign]
    hung = here.now
    here.until(lambda: not here.presence[-1][1])
    assert here.now - hung <= 5.6
    assert "said nothing for 4.5 s" in here.presence[-1][2]


def test_a_guardian_that_cannot_reach_the_dome_counts_as_gone(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.run(10)
    here.simulators["dome"].stop()
    assert here.until(lambda: not here.presence[-1][1]) <= 8
    assert here.presence[-1][2] == "the guardian cannot reach the dome"


@pytest.mark.parametrize(("seconds", "present"), [(4, True), (5, False)])
def test_a_dome_that_answers_late_is_within_reach(
    seconds: int, present: bool, place: Callable[..., GuardianRig]
) -> None:
    here = place()
    here.open()
    here.device("dome", f'FAULT late_answer request="GET state" seconds={seconds} for=60')
    here.run(50)
    assert [each for _, each, _ in here.presence] == [True, *([] if present else [False])]
    here.run(60)
    assert here.presence[-1][1]


def test_a_network_on_which_everything_takes_two_seconds_closes_no_dome(
    place: Callable[..., GuardianRig], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place()
    here.open()
    here.run(10)
    monkeypatch.setattr(here.reactor.network, "delay", lambda one, other: 2.0)
    here.run(60)
    assert here.shutter == "open"
    assert here.told == []
    assert [present for _, present, _ in here.presence] == [True]
    monkeypatch.undo()
    here.run(10)


def test_an_agent_that_cannot_say_whether_it_lives_does_not_beat(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    here.alive = lambda: 1 // 0 > 0
    assert here.until(lambda: here.shutter == "closed") <= BOUND


def test_a_step_of_the_clock_means_nothing_to_the_guardian(place: Callable[..., GuardianRig]) -> None:
    here = place()
    here.open()
    for step in (3600.0, -86400.0, 3e7):
        here.clock.step(step)
        here.run(60)
        assert here.shutter == "open"
    here.clock.step(-3600)
    here.alive = lambda: False
    assert here.until(lambda: here.shutter == "closed") <= BOUND


def test_a_second_guardian_finds_the_port_taken(place: Callable[..., GuardianRig]) -> None:
    here = place()
    second = here.make_guardian()
    with pytest.raises(AgentError, match=r"\[guardian\] port: cannot listen on 127\.0\.0\.1:5016: .* already\?"):
        second.start()
