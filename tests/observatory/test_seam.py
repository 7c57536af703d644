"""The seam for rehearsals: the demo's follow-up from broker input to FITS, twice, and the two are the same."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.coordinates import SkyCoord
from astropy.io import fits
from msgspec.structs import astuple

from pyros.rehearsal.rehearsal import Rehearsal
from tests.conftest import DEMO_AGENTS

TEN_MINUTES = 600.0


def follow_up(folder: Path) -> tuple[Rehearsal, dict[str, Any]]:
    """Rehearse the demo with its simulators, rules and burst, and return all that can be seen of it afterwards."""
    night = Rehearsal(folder)
    night.until(lambda: night.said("the weather is safe"))
    place = night.place()
    assert night.publish(night.burst("ivo://pyros.observatory/demo#burst-1", place)) == "ack"
    night.run(TEN_MINUTES)
    assert night.close() == []
    seen = {
        "log": night.log,
        "messages": {
            name: [tuple(_plain(value, folder) for value in astuple(row)) for row in night.received(name)]
            for name in DEMO_AGENTS
        },
        "requests": {name: list(simulator.requests) for name, simulator in night.simulators.items()},
        "images": [_image(path) for path in night.images()],
        "target": place,
    }
    return night, seen


def _image(path: Path) -> tuple[str, dict[str, Any], bytes]:
    """Name, header and pixels; CHECKSUM is of the header's comments too, where astropy notes the computer's date."""
    header = {key: value for key, value in fits.getheader(path).items() if key != "CHECKSUM"}
    return path.name, header, fits.getdata(path).tobytes()


def _plain(value: Any, folder: Path) -> Any:
    return value.replace(str(folder).encode(), b"") if isinstance(value, bytes) else value


def test_a_follow_up_from_broker_to_fits_in_one_thread_on_virtual_time_twice_the_same(
    tmp_path: Path, record_property: Any, capsys: Any
) -> None:
    began = time.perf_counter()
    night, first = follow_up(tmp_path / "one")
    took = time.perf_counter() - began
    record_property("real_seconds_of_a_rehearsed_follow_up", took)
    with capsys.disabled():
        print(f" [a follow-up and {night.now:.0f} virtual seconds took {took:.2f} s]", end="")
    assert night.now > TEN_MINUTES

    burst = yaml.safe_load(night.config.required("alert_rules", "the test").read_text())["rules"][0]
    assert len(first["images"]) == sum(exposures["count"] for exposures in burst["observe"])
    header, pixels = fits.getheader(night.images()[0]), fits.getdata(night.images()[0])
    centre = SkyCoord(header["RA"], header["DEC"], unit="deg")
    assert centre.separation(SkyCoord(*first["target"], unit="deg")).arcsec < 30
    assert pixels.max() > np.median(pixels) + 200, "stars are on it"
    assert night.state("dome") == "closed"
    assert night.state("telescope") == "parked"
    for name, messages in first["messages"].items():
        assert messages, f"{name} has taken messages"
        assert [row for row in messages if row[-1] is not None] == [], f"no handler of {name} failed"

    _, second = follow_up(tmp_path / "two")
    assert first["log"] == second["log"]
    assert first == second
