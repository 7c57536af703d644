"""Sky maps drawn for these tests: what they say, and the fields that cover them."""

from __future__ import annotations

import gzip
import io
import math
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy_healpix import core
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts.skymaps import FieldOfView, SkyMap, make_tiles, read_skymap
from pyros.alerts.skymaps.embedded import embedded_skymap
from pyros.angles import separation, separations
from pyros.errors import AlertError

LEVEL = 5
CELLS = 12 * 4**LEVEL
AREA = 4 * math.pi / CELLS
PLACE = (150.0, -35.0)
WIDTH = 8.0


def probabilities(cells: Any = None, level: int = LEVEL) -> Any:
    """Return a Gaussian of `WIDTH` degrees about `PLACE` on nested cells, summing to 1 over the sky."""
    cells = np.arange(12 * 4**level) if cells is None else cells
    lon, lat = core.healpix_to_lonlat(cells, 2**level, order="nested")
    values = np.exp(-(separations(lon.deg, lat.deg, *PLACE) ** 2) / (2 * WIDTH**2))
    return values / (2 * math.pi * math.radians(WIDTH) ** 2) * 4 * math.pi / (12 * 4**level)


def file(columns: dict[str, Any], **header: Any) -> bytes:
    """Write a FITS file with one table of those columns and header keys."""
    made = [
        fits.Column(name, "K" if values.dtype.kind == "i" else "D", array=values) for name, values in columns.items()
    ]
    table = fits.BinTableHDU.from_columns(made)
    table.header.update(header)
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    return stream.getvalue()


def flat(**changes: Any) -> bytes:
    header: dict[str, Any] = {"ORDERING": "NESTED", "NSIDE": 2**LEVEL, "COORDSYS": "C", "INDXSCHM": "IMPLICIT"}
    return file({"PROB": changes.pop("values", probabilities())}, **{**header, **changes})


def multi_order(**header: Any) -> bytes:
    """Write the same map with four large cells for all far away, as LVK does."""
    lon, lat = core.healpix_to_lonlat(np.arange(12 * 4**2), 4, order="nested")
    near = separations(lon.deg, lat.deg, *PLACE) < 60
    coarse = np.flatnonzero(~near)
    fine = (np.flatnonzero(near)[:, None] * 4 ** (LEVEL - 2) + np.arange(4 ** (LEVEL - 2))).ravel()
    uniq = np.concatenate([core.level_ipix_to_uniq(2, coarse), core.level_ipix_to_uniq(LEVEL, fine)])
    density = np.concatenate([np.zeros(len(coarse)), probabilities(fine) / AREA])
    return file({"UNIQ": uniq.astype(np.int64), "PROBDENSITY": density}, ORDERING="NUNIQ", **header)


def test_a_map_says_where_and_how_large() -> None:
    skymap = read_skymap(multi_order(DISTMEAN=150.0, DISTSTD=30.0))
    # Of a Gaussian on a plane a circle of radius sigma * sqrt(-2 ln(1 - p)) has the share p.
    assert skymap.area(0.5) == pytest.approx(math.pi * WIDTH**2 * -2 * math.log(0.5), rel=0.03)
    assert skymap.area(0.9) == pytest.approx(math.pi * WIDTH**2 * -2 * math.log(0.1), rel=0.03)
    ra, dec = skymap.most_probable
    assert separation(ra, dec, *PLACE) < 1.5
    assert skymap.distance == (150.0, 30.0)
    assert skymap.probability.sum() == pytest.approx(1)


@pytest.mark.parametrize("ordering", ["NESTED", "RING"])
@pytest.mark.parametrize("rows", [1, 1024])
@pytest.mark.parametrize("packed", [False, True])
def test_a_flat_map_says_the_same(ordering: str, rows: int, packed: bool) -> None:
    values = probabilities()
    if ordering == "RING":
        values = values[core.ring_to_nested(np.arange(CELLS), 2**LEVEL)]
    table = fits.BinTableHDU.from_columns([fits.Column("PROB", f"{rows}D", array=values.reshape(-1, rows))])
    table.header.update({"ORDERING": ordering, "NSIDE": 2**LEVEL})
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    data = gzip.compress(stream.getvalue()) if packed else stream.getvalue()
    skymap, other = read_skymap(data), read_skymap(multi_order())
    assert skymap.area(0.9) == pytest.approx(other.area(0.9), rel=1e-3)
    assert skymap.most_probable == other.most_probable
    assert skymap.distance is None
    assert len(skymap.cell) < CELLS / 2, "what has next to no probability was merged"


def test_a_part_of_the_sky_is_a_map_too() -> None:
    cells = np.flatnonzero(probabilities() > 1e-6)
    skymap = read_skymap(
        file(
            {"PIXEL": cells, "PROBABILITY": probabilities()[cells]},
            ORDERING="NESTED",
            NSIDE=2**LEVEL,
            INDXSCHM="EXPLICIT",
        )
    )
    assert skymap.area(0.9) == pytest.approx(read_skymap(flat()).area(0.9), rel=1e-2)


@pytest.mark.parametrize("ordering", ["NESTED", "RING"])
@pytest.mark.parametrize("name", ["PROB", "PROBDENSITY"])
@pytest.mark.parametrize("rows", [1, 64])
def test_a_finer_flat_map_is_read_coarser(ordering: str, name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyros.alerts.skymaps.reading.FINEST_FLAT", 4)
    monkeypatch.setattr("pyros.alerts.skymaps.reading.PIECE_CELLS", 1000)
    values = probabilities() / (AREA if name == "PROBDENSITY" else 1)
    if ordering == "RING":
        values = values[core.ring_to_nested(np.arange(CELLS), 2**LEVEL)]
    table = fits.BinTableHDU.from_columns([fits.Column(name, f"{rows}D", array=values.reshape(-1, rows))])
    table.header.update({"ORDERING": ordering, "NSIDE": 2**LEVEL})
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    skymap = read_skymap(stream.getvalue())
    assert skymap.level.max() == 4
    assert skymap.area(0.9) == pytest.approx(read_skymap(multi_order()).area(0.9), rel=0.05)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no sky map"),
        (b"SIMPLE  = T", "no sky map"),
        (gzip.compress(b"SIMPLE" * 100, mtime=0)[:-9], "is cut"),
        (flat(COORDSYS="G"), "COORDSYS 'G'"),
        (flat(ORDERING="SPIRAL"), "ORDERING 'SPIRAL'"),
        (flat(NSIDE=33), "NSIDE 33"),
        (flat(NSIDE=16), "cells that NSIDE 16 has not"),
        (flat(values=np.full(CELLS, -1.0)), "negative"),
        (flat(values=np.full(CELLS, 1.0)), "sum to"),
        (flat(values=np.full(CELLS, np.nan)), "sum to 0"),
        (file({"UNIQ": np.array([3]), "PROBDENSITY": np.array([0.1])}), "no HEALPix cell"),
        (file({"UNIQ": np.array([4, 16]), "PROBDENSITY": np.array([0.5, 0.5])}), "overlap"),
        (file({"FLUX": np.array([1.0])}), "no table"),
    ],
)
def test_what_is_no_sky_map_says_why(data: bytes, says: str) -> None:
    with pytest.raises(AlertError, match=says):
        read_skymap(data)


def header(**cards: Any) -> bytes:
    return bytes(fits.Header(cards).tostring().encode())


def table(rows: int, size: int) -> bytes:
    """Write a multi-order map's file whose table announces so many rows and has so many bytes, all zero."""
    small = file({"UNIQ": np.array([4]), "PROBDENSITY": np.array([0.1])}, ORDERING="NUNIQ")
    head = small[: 2 * 2880].replace(b"NAXIS2  =                    1", b"NAXIS2  = %20d" % rows)
    assert head != small[: 2 * 2880]
    return head + bytes(size)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes(30_000_000), "it is not FITS"),
        (header(SIMPLE=True, BITPIX=8, NAXIS=0) + bytes(30_000_000), "it is not FITS"),
        (b"SIMPLE  = T".ljust(30_000_000), "a header of more than 1152000 bytes"),
        (table(1 << 26, 30_000_000), "has 1073741824 bytes"),
        (table(1 << 22, 30_000_000), "has 4194304 cells"),
        (table(3, 30_000_000), "UNIQ 0 is no HEALPix cell"),
        (
            table(3, 2880).replace(b"TFIELDS =                    2", b"TFIELDS = %20d" % 10**9),
            "TFIELDS 1000000000",
        ),
        (
            fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 1, "NAXIS1": 1 << 40}).tostring().encode(),
            "before a table",
        ),
        (fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 1, "NAXIS1": -5}).tostring().encode(), "NAXIS1 '-5'"),
    ],
)
def test_a_file_that_unpacks_to_too_much_costs_little(data: bytes, says: str) -> None:
    packed = gzip.compress(data, 1)
    del data
    tracemalloc.start()
    try:
        with pytest.raises(AlertError, match=says):
            read_skymap(packed)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_is_cut_within_its_table_says_so() -> None:
    with pytest.raises(AlertError, match="has less than its header says"):
        read_skymap(table(1000, 15_999))


def test_what_stands_before_and_after_the_table_is_passed_over() -> None:
    with fits.open(io.BytesIO(multi_order())) as made:
        stream = io.BytesIO()
        image, other = fits.ImageHDU(np.zeros((100, 100))), fits.BinTableHDU.from_columns([fits.Column("FLUX", "D")])
        fits.HDUList([fits.PrimaryHDU(np.ones(5)), image, other, made[1], image]).writeto(stream)
    for data in (stream.getvalue(), gzip.compress(stream.getvalue())):
        assert read_skymap(data).area(0.9) == read_skymap(MAP).area(0.9)


MAP = multi_order()


@settings(max_examples=60)
@given(st.integers(0, len(MAP)), st.binary(max_size=12), st.integers(0, 3000))
def test_a_damaged_map_is_a_map_or_refused(at: int, put: bytes, less: int) -> None:
    with suppress(AlertError):
        assert isinstance(read_skymap(MAP[:at] + put + MAP[at + less :]), SkyMap)


# Fields

SIZES = st.floats(0.3, 40.0)


@settings(max_examples=60)
@given(SIZES, SIZES, st.floats(0.0, 0.5), st.floats(0.0, 359.999), st.floats(-90.0, 90.0))
def test_no_place_lies_between_the_fields(width: float, height: float, part: float, ra: float, dec: float) -> None:
    level = 12
    cell = core.lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**level, order="nested")
    spot = SkyMap(np.array([level]), np.array([int(cell)]), np.array([1.0]))
    field = FieldOfView(width, height, part * min(width, height))
    (tile, *more) = make_tiles(spot, field, share=1.0)
    assert not more
    (lon,), (lat,) = spot.centres
    assert abs(lat - tile.dec) <= height / 2 + 1e-6
    off = abs((lon - tile.ra + 180) % 360 - 180) * math.cos(math.radians(lat))
    assert off <= width / 2 * 1.01 + 1e-6


@pytest.mark.parametrize("size", [2.0, 5.0, 20.0])
def test_fields_come_in_the_order_of_what_they_add(size: float) -> None:
    tiles = make_tiles(read_skymap(MAP), FieldOfView(size, size, size / 5), share=0.9)
    added = [tile.added for tile in tiles]
    assert added == sorted(added, reverse=True)
    assert 0.9 <= sum(added) <= 0.95 + added[-1]
    assert all(tile.added <= tile.probability + 1e-12 for tile in tiles)
    assert len(tiles) <= 1.7 * read_skymap(MAP).area(0.9) / (0.8 * size) ** 2 + 6


def test_only_what_can_be_observed_is_covered() -> None:
    def south(_: Any, dec: Any) -> Any:
        return dec < PLACE[1]

    tiles = make_tiles(read_skymap(MAP), FieldOfView(4, 4), share=0.9, observable=south)
    assert sum(tile.added for tile in tiles) == pytest.approx(0.45, abs=0.05)
    assert all(tile.dec < PLACE[1] for tile in tiles)
    assert make_tiles(read_skymap(MAP), FieldOfView(4, 4), observable=lambda ra, dec: dec > 80) == []
    assert len(make_tiles(read_skymap(MAP), FieldOfView(1, 1), limit=7)) == 7


@pytest.mark.parametrize(
    "field",
    [FieldOfView(0, 1), FieldOfView(1, 0.001), FieldOfView(1, 91), FieldOfView(1, 1, 0.6), FieldOfView(1, 1, -0.1)],
)
def test_a_field_that_makes_no_sense_is_refused(field: FieldOfView) -> None:
    with pytest.raises(AlertError, match=r"field of|overlap of"):
        make_tiles(read_skymap(MAP), field)


def test_the_map_within_a_packet() -> None:
    assert embedded_skymap(b'{"superevent_id": "S1", "event": {"skymap": "U0lN"}}') == b"SIM"
    assert embedded_skymap(b'[{"healpix_file": "U0lN"}]') == b"SIM"
    assert embedded_skymap(b'{"payload": {"content": {"healpix_file": "U0lN"}}}') == b"SIM"
    assert embedded_skymap(b'{"localization": {"ra": 1, "dec": 2, "healpix_file": "U0lN"}}') == b"SIM"
    assert embedded_skymap(b'{"localization": {"ra": 1, "dec": 2}, "healpix_file": 5}') is None
    assert embedded_skymap(b'{"superevent_id": "S1", "event": null}') is None
    assert embedded_skymap(b"<VOEvent/>") is None
