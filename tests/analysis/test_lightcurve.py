from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from pyros.analysis.curve import draw_curve
from pyros.analysis.lightcurve import Point, add, file_name, read, slope
from pyros.errors import ImageError


def point(after: float = 60.0, image: str = "a.fits", filter: str = "r", **changed: object) -> Point:
    magnitude = 14 + 2.5 * 1.2 * math.log10(after / 60) - (0.4 if filter == "i" else 0)
    made = Point("", "2026-03-20T23:30:00", 61119.97917 + after / 86400, after, filter, 20.0, magnitude, 0.02, 150.2,
                 40.1, "obs-1", image)  # fmt: skip
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def test_an_image_measured_twice_has_one_line(tmp_path: Path) -> None:
    file = tmp_path / "curves" / "x.csv"
    for image, after in (("a.fits", 60.0), ("b.fits", 120.0), ("a.fits", 60.0)):
        add(file, image, [point(after, image)])
    assert [each.image for each in read(file)] == ["a.fits", "b.fits"]
    add(file, "b.fits", [point(120, "b.fits", magnitude=15.5)])
    assert read(file)[1].magnitude == 15.5
    add(file, "a.fits", [])
    assert [each.image for each in read(file)] == ["b.fits"]
    assert [each.name for each in file.parent.iterdir()] == ["x.csv"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    odd = dataclasses.replace(point(61.25), after=None, ra=151.0, filter='odd, "name"')
    written = add(file, "a.fits", [point(61.25), odd])
    assert [each.source for each in written] == ["A", "B"]
    for one, other in zip(read(file), written, strict=True):
        assert one.mjd == pytest.approx(other.mjd, abs=1e-6)
        assert one.after == (None if other.after is None else pytest.approx(other.after, abs=0.06))
        assert (one.source, one.filter, one.image) == (other.source, other.filter, other.image)
        assert one.magnitude == pytest.approx(other.magnitude, abs=1e-3)
    assert file.read_text().splitlines()[0].startswith("source,utc,mjd,after,filter,seconds,magnitude,error,ra,dec,")


def test_sources_keep_their_names(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    add(file, "a.fits", [point(60, "a.fits"), point(60, "a.fits", ra=150.25)])
    add(file, "b.fits", [point(90, "b.fits", ra=150.25 + 1 / 3600), point(90, "b.fits", dec=40.2)])
    names = [(each.image, each.source) for each in read(file)]
    assert names == [("a.fits", "A"), ("a.fits", "B"), ("b.fits", "B"), ("b.fits", "C")]


def test_a_broken_file_is_told_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    add(file, "a.fits", [point()])
    file.write_text(file.read_text() + "A,today\n")
    with pytest.raises(ImageError, match=r"x\.csv: line 3 is no point"):
        add(file, "b.fits", [point()])
    assert file.read_text().endswith("A,today\n")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.csv"
    add(file, "a.fits", [point()])
    before = file.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        add(file, "b.fits", [point()])
    assert file.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_slope_of_several_filters() -> None:
    random = np.random.default_rng(4)
    points = []
    for i in range(8):
        for filter in "ri":
            one = point(40 * 1.5**i, f"{filter}{i}", filter)
            points.append(dataclasses.replace(one, magnitude=one.magnitude + random.normal(0, 0.02)))
    fitted = slope(points)
    assert fitted is not None
    assert fitted[0] == pytest.approx(1.2, abs=4 * fitted[1])
    assert fitted[1] < 0.02
    assert slope(points[:2]) is None
    assert slope([point(60), point(60), point(60)]) is None
    assert slope([dataclasses.replace(point(), after=None)] * 5) is None
    assert slope([dataclasses.replace(point(60 + i), error=0.05) for i in range(4)]) is None  # seconds of it


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point()],
        [point(), dataclasses.replace(point(), after=None)],
        [point(5 + i, f"{i}") for i in range(3)],
        [point(10.0**i, f"{i}", error=10.0 ** (i - 4)) for i in range(7)],
        [dataclasses.replace(point(60 + i), source=f"{i % 5}", filter=f"long filter {i % 7}") for i in range(40)],
    ],
)
def test_every_curve_can_be_drawn(tmp_path: Path, points: list[Point]) -> None:
    file = draw_curve(tmp_path / "x.png", "swift:1234" * 3, points)
    with Picture.open(file) as picture:
        colours = np.asarray(picture)
    assert colours.shape == (640, 1000, 3)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > (10 if points else 1)


def test_bright_is_up_and_early_is_left(tmp_path: Path) -> None:
    points = [point(60, "a", source="A"), point(600, "b", source="A")]
    with Picture.open(draw_curve(tmp_path / "x.png", "x", points)) as picture:
        colours = np.asarray(picture.convert("RGB")).astype(int)
    red = np.argwhere((colours == (200, 45, 45)).all(axis=2) & (np.arange(640)[:, None] > 70))
    left, right = red[red[:, 1] < 500], red[red[:, 1] > 500]
    assert left[:, 0].mean() < right[:, 0].mean()


def test_names_of_files() -> None:
    assert file_name("pyros.observatory/demo:burst 1") == "pyros.observatory_demo_burst_1"
    assert file_name("../../etc") == "etc"
    assert file_name("///") == "event"
