"""Our own VOEvents: valid by the schema, and understood by our own parser as what they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace

from pyros.alerts import identity, parse
from pyros.alerts.alert import Role
from pyros.alerts.detections import MAX_MEASURED
from pyros.alerts.followup import MAX_IMAGES, Author, detection, is_own, light_curve, new_ivorn, report
from pyros.alerts.formats import event_keys
from pyros.broker.packet import check_schema, identify
from pyros.broker.packet import parse as parse_xml
from pyros.broker.vtp.protocol import MAX_LENGTH
from pyros.messages import Exposures, FollowUp, Observation, SourceFound, TakenImage

SAMPLES = Path(__file__).parent / "samples"
IVO = "ivo://my.observatory/telescope"
AUTHOR = Author(IVO, "My Observatory", 42.9, 0.14, 2877.0)
NOW = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
AT = NOW.timestamp() - 3600
ALERT = "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1017711-600"
REQUEST = Observation(
    id="obs-swift-1017711", target="swift:1017711", ra=83.6331, dec=22.0145, alert=ALERT, event="swift:1017711",
    exposures=(Exposures("r", 60, 2), Exposures("i", 30, 1)),
)  # fmt: skip
IMAGES = (
    TakenImage("/data/a_001_r.fits", "r", 60.0, AT),
    TakenImage("/data/a_002_r.fits", "r", 60.0, AT + 65),
    TakenImage("/data/a_003_i.fits", "i", 30.0, AT + 130.25),
)
FOUND = SourceFound(
    observation="obs-swift-1017711", alert=ALERT, event="swift:1017711", ra=83.63, dec=-22.01, magnitude=17.25,
    magnitude_error=0.04, filter="r", time=AT, path="/data/a_001_r.fits", error_radius=0.0003,
)  # fmt: skip


def written(what: Literal["started", "finished", "stopped"], role: Role = "observation", **fields: Any) -> bytes:
    ivorn = new_ivorn(IVO, REQUEST.id, what, NOW, 7)
    return report(AUTHOR, ivorn, role, NOW, FollowUp(what=what, **{"request": REQUEST, "time": AT, **fields}))


def valid(packet: bytes) -> etree._Element:
    assert len(packet) <= MAX_LENGTH
    root = parse_xml(packet)
    check_schema(root)
    identify(root)
    return root


def params(root: etree._Element) -> dict[str, str]:
    return {str(each.get("name")): str(each.get("value")) for each in root.iter("Param")}


def test_an_observation_that_has_begun() -> None:
    packet = written("started")
    root = valid(packet)
    assert root.findtext("Who/AuthorIVORN") == IVO
    assert root.findtext("Who/Date") == "2026-03-20T23:30:00"
    assert params(root) == {
        "Followed_Event": "swift:1017711",
        "Followed_Alert": ALERT,
        "Observation_Status": "started",
        "Observation": "obs-swift-1017711",
        "Coords_String": "pointing_direction",
        "Planned_Exposures": "3",
        "Planned_Exposure_Time": "150",
        "Filters": "r i",
    }
    alert = parse(packet)
    assert (alert.event, alert.kind, alert.role) == ("swift:1017711", "update", "observation")
    assert alert.citations == ((ALERT, "followup"),)
    assert (alert.ra, alert.dec, alert.time) == (83.6331, 22.0145, NOW.replace(hour=22))
    assert alert.target is None, "where the telescope points is no source"


def test_an_observation_that_has_ended_with_its_images() -> None:
    root = valid(written("finished", images=IMAGES))
    red = next(group for group in root.iter("Group") if group.get("name") == "Filter_r")
    assert params(red) == {
        "Filter": "r", "Exposures": "2", "Exposure_Time": "120",
        "First_Start": "2026-03-20T22:30:00.000", "Last_End": "2026-03-20T22:32:05.000",
    }  # fmt: skip
    rows = [[cell.text for cell in row] for row in root.iter("TR")]
    assert rows[2] == ["2026-03-20T22:32:10.250", "30", "i", "a_003_i.fits"], "a file's name tells no folders"
    assert params(root)["Images"] == "3"
    assert len(rows) == 3


def test_one_that_was_stopped_says_why() -> None:
    root = valid(written("stopped", reason="weather unsafe: wind 20 m/s\n<&>"))
    assert params(root)["Reason"] == "weather unsafe: wind 20 m/s <&>"
    assert params(root)["Images"] == "0"


def test_a_detection_is_a_position() -> None:
    packet = detection(AUTHOR, new_ivorn(IVO, FOUND.observation, "detection", NOW, 8), "observation", NOW, FOUND)
    root = valid(packet)
    assert {name: value for name, value in params(root).items() if name in {"Magnitude", "Magnitude_Error", "Filter"}
            } == {"Magnitude": "17.25", "Magnitude_Error": "0.04", "Filter": "r"}  # fmt: skip
    alert = parse(packet)
    assert alert.target == (83.63, -22.01)
    assert (alert.error_radius, alert.event, alert.time) == (0.0003, "swift:1017711", NOW.replace(hour=22))


@pytest.mark.parametrize(
    ("notice", "topic"), [("neutrino.json", "gcn.notices.icecube"), ("gravitational_wave.json", "igwn.gwalert:S")]
)
def test_a_json_notice_is_cited_by_an_ivorn_of_ours_and_joined(notice: str, topic: str) -> None:
    followed = parse((SAMPLES / notice).read_bytes())
    packet = written("started", request=Observation(**{**_fields(REQUEST), "alert": followed.id}))
    root = valid(packet)
    assert params(root)["Followed_Alert"] == followed.id
    alert = parse(packet)
    ((ivorn, cite),) = alert.citations
    assert (cite, alert.kind) == ("followup", "update")
    assert ivorn.startswith(f"{IVO}/received#{topic}")
    assert re.fullmatch(r"ivo://[A-Za-z0-9.:/#%+_~-]+", ivorn), "a URI, whatever the notice is called"
    assert event_keys.packet_of_ivorn(ivorn) == followed.id
    event = identity.Event((identity.packet_record(followed),))
    assert identity.is_same_event(event, identity.packet_record(alert))
    assert not identity.is_same_event(event, identity.packet_record(parse(written("started"))))


@given(st.text(max_size=60))
def test_whatever_a_packet_is_called_its_ivorn_of_ours_is_valid_and_tells_it(name: str) -> None:
    ivorn = event_keys.received_ivorn(IVO, name)
    assert re.fullmatch(r"ivo://[A-Za-z0-9.:/#%+_~-]+", ivorn)
    if name and name.isprintable():
        assert event_keys.packet_of_ivorn(ivorn) == name
    valid(written("started", request=Observation(**{**_fields(REQUEST), "alert": name})))


def _fields(request: Observation) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def test_measurements_name_the_telescopes_that_made_them() -> None:
    found = [replace(FOUND, telescope=name) for name in ("east", "west")]
    ivorn = new_ivorn(IVO, FOUND.observation, "detection", NOW, 8)
    assert params(valid(detection(AUTHOR, ivorn, "observation", NOW, found[0])))["Telescope"] == "east"
    curve = valid(light_curve(AUTHOR, ivorn, "observation", NOW, found))
    assert [field.get("name") for field in curve.iter("Field")][-1] == "Telescope"
    assert [[cell.text for cell in row][-1] for row in curve.iter("TR")] == ["east", "west"]


def test_a_light_curve_is_a_table_that_fits_the_transport() -> None:
    found = [replace(FOUND, time=1.7e9 + number, telescope="demo telescope west") for number in range(MAX_MEASURED)]
    packet = light_curve(AUTHOR, new_ivorn(IVO, FOUND.observation, "photometry", NOW, 9), "observation", NOW, found)
    root = valid(packet)
    assert parse(packet).target == (83.63, -22.01)
    rows = [[cell.text for cell in row] for row in root.iter("TR")]
    assert len(rows) == MAX_MEASURED
    assert rows[0][1:3] == [FOUND.filter, f"{FOUND.magnitude:.10g}"]


def test_many_images_still_fit_the_transport() -> None:
    many = tuple(TakenImage(f"/d/{'n' * 100}_{n:05d}.fits", "r", 1.0, AT + n) for n in range(5000))
    root = valid(written("finished", images=many))
    assert len(list(root.iter("TR"))) == MAX_IMAGES
    assert params(root)["Images"] == "5000"


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_texts_it_is_valid(text: str, name: str) -> None:
    request = Observation(**{**_fields(REQUEST), "id": name or "x", "event": text, "alert": f"ivo://a/b#{text}"})
    ivorn = new_ivorn(IVO, request.id, "finished", NOW, 1)
    said = FollowUp(what="finished", request=request, time=AT, reason=text, images=(TakenImage(name, text, 1, AT),))
    author = Author(IVO, text, 0.0, 0.0, 0.0)
    valid(report(author, ivorn, "test", NOW, said))


def test_what_is_our_own() -> None:
    ivorn = new_ivorn(IVO, "obs-a b/c", "started", NOW, 1)
    assert ivorn == "ivo://my.observatory/telescope/followup#obs-a-b-c/started-20260320T233000-1"
    assert is_own(ivorn, IVO)
    assert is_own(ivorn.upper().replace("IVO:", "ivo:"), IVO)
    assert not is_own(f"{IVO}#burst-1", IVO), "what we publish as an author is an alert like others"
    assert not is_own(ivorn, "ivo://my.observatory/tele")


@pytest.mark.parametrize("role", ["test", "observation"])
def test_its_role_is_told(role: Role) -> None:
    assert parse(written("started", role)).role == role
