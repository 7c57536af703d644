"""Random tests of the dome's agent against a model, which says when the dome must be closed.

Weather, leases, holds, restarts, clocks that step, a full disk and faults of the device come in any order.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pyros import messages
from pyros.hold import Holds
from pyros.planning import Site
from pyros.planning.visibility import sun_altitude
from tests.agents.dome_rig import MIDNIGHT, SILENCE, TRAVEL, DomeRig

LEASE = 60.0
LOOK, POLL, RETRY, ANSWER, BACK = 5.0, 10.0, 10.0, 5.0, 2.0
STUCK = TRAVEL + 10.0  # after so long a driver says that nothing has moved
MARGIN = 0.5
QUIET = LOOK + POLL + RETRY + ANSWER + BACK + STUCK + TRAVEL
"""Seconds within which the dome is closed, once nothing is wrong with its device, whatever was."""
PROMPT = LOOK + TRAVEL + MARGIN
"""The same where nothing has been wrong for that long, and nobody has opened it by hand."""
NEVER = -math.inf
FAULTS = (
    "stuck", "refuse", "refuse request=close", "no_answer", "no_answer request=close", "no_answer request=state",
    "late_answer seconds=3", "garbage", "half_line", "drop", "drop probability=0.3",
)  # fmt: skip
HOURS = (-6.5, -3.0, 0.0, 5.5, 12.0)


class Word(NamedTuple):
    """What the agent has heard, and from when it counts."""

    kind: str
    said: float


class Model:
    """When the dome must be closed, by what was said; it knows nothing of how the agent finds that out."""

    def __init__(self, rig: DomeRig) -> None:
        self.rig = rig
        self.site = Site.load(rig.config.site)
        self.holds = Holds(rig.config.data, rig.clock)
        self.began()

    def began(self) -> None:
        """Begin as an agent that has heard nothing."""
        self.words: list[Word] = []
        self.old_clocks: list[tuple[float, float]] = []
        self.by_hand = False

    def heard(self, kind: str, said: float) -> None:
        self.words.append(Word(kind, said))

    def stepped(self, before: float) -> None:
        """Step the clock: what was said before counts no more, and the clock before it is as good as the new."""
        self.words = [word._replace(said=NEVER) for word in self.words]
        self.old_clocks.append((before, self.rig.now + 12 * 3600))

    def must_be_closed(self) -> str:
        """Why; '' when it may be open."""
        now = self.rig.now
        service, hold = self.holds.service, self.holds.hold
        if service is None and hold is not None:
            return "somebody holds it"
        weather = [word for word in self.words if word.kind in ("safe", "unsafe", "wet")]
        heard = max((word.said for word in weather), default=NEVER)
        if service is not None:
            wet = bool(weather) and weather[-1].kind == "wet"
            return "" if self.by_hand and not wet and now < heard + SILENCE else "nobody may have it open in service"
        last_bad = max((number for number, word in enumerate(weather) if word.kind != "safe"), default=-1)
        bad_said = max((word.said for word in weather if word.kind != "safe"), default=NEVER)
        good = [word.said for word in weather[last_bad + 1 :] if word.said >= bad_said]
        kept = max((word.said for word in self.words if word.kind == "keep"), default=NEVER)
        if not now < min(max(good, default=NEVER) + SILENCE, kept + LEASE):
            return "nobody says that the weather is good, or nobody keeps it open"
        return "it is day" if self.may_be_day(now) else ""

    def may_be_day(self, now: float) -> bool:
        """By the clock, or by one before it stepped."""
        clocks = [self.rig.clock.time() - now, *(offset for offset, until in self.old_clocks if now < until)]
        for offset in clocks:
            with suppress(OverflowError, ValueError):
                if sun_altitude(self.site, datetime.fromtimestamp(now + offset, UTC)) < self.site.dome_sun_limit:
                    continue
            return True
        return False


class DomeMachine(RuleBasedStateMachine):
    """Things happen to one dome."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stored: Callable[[], None] | None = None
        self.faulty_until = NEVER
        self.troubled = 0.0
        self.bad_since: float | None = None
        self.opened_by_others = NEVER
        self.last_request: object = None

    @initialize(hours=st.sampled_from(HOURS))
    def begin(self, hours: float) -> None:
        self.rig = DomeRig(Path(self.folder.name), start=MIDNIGHT + timedelta(hours=hours))
        self.model = Model(self.rig)
        self.start()

    def teardown(self) -> None:
        left = self.rig.close_all() if hasattr(self, "rig") else []
        self.folder.cleanup()
        assert left == []

    # What is always so --------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Check the dome and its agent between any two things that happen."""
        rig, now = self.rig, self.rig.now
        opening = self.has_told_to_open()
        if rig.shutter == "closed" and not opening and self.bad_since is None and now >= self.faulty_until:
            self.troubled = now if rig.host is None else self.troubled
            return False
        reason = self.model.must_be_closed()
        assert not (opening and reason), f"the agent has opened, though {reason}"
        if rig.host is None or now < self.faulty_until:
            self.troubled = now
        if not reason or rig.shutter == "closed":
            self.bad_since = None
            return False
        self.bad_since = now if self.bad_since is None else self.bad_since
        calm = now - max(self.troubled, self.bad_since, self.opened_by_others)
        assert calm <= QUIET, f"the dome is {rig.shutter} {calm:.1f} s after all was well with it, though {reason}"
        undisturbed = self.bad_since > max(self.troubled, self.opened_by_others) + QUIET
        assert not undisturbed or calm <= PROMPT, f"the dome is {rig.shutter} after {calm:.1f} s, though {reason}"
        return False

    def has_told_to_open(self) -> bool:
        """Whether the agent has told the device to open since this was asked last."""
        opening, requests = False, self.rig.simulator.requests
        for request in reversed(requests):
            if request is self.last_request:
                break
            opening = opening or (request[1].startswith("#") and "DO open" in request[1])
        self.last_request = requests[-1] if requests else None
        return opening

    def run(self, seconds: float) -> None:
        """Let time pass in steps, so that the model is asked also where nothing happens."""
        end = self.rig.now + seconds
        while self.rig.now < end:
            step = 1.0 if self.rig.shutter != "closed" else 10.0
            self.rig.reactor.run_until(min(end, self.rig.now + step), self.look)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if hasattr(self, "rig"):
            self.look()

    # What others say ----------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return hasattr(self, "rig") and self.rig.host is not None

    ages = st.sampled_from((0.0, 0.0, 0.0, 5.0, 30.0, 59.0, 61.0, 3600.0, None))

    def hear(self, kind: str, age: float | None) -> None:
        self.model.heard(kind, NEVER if age is None else self.rig.now - age)

    @precondition(lambda self: self.alive)
    @rule(kind=st.sampled_from(("safe", "safe", "safe", "unsafe", "wet")), age=ages)
    def weather(self, kind: str, age: float | None) -> None:
        self.hear(kind, age)
        if kind == "safe":
            self.rig.safe(age)
        else:
            self.rig.unsafe(kind, wet=kind == "wet", age=age)

    @precondition(lambda self: self.alive)
    @rule(age=ages)
    def keep_open(self, age: float | None) -> None:
        self.hear("keep", age)
        self.rig.keep_open(LEASE, age)

    @precondition(lambda self: self.alive)
    @rule(age=ages)
    def open(self, age: float | None) -> None:
        """Open by an order, which keeps the dome open once it is carried out."""
        self.hear("keep", age)
        self.rig.open(age=age)

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(
        age=ages,
        before=st.sampled_from((0.0, 0.0, 12 * 3600.0, -12 * 3600.0)),
        then=st.sampled_from(("", "silence", *FAULTS)),
    )
    def all_is_well(self, age: float | None, before: float, then: str) -> None:
        """Everything works, and the majordome opens, by a word of monitoring that is so old; it opens if it may.

        Before that the clock may step, half a day; and then nobody says anything, or it rains on a faulty device.
        """
        if self.rig.host is None:
            self.start()
        if before:
            self.clock_steps(abs(before), before < 0)
        if self.stored is not None:
            self.disk_has_room()
        self.rig.by_hand("FAULT clear")
        self.faulty_until = self.rig.now
        self.release()
        self.run(QUIET)
        self.weather("safe", age)
        self.open(0.0)
        may_open = not self.model.must_be_closed()
        assert self.rig.shutter in ("opening", "open") or not may_open, "it doesn't open, and nothing is wrong"
        self.run(TRAVEL + MARGIN)
        if then in FAULTS:
            self.fault(then, 20.0)
            self.weather("wet", 0.0)
        self.run(LEASE + 2 * QUIET if then else 10.0)

    # People -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(person=st.booleans())
    def close(self, person: bool) -> None:
        self.rig.close(sender="somebody" if person else "majordome")
        self.model.by_hand = False
        if person and self.model.holds.service is None:
            assert self.model.holds.hold is not None, "a person's Close holds"

    @precondition(lambda self: hasattr(self, "rig"))
    @rule()
    def hold(self) -> None:
        """In another process; its message may get lost."""
        self.model.holds.set("Ann", "work on the roof")

    @precondition(lambda self: self.alive)
    @rule(name=st.sampled_from((messages.HOLD, messages.STOP)))
    def hold_by_message(self, name: str) -> None:
        self.rig.say(name, messages.HoldOrder(why="work on the roof", who="Ann"), sender="somebody")

    @precondition(lambda self: hasattr(self, "rig"))
    @rule()
    def release(self) -> None:
        """Whoever had opened it by hand: the automation may close it, and need not."""
        self.model.holds.release()
        self.run(PROMPT + POLL)
        self.model.by_hand = False

    @precondition(lambda self: self.alive)
    @rule(seconds=st.sampled_from((60.0, 300.0)))
    def service(self, seconds: float) -> None:
        self.model.holds.serve("Ann", "new cable", self.rig.now + seconds)
        self.run(PROMPT + POLL)

    @precondition(lambda self: self.alive)
    @rule()
    def open_by_hand(self) -> None:
        """Order the dome open as a person who has proved the key; without a service it counts as the majordome's."""
        served = self.model.holds.service is not None
        self.model.by_hand = served
        if not served:
            self.hear("keep", 0.0)
        self.rig.open(sender="somebody")

    # The process, the disk, the clock -----------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "rig") and self.rig.host is None)
    @rule()
    def start(self) -> None:
        self.model.began()
        self.rig.start()

    @precondition(lambda self: self.alive)
    @rule(away=st.sampled_from((0.0, 1.0, 30.0, 3600.0)))
    def kill(self, away: float) -> None:
        self.stored = None
        self.model.began()
        self.rig.kill()
        self.run(away)

    @precondition(lambda self: self.alive)
    @rule()
    def stop(self) -> None:
        """As a signal does: it ends with a closed dome, unless its device was faulty."""
        well = self.rig.now > max(self.faulty_until, self.troubled) + QUIET
        self.stored = None
        self.rig.stop()
        self.model.began()
        assert not well or self.rig.shutter == "closed"

    @precondition(lambda self: self.alive and self.stored is None)
    @rule()
    def disk_is_full(self) -> None:
        self.stored = self.rig.full_disk()

    @precondition(lambda self: self.alive and self.stored is not None)
    @rule()
    def disk_has_room(self) -> None:
        assert self.stored is not None
        self.stored()
        self.stored = None
        self.run(2)

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(step=st.sampled_from((3.0, 60.0, 3600.0, 6 * 3600.0, 12 * 3600.0, 86400.0, 3e7)), back=st.booleans())
    def clock_steps(self, step: float, back: bool) -> None:
        """And somebody says something, by which it is noticed."""
        before = self.rig.clock.time() - self.rig.now
        self.rig.clock.step(-step if back else step)
        if self.alive:
            self.model.stepped(before)
            self.rig.keep_open(0.001, age=100.0)

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(step=st.sampled_from((-1.0, -0.1, 0.5, 1.0)))
    def clock_is_corrected(self, step: float) -> None:
        """By so little that it is no step."""
        self.rig.clock.step(step)
        if self.alive:
            self.rig.keep_open(0.001, age=100.0)

    # The device ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(fault=st.sampled_from(FAULTS), seconds=st.sampled_from((3.0, 20.0, 90.0)))
    def fault(self, fault: str, seconds: float) -> None:
        self.faulty_until = max(self.faulty_until, self.rig.now + seconds)
        self.rig.by_hand(f"FAULT {fault} for={seconds:g}")

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(seconds=st.sampled_from((0.5, 10.0, 100.0)))
    def power_is_cut(self, seconds: float) -> None:
        """Cut the power; the shutter stands closed when it is back."""
        self.faulty_until = max(self.faulty_until, self.rig.now + seconds)
        self.rig.power_off()
        self.run(seconds)
        self.rig.power_on()

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(action=st.sampled_from(("open", "stop", "close")))
    def somebody_moves_it(self, action: str) -> None:
        self.opened_by_others = self.rig.now + TRAVEL
        self.rig.by_hand(f"DO {action}")

    # Time ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "rig"))
    @rule(seconds=st.sampled_from((0.5, 5.0, 20.0, 70.0, 200.0)))
    def time_passes(self, seconds: float) -> None:
        self.run(seconds)


@pytest.mark.parametrize("examples", [40, pytest.param(300, marks=pytest.mark.long)])
def test_the_dome_against_its_model(examples: int) -> None:
    how = settings(max_examples=examples, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(DomeMachine, settings=how)
