"""The instruments that not every observatory has, telemetry, and what the agents do about connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from astropy.io import fits
from twisted.internet.defer import fail

from pyros import messages
from pyros.errors import WorkerError
from pyros.planning.visibility import altitude_azimuth, place_overhead
from pyros.workers import Worker
from tests.observatory.conftest import EXPOSURE, Night
from tests.rig import batch_of

TWO_FILTERS = """rules:
  - name: two
    when: {stream: "*two*"}
    priority: 10
    min_altitude: 15
    observe: [{filter: r, seconds: 20, count: 2}, {filter: i, seconds: 20, count: 1}]
"""


def burst(night: Night) -> None:
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet("pyros.test/two#1"))
    night.until(lambda: night.said("Observation finished", "majordome"))


def tell(night: Night, agent: str, name: str, payload: dict[str, Any]) -> None:
    night.person(agent, name, **payload)
    night.run(0.1)


def test_the_filter_is_in_the_beam_before_the_exposure_and_in_the_header(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(rules=TWO_FILTERS, devices={"telescope": {"speed": 1}})
    burst(night)
    selects = night.requests("filter_wheel", "DO select")
    assert [line.split()[2] for _, line in selects] == ["filter=r", "filter=i"], "none is asked for twice"
    (slewed, _), *_ = night.slews()
    exposures = [when for when, _ in night.requests("camera", "DO expose")]
    assert selects[0][0] - slewed < 0.1, "while the telescope slews"
    assert exposures[1] < selects[1][0] < exposures[2]
    headers = [fits.getheader(path) for path in night.images()]
    assert [header["FILTER"] for header in sorted(headers, key=lambda each: each["EXPNUM"])] == ["r", "r", "i"]
    assert night.requests("camera", "SET filter") == []


@pytest.mark.parametrize(
    ("options", "telescope", "camera"),
    [
        ({}, "rehearsal telescope", "Demo camera"),
        ({"telescope": {"option_name": "60 cm"}, "camera": {"option_name": "CCD 1"}}, "60 cm", "CCD 1"),
    ],
)
def test_images_name_telescope_and_camera_as_the_configuration_does(
    rehearsal: Callable[..., Night], options: dict[str, Any], telescope: str, camera: str
) -> None:
    night = rehearsal(rules=TWO_FILTERS, options=options)
    burst(night)
    headers = [fits.getheader(path) for path in night.images()]
    assert {(header["TELESCOP"], header["INSTRUME"]) for header in headers} == {(telescope, camera)}


@pytest.mark.parametrize("full", ["images", "data"])
def test_the_disk_that_counts_is_that_of_the_images(full: str, ready: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {getattr(ready.config, full): 4.0}
    monkeypatch.setattr("pyros.files.free_gigabytes", lambda folder: free.get(folder, 50.0))
    ready.publish(ready.packet())
    if full == "data":
        ready.until(lambda: ready.state("camera") == "exposing", 200)
        return
    ready.until(lambda: ready.received("observation_manager", "Exposure failed"), 200)
    assert b"the disk has 4.00 GB left" in ready.received("observation_manager", "Exposure failed")[0].payload
    assert ready.requests("camera", "DO expose") == []


def test_each_filter_has_its_focus(rehearsal: Callable[..., Night]) -> None:
    options = {"focuser": {"option_offsets": "r:0 i:40"}}
    night = rehearsal(rules=TWO_FILTERS, optional=("focuser",), options=options)
    burst(night)
    moves = [line.split()[2] for _, line in night.requests("focuser", "DO move")]
    assert moves == ["position=25040"], "the focuser stood where r is in focus"
    tell(night, "focuser", messages.MOVE_FOCUS, {"position": 26000, "filter": "i"})
    night.until(lambda: night.agent("focuser").state.base == 25960, 60)


def test_a_focuser_that_is_gone_is_waited_for(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(rules=TWO_FILTERS, optional=("focuser",))
    night.until(lambda: night.said("the weather is safe"))
    night.stop_simulator("focuser")
    night.publish(night.packet("pyros.test/two#1"))
    night.until(lambda: night.said("focus for filter r: focuser at", "observation_manager"))
    night.start_simulator("focuser")
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.images()) == 3


def test_a_switch_is_set_by_name_or_number(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(optional=("switch",))
    night.run(1)
    tell(night, "switch", messages.SET_SWITCH, {"channel": "flat_lamp", "level": 50})
    tell(night, "switch", messages.SET_SWITCH, {"channel": 1, "level": 0})
    tell(night, "switch", messages.SET_SWITCH, {"channel": "no such", "level": 0})
    night.run(12)
    assert night.said("there is no channel 'no such'", "switch")
    assert night.agent("switch").state.aside == []
    levels = night.agent("monitoring").state.telemetry["switch"].values
    assert (levels["flat_lamp"], levels["camera_power"], levels["mains"]) == (50, 0, 230)


def test_the_slit_follows_the_telescope(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(devices={"dome": {"rotation_rate": 6.0}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet("pyros.test/long#1"))
    night.until(lambda: night.state("camera") == "exposing")
    ((_, ra_dec),) = night.slews()
    _, azimuth = altitude_azimuth(night.site, *ra_dec, night.clock.now())
    assert night.agent("dome").state.follows is not None
    night.run(15)
    first = night.agent("monitoring").state.telemetry["dome"].values["azimuth"]
    assert first == pytest.approx(azimuth, abs=3.5)
    night.run(1800)
    _, azimuth = altitude_azimuth(night.site, *ra_dec, night.clock.now())
    assert len(night.requests("dome", "DO rotate")) > 1
    assert night.agent("monitoring").state.telemetry["dome"].values["azimuth"] == pytest.approx(azimuth, abs=3.5)


def test_the_safety_monitor_says_unsafe(exposing: Night) -> None:
    exposing.safety(False)
    exposing.until(lambda: exposing.state("dome") == "closed", 15)
    assert exposing.said("the safety monitor says unsafe: smoke", "majordome")
    exposing.run(600)
    assert exposing.state("dome") == "closed"
    exposing.safety(True)
    exposing.until(lambda: exposing.said("Observation finished", "majordome"))


def test_the_safety_monitor_is_silent(exposing: Night) -> None:
    exposing.stop_simulator("safety")
    exposing.until(lambda: exposing.state("dome") == "closed", 90)
    exposing.until(lambda: exposing.said("no word from the safety monitor for", "monitoring"), 15)
    exposing.start_simulator("safety")
    exposing.until(lambda: exposing.said("Observation finished", "majordome"))


def test_monitoring_keeps_what_the_instruments_tell(exposing: Night) -> None:
    state = exposing.agent("monitoring").state
    for name in exposing.instruments:
        assert exposing.agent("monitoring").state.links[name].connected, name
    exposing.run(10)
    telemetry = exposing.agent("monitoring").state.telemetry
    assert set(telemetry) == set(exposing.instruments)
    assert telemetry["telescope"].state == "tracking"
    assert telemetry["telescope"].values["ra"] == pytest.approx(exposing.slews()[0][1][0], abs=0.1)
    assert telemetry["filter_wheel"].values == {"filter": "r"}
    assert telemetry["camera"].values["temperature"] == pytest.approx(-20, abs=1)
    exposing.stop_simulator("filter_wheel")
    exposing.run(1)
    assert not exposing.agent("monitoring").state.links["filter_wheel"].connected
    assert state is not None


def test_an_exposure_for_nobody_is_aborted_when_the_camera_is_connected_again(exposing: Night) -> None:
    (connection,) = list(exposing.simulators["camera"].connections)
    connection.transport.abortConnection()
    began = exposing.now
    exposing.until(lambda: bool(exposing.requests("camera", "DO abort", began)), 5)
    exposing.until(lambda: exposing.state("camera") == "exposing", 20)
    assert exposing.now - began < EXPOSURE
    exposing.until(lambda: exposing.said("Observation finished", "majordome"))
    assert len(exposing.images()) == 3


def test_a_telescope_that_could_not_be_parked_is_parked_when_it_is_back(exposing: Night) -> None:
    exposing.stop_simulator("telescope")
    exposing.weather(rain=1)
    exposing.until(lambda: exposing.said("parking failed", "majordome"), 60)
    exposing.start_simulator("telescope")
    exposing.connect(exposing.simulators["telescope"].port, b"DO unpark\n")
    exposing.until(lambda: exposing.state("telescope") == "idle", 5)
    exposing.until(lambda: exposing.state("telescope") == "parked", 60)


@pytest.mark.parametrize("times", [1, 2])
def test_an_image_outlives_the_worker_that_was_to_write_it(
    rehearsal: Callable[..., Night], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    run, left = Worker.run, [times]

    def die(self: Any, function: Any, *arguments: Any, **limits: Any) -> Any:
        if function.__name__ == "write_pixels" and left[0]:
            left[0] -= 1
            return fail(WorkerError("the camera's worker: it was killed by signal 9"))
        return run(self, function, *arguments, **limits)

    monkeypatch.setattr(Worker, "run", die)
    night = rehearsal()
    night.publish(night.packet())
    night.until(night.images)
    assert left == [0]
    assert fits.getheader(night.images()[0])["OBSID"]
    assert len(night.said("is written once more: the camera's worker")) == times


@pytest.mark.parametrize(("waited", "begun"), [(6.0, 0), (4.0, 1)])
def test_an_exposure_that_was_ordered_long_ago_is_not_begun(waited: float, begun: int, ready: Night) -> None:
    """An observation manager that died with it in its journal sends it when it lives again, whatever was done since."""
    expose = messages.Expose(
        observation="old", number=1, of=1, filter="r", seconds=1.0, ra=0.0, dec=0.0, pointing_ra=0.0, pointing_dec=0.0
    )
    said = (messages.EXPOSE, messages.encode_payload(messages.EXPOSE, expose))
    ready.observatory.hosts["camera"].loop.receive(batch_of(ready.clock, "automation of old", 1, said, age=waited))
    ready.until(lambda: ready.received("camera", messages.EXPOSE), 5)
    ready.run(5)
    assert len(ready.requests("camera", "DO expose")) == begun


@pytest.mark.parametrize(("waited", "begun"), [(6.0, 0), (4.0, 1)])
def test_a_slew_that_was_ordered_long_ago_is_not_begun(waited: float, begun: int, ready: Night) -> None:
    """The mount may be parked since, and the roof above it closed."""
    place = place_overhead(ready.site, ready.clock.now())
    said = (messages.SLEW, messages.encode_payload(messages.SLEW, messages.Slew("old", *place)))
    ready.observatory.hosts["telescope"].loop.receive(batch_of(ready.clock, "automation of old", 1, said, age=waited))
    ready.until(lambda: ready.received("telescope", messages.SLEW), 5)
    ready.run(5)
    assert len(ready.slews()) == begun


def test_filters_that_the_wheel_has_not_are_an_alarm(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("alert rules name u, which the filter_wheel has not"), 10)
    assert night.received("scheduler", "Filters known")
    assert not night.said("ALARM (unknown filters in requests)")
    night.publish(night.packet("pyros.test/blue#1"))
    night.until(lambda: night.said("requests name u, which the filter_wheel has not"), 10)
