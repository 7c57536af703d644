"""The majordome's calibrations: cooling, biases, darks, flats and the focus, around its observations."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from pyros import messages
from pyros.agents.night_table import State
from pyros.journal import JournalReader
from pyros.messages import (
    CalibrationReport,
    DeviceState,
    Exposures,
    FocusReached,
    FrameSet,
    ImageAnalysed,
    ObservationReport,
    Plan,
    Reason,
)
from pyros.nights import diary
from tests.agents.majordome_rig import (
    CALIBRATE,
    COOL,
    EVENING,
    MIDNIGHT,
    SHUT_NOW,
    MajordomeRig,
    ended,
    hours,
    majordome,
)


def test_an_evening_cools_first_and_then_takes_biases() -> None:
    with majordome(EVENING, cool="-10", biases="9") as rig:
        assert COOL in rig.agent.orders
        assert rig.state == State.PREPARING
        rig.say("camera", messages.COOLING_SET, messages.Cool(celsius=-10.0))
        assert CALIBRATE not in rig.agent.orders
        rig.restart()
        assert rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0)) == [CALIBRATE]
        assert rig.state == State.PREPARING
        ended(rig, "bias", messages.CALIBRATION_FAILED)
        assert rig.state == State.READY


def test_biases_that_an_alert_has_stopped_are_taken_in_the_morning() -> None:
    with majordome(EVENING, biases="9") as rig:
        assert rig.state == State.PREPARING
        rig.safe()
        rig.clock.step(3 * 3600)
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.unsafe()
        rig.shut()
        rig.clock.step(8.5 * 3600)
        assert CALIBRATE in rig.pass_(25, safe=False)
        assert rig.state == State.FINISHING
        ended(rig, "bias")
        assert rig.state == State.CLOSED


def test_a_detector_that_stays_warm_is_waited_for_half_an_hour() -> None:
    with majordome(EVENING, cool="-10") as rig:
        rig.pass_(1810)
        assert rig.state == State.READY


def test_a_morning_takes_darks_of_the_night_and_warms_up() -> None:
    with majordome(cool="-10", darks="5") as rig:
        rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0))
        rig.open()
        rig.unsafe()
        rig.shut()
        rig.clock.step(6.5 * 3600)
        assert CALIBRATE in rig.pass_(25, safe=False)
        assert rig.state == State.FINISHING
        assert COOL in ended(rig, "dark")
        assert rig.state == State.CLOSED


def test_binned_exposures_have_biases_and_darks_of_their_own() -> None:
    with majordome(biases="3", darks="2") as rig:
        ended(rig, "bias")
        rig.safe()
        rig.plan(exposures=(Exposures("r", 20.0), Exposures("g", 60.0, binning=2), Exposures("g", 5.0, binning=2)))
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        rig.unsafe()
        rig.shut()
        hours(rig, 6)
        for kind in ("dark", "bias", "dark"):
            ended(rig, kind)
        assert rig.state == State.CLOSED
    assert [(each.kind, each.binning, each.seconds) for each in rig.calibrations] == [
        ("bias", 1, ()), ("dark", 1, (20.0,)), ("bias", 2, ()), ("dark", 2, (60.0, 5.0)),
    ]  # fmt: skip


def test_flats_open_in_twilight_once_and_close_again() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        orders = rig.pass_(25)
        assert ("dome", messages.OPEN) in orders
        assert ("observation_manager", messages.OBSERVE) not in orders
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FLATS
        ended(rig, "flat")
        assert rig.pass_(90)[-2:] == SHUT_NOW
        with closing(JournalReader(rig.host.journal.path)) as journal:
            reason = diary.read(journal, "2026-03-20")[-1].reason
        assert reason.startswith("it is twilight, and nothing is planned: the Sun is at -"), "it is no day"
        rig.shut()
        assert ("dome", messages.OPEN) not in rig.pass_(120)


def test_flats_of_the_morning_begin_nothing_that_waited_for_the_focus() -> None:
    with majordome(datetime(2026, 3, 21, 4, 0, tzinfo=UTC), flats="r", focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        rig.agent.state.focused -= 3 * 3600
        rig.plan("two")
        assert rig.state == State.FOCUSING
        rig.unsafe()
        rig.shut()
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        assert rig.state == State.READY
        before = len(rig.agent.orders)
        for _ in range(120):
            if rig.state != State.OPENING:
                rig.pass_(30)
        assert ("dome", messages.OPEN) in rig.agent.orders[before:]
        assert ("observation_manager", messages.OBSERVE) not in rig.agent.orders[before:]
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FLATS


def test_a_dome_that_closes_in_the_mornings_twilight_is_opened_again_for_flats() -> None:
    with majordome(datetime(2026, 3, 21, 4, 20, tzinfo=UTC), flats="r", focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        rig.clock.step(1200)
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        rig.pass_(25)
        assert rig.state == State.CLOSING
        rig.shut()
        assert ("dome", messages.OPEN) in rig.pass_(25)


def test_flats_may_last_as_long_as_a_northern_twilight() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.pass_(2.8 * 3600)
        assert rig.state == State.FLATS


def test_flats_are_taken_in_each_binning_of_the_night() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.agent.state.binned_times = {2: [5.0]}
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "flat")
        assert rig.state == State.FLATS
        ended(rig, "flat")
        assert rig.state == State.OBSERVING
    assert [(each.kind, each.binning, each.filters) for each in rig.calibrations] == [
        ("flat", 1, ("r", "g")), ("flat", 2, ("r", "g")),
    ]  # fmt: skip


def _flats(rig: MajordomeRig, *filters: str, count: int = 7, again: bool = True, failed: bool = True) -> None:
    """Have the flats that were ordered last end, with so many images through these filters."""
    sets = tuple(FrameSet(image_type="FLAT", filter=each, images=("x.fits",) * count) for each in filters)
    number = rig.agent.state.calibrations
    report = CalibrationReport(calibration=f"2026-03-20-flat-{number}", kind="flat", sets=sets, again=again)
    rig.say("observation_manager", messages.CALIBRATION_FAILED if failed else messages.CALIBRATION_FINISHED, report)


def test_flats_that_a_person_stopped_are_taken_up_with_what_is_missing() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g i") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        _flats(rig, "g")
        assert rig.state == State.OBSERVING
        rig.pass_(25)
        assert rig.state == State.FLATS
        _flats(rig, "r", "i", failed=False)
        rig.pass_(25)
        assert rig.state == State.CLOSING, "none is missing"
    assert [each.filters for each in rig.calibrations] == [("r", "g", "i"), ("r", "i")]


def test_flats_that_fail_by_themselves_are_not_taken_up_for_ever() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        for _ in range(3):
            assert rig.state == State.FLATS
            _flats(rig)
            rig.pass_(25)
        assert rig.state == State.CLOSING


def test_flats_for_which_it_is_too_dark_are_not_taken_up() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        _flats(rig, again=False)
        rig.pass_(25)
        assert rig.state == State.CLOSING


def test_flats_that_the_weather_stopped_are_taken_up_when_it_is_safe_again() -> None:
    with majordome(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.unsafe()
        _flats(rig, "r")
        rig.shut()
        rig.safe()
        assert ("dome", messages.OPEN) in rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FLATS
        assert rig.agent.state.flats_left[0].filters == ("g",)


def test_the_focus_comes_before_work_and_an_alert_before_the_focus() -> None:
    with majordome(focus="2") as rig:
        rig.safe()
        assert rig.plan() == [("dome", messages.OPEN), ("dome", messages.KEEP_OPEN)]
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FOCUSING
        assert rig.plan("two") == []
        assert rig.plan("three", alert="ivo://x") == [
            ("observation_manager", messages.ABORT_CALIBRATION),
            ("observation_manager", messages.OBSERVE),
        ]
        assert rig.state == State.OBSERVING


@pytest.mark.parametrize("options", [{"focus": "2"}, {"focus_kelvin": "1.5"}], ids=["hours", "kelvin"])
def test_a_focus_that_an_alert_has_stopped_is_looked_for_before_the_next_work(options: dict[str, Any]) -> None:
    with majordome(**options) as rig:
        rig.safe()
        rig.agent.state.focused = rig.clock.time() - 4 * 3600
        rig.agent.state.focus_temperature = 10.0
        rig.say("focuser", messages.FOCUSER_TEMPERATURE, messages.FocuserTemperature(5.0))
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        rig.plan("two", alert="ivo://x")
        assert rig.state == State.OBSERVING
        assert _focuses(rig, "three")
        assert not _focuses(rig, "four")


def test_a_focus_that_lasts_too_long_is_not_begun_again_at_once() -> None:
    with majordome(focus="2") as rig:
        rig.safe()
        rig.plan(exposures=(Exposures("r", 7200.0),))
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.pass_(1790)
        assert rig.state == State.FOCUSING
        rig.plan("two")
        assert ("observation_manager", messages.OBSERVE) in rig.pass_(20)


def test_a_roof_that_opens_for_an_alert_does_not_focus_first() -> None:
    with majordome(roof=True, focus="2") as rig:
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.say("telescope", messages.PARK_FINISHED)
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [("observation_manager", messages.OBSERVE)]


def test_a_night_without_work_is_focused_once_for_the_alerts_to_come() -> None:
    with majordome(focus="2") as rig:
        assert ("dome", messages.OPEN) in rig.pass_(40)
        assert CALIBRATE in rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        assert [order for order in rig.pass_(70) if order in SHUT_NOW] == SHUT_NOW
        rig.shut()
        rig.agent.state.focused -= 3 * 3600
        assert ("dome", messages.OPEN) not in rig.pass_(120), "it was looked for in this night"


@pytest.mark.parametrize("reason", ["twilight", "unsafe", "end"])
def test_nothing_opens_to_focus_by_twilight_when_unsafe_or_at_the_end(reason: str) -> None:
    times = {"twilight": datetime(2026, 3, 20, 18, 20, tzinfo=UTC), "end": datetime(2026, 3, 21, 4, 10, tzinfo=UTC)}
    with majordome(times.get(reason, MIDNIGHT), focus="2") as rig:
        if reason == "unsafe":
            rig.unsafe()
        assert ("dome", messages.OPEN) not in rig.pass_(120, safe=reason != "unsafe")


def test_what_alerts_have_kept_from_being_focused_is_focused_after_the_last() -> None:
    with majordome(focus="2") as rig:
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE in rig.pass_(70)
        assert rig.state == State.FOCUSING
        assert ("observation_manager", messages.OBSERVE) in rig.plan("two", alert="ivo://y")


def test_offsets_that_cannot_be_learnt_are_tried_without_work_once_in_a_night() -> None:
    with majordome(focus_filters="r g") as rig:
        assert ("dome", messages.OPEN) in rig.pass_(40)
        assert CALIBRATE in rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        rig.pass_(70)
        rig.shut()
        rig.agent.state.focused -= 1801
        rig.plan(alert="ivo://x")
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE not in rig.pass_(70)
        assert rig.state == State.CLOSING


def test_after_focusing_the_work_goes_on() -> None:
    with majordome(focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert ("observation_manager", messages.OBSERVE) in ended(rig, "focus")
        assert rig.state == State.OBSERVING


def test_stars_that_have_become_wider_are_a_reason_to_focus_before_the_next_work() -> None:
    with majordome(focus_wider="20") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.OBSERVING
        sharp, wide = (ImageAnalysed(observation="one", path="x", fwhm=fwhm) for fwhm in (2.0, 2.5))
        for image in (sharp, sharp, sharp, wide, wide):
            rig.say("analyzer", messages.IMAGE_ANALYSED, image)
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE in rig.plan("two"), "the stars are 25 % wider"
        assert rig.state == State.FOCUSING
        assert ("observation_manager", messages.OBSERVE) in ended(rig, "focus")
        for _ in range(3):
            rig.say("analyzer", messages.IMAGE_ANALYSED, wide)
            rig.pass_(700)
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="two"))
        assert CALIBRATE not in rig.plan("three"), "the seeing was it"


def _focuses(rig: MajordomeRig, name: str) -> bool:
    """Whether the focus is looked for before the next work; if so it is found then."""
    if rig.agent.state.running is not None:
        running = rig.agent.state.running.id
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation=running))
    orders = rig.plan(name)
    if rig.state == State.OPENING:
        orders += rig.say("dome", messages.DOME_OPENED, Reason())
    if CALIBRATE not in orders:
        return False
    ended(rig, "focus")
    return True


def test_a_changed_temperature_is_a_reason_to_focus_before_the_next_work() -> None:
    with majordome(focus_kelvin="1.5") as rig:

        def warm(celsius: float) -> None:
            rig.say("focuser", messages.FOCUSER_TEMPERATURE, messages.FocuserTemperature(celsius))

        warm(10.0)
        rig.safe()
        assert not _focuses(rig, "one"), "it was never found, and nothing else asks for it"
        rig.agent.state.focused = rig.clock.time()
        warm(10.0)
        rig.agent.state.focused -= 1801
        warm(8.6)
        assert not _focuses(rig, "two")
        warm(8.5)
        assert _focuses(rig, "three")
        assert not _focuses(rig, "four")
        warm(4.0)
        assert not _focuses(rig, "five"), "not within half an hour"
        rig.agent.state.focused -= 1801
        assert _focuses(rig, "six")


def test_a_focus_that_is_not_found_is_looked_for_ever_more_rarely() -> None:
    with majordome(focus_filters="r g") as rig:
        rig.safe()
        assert _focuses(rig, "0")
        for number, minutes in enumerate((30, 60, 120), 1):
            rig.agent.state.focused = rig.clock.time() - 60 * minutes + 1
            assert not _focuses(rig, f"{number} too early")
            rig.agent.state.focused -= 2
            assert _focuses(rig, str(number))


def test_offsets_of_filters_are_learnt_once_and_those_that_failed_again() -> None:
    def focus(rig: MajordomeRig, name: str, **found: bool) -> None:
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation=name))
        rig.plan(f"{name}+")
        if rig.state == State.OPENING:
            rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        report = CalibrationReport(
            calibration=rig.agent.state.calibration, kind="focus",
            focus=tuple(FocusReached(filter=each, position=1, found=good) for each, good in found.items()),
        )  # fmt: skip
        rig.say("observation_manager", messages.CALIBRATION_FINISHED, report)
        assert rig.state == State.OBSERVING

    with majordome(focus="2", focus_filters="r g i") as rig:
        rig.safe()
        focus(rig, "one", r=True, g=True, i=False)
        rig.agent.state.focused -= 1801
        focus(rig, "one+", r=True, i=True)
        rig.agent.state.focused -= 1801
        rig.restart()
        rig.safe()
        rig.say("dome", messages.DEVICE_STATE, DeviceState(instrument="dome", state="open"))
        rig.agent.state.focused -= 7200
        focus(rig, "one++", r=True)
    assert [each.filters for each in rig.calibrations] == [("r", "g", "i"), ("r", "i"), ("r",)]
