"""The demo's gravitational wave: its map can be read, is as large as one expects, and its notices are valid."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros import config
from pyros.alerts import parse
from pyros.alerts.skymaps import read_skymap
from pyros.broker.packet import check_schema
from pyros.broker.packet import parse as parse_xml
from pyros.cli.demo import waves
from pyros.cli.demo.demo import own_config


def test_its_map_is_an_ellipse_about_the_place() -> None:
    skymap = read_skymap(waves.drawn_wave(100.0, 40.0, 9.0, 3.0))
    assert skymap.most_probable == pytest.approx((100.0, 40.0), abs=1.5)
    assert skymap.area(0.9) == pytest.approx(3.1416 * 4.605 * 27, rel=0.1)


def test_its_notices_are_valid_and_cite_each_other(tmp_path: Path) -> None:
    now, first = datetime(2026, 3, 20, 23, tzinfo=UTC), "ivo://pyros.observatory/demo#wave-1"
    files = (
        waves.notice(tmp_path, "first", first, now, "http://127.0.0.1:1/first.fits"),
        waves.notice(tmp_path, "retraction", "ivo://pyros.observatory/demo#wave-2", now, cites=("retraction", first)),
    )
    for file in files:
        check_schema(parse_xml(file.read_bytes()))
    alert, gone = (parse(file.read_bytes()) for file in files)
    assert (alert.skymap, alert.target, alert.kind) == ("http://127.0.0.1:1/first.fits", None, "initial")
    assert gone.kind == "retraction"


def test_the_demos_telescope_has_a_wide_field_for_it(tmp_path: Path) -> None:
    made = own_config(config.load(config.demo_file()), tmp_path, waves.OPTIONS)
    assert made.agents["alert_manager"].options["field"] == "4"
