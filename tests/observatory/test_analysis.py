"""A burst that fades is found in its images, once in each, whoever is restarted; the mount learns from its images."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pytest
from astropy.io import fits
from PIL import Image as Picture

from pyros.simulators.celestial import Sky, separation
from tests.observatory.conftest import Night

ANALYSED = True

Rehearsals = Callable[..., Night]
CAMERA = {"width": 320, "height": 320, "speed": 1, "seeing": 4.0, "stars": "synthetic", "cosmic_rays": 0}
OPTIONS = {"analyzer": {"option_catalogue": "synthetic"}}
RULE = """rules:
  - {name: bursts, when: {stream: "*"}, priority: 10, min_altitude: 15, observe: [{filter: r, seconds: 20, count: 5}]}
"""


def begin(rehearsal: Rehearsals, magnitude: float = 13.0, **devices: Any) -> tuple[Night, Sky]:
    """Rehearse a night with a burst 20 arcseconds beside where its alert says."""
    night = rehearsal(devices={"camera": CAMERA, **devices}, options=OPTIONS, rules=RULE)
    ra, dec = night.place()
    burst = Sky(ra, dec + 20 / 3600)
    flare(night, burst, magnitude)
    assert night.publish(night.packet(place=(ra, dec))) == "ack"
    return night, burst


def flare(night: Night, burst: Sky, magnitude: float) -> None:
    line = f"DO transient ra={burst.ra:.6f} dec={burst.dec:.6f} magnitude={magnitude} slope=1.2\n"
    client = night.connect(night.simulators["camera"].port, line.encode())
    night.until(lambda: client.answer == b"OK\n", 10)


def points(night: Night) -> list[dict[str, str]]:
    files = list(night.config.data.glob("lightcurves/*.csv"))
    return list(csv.DictReader(files[0].read_text().splitlines())) if files else []


def payloads(night: Night, agent: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in night.received(agent, name) if row.error is None]


def test_a_burst_is_found_and_its_light_curve_kept(rehearsal: Rehearsals) -> None:
    night, burst = begin(rehearsal)
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    night.run(1)
    found = payloads(night, "alert_manager", "Source found")
    assert all(each["telescope"] for each in found)
    assert len(found) == 5
    assert all(separation(Sky(each["ra"], each["dec"]), burst) * 3600 < 1.5 for each in found)
    assert all(each["alert"] == "ivo://pyros.test/first#1" and each["filter"] == "r" for each in found)
    magnitudes = [each["magnitude"] for each in found]
    assert magnitudes == sorted(magnitudes)
    assert magnitudes[-1] - magnitudes[0] > 1
    curve = points(night)
    assert [each["source"] for each in curve] == ["A"] * 5
    assert [float(each["magnitude"]) for each in curve] == pytest.approx(magnitudes, abs=1e-3)
    assert 0 < float(curve[0]["after"]) < 100
    assert {each["image"] for each in curve} == {path.name for path in night.images()}
    with Picture.open(next(night.config.data.glob("lightcurves/*.png"))) as picture:
        assert picture.size == (1000, 640)
    assert all(path.with_suffix(".png").exists() for path in night.images())
    assert fits.getheader(night.images()[0])["EVENT"]


@pytest.mark.parametrize("when", [1, 3])
def test_an_analyzer_that_dies_finds_each_image_once_all_the_same(rehearsal: Rehearsals, when: int) -> None:
    night, _ = begin(rehearsal)
    night.until(lambda: len(night.images()) == when)
    night.stop("analyzer")
    night.until(lambda: len(night.images()) == 5)
    night.start("analyzer")
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    night.restart("analyzer")
    night.run(60)
    assert len(payloads(night, "monitoring", "Image analysed")) == 5
    assert len(payloads(night, "alert_manager", "Source found")) == 5
    assert len(points(night)) == 5
    assert night.agent("analyzer").state.waiting == []


def test_an_image_that_was_being_analysed_when_its_analyzer_died_has_one_line(
    rehearsal: Rehearsals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The light curve was written, and the end of the analysis was not committed."""
    from pyros.agents.analyzer import AnalyzerAgent

    told: list[Any] = []
    monkeypatch.setattr(AnalyzerAgent, "post_to_self", lambda self, name, payload: told.append(payload))
    night, _ = begin(rehearsal)
    night.until(lambda: len(told) == 5)
    assert len(points(night)) == 5
    assert len(night.agent("analyzer").state.waiting) == 5
    monkeypatch.undo()
    night.restart("analyzer")
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    night.run(1)
    assert len(points(night)) == 5
    assert len(payloads(night, "alert_manager", "Source found")) == 5


def test_without_a_burst_nothing_is_found(rehearsal: Rehearsals) -> None:
    night, _ = begin(rehearsal, magnitude=30.0)
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    assert payloads(night, "alert_manager", "Source found") == []
    assert points(night) == []


def test_images_without_stars_are_told(rehearsal: Rehearsals) -> None:
    night, _ = begin(rehearsal, telescope={"pointing_noise": 0})
    night.until(lambda: night.state("camera") == "exposing")
    night.stop_simulator("telescope")
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 3)
    assert "don't fit the stars" in payloads(night, "monitoring", "Image analysed")[-1]["problem"]
    night.start_simulator("telescope")


def errors(night: Night) -> list[float]:
    """How far each image is from where its target is, arcseconds: the truth, not what the header says."""
    analysed = payloads(night, "monitoring", "Image analysed")
    headers = [fits.getheader(each["path"]) for each in analysed]
    return [
        separation(Sky(each["ra"], each["dec"]), Sky(header["OBJCTRA"], header["OBJCTDEC"])) * 3600
        for each, header in zip(analysed, headers, strict=True)
    ]


TERMS: dict[str, dict[str, Any]] = {"telescope": {"pointing_noise": 0, "pointing_terms": "{IH: 90, ID: -60}"}}


def test_the_mount_learns_from_its_images(rehearsal: Rehearsals) -> None:
    night, _ = begin(rehearsal, telescope=TERMS["telescope"])
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    first = errors(night)
    assert min(first) > 60
    learnt = (night.agent("telescope").state.east, night.agent("telescope").state.north)
    night.run(30)
    for number in (2, 3, 4):
        night.publish(night.packet(f"pyros.test/again#{number}", night.place(azimuth=90 + number)))
        night.until(lambda number=number: len(payloads(night, "monitoring", "Image analysed")) == 5 * number)  # type: ignore[misc]
    later = errors(night)[15:]
    assert max(later) < 0.2 * min(first)
    assert abs(night.agent("telescope").state.north) > 1.5 * abs(learnt[1])
    assert [fits.getheader(path)["OBJECT"] for path in night.images()]


def test_a_mount_that_is_too_far_off_is_left_alone(rehearsal: Rehearsals) -> None:
    night = rehearsal(devices={"camera": CAMERA, **TERMS}, options=OPTIONS | {"telescope": {"option_max_offset": 20}},
                      rules=RULE)  # fmt: skip
    night.publish(night.packet())
    night.until(lambda: len(payloads(night, "monitoring", "Image analysed")) == 5)
    assert (night.agent("telescope").state.east, night.agent("telescope").state.north) == (0, 0)
    assert len(night.said("more than is corrected")) == 1


def test_a_dark_is_taken_by_hand_and_not_analysed(rehearsal: Rehearsals) -> None:
    night = rehearsal(devices={"camera": CAMERA}, options=OPTIONS, rules=RULE)
    payload = {"observation": "darks", "number": 1, "of": 1, "filter": "", "seconds": 30, "image_type": "DARK",
               "ra": 0, "dec": 0, "pointing_ra": 0, "pointing_dec": 0}  # fmt: skip
    night.person("camera", "Expose", **payload)
    night.until(night.images)
    night.run(5)
    header = fits.getheader(night.images()[0])
    assert (header["IMAGETYP"], header["EXPTIME"], header["OBJECT"]) == ("DARK", 30, "dark")
    assert not {"RA", "DEC", "CRVAL1", "AIRMASS", "RADESYS"} & set(header), "it shows no sky"
    assert "dark=1" in night.requests("camera", "DO expose")[0][1]
    assert night.received("analyzer", "Image taken") == []
