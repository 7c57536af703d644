"""``pyros image``: pictures of our images and of other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image as Picture

from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.interfaces import Image
from tests.cli.conftest import run


def ring(png: Path) -> Any:
    with Picture.open(png) as picture:
        places = np.argwhere((np.asarray(picture.convert("RGB")) == (255, 176, 0)).all(axis=2))
    return (places.min(axis=0) + places.max(axis=0)) / 2 if len(places) else None


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).normal(1000, 10, (300, 400)).astype(np.uint16)
    taken = Image(pixels, 1774049400.25, 30.0, "r", -20.0, 1.5, 1.8)
    facts = ImageFacts("GRB 1", 83.6, 22.0, "o-1", target_ra=83.6, target_dec=22.05, rotation=90.0)
    return write_image(tmp_path / "a.fits", taken, facts, compress=True)


def test_an_image_with_its_target(image: Path) -> None:
    done = run("image", "show", image)
    assert done.exit_code == 0, done.output
    assert "400 x 300 pixels, GRB 1, r, 30 s, 2026-03-20T23:30:00.250" in done.output
    assert "target   83.60000 +22.05000" in done.output
    row, column = ring(image.with_suffix(".png"))
    assert (column, row) == pytest.approx((400 + 2 * 100, 300), abs=2)  # north is right


def test_another_position_and_name_and_size(image: Path, tmp_path: Path) -> None:
    png = tmp_path / "look.png"
    assert run("image", "show", image, "--out", png, "--size", "200", "--ra", "83.6", "--dec", "22").exit_code == 0
    with Picture.open(png) as picture:
        assert picture.size == (200, 150)
    row, column = ring(png)
    assert (column, row) == pytest.approx((100, 75), abs=2)


def test_somebody_elses_file(tmp_path: Path) -> None:
    """A float image in the second extension, with gaps, sexagesimal coordinates, and a nonstandard header."""
    world = WCS(naxis=2)
    world.wcs.ctype, world.wcs.crval, world.wcs.crpix = ["RA---TAN", "DEC--TAN"], [83.6, -22.0], [100, 50]
    world.wcs.cdelt = [-0.001, 0.001]
    pixels = np.random.default_rng(1).normal(0, 1, (100, 200))
    pixels[:10] = np.nan
    unit = fits.ImageHDU(pixels, world.to_header())
    unit.header["EXPTIME"] = "long"
    unit.header["OBJECT"] = 17
    unit.header["OBJCTRA"], unit.header["OBJCTDEC"] = "5 34 24", "-22:00:00"
    file = tmp_path / "x.fits.gz"
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(file)
    done = run("image", "show", file)
    assert done.exit_code == 0, done.output
    row, column = ring(tmp_path / "x.png")
    assert (column, row) == pytest.approx((99.5 * 4, (100 - 49.5) * 4), abs=2)


@pytest.mark.parametrize("content", [None, b"", b"notes", b"SIMPLE  =                    T" + b" " * 2850])
def test_what_is_no_image(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "x.fits"
    if content is not None:
        file.write_bytes(content)
    done = run("image", "show", file)
    assert done.exit_code == 1
    assert done.output.startswith(f"pyros: {file}: ")
    assert "ignore_missing" not in done.output, "astropy's advice is for programmers"
    assert len(done.output.splitlines()) == 1


def test_where_the_picture_cannot_go(image: Path, tmp_path: Path) -> None:
    for to, why in (
        (tmp_path / "no" / "a.png", "No such file"),
        (tmp_path, "Is a directory"),
        (image, "own place"),
    ):
        done = run("image", "show", image, "--out", to)
        assert done.exit_code == 1
        assert why in done.output
        assert len(done.output.splitlines()) == 1
    assert run("image", "show", image, "--ra", "10").exit_code == 2
