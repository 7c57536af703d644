"""``pyros alerts skymap``."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy_healpix import core
from typer.testing import CliRunner

from pyros.cli.app import app

SITE = "name: test\nlatitude: 30.0\nlongitude: 0.0\nelevation: 100\n"


@pytest.fixture
def skymap(tmp_path: Path) -> Path:
    """Write a map with half of its probability at each of two cells: 18 degrees north, and near the southern pole."""
    ra, dec = np.array([10.0, 10.0]) * units.deg, np.array([18.0, -80.0]) * units.deg
    cells = core.lonlat_to_healpix(ra, dec, 32, order="nested")
    density = np.full(2, 0.5 * 12 * 4**5 / (4 * np.pi))
    columns = [
        fits.Column("UNIQ", "K", array=core.level_ipix_to_uniq(5, cells)),
        fits.Column("PROBDENSITY", "D", array=density),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "map.fits")
    (tmp_path / "site.yaml").write_text(SITE)
    return tmp_path / "map.fits"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["alerts", "skymap", *map(str, arguments)])


def test_a_map_is_told_with_what_a_night_shows_of_it(skymap: Path) -> None:
    done = run(skymap, "--site", skymap.parent / "site.yaml", "--night", "2026-10-01", "--field", "2x3")
    assert done.exit_code == 0, done.output
    assert "50.0% of it can be observed in the night" in done.stdout
    assert "+16." in done.stdout
    assert "-8" not in done.stdout.partition("together")[2]


def test_an_alert_with_a_map_is_told_for_programs(skymap: Path, tmp_path: Path) -> None:
    packed = base64.b64encode(skymap.read_bytes()).decode()
    (tmp_path / "alert.json").write_text(json.dumps({"superevent_id": "S1", "event": {"skymap": packed}}))
    done = run(tmp_path / "alert.json", "--field", "2", "--share", "1", "--json")
    found = json.loads(done.stdout)
    assert found["cells"] == 2
    assert sum(tile["added"] for tile in found["tiles"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"garbage", [], "neither XML nor JSON"),
        (b'{"superevent_id": "S1", "event": null}', [], "without a sky map"),
        (b"SIMPLE", [], "no sky map"),
        (None, [], "No such file"),
        (None, ["--field", "wide"], "No such file"),
    ],
)
def test_what_is_no_map_is_told_in_a_line(tmp_path: Path, content: bytes | None, options: list[str], says: str) -> None:
    file = tmp_path / "x"
    if content is not None:
        file.write_bytes(content)
    done = run(file, *options)
    assert done.exit_code == 1
    assert says in done.stderr
    assert str(file) in done.stderr


def test_a_field_in_other_words_is_wrong_usage(skymap: Path) -> None:
    assert run(skymap, "--field", "wide").exit_code == 2


def test_galaxies_become_a_file_and_are_ranked(skymap: Path, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("name,ra,dec,distance,mass\nnear,10.0,18.0,40,3\nsouth,10.0,-80.0,40,1\n")
    made = CliRunner().invoke(app, ["alerts", "galaxies", str(tmp_path / "own.csv"), "--to", str(tmp_path / "g.npy")])
    assert made.exit_code == 0, made.output
    assert "2 galaxies in" in made.stdout
    done = run(skymap, "--galaxies", tmp_path / "g.npy", "--share", "1")
    assert "near" in done.stdout
    assert "75.000%" in done.stdout
    assert run(skymap, "--galaxies", tmp_path / "none").exit_code == 1
