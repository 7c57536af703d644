"""What observed fields cover of a map: the probability, the MOC, the picture, and the command that shows them."""

from __future__ import annotations

import io
import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from typer.testing import CliRunner

from pyros.alerts import events, parse
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, packet_record
from pyros.alerts.skymaps import FieldOfView, make_tiles, read_skymap
from pyros.alerts.skymaps.coverage import inside_any, moc_of, probability_in, write_moc
from pyros.alerts.tiling import MapSource, MapTarget, ObservedField, Tiling
from pyros.areas.picture import draw_coverage
from pyros.cli.app import app
from pyros.errors import PyrosError
from pyros.journal import Effects, Journal
from tests.maps import drawn_map, gw_alert


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def field(ra: float, dec: float, size: float = 4.0) -> ObservedField:
    return ObservedField(f"f{ra}{dec}", ra, dec, size, size, 1e9, 3)


@pytest.mark.parametrize(("ra", "dec"), [(150.0, -35.0), (0.5, 0.0), (77.0, 84.0)])
def test_the_probability_of_fields_is_that_of_the_tiles(ra: float, dec: float) -> None:
    skymap = read_skymap(drawn_map(ra, dec))
    tiles = make_tiles(skymap, FieldOfView(4, 4, 0.2), limit=20)
    observed = [field(each.ra, each.dec) for each in tiles]
    assert probability_in(skymap, observed) == pytest.approx(sum(each.added for each in tiles), abs=0.02)
    assert probability_in(skymap, [*observed, *observed]) == pytest.approx(probability_in(skymap, observed))
    assert probability_in(skymap, []) == 0


@pytest.mark.parametrize(("ra", "dec"), [(150.0, -35.0), (359.9, 20.0), (10.0, 88.5)])
def test_a_moc_has_the_fields_area_once_and_no_cell_twice(ra: float, dec: float) -> None:
    level, cell = moc_of([field(ra, dec), field(ra + 1, dec)])
    area = float((41252.961 / 12 / 4.0**level).sum())
    rng = np.random.default_rng(1)
    z, lon = rng.uniform(-1, 1, 400_000), rng.uniform(0, 360, 400_000)
    hits = inside_any([field(ra, dec), field(ra + 1, dec)], lon, np.degrees(np.arcsin(z)))
    assert area == pytest.approx(hits.mean() * 41252.961, rel=0.15)
    first = cell << (2 * (29 - level))
    order = np.argsort(first)
    ends = first[order] + (np.int64(1) << (2 * (29 - level[order])))
    assert (first[order][1:] >= ends[:-1]).all()


def test_a_moc_is_a_fits_file_as_the_standard_has_it() -> None:
    with fits.open(io.BytesIO(write_moc([field(10, 20)], 1.8e9, ["a comment"]))) as file:
        header, uniq = file[1].header, file[1].data["UNIQ"]
    assert (header["MOCVERS"], header["MOCDIM"], header["ORDERING"], header["COORDSYS"]) == (
        "2.0",
        "SPACE",
        "NUNIQ",
        "C",
    )
    levels = np.floor(np.log2(uniq / 4) / 2)
    assert header["MOCORD_S"] == levels.max()
    assert (np.diff(uniq) > 0).all()
    areas = 4 * math.pi / 12 / 4.0**levels * (180 / math.pi) ** 2
    assert areas.sum() == pytest.approx(16, rel=0.02)
    with fits.open(io.BytesIO(write_moc([], 1.8e9))) as file:
        assert len(file[1].data) == 0


@pytest.mark.parametrize("width", [5.0, 60.0])
def test_the_picture_shows_what_was_observed_in_its_place(tmp_path: Path, width: float) -> None:
    skymap = read_skymap(drawn_map(200, 30, width))
    draw_coverage(tmp_path / "a.png", skymap, [], [], "a", "b")
    draw_coverage(tmp_path / "b.png", skymap, [field(200, 30, 6)], [field(212, 30, 6)], "a", "b")
    one, two = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    changed = np.argwhere(np.abs(one - two).sum(axis=2) > 60)
    greens = changed[two[tuple(changed.T)][:, 1] > two[tuple(changed.T)][:, 0] + 20]
    assert greens[:, 1].mean() == pytest.approx(600, abs=60), "the most probable place is near the middle"
    assert (changed[:, 1] < 600 - 20).any(), "east is to the left"


@pytest.fixture
def observatory(tmp_path: Path) -> Path:
    """Write an observatory whose alert manager has observed two fields of a map."""
    (tmp_path / "var" / "maps").mkdir(parents=True)
    (tmp_path / "var" / "journals").mkdir()
    (tmp_path / "var" / "maps" / "m.fits").write_bytes(drawn_map(200, 30))
    (tmp_path / "pyros_agent_config.ini").write_text(
        "[observatory]\nname = test\ndata = var\n[alert_manager]\nip = 127.0.0.1\nport = 5001\noption_field = 4x5\n"
    )
    alert = parse(gw_alert("INITIAL", 5, b"x"))
    tiling = Tiling(
        sources={alert.id: MapSource(alert)}, read=alert.id, file="m.fits",
        targets=tuple(MapTarget(f"f{ra}30.0", "field", ra, 30.0, 0.05) for ra in (200.0, 205.0, 210.0)),
        observed=(field(200.0, 30.0), field(205.0, 30.0)),
    )  # fmt: skip
    followed = Followed(Event((packet_record(alert),)), tiling=tiling)
    with closing(Journal(tmp_path / "var" / "journals" / "alert_manager.sqlite", schema=events.SCHEMA)) as journal:
        table = EventTable(journal.rows, list)
        effects = Effects()
        effects.also.append(table.change(StoredEvent(0, alert.event, followed), followed.event.packets))
        journal.commit(effects)
    return tmp_path / "pyros_agent_config.ini"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["alerts", "coverage", *map(str, arguments)])


def test_the_command_tells_draws_and_writes(observatory: Path, tmp_path: Path) -> None:
    done = run("lvc:S260320a", "--config", observatory, "--picture", tmp_path / "c.png", "--moc", tmp_path / "c.fits")
    assert done.exit_code == 0, done.output
    assert "in 2 fields" in done.output
    assert "still wanted 1 field" in done.output
    assert pixels(tmp_path / "c.png").shape[1] == 1200
    with fits.open(tmp_path / "c.fits") as file:
        assert len(file[1].data) > 10
    told = json.loads(
        run("igwn.gwalert:S260320a:INITIAL:2026-03-20T23:05:00Z", "--config", observatory, "--json").output
    )
    skymap = read_skymap((observatory.parent / "var" / "maps" / "m.fits").read_bytes())
    assert told["probability"] == pytest.approx(probability_in(skymap, [field(200, 30), field(205, 30)]))
    assert (told["fields"], told["wanted"], told["retracted"]) == (2, 1, False)
    assert told["observed"][0]["width"] == 4


def test_what_it_cannot_tell_it_says(observatory: Path) -> None:
    none = run("lvc:S1", "--config", observatory)
    assert none.exit_code == 1
    (observatory.parent / "var" / "maps" / "m.fits").write_bytes(b"no map")
    damaged = run("lvc:S260320a", "--config", observatory)
    assert damaged.exit_code == 1
    assert isinstance(none.exception, PyrosError | SystemExit)
