from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from pyros.errors import ImageError
from pyros.instruments.fits import ImageFacts, read_header, read_image, write_image, write_job, write_pixels
from pyros.instruments.indi.image import decode
from pyros.instruments.interfaces import Image
from pyros.instruments.preview import write_preview

FACTS = ImageFacts(
    object="GRB 260320A",
    ra=83.6331,
    dec=22.0145,
    observation="o-17",
    number=2,
    of=3,
    alert="ivo://nasa.gsfc.gcn/SWIFT#BAT_1",
    airmass=1.25,
    target_ra=83.633,
    target_dec=22.0144,
    observatory="Demo",
    telescope="Demo telescope",
    instrument="Demo camera",
    latitude=42.9365,
    longitude=0.1426,
    elevation=2877.0,
)
SCALE = 1.8


def exposure(width: int = 61, height: int = 40, **changed: Any) -> Image:
    pixels = np.random.default_rng(7).normal(1000, 20, (height, width)).astype(np.uint16)
    pixels[0, 0], pixels[-1, -1] = 0, 65535
    image = Image(pixels, 1774049400.25, 30.0, "r", -20.0, 1.5, SCALE)
    return dataclasses.replace(image, **changed)


@pytest.mark.parametrize("size", [(61, 40), (64, 64), (3, 2)])
def test_a_round_trip_through_astropy(tmp_path: Path, size: tuple[int, int]) -> None:
    image = exposure(*size)
    path = write_image(tmp_path / "a.fits", image, FACTS)
    with fits.open(path, checksum=True) as units:  # a wrong checksum is a warning, and so an error here
        units.verify("exception")
        assert units[0].data.dtype == np.uint16
        assert (units[0].data == image.pixels).all()
        header = units[0].header
    assert header["BITPIX"] == 16
    expected = {
        "OBJECT": "GRB 260320A",
        "IMAGETYP": "LIGHT",
        "EXPTIME": 30.0,
        "DATE-OBS": "2026-03-20T23:30:00.250",
        "DATE-AVG": "2026-03-20T23:30:15.250",
        "DATE-END": "2026-03-20T23:30:30.250",
        "FILTER": "r",
        "RA": 83.6331,
        "DEC": 22.0145,
        "RADESYS": "ICRS",
        "AIRMASS": 1.25,
        "CCD-TEMP": -20.0,
        "GAIN": 1.5,
        "TELESCOP": "Demo telescope",
        "INSTRUME": "Demo camera",
        "OBSERVAT": "Demo",
        "SITELAT": 42.9365,
        "SITELONG": 0.1426,
        "ALERT": "ivo://nasa.gsfc.gcn/SWIFT#BAT_1",
        "OBSID": "o-17",
        "EXPNUM": 2,
    }
    assert {key: header[key] for key in expected} == expected
    assert all(header.comments[key] for key in expected)
    assert {"CHECKSUM", "DATASUM"} <= set(header)
    assert [each.name for each in tmp_path.iterdir()] == ["a.fits"]


def test_the_world_coordinates_have_north_up_and_east_left(tmp_path: Path) -> None:
    world = WCS(fits.getheader(write_image(tmp_path / "a.fits", exposure(61, 40), FACTS)))
    centre = SkyCoord(FACTS.ra, FACTS.dec, unit="deg")
    assert world.pixel_to_world(30, 19.5).separation(centre).arcsec < 1e-6
    up, left = world.pixel_to_world(30, 29.5), world.pixel_to_world(20, 19.5)
    assert centre.separation(up).arcsec == pytest.approx(10 * SCALE, rel=1e-6)
    assert centre.position_angle(up).deg == pytest.approx(0, abs=1e-6)
    assert centre.position_angle(left).deg == pytest.approx(90, abs=0.01)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    header = fits.getheader(write_image(tmp_path / "a.fits", exposure(), ImageFacts("x", 1.0, 2.0, "o")))
    assert not {"AIRMASS", "ALERT", "SITELAT", "TELESCOP", "OBJCTRA"} & set(header)


def test_no_text_breaks_a_header(tmp_path: Path) -> None:
    facts = dataclasses.replace(FACTS, object="é\n'x' " * 30, alert="ivo://" + "a" * 300, observation="\x00o")
    header = fits.getheader(write_image(tmp_path / "a.fits", exposure(), facts))
    assert header["OBJECT"].startswith("??'x' ??'x'")
    assert header["ALERT"] == facts.alert
    write_image(tmp_path / "a.fits", exposure(), facts)


def test_only_the_same_exposure_is_replaced(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits", exposure(seconds=1.0), FACTS)
    write_image(path, exposure(seconds=2.0), FACTS)
    assert fits.getheader(path)["EXPTIME"] == 2.0
    for other in (dataclasses.replace(FACTS, number=3), dataclasses.replace(FACTS, observation="o-18")):
        with pytest.raises(FileExistsError, match=r"a\.fits: holds another image, and is kept"):
            write_image(path, exposure(), other)
    (tmp_path / "b.fits").write_text("notes")
    with pytest.raises(FileExistsError):
        write_image(tmp_path / "b.fits", exposure(), FACTS)
    assert (tmp_path / "b.fits").read_text() == "notes"


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "a.fits", exposure(seconds=1.0), FACTS)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_image(path, exposure(seconds=2.0), FACTS)
    assert fits.getheader(path)["EXPTIME"] == 1.0
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_file_and_folder_are_synced_in_that_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Any] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, (tmp_path / "a.fits").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_image(tmp_path / "a.fits", exposure(), FACTS)
    assert synced == [(".a.fits.partial", False), (tmp_path.name, True)]


# The preview.


def star_field(width: int, height: int, star: tuple[int, int]) -> Image:
    generator = np.random.default_rng(3)
    pixels = generator.normal(1100, 12, (height, width))
    rows, columns = np.mgrid[:height, :width]
    places = [(star, 40000.0)] + [
        ((int(generator.integers(width)), int(generator.integers(height))), float(300 * generator.pareto(1.0)))
        for _ in range(150)
    ]
    for (x, y), peak in places:
        pixels += peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4.5)
    return exposure(pixels=np.clip(pixels, 0, 65535).astype(np.uint16))


@pytest.mark.parametrize(("width", "height", "size"), [(300, 200, 600), (400, 400, 200), (200, 300, 300)])
def test_the_ring_is_around_the_target(tmp_path: Path, width: int, height: int, size: int) -> None:
    star = (width * 2 // 3, height // 4)
    path = write_image(tmp_path / "a.fits", star_field(width, height, star), FACTS)
    target = WCS(fits.getheader(path)).pixel_to_world(*star)
    from PIL import Image as Picture

    with Picture.open(write_preview(path, tmp_path / "a.png", target.ra.deg, target.dec.deg, size)) as picture:
        assert max(picture.size) == size
        assert picture.size[0] * height == pytest.approx(picture.size[1] * width, abs=size)
        colours = np.asarray(picture.convert("RGB")).astype(int)
    ring = np.argwhere((colours == (255, 176, 0)).all(axis=2))
    factor = size / max(width, height)
    row, column = ring.min(axis=0) / 2 + ring.max(axis=0) / 2
    assert column == pytest.approx((star[0] + 0.5) * factor, abs=1.5)
    assert row == pytest.approx((height - star[1] - 0.5) * factor, abs=1.5)
    assert colours[round(row), round(column)].min() > 180  # and in it is the star


@pytest.mark.parametrize("target", [(None, None), (83.0, 22.0), (263.6331, -22.0145)])
def test_no_ring_for_a_target_that_is_not_in_the_image(tmp_path: Path, target: tuple[Any, Any]) -> None:
    from PIL import Image as Picture

    path = write_image(tmp_path / "a.fits", star_field(100, 100, (50, 50)), FACTS)
    with Picture.open(write_preview(path, tmp_path / "a.png", *target, size=200)) as picture:
        assert not (np.asarray(picture.convert("RGB")) == (255, 176, 0)).all(axis=2).any()


@pytest.mark.parametrize("level", [0, 65535])
def test_a_flat_image_is_drawn_too(tmp_path: Path, level: int) -> None:
    flat = exposure(pixels=np.full((50, 50), level, dtype=np.uint16))
    path = write_image(tmp_path / "a.fits", flat, FACTS)
    assert write_preview(path, tmp_path / "a.png").stat().st_size > 0


# Compressed tiles, and other people's files.


def test_compressed_tiles_lose_nothing(tmp_path: Path) -> None:
    image = exposure(600, 400)
    plain = write_image(tmp_path / "plain.fits", image, FACTS)
    path = write_image(tmp_path / "a.fits", image, FACTS, compress=True)
    assert path.stat().st_size < 0.6 * plain.stat().st_size
    with fits.open(path, checksum=True) as units:
        units.verify("exception")
        assert units[0].data is None
        assert units[1].data.dtype == np.uint16
        assert (units[1].data == image.pixels).all()
        assert units[1].header["OBJECT"] == "GRB 260320A"
        assert WCS(units[1].header).has_celestial
    with fits.open(path, disable_image_compression=True) as units:
        assert units[1].header["ZCMPTYPE"] == "RICE_1"
        assert {"CHECKSUM", "DATASUM"} <= set(units[1].header)
    write_image(path, exposure(600, 400, seconds=2.0), FACTS, compress=True)
    with pytest.raises(FileExistsError):
        write_image(path, image, dataclasses.replace(FACTS, number=3), compress=True)


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_written_is_read(tmp_path: Path, compress: bool) -> None:
    image = exposure()
    read = read_image(write_image(tmp_path / "a.fits", image, FACTS, compress=compress))
    assert read.pixels.dtype == np.float32
    assert (read.pixels == image.pixels).all()
    assert read.header["OBSID"] == "o-17"
    assert (read.header["NAXIS1"], read.header["NAXIS2"]) == (61, 40)


@pytest.mark.parametrize("rotation", [0.0, 30.0, 200.0])
def test_the_rotation_is_the_position_angle_of_the_upper_side(tmp_path: Path, rotation: float) -> None:
    facts = dataclasses.replace(FACTS, rotation=rotation)
    world = WCS(fits.getheader(write_image(tmp_path / "a.fits", exposure(61, 40), facts)))
    centre, up, left = (world.pixel_to_world(*at) for at in ((30, 19.5), (30, 29.5), (20, 19.5)))
    assert centre.position_angle(up).deg == pytest.approx(rotation, abs=0.01) or rotation == 0
    assert (centre.position_angle(left) - centre.position_angle(up)).wrap_at("360d").deg == pytest.approx(90, abs=0.01)
    assert centre.separation(up).arcsec == pytest.approx(10 * SCALE, rel=1e-5)


@pytest.mark.skipif(not shutil.which("fitsverify") and not os.environ.get("CI"), reason="needs tools/system-packages")
@pytest.mark.parametrize("compress", [False, True])
def test_fitsverify_has_nothing_to_say(tmp_path: Path, compress: bool) -> None:
    facts = dataclasses.replace(FACTS, rotation=12.5, alert="ivo://nasa.gsfc.gcn/" + "x" * 90)
    path = write_image(tmp_path / "a.fits", exposure(), facts, compress=compress)
    said = subprocess.run(["fitsverify", path], capture_output=True, text=True, timeout=90, check=False).stdout
    assert "0 warning(s) and 0 error(s)" in said or "found no warnings or errors" in said.lower(), said


def foreign(path: Path, *units: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
    return path


def test_the_first_image_of_a_file_is_read_wherever_it_is(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(3.0))])
    spectrum = fits.ImageHDU(np.arange(10.0))
    cube = fits.ImageHDU(np.arange(24, dtype=">f8").reshape(2, 3, 4), name="SCI")
    read = read_image(foreign(tmp_path / "a.fits", table, spectrum, cube, fits.ImageHDU(np.zeros((2, 2)))))
    assert read.pixels.tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert read.header["EXTNAME"] == "SCI"


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("notes")
    (tmp_path / "empty.fits").write_bytes(b"")
    whole = write_image(tmp_path / "whole.fits", exposure(), FACTS).read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:5800])
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(3.0))])
    foreign(tmp_path / "table.fits", table)
    for name in ("text", "empty", "cut", "table", "absent"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy's about the file that is cut
            with pytest.raises(ImageError) as error:
                read_image(tmp_path / f"{name}.fits")
        assert str(error.value).startswith(str(tmp_path / f"{name}.fits: "))
        assert "\n" not in str(error.value)


def with_card(path: Path, card: bytes) -> Path:
    """Have a file's header say the card, in the place of the one of that keyword or of OBJECT."""
    content = path.read_bytes()
    place = content.find(card[:10])
    place = place if place >= 0 else content.find(b"OBJECT  = ")
    path.write_bytes(content[:place] + card.ljust(80) + content[place + 80 :])
    return path


@pytest.mark.parametrize(
    "card",
    [
        b"CCD-TEMP= -20.0     \x13", b"OBJECT  = '\xe9toile'", b"BSC%LE  = 3", b"EXPTIME = 1E400",
        b"COMMENT \xe9\x01",
    ],
)  # fmt: skip
def test_what_cannot_be_read_in_a_header_is_left_out(tmp_path: Path, card: bytes) -> None:
    path = with_card(write_image(tmp_path / "a.fits", exposure(), FACTS), card)
    for header in (read_image(path).header, read_header(path)):
        assert header["OBSID"] == "o-17"
        assert header.get(card[:8].strip().decode(), "?toile") == "?toile"
        header.tofile(tmp_path / "again.fits", overwrite=True)
    write_preview(path, tmp_path / "a.png")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("card", ["NAXIS1  =                 -960", "PCOUNT  =                -2892"])
def test_a_unit_that_ends_before_it_begins_is_not_read_for_ever(tmp_path: Path, card: str) -> None:
    """Astropy goes on with the unit after it, which is the same one."""
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(3.0))])
    path = foreign(tmp_path / "a.fits", table, fits.ImageHDU(np.zeros((2, 2))))
    content = path.read_bytes()
    where = content.find(card[:10].encode(), content.find(b"XTENSION"))
    path.write_bytes(content[:where] + card.ljust(80).encode() + content[where + 80 :])
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match="less than no data"):
            read(path)
    with pytest.raises(ValueError, match="less than no data"):
        decode(path.read_bytes())
    with pytest.raises(FileExistsError):
        write_image(path, exposure(), FACTS)


def test_what_has_one_axis_is_no_image_whatever_its_header_says_of_another(tmp_path: Path) -> None:
    unit = fits.PrimaryHDU(np.arange(10.0))
    unit.header["OBJECT"] = "a spectrum"
    unit.writeto(tmp_path / "a.fits")
    with pytest.raises(ImageError, match="has no image in it"):
        read_image(with_card(tmp_path / "a.fits", b"NAXIS2  =                   40"))


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((40, 50), np.nan, dtype=np.float32),
        np.where(np.eye(50) > 0, np.nan, 5.0),
        np.where(np.eye(50) > 0, np.inf, np.arange(50.0)),
        np.array([[3]]),
        np.array([[1.0, -1e30]]),
        np.arange(12).reshape(1, 12),
        np.full((30, 30), 7, dtype=np.int32),
    ],
)
def test_every_image_can_be_looked_at(tmp_path: Path, pixels: Any) -> None:
    path = foreign(tmp_path / "a.fits", fits.ImageHDU(pixels))
    from PIL import Image as Picture

    with Picture.open(write_preview(path, tmp_path / "a.png", 10.0, 10.0)) as picture:
        assert max(picture.size) == 800


@pytest.mark.parametrize("compress", [False, True])
def test_the_pattern_of_a_bayer_mosaic_is_kept(tmp_path: Path, compress: bool) -> None:
    """By the camera's agent, too, whose image is written by another process."""
    image = exposure(bayer="GRBG")
    path = write_image(tmp_path / "a.fits", image, FACTS, compress=compress)
    assert read_image(path).header["BAYERPAT"] == "GRBG"
    written = write_pixels(*write_job(tmp_path / "job.fits", image, FACTS, compress=compress))
    # A checksum's comment is the second in which it was made, and counts in the checksum.
    assert fits.FITSDiff(written, path, ignore_keywords=["CHECKSUM"], ignore_comments=["*"]).identical
    assert "BAYERPAT" not in read_image(write_image(tmp_path / "b.fits", exposure(), FACTS)).header
