"""The OCS dialect: what TOM Toolkit sends is honoured, or refused in its form; nothing is ignored."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros import messages
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.reading import read_record
from pyros.messages import FiltersKnown, Observation
from pyros.ocs import portal
from pyros.ocs.request_group import read_group
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.sender import Sender
from pyros.views.observed import Observed
from pyros.views.states import Monitoring, SeenScheduler
from tests.imagery.test_image_index import picture
from tests.views.written import commit, configuration

NOW = 1_790_000_000.0  # 2026-09-21
FILTERS = ("g", "r")
GROUP = {  # as OCSFullObservationForm.observation_payload writes it
    "name": "a supernova",
    "proposal": "demo",
    "ipp_value": 2.0,
    "operator": "SINGLE",
    "observation_type": "NORMAL",
    "requests": [{
        "optimization_type": "TIME",
        "configuration_repeats": 2,
        "configurations": [{
            "type": "EXPOSE",
            "instrument_type": "CAMERA",
            "instrument_configs": [{
                "exposure_count": 3, "exposure_time": 30.0, "optical_elements": {"filter": "r"}, "mode": "default",
            }],
            "acquisition_config": {},
            "guiding_config": {},
            "constraints": {"max_airmass": 1.6, "min_lunar_distance": 30, "max_lunar_phase": 0.9},
            "target": {
                "name": "SN 2026abc", "type": "ICRS", "ra": 10.0, "dec": 60.0, "proper_motion_ra": 3600.0,
                "proper_motion_dec": None, "epoch": 2000.0,
            },
        }],
        "windows": [{"start": "2026-12-01T22:00:00", "end": "2026-12-03T04:00:00+01:00"}],
        "location": {"telescope_class": "0m0"},
    }],
}  # fmt: skip


def read(group: Any) -> tuple[Observation | None, dict[str, Any]]:
    return read_group(group, number=7, owner="ada", now=NOW, filters=FILTERS)


def changed(change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]) -> dict[str, Any]:
    """Return the group with a change; ``change`` is given the group, its request and its configuration."""
    group: dict[str, Any] = copy.deepcopy(GROUP)
    change(group, group["requests"][0], group["requests"][0]["configurations"][0])
    return group


def test_every_field_of_a_group_is_in_the_request() -> None:
    request, errors = read(GROUP)
    assert errors == {}
    assert request is not None
    assert (request.id, request.target, request.owner, request.proposal) == ("ocs-7", "SN 2026abc", "ada", "demo")
    assert (request.priority, request.reason, request.interruptible) == (10, "a supernova", True)
    assert [(each.filter, each.seconds, each.count) for each in request.exposures] == [("r", 30.0, 3)] * 2
    constraints = request.constraints
    assert (constraints.max_airmass, constraints.moon_distance, constraints.moon_illumination) == (1.6, 30.0, 0.9)
    (window,) = request.windows
    assert window.end - window.begin == 29 * 3600
    moved = 3.6 * 26.72 / 3600 / math.cos(math.radians(60.0))  # arcseconds a year along the parallel, since 2000
    assert request.ra == pytest.approx(10.0 + moved, abs=1e-4)
    assert request.dec == 60.0


def test_rapid_response_is_urgent_and_orbits_move() -> None:
    def change(group: Any, _: Any, configuration: Any) -> None:
        group["observation_type"] = "RAPID_RESPONSE"
        configuration["target"] = {
            "name": "Ceres", "type": "ORBITAL_ELEMENTS", "scheme": "MPC_MINOR_PLANET", "orbinc": 10.6,
            "longascnode": 80.3, "argofperih": 73.4, "meandist": 2.77, "eccentricity": 0.08, "meananom": 60.0,
            "epochofel": 61000.0,
        }  # fmt: skip

    request, errors = read(changed(change))
    assert errors == {}
    assert request is not None
    assert (request.priority, request.interruptible) == (110, False)
    assert request.orbit is not None
    assert request.orbit.perihelion_distance == pytest.approx(2.77 * 0.92)


CONFIGURATION = ("requests", 0, "configurations", 0)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda g, r, c: g.pop("name"), ("name",)),
        (lambda g, r, c: g.update(operator="MANY"), ("operator",)),
        (lambda g, r, c: g.update(ipp_value=5), ("ipp_value",)),
        (lambda g, r, c: g.update(observation_type="TIME_CRITICAL"), ("observation_type",)),
        (lambda g, r, c: g.update(extra="x"), ("extra",)),
        (lambda g, r, c: g["requests"].append(r), ("requests",)),
        (lambda g, r, c: r.update(optimization_type="AIRMASS"), ("requests", 0, "optimization_type")),
        (lambda g, r, c: r.update(acceptability_threshold=90), ("requests", 0, "acceptability_threshold")),
        (lambda g, r, c: r.update(windows=[]), ("requests", 0, "windows")),
        (lambda g, r, c: r["windows"][0].update(end="2020-01-01"), ("requests", 0, "windows", 0, "end")),
        (lambda g, r, c: r["location"].update(site="xyz"), ("requests", 0, "location", "site")),
        (lambda g, r, c: c.update(type="BIAS"), (*CONFIGURATION, "type")),
        (lambda g, r, c: c.update(repeat_duration=60), (*CONFIGURATION, "repeat_duration")),
        (lambda g, r, c: c["guiding_config"].update(mode="ON"), (*CONFIGURATION, "guiding_config", "mode")),
        (lambda g, r, c: c["constraints"].update(max_seeing=1), (*CONFIGURATION, "constraints", "max_seeing")),
        (lambda g, r, c: c["target"].update(ra=400), (*CONFIGURATION, "target", "ra")),
        (lambda g, r, c: c["target"].update(type="HOUR_ANGLE"), (*CONFIGURATION, "target", "type")),
        (lambda g, r, c: c["instrument_configs"][0].update(exposure_time=0),
         (*CONFIGURATION, "instrument_configs", 0, "exposure_time")),
        (lambda g, r, c: c["instrument_configs"][0].update(rotator_mode="SKY"),
         (*CONFIGURATION, "instrument_configs", 0, "rotator_mode")),
        (lambda g, r, c: c["instrument_configs"][0]["optical_elements"].update(filter="u"),
         (*CONFIGURATION, "instrument_configs", 0, "optical_elements", "filter")),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_where_it_stands(change: Any, where: tuple[Any, ...]) -> None:
    request, errors = read(changed(change))
    assert request is None
    found: Any = errors
    for step in where:
        found = found[step]
    assert isinstance(found, list)
    assert all(isinstance(each, str) for each in found)


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("2026-12-01")
_content = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip
_PATHS: list[tuple[Any, ...]] = [
    ("name",), ("ipp_value",), ("requests",), ("requests", 0), ("requests", 0, "windows"), ("requests", 0, "location"),
    ("requests", 0, "windows", 0, "start"), ("requests", 0, "configuration_repeats"), CONFIGURATION,
    (*CONFIGURATION, "target"), (*CONFIGURATION, "target", "ra"), (*CONFIGURATION, "target", "epoch"),
    (*CONFIGURATION, "constraints"), (*CONFIGURATION, "instrument_configs", 0, "exposure_count"),
    (*CONFIGURATION, "instrument_configs", 0, "optical_elements"), (*CONFIGURATION, "guiding_config"),
]  # fmt: skip


@given(st.sampled_from(_PATHS), _content)
def test_whatever_is_sent_is_a_request_or_has_errors(path: tuple[Any, ...], content: Any) -> None:
    group: Any = copy.deepcopy(GROUP)
    inside = group
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = content
    request, errors = read(group)
    assert (request is None) == bool(errors)


@given(_content)
def test_a_payload_of_any_kind_is_refused(content: Any) -> None:
    request, errors = read(content)
    assert request is None
    assert errors


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    config = configuration(tmp_path, ("scheduler", "monitoring"))
    made = Observed(config)
    monkeypatch.setattr(made.clock, "time", lambda: NOW)
    yield made
    made.close()


def has(observed: Observed, *requests: Observation, lines: tuple[NightLine, ...] = ()) -> None:
    """Write what the scheduler keeps."""

    def write(db: Any) -> None:
        night_log.prepare(db)
        night_log.write(db, lines)
        night_log.write_fate(db, lines)

    filters = FiltersKnown(instrument="filter_wheel", filters=FILTERS)
    state = SeenScheduler(requests={each.id: each for each in requests}, filters=filters)
    commit(observed.config, "scheduler", state, also=[write])


def test_toms_whole_way_from_instruments_to_frames(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(Sender, "send_to", lambda agent, name, payload, **_: sent.append((agent, name, payload)))
    has(observed)
    camera = portal.instruments(observed)["CAMERA"]
    assert [each["code"] for each in camera["optical_elements"]["filters"]] == ["g", "r"]
    assert portal.profile(observed, "ada")["proposals"] == [{"id": "demo", "title": "demo", "current": True}]
    checked = portal.validate(observed, GROUP, "ada")
    assert checked["errors"] == {}
    assert 180 < checked["request_durations"]["duration"] < 400
    assert portal.validate(observed, {}, "ada")["errors"]["name"] == ["This field is required."]
    assert portal.submit(observed, {}, "ada")[0] == 400
    assert sent == []

    status, group = portal.submit(observed, GROUP, "ada")
    assert status == 201
    (number,) = [each["id"] for each in group["requests"]]
    ((agent, name, request),) = sent
    assert (agent, name, request.id) == ("scheduler", messages.OBSERVATION_REQUESTED, f"ocs-{number}")
    has(observed, request)
    assert portal.groups(observed, str(number))["results"][0]["id"] == number
    assert portal.request_of(observed, str(number))[1]["state"] == "PENDING"

    line = NightLine(night="2026-12-01", observation=request.id, start=NOW, end=NOW + 300, began=NOW + 10,
                     ended=NOW + 290, fate="observed")  # fmt: skip
    has(observed, lines=(line,))
    assert portal.request_of(observed, str(number))[1]["state"] == "COMPLETED"
    ((block,)) = portal.observations(observed, str(number))[1]
    assert (block["state"], block["start"]) == ("COMPLETED", "2026-09-21T14:13:30.000Z")
    assert portal.cancel(observed, str(number), "ada")[0] == 400

    assert portal.frames(observed, {"REQNUM": str(number)}, "https://x")[1]["results"] == []
    paths = [picture(observed.config.data / f"{each}.fits", number=each, observation=request.id) for each in (1, 2, 3)]
    index = ImageIndex(index_file(observed.config))
    index.add(read_record(path, None) for path in paths)
    index.close()
    status, page = portal.frames(observed, {"REQNUM": str(number), "limit": "2"}, "https://x")
    after = page["next"].partition("after=")[2]
    _, last = portal.frames(observed, {"REQNUM": str(number), "limit": "2", "after": after}, "https://x")
    found = page["results"] + last["results"]
    assert [each["filename"] for each in found] == ["3.fits", "2.fits", "1.fits"]
    assert last["next"] is None
    assert portal.frame(observed, str(found[0]["id"]), "https://x") == (200, found[0])
    assert portal.frame_file(observed, str(found[0]["id"])) == paths[2]


def test_a_request_is_cancelled_once(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(Sender, "send_to", lambda *said, **_: sent.append(said))
    request, _ = read(GROUP)
    assert request is not None
    has(observed, request)
    status, group = portal.cancel(observed, "7", "ada")
    assert (status, group["state"]) == (200, "CANCELED")
    assert sent[0][2].observation == "ocs-7"
    has(observed, lines=(NightLine(night="2026-12-01", observation="ocs-7", fate="withdrawn"),))
    assert portal.cancel(observed, "7", "ada")[1]["state"] == "CANCELED"
    assert len(sent) == 1


@pytest.mark.parametrize("number", ["8", "", "seven", "-1", "9" * 40, "../7"])
def test_what_is_not_there_is_not_found(observed: Observed, number: str) -> None:
    has(observed)
    assert portal.request_of(observed, number)[0] == 404
    assert portal.observations(observed, number)[0] == 404
    assert portal.group_of(observed, number)[0] == 404
    assert portal.cancel(observed, number, "ada")[0] == 404
    assert portal.frame(observed, number, "https://x")[0] == 404
    assert portal.groups(observed, number)["count"] == 0


@pytest.mark.parametrize("query", [{}, {"REQNUM": "x"}, {"REQNUM": "1", "limit": "0"}, {"REQNUM": "1", "TARGET": "y"}])
def test_a_search_for_frames_that_cannot_be_honoured_is_refused(observed: Observed, query: dict[str, str]) -> None:
    assert portal.frames(observed, query, "https://x")[0] == 400


def test_the_telescope_says_whether_and_why_not(observed: Observed) -> None:
    commit(observed.config, "monitoring", Monitoring(safe=True))
    assert portal.telescope_states(observed)["demo.dome.0m0"][0]["event_type"] == "AVAILABLE"
    observed.holds.set("ada", "lightning")
    (state,) = portal.telescope_states(observed)["demo.dome.0m0"]
    assert state["event_type"] == "ENCLOSURE_INTERLOCK"
    assert "lightning" in state["event_reason"]
