"""The observation manager beside a device whose answers come late: an old one is not that of the command given last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyros import messages as m
from pyros.agents.observation_manager import ObservationManagerAgent
from tests.rig import SITE, AgentRig, sent

_BURST = m.Observation(id="obs-1", target="burst", ra=10.0, dec=20.0, exposures=(m.Exposures("r", 10.0, 2),))
_ARRIVED = m.SlewFinished("obs-1", 10.0, 20.0, 3.0)
_ANSWERS: dict[str, tuple[str, Any]] = {
    "telescope": (m.SLEW_FINISHED, _ARRIVED),
    "filter_wheel": (m.FILTER_SELECTED, m.FilterSelected(observation="obs-1", filter="r")),
    "dome": (m.SLIT_IN_PLACE, m.SlitInPlace(observation="obs-1")),
}


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    others = ("majordome", "scheduler", "telescope", "camera", "filter_wheel", "dome", *getattr(request, "param", ()))
    made = AgentRig(ObservationManagerAgent(), tmp_path, *others, site=SITE)
    yield made
    made.stop()


def _exposures(outcome: Any) -> list[int]:
    return [payload.number for name, payload in sent(outcome, "camera") if name == m.EXPOSE]


@pytest.mark.parametrize("died", [False, True])
@pytest.mark.parametrize("late", _ANSWERS)
def test_an_answer_to_an_earlier_observation_of_the_same_is_not_taken_for_the_new_ones(
    late: str, died: bool, rig: Any
) -> None:
    rig.hear(m.DOME_OPENED, m.Reason(reason="for obs-1"), peer="dome")
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.reactor.advance(60.0)
    rig.hear(m.ABORT_OBSERVATION, m.Abort("obs-1", "the dome closes"), peer="majordome")
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.reactor.advance(1.0)
    heard = [rig.hear(*answer, peer=device) for device, answer in _ANSWERS.items() if device != late]
    heard.append(rig.hear(*_ANSWERS[late], peer=late, waited=30.0, died=died))
    assert [_exposures(each) for each in heard] == [[], [], []]
    rig.reactor.advance(5.0)
    assert _exposures(rig.hear(*_ANSWERS[late], peer=late)) == [1]


def test_an_answer_whose_time_nobody_knows_counts(rig: Any) -> None:
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.reactor.advance(60.0)
    rig.turn((m.SLEW_FINISHED, m.encode_payload(m.SLEW_FINISHED, _ARRIVED)), peer="telescope", waited=None)
    assert rig.agent.state.phase == "ready"


def test_an_exposure_of_an_earlier_calibration_is_not_taken_for_the_new_ones(rig: Any) -> None:
    bias = m.CalibrationOrder(id="bias", kind="bias", count=3)
    end = m.ExposureFinished("bias", 1, "", "/data/bias-1.fits")
    rig.hear(m.CALIBRATE, bias, peer="majordome")
    rig.reactor.advance(60.0)
    rig.hear(m.ABORT_CALIBRATION, m.CalibrationAbort("bias", "an alert"), peer="majordome")
    rig.hear(m.CALIBRATE, bias, peer="majordome")
    rig.reactor.advance(1.0)
    assert _exposures(rig.hear(m.EXPOSURE_FINISHED, end, peer="camera", waited=30.0)) == []
    assert _exposures(rig.hear(m.EXPOSURE_FINISHED, end, peer="camera")) == [2]


def test_an_image_that_comes_late_counts_though_its_observation_goes_on_already(rig: Any) -> None:
    rig.hear(m.DOME_OPENED, m.Reason(reason="for obs-1"), peer="dome")
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    for device, answer in _ANSWERS.items():
        rig.hear(*answer, peer=device)
    assert rig.agent.state.phase == "exposing"
    rig.reactor.advance(10.0)
    rig.hear(m.ABORT_OBSERVATION, m.Abort("obs-1", "an alert"), peer="majordome")
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.reactor.advance(0.2)
    late = m.ExposureFinished("obs-1", 1, "r", "/data/1.fits", started=rig.clock.time() - 10.3, seconds=10.0)
    rig.hear(m.EXPOSURE_FINISHED, late, peer="camera", waited=0.3)
    heard = [rig.hear(*answer, peer=device) for device, answer in _ANSWERS.items()]
    assert [number for each in heard for number in _exposures(each)] == [2]
    assert rig.agent.state.images == ["/data/1.fits"]


@pytest.mark.parametrize("rig", [["focuser"]], indirect=True)
def test_a_calibration_hears_that_the_target_was_lost_just_before_its_last_command(rig: Any) -> None:
    rig.hear(m.DOME_OPENED, m.Reason(reason="the evening"), peer="dome")
    rig.hear(m.CALIBRATE, m.CalibrationOrder(id="focus", kind="focus"), peer="majordome")
    rig.reactor.advance(10.0)
    running = rig.agent.state.calibration
    rig.hear(m.SLEW_FINISHED, m.SlewFinished("focus", 10.0, 20.0, 3.0), peer="telescope")
    assert running.pointing is not None
    rig.hear(m.TRACKING_LOST, m.TrackingLost("focus", "a gust"), peer="telescope", waited=0.2)
    assert rig.agent.state.calibration is None or rig.agent.state.calibration.pointing is None


def _observing(rig: Any) -> None:
    """Have the first of two images taken, and what follows it wait for an observation manager that is dead."""
    rig.hear(m.DOME_OPENED, m.Reason(reason="for obs-1"), peer="dome")
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    for device, answer in _ANSWERS.items():
        rig.hear(*answer, peer=device)
    rig.reactor.advance(300.0)


def _later(rig: Any, seconds: float) -> list[int]:
    """Let time pass, and the timers that are due then; which exposures begin."""
    rig.reactor.advance(seconds)
    due = rig.turns.due_timers()
    return _exposures(rig.run(*due)) if due else []


_IMAGE = (m.EXPOSURE_FINISHED, m.ExposureFinished("obs-1", 1, "r", "/data/1.fits"))


@pytest.mark.parametrize("died", [False, True])
@pytest.mark.parametrize(
    ("name", "payload", "peer"),
    [
        (m.ABORT_OBSERVATION, m.Abort("obs-1", "it rains"), "majordome"),
        (m.DOME_CLOSED, m.Reason(reason="it rains"), "dome"),
        (m.TRACKING_LOST, m.TrackingLost("obs-1", "a gust"), "telescope"),
    ],
)
def test_an_image_that_has_waited_begins_no_other_one_before_the_others_are_heard(
    name: str, payload: Any, peer: str, died: bool, rig: Any
) -> None:
    """``died``: the whole observatory was killed, and all that it had not sent is in its journals."""
    _observing(rig)
    assert _exposures(rig.hear(*_IMAGE, peer="camera", waited=280.0, died=died)) == []
    assert _later(rig, 4.0) == []
    rig.hear(name, payload, peer=peer, waited=200.0)
    assert [number for _ in range(20) for number in _later(rig, 1.0)] == []
    assert rig.agent.state.images == ["/data/1.fits"]
    assert rig.agent.state.phase in ("idle", "slewing")


def test_an_image_that_has_waited_begins_the_next_one_where_nobody_objects(rig: Any) -> None:
    _observing(rig)
    assert _exposures(rig.hear(*_IMAGE, peer="camera", waited=280.0)) == []
    assert _later(rig, 5.0) == [2]


def test_a_slew_that_came_too_late_is_ordered_again_when_the_others_are_heard(rig: Any) -> None:
    """The manager died with it in its journal; the telescope refuses what is old."""
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.stop()
    rig.start(ObservationManagerAgent())
    refused = m.Failure(observation="obs-1", reason="the command is 60 s old", lost=True)
    rig.hear(m.SLEW_FAILED, refused, peer="telescope")
    assert _later(rig, 1.0) == []
    assert rig.agent.state.phase == "waiting"
    rig.hear(m.ABORT_OBSERVATION, m.Abort("obs-1", "it rains"), peer="majordome", waited=30.0)
    rig.reactor.advance(5.0)
    assert [name for each in rig.turns.due_timers() for name, _ in sent(rig.run(each), "telescope")] == []


def test_a_slew_that_came_too_late_is_ordered_again_where_nobody_objects(rig: Any) -> None:
    rig.hear(m.OBSERVE, _BURST, peer="majordome")
    rig.stop()
    rig.start(ObservationManagerAgent())
    refused = m.Failure(observation="obs-1", reason="the command is 60 s old", lost=True)
    rig.hear(m.SLEW_FAILED, refused, peer="telescope")
    _later(rig, 1.0)
    rig.reactor.advance(4.0)
    again = rig.run(*rig.turns.due_timers())
    assert [name for name, _ in sent(again, "telescope")] == [m.SLEW]


def test_an_end_that_has_waited_gives_a_calibration_no_next_command_before_the_others_are_heard(rig: Any) -> None:
    rig.hear(m.DOME_OPENED, m.Reason(reason="the evening"), peer="dome")
    rig.hear(m.CALIBRATE, m.CalibrationOrder(id="flat", kind="flat"), peer="majordome")
    rig.reactor.advance(300.0)
    end = m.SlewFinished("flat", 10.0, 20.0, 3.0)
    assert sent(rig.hear(m.SLEW_FINISHED, end, peer="telescope", waited=280.0), "dome") == []
    rig.reactor.advance(4.0)
    rig.hear(m.DOME_CLOSED, m.Reason(reason="it rains"), peer="dome", waited=200.0)
    assert rig.agent.state.calibration is None


@pytest.mark.parametrize(("doubt", "old"), [(0.0, True), (4.9, True), (5.1, False)])
def test_what_may_have_been_said_since_is_not_said_before(doubt: float, old: bool) -> None:
    assert m.Message("1", "Note", "east", 0.0, said=95.0, doubt=doubt).was_said_before(100.0) is old


_ORDERS: dict[str, Any] = {
    m.OBSERVE: _BURST, m.CALIBRATE: m.CalibrationOrder(id="focus", kind="focus"),
}  # fmt: skip


@pytest.mark.parametrize("rig", [["focuser"]], indirect=True)
@pytest.mark.parametrize(("waited", "died"), [(60.0, True), (600.0, False), (18_000.0, True)])
@pytest.mark.parametrize("name", _ORDERS)
def test_an_order_that_has_waited_sends_no_mount_away(name: str, waited: float, died: bool, rig: Any) -> None:
    rig.reactor.advance(20_000.0)
    heard = rig.hear(name, _ORDERS[name], peer="majordome", waited=waited, died=died)
    assert sent(heard, "telescope") == sent(heard, "dome") == []
    ((told, report),) = sent(heard, "majordome")
    assert told in (m.OBSERVATION_FAILED, m.CALIBRATION_FAILED)
    assert report.again
    assert (rig.agent.state.current, rig.agent.state.calibration) == (None, None)


@pytest.mark.parametrize("died", [False, True])
def test_an_order_that_has_waited_for_a_moment_is_carried_out(died: bool, rig: Any) -> None:
    heard = rig.hear(m.OBSERVE, _BURST, peer="majordome", waited=3.0, died=died)
    assert [name for name, _ in sent(heard, "telescope")] == [m.SLEW]
