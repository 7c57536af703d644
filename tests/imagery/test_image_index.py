"""The index of images: found by place, night and filter, page by page, and made anew from the files on disk."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pyros import config as configuration
from pyros import views
from pyros.alerts.archive.region import SkyRegion
from pyros.angles import separation
from pyros.cli.app import app
from pyros.errors import ImageError, JournalError
from pyros.imagery import index as imagery_index
from pyros.imagery.filling import IndexJob, index_files, index_image
from pyros.imagery.index import ImageIndex, ImageIndexReader, ImageQuery, index_file
from pyros.imagery.reading import read_record
from pyros.instruments.fits import ImageFacts, read_image, write_image
from pyros.instruments.interfaces import Image
from pyros.messages import ImageAnalysed
from pyros.rehearsal.folder import write_observatory
from pyros.views.images import images
from tests.conftest import DEMO
from tests.imagery.many_images import many_images
from tests.steps import Steps

STARTED = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


def picture(path: Path, ra: float = 83.6, dec: float = 22.0, number: int = 1, **changes: Any) -> Path:
    """Write an image of 48 by 32 pixels of a minute of arc."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((32, 48), np.uint16)
    image = Image(pixels=pixels, filter="r", seconds=60.0, started=STARTED + 100 * number,
                  temperature=-10.0, gain=1.0, arcsec_per_pixel=60.0)  # fmt: skip
    how: dict[str, Any] = {"object": "M 1", "observation": "obs-1", "event": "GRB 1", "rotation": 30.0} | changes
    return write_image(path, image, ImageFacts(ra=ra, dec=dec, number=number, **how))


def test_a_record_is_what_the_header_says_and_where_it_looks(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.fits")
    record = read_record(path, None)
    assert (record.object, record.filter, record.observation, record.event) == ("M 1", "r", "obs-1", "GRB 1")
    assert (record.night, record.width, record.height, record.seconds) == ("2026-09-21", 48, 32, 60.0)
    assert record.started == STARTED + 100
    assert (record.ra, record.dec) == pytest.approx((83.6, 22.0), abs=1e-9)
    assert record.radius == pytest.approx(np.hypot(24, 16) / 60, rel=1e-4)
    wcs = WCS(read_image(path).header)
    for corner in record.corners:
        x, y = wcs.all_world2pix([corner], 0)[0]
        assert (abs(x - 23.5), abs(y - 15.5)) == pytest.approx((24, 16), abs=1e-6)
    area = sum(
        a[0] * b[1] - b[0] * a[1] for a, b in zip(record.corners, record.corners[1:] + record.corners[:1], strict=True)
    )
    assert area < 0  # right ascension grows to the left: counterclockwise on the sky is clockwise in these numbers


def test_what_the_analyzer_has_found_shifts_the_field_and_is_kept(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.fits")
    report = ImageAnalysed("obs-1", str(path), sources=12, fwhm=2.5, zero_point=22.1, ra=83.7, dec=22.1)
    job = IndexJob(report, str(tmp_path / "index.sqlite"))
    index_image(job)
    index_image(job)
    index = ImageIndex(tmp_path / "index.sqlite")
    index.add([read_record(path, None)])
    index.close()
    reader = ImageIndexReader(tmp_path / "index.sqlite")
    (found,) = reader.find(ImageQuery()).images
    reader.close()
    assert (found.record.fwhm, found.record.zero_point, found.record.sources) == (2.5, 22.1, 12)
    shifted = read_record(path, None, report)
    assert (shifted.ra, shifted.dec) == (83.7, 22.1)
    assert separation(*shifted.corners[0], 83.7, 22.1) == pytest.approx(np.hypot(24, 16) / 60, rel=1e-2)


def test_an_image_without_a_sky_has_no_place(tmp_path: Path) -> None:
    record = read_record(picture(tmp_path / "dark.fits", image_type="DARK"), None)
    assert (record.type, record.ra, record.corners, record.cell) == ("DARK", None, (), None)


@pytest.mark.parametrize("content", [b"", b"no FITS", b"SIMPLE  =                    T" + b" " * 50])
def test_what_is_no_image_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.fits"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.fits: "):
        read_record(path, None)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "2026-13-45T00:00:00", "soon"])
def test_a_time_that_is_none_is_told_with_its_file(tmp_path: Path, when: str) -> None:
    path = picture(tmp_path / "a.fits")
    with fits.open(path, mode="update") as units:
        units[0].header["DATE-OBS"] = when
    with pytest.raises(ImageError, match=f"a.fits: DATE-OBS: '{when}' is no time"):
        read_record(path, None)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ImageIndexReader, list[Any]]]:
    """Give an index of 3,000 images, and their records."""
    path = tmp_path_factory.mktemp("many") / "images.sqlite"
    records = list(many_images(3000, fields=300))
    index = ImageIndex(path)
    index.add(records)
    index.close()
    reader = ImageIndexReader(path)
    yield reader, records
    reader.close()


def test_pages_follow_each_other_without_gap_or_repeat(many: Any) -> None:
    reader, records = many
    found, after = [], ""
    while True:
        page = reader.find(ImageQuery(filter="g", limit=70, after=after))
        found += [each.record.path for each in page.images]
        if not (after := page.next):
            break
    wanted = sorted((each for each in records if each.filter == "g"), key=lambda each: -each.started)
    assert found == [each.path for each in wanted]


@given(
    st.tuples(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 180) | st.floats(0, 2)),
    st.sampled_from(["", "g", "Ha", "none"]),
)
def test_a_cone_finds_what_a_look_at_every_image_finds(
    many: Any, cone: tuple[float, float, float], filter_: str
) -> None:
    reader, records = many
    found = {each.record.path for each in reader.find(ImageQuery(cone=cone, filter=filter_, limit=1000)).images}
    among = [each for each in records if filter_ in ("", each.filter)]
    apart = {each.path: separation(each.ra, each.dec, *cone[:2]) - cone[2] - each.radius for each in among}
    inside = sorted((each for each in among if apart[each.path] <= -1e-6), key=lambda each: -each.started)
    assert {each.path for each in inside[: len(found)]} <= found | {
        path for path, gap in apart.items() if abs(gap) < 1e-6
    }
    assert all(apart[path] < 1e-6 for path in found)
    assert len(found) == 1000 or len(found) >= len(inside)


@pytest.mark.parametrize("many_candidates", [10, 100_000])
@pytest.mark.parametrize("moc", ["5/7000", "0/3 4/900-950 6/20", "12/100000000", "0/0-11"])
def test_a_region_finds_what_a_look_at_every_image_finds(
    many: Any, moc: str, many_candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagery_index, "MANY_CANDIDATES", many_candidates)
    reader, records = many
    region = SkyRegion.of_moc(moc)
    vectors = np.array([_vector(each) for each in records])
    touches = region.touches(np.array([each.cell for each in records]), vectors, np.full(len(records), 0.35))
    for filter_ in ("", "g"):
        found, after = [], ""
        while True:
            page = reader.find(ImageQuery(region=region, filter=filter_, limit=100, after=after))
            found += [each.record.path for each in page.images]
            if not (after := page.next):
                break
        wanted = [
            each for each, inside in zip(records, touches, strict=True) if inside and filter_ in ("", each.filter)
        ]
        assert found == [each.path for each in sorted(wanted, key=lambda each: -each.started)]
    cone = (records[7].ra, records[7].dec, 0.1)
    both = reader.find(ImageQuery(region=SkyRegion.of_moc("0/0-11"), cone=cone)).images
    assert both == reader.find(ImageQuery(cone=cone)).images != ()


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({"filter": "g", "object": "field 7"}, 1_000), ({"filter": "g", "night": "n00003"}, 2_500),
        ({"type": "LIGHT", "event": "GRB 20"}, 1_000), ({"type": "LIGHT", "filter": "none"}, 500),
        ({"type": "LIGHT", "filter": "none", "cone": (10.0, 10.0, 60.0)}, 1_000),
        ({"filter": "g", "observation": "obs-3-none", "region": SkyRegion.of_moc("0/0-11")}, 1_000),
    ],
)  # fmt: skip
def test_the_rarest_of_several_conditions_leads(
    many: Any, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], most: int
) -> None:
    """In steps of SQLite's machine: a walk through all the images takes 30,000 and more."""
    monkeypatch.setattr(imagery_index, "MANY_CANDIDATES", 100)
    reader, records = many
    words = {key: value for key, value in asked.items() if isinstance(value, str)}
    matching = [each for each in records if all(getattr(each, key) == value for key, value in words.items())]
    steps = Steps(monkeypatch)
    with closing(ImageIndexReader(reader.path)) as counted:
        found = counted.find(ImageQuery(**asked)).images
    assert {each.record.path for each in found} <= {each.path for each in matching}
    assert len(found) == min(50, len(matching)) or len(asked) > len(words)
    assert steps.count < 1_000 + most, steps.count


def _vector(record: Any) -> tuple[float, float, float]:
    ra, dec = math.radians(record.ra), math.radians(record.dec)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


@pytest.mark.parametrize(
    "query", [ImageQuery(cone=(400, 0, 1)), ImageQuery(cone=(0, 0, -1)), ImageQuery(after="1;DROP")]
)
def test_a_query_that_makes_no_sense_is_refused(many: Any, query: ImageQuery) -> None:
    with pytest.raises(ValueError, match=r"a cone has|is not the word of a page"):
        many[0].find(query)


@pytest.mark.parametrize("number", [-1, 1 << 63, 1 << 80])
def test_there_is_no_image_of_an_impossible_number(many: Any, number: int) -> None:
    assert many[0].get(number) is None


@given(st.text(max_size=40))
def test_no_word_of_a_page_breaks_it(many: Any, after: str) -> None:
    try:
        many[0].find(ImageQuery(after=after))
    except ValueError as error:
        assert "is not the word of a page" in str(error)  # noqa: PT017


def test_the_command_line_makes_the_index_from_files_and_searches_it(tmp_path: Path) -> None:
    ini = tmp_path / "pyros_agent_config.ini"
    ini.write_text(f"[observatory]\nname = t\ndata = var\nsite = {DEMO.site}\n[monitoring]\nport = 5005\n")
    cli, how = CliRunner(), ["--config", str(ini)]
    missing = cli.invoke(app, ["images", "find", *how])
    assert missing.exit_code == 1
    assert "pyros images index makes it" in missing.output
    home = tmp_path / "var" / "images" / "2026-09-21"
    for number, ra in enumerate((83.6, 83.7, 200.0), 1):
        picture(home / f"image_{number}.fits", ra, number=number)
    (home / "broken.fits").write_bytes(b"no FITS")
    result = cli.invoke(app, ["images", "index", *how])
    assert result.exit_code == 1
    assert "3 images indexed, 0 known, 0 gone" in result.output
    assert "broken.fits: " in result.output
    (home / "broken.fits").unlink()
    (home / "image_2.fits").unlink()
    assert "0 images indexed, 2 known, 1 gone" in cli.invoke(app, ["images", "index", *how]).output
    found = cli.invoke(app, ["images", "find", "--cone", "83.6", "22", "0.1", "--filter", "r", "--json", *how])
    assert [json.loads(line)["object"] for line in found.output.splitlines()] == ["M 1"]
    page = cli.invoke(app, ["images", "find", "--limit", "1", *how])
    assert "image_3.fits" in page.output
    after = page.output.rpartition("--after ")[2].split()[0]
    assert "image_1.fits" in cli.invoke(app, ["images", "find", "--after", after, *how]).output
    assert cli.invoke(app, ["images", "find", "--night", "monday", *how]).exit_code == 1
    written = tmp_path / "obscore.csv"
    done = cli.invoke(app, ["images", "export", "--format", "csv", "--base", "http://x/", "-o", str(written), *how])
    assert done.exit_code == 0, done.output
    assert written.read_text().count("\n") == cli.invoke(app, ["images", "find", "--json", *how]).output.count("\n") + 1
    assert "http://x/" in cli.invoke(app, ["images", "export", "--base", "http://x/", *how]).output
    shutil.rmtree(tmp_path / "var" / "images")


def test_images_of_one_of_several_telescopes(tmp_path: Path) -> None:
    path = write_observatory(tmp_path, ("telescope",), devices={}, options={"telescope west": {"option_name": "Dob"}},
                             rules=None, guardian=False, telescopes=("east", "west"))  # fmt: skip
    whole = configuration.load(path)
    names = [whole.seen_from(unit).telescope_name for unit in whole.telescopes]
    assert names == ["rehearsal telescope east", "Dob"]
    index = ImageIndex(index_file(whole))
    for number, name in enumerate(names):
        index.add([read_record(picture(tmp_path / f"{number}.fits", telescope=name), None)])
    index.close()
    observed = views.observed(whole)
    found = {
        unit: [each.record.telescope for each in images(observed, unit=unit).images] for unit in ("east", "west", "")
    }
    assert found == {"east": names[:1], "west": names[1:], "": names[::-1]}
    with pytest.raises(ValueError, match="no telescope 'north'"):
        images(observed, unit="north")
    observed.close()
    said = CliRunner().invoke(app, ["images", "find", "--unit", "west", "--json", "--config", str(path)])
    assert json.loads(said.output)["telescope"] == "Dob"


def test_an_index_of_another_format_is_not_touched(tmp_path: Path) -> None:
    ImageIndex(tmp_path / "images.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "images.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="is of format 99"):
        ImageIndex(tmp_path / "images.sqlite")


def test_the_demos_images_are_where_the_index_looks() -> None:
    assert index_file(DEMO) == DEMO.data / "images.sqlite"
    assert index_files.__doc__
