"""A night's masters and reduced images: what the header says was done is what was done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from pyros.analysis.reduction import images_of, make_night_masters, reduce_night
from pyros.cli.app import app
from pyros.errors import ImageError
from tests.analysis.test_masters import NOWHERE, flawed, frames  # noqa: F401  fixtures


@pytest.fixture
def night(flawed: Any, frames: list[Path], tmp_path: Path) -> Path:  # noqa: F811
    """Give a night's folder: its calibrations, and three images in two filters, one of them compressed."""
    folder = tmp_path / "var" / "images" / "2026-03-20"
    folder.mkdir(parents=True)
    for number, path in enumerate(frames):
        shutil.copy(path, folder / f"cal_{number:03}.fits")
    for number, filter in enumerate(("r", "r", "g")):
        shutil.copy(flawed(30, pointing=NOWHERE, filter=filter), folder / f"o-1_{number}_{filter}.fits")
    return folder


def test_a_nights_images_are_reduced_and_say_how(night: Path, tmp_path: Path) -> None:
    masters, to = tmp_path / "masters", tmp_path / "reduced"
    (night / "broken.fits").write_bytes(b"SIMPLE  = nonsense")
    written, problems = make_night_masters(night, masters)
    assert len(written) == 3
    assert [problem.startswith(str(night / "broken.fits")) for problem in problems] == [True]
    told: list[tuple[float, str]] = []
    reduced, problems = reduce_night(night, masters, to, lambda percent, text: told.append((percent, text)))
    assert [path.name for path in reduced] == ["o-1_0_r.fits", "o-1_1_r.fits", "o-1_2_g.fits"]
    assert len(problems) == 1
    assert told[-1] == (100.0, "3 images")
    with fits.open(to / "o-1_0_r.fits", checksum=True) as units, fits.open(night / "o-1_0_r.fits") as raw:
        units.verify("exception")
        header, before = units[0].header, raw[0].header
        assert units[0].data.dtype.kind == "f"
        assert np.nanmedian(units[0].data) < np.median(raw[0].data) - 900
        assert [header[key] for key in ("BIASCORR", "DARKCORR", "FLATCORR")] == [True, True, True]
        assert header["FLATFILE"] == "master_flat_200x160_r.fits"
        assert header["RAWFILE"] == "o-1_0_r.fits"
        assert len(header["HISTORY"]) >= 3
        for key in ("OBJECT", "EXPTIME", "DATE-OBS", "FILTER", "OBSID", "CRVAL1"):
            assert header.get(key) == before.get(key), key
        assert "BZERO" not in header
    assert fits.getheader(to / "o-1_2_g.fits")["FLATCORR"] is False
    assert reduce_night(night, masters, to)[0] == []
    os.utime(night / "o-1_1_r.fits", (2e9, 2e9))
    assert [path.name for path in reduce_night(night, masters, to)[0]] == ["o-1_1_r.fits"]


@pytest.mark.parametrize("temperature", ["n/a", True, None])
def test_a_dark_of_no_temperature_keeps_no_master_from_being_made(
    temperature: object, night: Path, tmp_path: Path
) -> None:
    dark = next(path for path in images_of(night) if fits.getheader(path)["IMAGETYP"] == "DARK")
    with fits.open(dark, mode="update") as units:
        units[0].header["CCD-TEMP"] = temperature
    written, problems = make_night_masters(night, tmp_path / "masters")
    assert problems == []
    assert "master_bias_200x160.fits" in {path.name for path in written}


@pytest.mark.parametrize("kind", ["BIAS", "DARK", "FLAT"])
def test_a_frame_that_breaks_off_is_left_out_of_a_nights_masters(kind: str, night: Path, tmp_path: Path) -> None:
    """Its header is whole: what it was to be is known, and how many like it there are."""
    alike = [path for path in images_of(night) if fits.getheader(path)["IMAGETYP"] == kind]
    alike[0].write_bytes(alike[0].read_bytes()[:20_000])
    written, problems = make_night_masters(night, tmp_path / "masters")
    assert len(written) == 3
    assert [problem.startswith(f"{alike[0]}: ") for problem in problems] == [True]
    combined = next(path for path in written if kind.lower() in path.name)
    assert fits.getheader(combined)["NCOMBINE"] == len(alike) - 1


def test_flats_without_light_are_left_out_of_a_nights_masters(night: Path, tmp_path: Path) -> None:
    flats = [path for path in images_of(night) if fits.getheader(path)["IMAGETYP"] == "FLAT"]
    for path in flats:
        with fits.open(path, mode="update") as units:
            units[0].data[:] = 0
    written, problems = make_night_masters(night, tmp_path / "masters")
    assert len(written) == 2
    assert len(problems) == len(flats)


def test_a_night_without_a_bias_makes_no_flat(night: Path, tmp_path: Path) -> None:
    for path in images_of(night):
        if fits.getheader(path)["IMAGETYP"] == "BIAS":
            path.unlink()
    with pytest.raises(ImageError, match="needs a master bias"):
        make_night_masters(night, tmp_path / "masters")
    assert make_night_masters(tmp_path / "nowhere", tmp_path / "masters") == ([], [])


def test_the_command_line_reduces_a_night(night: Path, tmp_path: Path) -> None:
    ini = tmp_path / "pyros_agent_config.ini"
    ini.write_text("[observatory]\nname = t\n[jobs]\nport = 5020\napp = pyros.agents.jobs\n")
    done = CliRunner().invoke(app, ["image", "masters", "--night", "2026-03-20", "--config", str(ini)])
    assert done.exit_code == 0, done.stdout
    assert done.stdout.count("master ") == 3
    done = CliRunner().invoke(app, ["image", "reduce", "--config", str(ini)])
    assert done.exit_code == 0, done.stdout
    assert "3 images of 2026-03-20 reduced" in done.stdout
    assert len(list((tmp_path / "var/reduced/2026-03-20").iterdir())) == 3
    done = CliRunner().invoke(app, ["image", "reduce", "--night", "yesterday", "--config", str(ini)])
    assert done.exit_code == 1
    assert "is no date" in done.stderr


@pytest.mark.parametrize("command", ["masters", "reduce"])
def test_a_first_day_without_images_is_no_failure(tmp_path: Path, command: str) -> None:
    ini = tmp_path / "pyros_agent_config.ini"
    ini.write_text("[observatory]\nname = t\n[jobs]\nport = 5020\napp = pyros.agents.jobs\n")
    done = CliRunner().invoke(app, ["image", command, "--config", str(ini)])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'var/images'} has no night's images yet\n")
