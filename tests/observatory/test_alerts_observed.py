"""What becomes of alerts: preemption, better positions, retractions, tests, duplicates, what is not up, and the day."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros.planning.visibility import altitude_azimuth
from tests.observatory.conftest import EXPOSURE, Night

URGENT = "pyros.test/urgent#1"


def test_a_higher_priority_goes_first_at_once_and_the_other_is_observed_afterwards(exposing: Night) -> None:
    night, began = exposing, exposing.now
    elsewhere = night.place(55, 140)
    night.publish(night.packet(URGENT, elsewhere))
    night.until(lambda: night.slews(began), 1)
    ((when, where),) = night.slews(began)
    assert when == began, "it does not wait for the exposure"
    assert where == pytest.approx(elsewhere, abs=1e-3)
    night.until(lambda: night.requests("camera", since=began), 0.1)
    assert night.requests("camera", since=began)[0] == (began, "DO abort")

    night.until(lambda: night.state("dome") == "closed")
    assert night.objects() == ["ivo://pyros.test/urgent#1"] + 3 * ["ivo://pyros.test/first#1"]
    assert len(night.slews()) == 3
    assert [line for _, line in night.requests("dome", "DO ", began)] == ["DO close"], "it stayed open between them"


def test_an_equal_priority_waits(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.publish(night.packet("pyros.test/low#2", night.place(55, 140)))
    night.run(EXPOSURE)
    assert night.slews(began) == []
    night.until(lambda: night.state("dome") == "closed")
    assert night.objects() == 3 * ["ivo://pyros.test/first#1"] + ["ivo://pyros.test/low#2"]


def test_a_better_position_changes_the_observation_that_runs(exposing: Night) -> None:
    night, began = exposing, exposing.now
    better = night.place(64.5, 91)
    night.publish(night.packet("pyros.test/first#2", better, cites=("followup", "pyros.test/first#1")))
    night.until(lambda: night.slews(began), 1)
    night.until(lambda: night.state("dome") == "closed")
    assert len(night.slews(began)) == 1
    assert night.slews(began)[0][1] == pytest.approx(better, abs=1e-3)
    assert len(night.images()) == 3, "all of the better position"
    night.run(600)
    assert len(night.slews()) == 2, "and nothing is observed again"


def test_a_better_position_that_comes_while_the_last_image_is_read_is_not_lost(exposing: Night) -> None:
    night = exposing
    night.until(lambda: len(night.images()) == 2)
    night.until(lambda: night.state("camera") == "reading")
    night.run(4.99)
    better = night.place(64.5, 91)
    night.publish(night.packet("pyros.test/first#2", better, cites=("followup", "pyros.test/first#1")))
    night.until(lambda: night.state("dome") == "closed")
    assert len(night.slews()) == 2
    assert len(night.images()) in (5, 6)


def test_an_update_that_says_the_same_disturbs_nothing(exposing: Night) -> None:
    night, began = exposing, exposing.now
    same = night.packet("pyros.test/first#2", night.slews()[0][1], cites=("followup", "pyros.test/first#1"))
    night.publish(same)
    night.until(lambda: night.state("dome") == "closed")
    assert night.slews(began) == []
    assert len(night.images()) == 3


def test_a_retraction_withdraws_the_observation(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.publish(night.packet("pyros.test/first#2", cites=("retraction", "pyros.test/first#1")))
    night.until(lambda: night.requests("camera", since=began), 1)
    assert night.requests("camera", since=began) == [(began, "DO abort")]
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked")
    night.run(1200)
    assert night.slews(began) == []
    assert night.images() == []
    assert night.agent("scheduler").state.requests == {}


@pytest.mark.parametrize("role", ["test", "utility"])
def test_roles_that_mean_nothing_move_nothing(ready: Night, role: str) -> None:
    moves = {name: ready.requests(name) for name in ("telescope", "dome", "camera")}
    assert ready.publish(ready.packet(role=role)) == "ack"
    ready.run(1200)
    assert {name: ready.requests(name) for name in moves} == moves
    assert len(ready.received("alert_manager", "Alert received")) == 1


def test_a_duplicate_does_nothing(exposing: Night) -> None:
    night, began = exposing, exposing.now
    assert night.publish(night.packet()) == "nak"
    night.until(lambda: night.state("dome") == "closed")
    assert night.slews(began) == []
    assert len(night.images()) == 3
    night.run(600)
    assert night.slews(began) == []


def test_a_target_below_its_limit_waits_until_it_is_up(ready: Night) -> None:
    ready.publish(ready.packet(place=ready.place(12, 90)))
    ready.run(600)
    assert ready.slews() == []
    assert ready.requests("dome", "DO open") == []
    ready.until(ready.slews, 3600)
    altitude, _ = altitude_azimuth(ready.site, *ready.slews()[0][1], ready.clock.now())
    assert 15 <= altitude < 15.5, "it has just risen"
    ready.until(lambda: len(ready.images()) == 3)


def test_by_day_nothing_starts_and_in_the_night_it_does(rehearsal: Callable[..., Night]) -> None:
    day = rehearsal(hours_after_midnight=-6)  # at the equinox the Sun sets
    day.until(lambda: day.said("the weather is safe"))
    day.publish(day.packet())
    day.run(300)
    assert b"waits for the night" in day.received("majordome", "Plan updated")[-1].payload
    assert day.slews() == []
    assert day.requests("dome", "DO open") == []
    day.until(lambda: day.said("Observation finished", "majordome"), 7200)
    assert len(day.images()) == 3


@pytest.mark.parametrize("rule", ["first", "long"])
def test_the_dome_is_closed_when_the_day_comes(rehearsal: Callable[..., Night], rule: str) -> None:
    """The long one would take days: at dawn it is stopped, and goes on in the next night."""
    night = rehearsal(hours_after_midnight=4.5)
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet(f"pyros.test/{rule}#1"))
    night.until(lambda: night.state("dome") == "open")
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked", 2 * 3600)
    night.run(3600)
    assert night.state("dome") == "closed"
    assert night.state("telescope") == "parked"


def test_a_telescope_that_refuses_is_not_asked_for_ever(ready: Night) -> None:
    """The mount's own limit is 10 degrees; the rule would go lower. Below the pole it stays as low for an hour."""
    ready.publish(ready.packet("pyros.test/low#1", ready.place(5, 0)))
    ready.until(lambda: ready.said("given up", "scheduler"), 7200)
    ready.run(120)
    assert len(ready.received("telescope", "Slew")) == 6
    assert ready.said("LIMIT", "majordome")
    assert ready.said("given up", "scheduler")
    assert ready.state("dome") == "closed"
    ready.publish(ready.packet())
    ready.until(lambda: len(ready.images()) == 3, 300)


def test_a_filter_that_the_wheel_has_not_is_asked_for_once(ready: Night) -> None:
    ready.publish(ready.packet("pyros.test/blue#1"))
    ready.until(lambda: ready.said("given up", "scheduler"), 120)
    ready.run(3600)
    assert len(ready.requests("filter_wheel", "DO select filter=u")) == 1
    assert ready.requests("camera", "DO expose") == []
    assert ready.said("filter u: VALUE", "majordome")
    assert ready.said("given up", "scheduler")
    assert ready.state("dome") == "closed"
    assert ready.state("telescope") == "parked"


def test_a_camera_that_is_gone_and_comes_back(exposing: Night) -> None:
    night = exposing
    night.stop_simulator("camera")
    night.run(10)
    night.start_simulator("camera")
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.images()) == 3


def test_a_dome_that_is_gone_when_it_should_open_opens_when_it_is_back(ready: Night) -> None:
    ready.stop_simulator("dome")
    ready.publish(ready.packet())
    ready.run(1200)
    assert not ready.said("given up")
    ready.start_simulator("dome")
    ready.until(lambda: ready.state("dome") == "open", 2 + 2 + 1)
    ready.until(lambda: ready.said("Observation finished", "majordome"))
    assert len(ready.images()) == 3


def test_an_ivorn_that_tries_to_leave_its_folder(ready: Night) -> None:
    """What is written because of it stays where the observatory's data are."""
    before = {path for path in ready.folder.parent.rglob("*") if not path.is_relative_to(ready.config.data)}
    ready.publish(ready.packet("pyros.test/first#../../../../../escaped/..%2f"))
    ready.until(lambda: len(ready.images()) == 3)
    assert {path for path in ready.folder.parent.rglob("*") if not path.is_relative_to(ready.config.data)} == before
    assert all(path.parent.parent == ready.config.data / "images" for path in ready.images())
