"""Catalogues of galaxies: made, read, and ranked by a sky map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy_healpix import core

from pyros.alerts.skymaps import Galaxy, GalaxyCatalogue, SkyMap, rank_galaxies, write_catalogue
from pyros.alerts.skymaps.galaxies import read_galaxies
from pyros.errors import AlertError

LEVEL = 4


def skymap(*, distances: bool = True) -> SkyMap:
    """Make a map of three cells about (40, 20), (200, -50) and (300, 60), at 100 +- 20 Mpc each."""
    ra, dec = np.array([40.0, 200.0, 300.0]) * units.deg, np.array([20.0, -50.0, 60.0]) * units.deg
    cell = np.asarray(core.lonlat_to_healpix(ra, dec, 2**LEVEL, order="nested"), dtype=np.int64)
    along = (np.full(3, 100.0), np.full(3, 20.0), np.full(3, 1e-4)) if distances else None
    return SkyMap(np.full(3, LEVEL, dtype=np.int64), cell, np.array([0.6, 0.3, 0.1]), along=along)


GALAXIES = [
    Galaxy("at its distance", 40.0, 20.0, 100.0),
    Galaxy("too far", 40.1, 20.1, 180.0),
    Galaxy("small", 40.0, 19.9, 100.0, 0.1),
    Galaxy("elsewhere", 90.0, 0.0, 100.0),
    Galaxy("second", 200.0, -50.0, 100.0),
    Galaxy("third", 300.0, 60.0, 100.0),
]


@pytest.fixture
def catalogue(tmp_path: Path) -> GalaxyCatalogue:
    assert write_catalogue(GALAXIES, tmp_path / "galaxies.npy") == len(GALAXIES)
    return GalaxyCatalogue(tmp_path / "galaxies.npy")


def test_galaxies_are_ranked_by_place_distance_and_mass(catalogue: GalaxyCatalogue) -> None:
    ranked = rank_galaxies(skymap(), catalogue, share=1.0)
    assert [galaxy.name for galaxy in ranked] == ["at its distance", "second", "third", "small", "too far"]
    assert sum(galaxy.probability for galaxy in ranked) == pytest.approx(1)
    first, second, *_, small, far = (galaxy.probability for galaxy in ranked)
    assert first / second == pytest.approx(2)
    assert first / small == pytest.approx(10)
    assert first / far == pytest.approx(np.exp(8), rel=1e-4)


def test_without_distances_the_place_alone_counts(catalogue: GalaxyCatalogue) -> None:
    ranked = rank_galaxies(skymap(distances=False), catalogue, share=1.0)
    assert {galaxy.name for galaxy in ranked[:2]} == {"at its distance", "too far"}


def test_only_the_region_and_what_can_be_observed_are_ranked(catalogue: GalaxyCatalogue) -> None:
    assert "third" not in {galaxy.name for galaxy in rank_galaxies(skymap(), catalogue, share=0.9)}
    seen = rank_galaxies(skymap(), catalogue, share=1.0, observable=lambda _, dec: dec < 0)
    assert [galaxy.name for galaxy in seen] == ["second"]
    assert seen[0].probability < 0.5
    assert len(rank_galaxies(skymap(), catalogue, share=1.0, limit=2)) == 2


def test_every_galaxy_is_found_by_its_own_cell(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    ra, dec = random.uniform(0, 360, 300), np.degrees(np.arcsin(random.uniform(-1, 1, 300)))
    galaxies = [Galaxy(str(index), *place, 100.0) for index, place in enumerate(zip(ra, dec, strict=True))]
    write_catalogue(galaxies, tmp_path / "galaxies.npy")
    catalogue = GalaxyCatalogue(tmp_path / "galaxies.npy")
    for level in (0, 3, 12):
        cells = core.lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**level, order="nested")
        for cell in np.unique(cells)[:40]:
            spot = SkyMap(np.array([level]), np.array([cell]), np.array([1.0]))
            names = {int(galaxy.name) for galaxy in rank_galaxies(spot, catalogue, share=1.0)}
            assert names == set(np.flatnonzero(cells == cell))


GLADE = (
    "{number} null null {name} null null null G {ra} {dec} "
    + "null " * 22
    + "{distance} null 1 {mass} null 0 null null"
)


def test_glade_is_read(tmp_path: Path) -> None:
    lines = [
        GLADE.format(number=1, name="NGC0253", ra=11.888, dec=-25.288, distance=3.4, mass=4.4),
        GLADE.format(number=2, name="null", ra=12.0, dec=-25.0, distance=100.0, mass="null"),
        GLADE.format(number=3, name="far", ra=13.0, dec=-25.0, distance="null", mass=1.0),
        "a broken line",
    ]
    file = tmp_path / "GLADE+.txt"
    file.write_text("\n".join(lines))
    assert list(read_galaxies(file)) == [
        Galaxy("NGC0253", 11.888, -25.288, 3.4, 4.4),
        Galaxy("GLADE 2", 12.0, -25.0, 100.0, 0.0),
    ]


def test_a_csv_with_other_names_is_read(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(
        "objname,RA,Dec,DistMpc,Mstar\nM 81,148.888,69.065,3.6,2e10\n,360.0,0.0,50,\nx,400,0,50,1\ny,1,nan,50,1\n"
    )
    assert list(read_galaxies(file)) == [
        Galaxy("M 81", 148.888, 69.065, 3.6, 2e10),
        Galaxy("own 3", 0.0, 0.0, 50.0, 0.0),
    ]


@pytest.mark.parametrize("text", ["", "name,ra,dec\nM 81,148.9,69.1\n", "\0\0\0"])
def test_what_is_no_list_of_galaxies_says_what_is_missing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.csv"
    file.write_text(text)
    with pytest.raises(AlertError, match=r"own.csv: no (column for|CSV)"):
        list(read_galaxies(file))


def test_what_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    for content in (b"", b"garbage", b"\x93NUMPY\x01\x00"):
        file.write_bytes(content)
        with pytest.raises(AlertError, match=r"x.npy: no catalogue"):
            GalaxyCatalogue(file)
    np.save(file, np.zeros(3))
    with pytest.raises(AlertError, match="pyros alerts galaxies makes one"):
        GalaxyCatalogue(file)
    with pytest.raises(AlertError, match="No such file"):
        GalaxyCatalogue(tmp_path / "none")


def test_no_galaxy_in_the_region_is_no_mistake(catalogue: GalaxyCatalogue) -> None:
    spot = SkyMap(np.array([10]), np.array([5]), np.array([1.0]))
    assert rank_galaxies(spot, catalogue) == []
