"""Whatever the majordome is told, in any order, it opens only when that is safe."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from pyros.agents.majordome import LEASE
from pyros.agents.night_table import OPEN_STATES, State
from pyros.messages import (
    DeviceState,
    DomeFailure,
    DomeReport,
    ObservationReport,
    Plan,
    Reason,
)
from tests.agents.majordome_rig import MIDNIGHT, MajordomeRig, ended


class Nights(RuleBasedStateMachine):
    """Anybody says anything at any time, and the majordome dies at any time."""

    @initialize(hours=st.sampled_from((-8.0, -5.6, 0.0, 5.0)), roof=st.booleans(), calibrating=st.booleans())
    def begin(self, hours: float, roof: bool, calibrating: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        start = datetime.fromtimestamp(MIDNIGHT.timestamp() + 3600 * hours, UTC)
        options: dict[str, Any] = {}
        if calibrating:
            options = {"flats": "r", "focus": "1", "cool": "-10", "biases": "3", "darks": "2"}
        self.rig = MajordomeRig(Path(self._folder.name), start, roof=roof, **options)
        self.safe_until, self.number, self.seen = -1.0, 0, 0
        self.safe_now = False

    @rule()
    def weather_is_safe(self) -> None:
        self.safe_now, self.safe_until = True, self.rig.clock.monotonic() + LEASE
        self.rig.safe()

    @rule()
    def weather_is_unsafe(self) -> None:
        self.safe_now = False
        orders = self.rig.unsafe()
        assert self.rig.state not in OPEN_STATES
        assert ("dome", messages.OPEN) not in orders

    @rule(alert=st.booleans())
    def something_is_planned(self, alert: bool) -> None:
        self.number += 1
        self.rig.plan(f"obs-{self.number}", alert="ivo://x" if alert else "")

    @rule()
    def nothing_is_planned(self) -> None:
        self.rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))

    @rule(name=st.sampled_from((messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED)))
    def an_observation_ends(self, name: str) -> None:
        running = self.rig.agent.state.running
        self.rig.say("observation_manager", name, ObservationReport(observation=running.id if running else "none"))

    @rule(name=st.sampled_from((messages.CALIBRATION_FINISHED, messages.CALIBRATION_FAILED)))
    def a_calibration_ends(self, name: str) -> None:
        ended(self.rig, "focus", name)

    @rule()
    def the_detector_is_cold(self) -> None:
        self.rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0))

    @rule(name=st.sampled_from((messages.DOME_OPENED, messages.DOME_CLOSED)))
    def the_dome_says(self, name: str) -> None:
        self.rig.say("dome", name, Reason(reason="it says so"))

    @rule(what=st.sampled_from(("open", "close", "refused")), lost=st.booleans())
    def the_dome_fails(self, what: Any, lost: bool) -> None:
        self.rig.say("dome", messages.DOME_FAILED, DomeFailure(reason=f"{what} failed", what=what, lost=lost))

    @rule(reason=st.sampled_from(("", "the guardian is silent")), state=st.sampled_from(("open", "closed")))
    def the_dome_answers(self, reason: str, state: str) -> None:
        self.rig.say("dome", messages.KEPT_OPEN, DomeReport(state=state, may_open=reason))

    @rule(name=st.sampled_from((messages.PARK_FINISHED, messages.PARK_FAILED)))
    def the_mount_says(self, name: str) -> None:
        payload = messages.Failure(reason="stuck") if name == messages.PARK_FAILED else None
        self.rig.say("telescope", name, payload)

    @rule(
        device=st.sampled_from(("dome", "telescope", "camera")),
        state=st.sampled_from(("open", "closed", "unknown", "tracking", "parked", "exposing")),
        reason=st.sampled_from(("", "no lease")),
    )
    def a_device_tells(self, device: str, state: str, reason: str) -> None:
        self.rig.say(device, messages.DEVICE_STATE, DeviceState(instrument=device, state=state, reason=reason))

    @precondition(lambda self: self.rig.holds.hold is None)
    @rule()
    def a_person_holds(self) -> None:
        self.rig.agent.holds.set("anna@dome", "a visitor")
        self.rig.say("program:person", messages.HOLD, messages.HoldOrder(why="a visitor", who="anna@dome"))
        assert self.rig.state == State.HELD

    @precondition(lambda self: self.rig.holds.hold is not None)
    @rule()
    def a_person_releases(self) -> None:
        self.rig.agent.holds.release()
        self.rig.say("program:person", messages.RELEASE, messages.ReleaseOrder(who="anna@dome"))
        assert self.rig.state != State.HELD

    @rule(seconds=st.sampled_from((1.0, 19.0, 61.0, 310.0, 4 * 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.rig.reactor.pump([20.0] * int(seconds // 20) + [seconds % 20])

    @rule()
    def it_dies_and_begins_anew(self) -> None:
        self.rig.restart()
        self.seen = 0
        self.safe_now = False

    @invariant()
    def it_opens_only_when_it_is_safe_and_nobody_holds(self) -> None:
        orders, self.seen = self.rig.agent.orders[self.seen :], len(self.rig.agent.orders)
        if ("dome", messages.OPEN) in orders or ("observation_manager", messages.OBSERVE) in orders:
            assert self.safe_now
            assert self.rig.holds.hold is None

    @invariant()
    def every_cell_that_came_up_is_in_the_table(self) -> None:
        assert self.rig.agent.machine.impossible == 0
        assert self.rig.host.turns.failed == 0

    @invariant()
    def what_runs_under_a_shut_dome_was_stopped(self) -> None:
        if self.rig.state not in OPEN_STATES:
            assert self.rig.agent.state.running is None

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.stop()
            self._folder.cleanup()


def test_the_majordome_opens_only_when_that_is_safe() -> None:
    how = settings(max_examples=25, stateful_step_count=30, suppress_health_check=list(HealthCheck), derandomize=True)
    run_state_machine_as_test(Nights, settings=how)
