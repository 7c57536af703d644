"""What the demo prepares before it starts anything, and how it judges the images."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyros import alerts
from pyros import config as configuration
from pyros import messages as m
from pyros.cli import common
from pyros.cli.demo import demo, observatory
from pyros.cli.demo.images import off_centre, preview
from pyros.cli.ports import check_free, listening
from pyros.config import Config
from pyros.errors import ConfigError, PyrosError
from pyros.instruments import Image
from pyros.instruments.fits import ImageFacts, write_image
from pyros.observatory import clock_for
from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth, is_night
from pyros.simulators import load as load_simulator
from pyros.views.timeline_steps import Ended, Planned


def test_the_demos_own_configuration_differs_in_its_data_only(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    own = demo.own_config(config, folder)
    assert own.data == folder
    assert own.site.read_text() == config.site.read_text()
    assert [load_simulator(path).settings for path in own.simulators] == [
        load_simulator(path).settings for path in config.simulators
    ]
    assert (own.agents, own.broker, own.limits, own.clock) == (
        config.agents, config.broker, config.limits, config.clock,
    )  # fmt: skip


def test_a_demo_of_files_in_other_places(config: Config, tmp_path: Path) -> None:
    elsewhere = config.path.parent / "sub"
    elsewhere.mkdir()
    text = config.path.read_text()
    file = elsewhere / "config.ini"
    file.write_text(text.replace("observatory/", "../observatory/"))
    (tmp_path / "new").mkdir()
    with pytest.raises(PyrosError, match="must be beside it or below"):
        demo.own_config(configuration.load(file), tmp_path / "new")
    file.write_text(text.replace("site = observatory/", f"site = {config.path.parent}/observatory/"))
    (elsewhere / "observatory").symlink_to(config.path.parent / "observatory")
    assert demo.own_config(configuration.load(file), tmp_path / "new").site == config.site


def test_the_demos_folder_is_a_new_one(config: Config, tmp_path: Path) -> None:
    folder = demo.new_folder(config, None)
    assert folder.parent == config.data
    assert folder.name.startswith("demo-")
    (folder / "x").touch()
    with pytest.raises(PyrosError, match="is not empty"):
        demo.new_folder(config, folder)
    with pytest.raises(PyrosError, match="cannot be made"):
        demo.new_folder(config, folder / "x" / "y")


def test_the_template_is_filled_with_what_the_site_sees_now(config: Config) -> None:
    config.data.mkdir()
    template = config.path.parent / "observatory" / "demo-alert.xml"
    packet = demo.fill(template, config, config.data)
    alert = alerts.parse(packet.file.read_bytes())
    now, site = clock_for(config, None).now(), Site.load(config.site)
    assert alert.target is not None
    assert altitude_azimuth(site, *alert.target, now)[0] == pytest.approx(65, abs=1)
    assert is_night(site, now)
    assert alert.time is not None
    assert 50 < (now - alert.time).total_seconds() < 120
    assert (alert.ivorn, alert.target) == (packet.ivorn, packet.target)
    assert alerts.Rules.load(config.alert_rules).decide(alert, now).accepted
    assert demo.fill(template, config, config.data).ivorn != packet.ivorn


def test_another_alert_is_sent_as_it_is(config: Config, tmp_path: Path) -> None:
    mine = Path(__file__).parents[1] / "alerts" / "samples" / "burst.xml"
    packet = demo.fill(mine, config, tmp_path)
    assert packet.file.read_bytes() == mine.read_bytes()
    with pytest.raises(PyrosError, match=r"none\.xml: cannot be read: No such file"):
        demo.is_template(tmp_path / "none.xml")


def test_ports_that_are_taken_are_all_told(config: Config) -> None:
    places = listening(config, [load_simulator(path) for path in config.simulators])
    assert len(places) == len(config.agents) + 4 + len(config.simulators)  # the broker has three, the guardian one
    check_free(places)
    with socket.socket() as one, socket.socket() as other:
        for taker, place in ((one, places[2]), (other, places[-1])):
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taker.bind((place.ip, place.port))
            taker.listen()
        with pytest.raises(ConfigError) as caught:
            check_free(places)
    assert len(caught.value.problems) == 2
    assert f"[majordome] port: port {places[2].port} on 127.0.0.1 is in use; stop" in caught.value.problems[0]
    assert "safety.yaml: listen: port" in caught.value.problems[1]


def test_where_a_whole_observatory_runs_already_one_line_says_so(config: Config) -> None:
    places = listening(config, [load_simulator(path) for path in config.simulators])
    with ExitStack() as takers:
        for place in places:
            taker = takers.enter_context(socket.socket())
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taker.bind((place.ip, place.port))
            taker.listen()
        with pytest.raises(ConfigError) as caught:
            check_free(places)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{config.path}: {len(places)} of its {len(places)} ports are in use (")
    assert f"{places[0].port}, " in problem
    assert "stop the other observatory" in problem


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_does_not_interrupt_the_end(number: signal.Signals) -> None:
    """make passes on the SIGTERM that the demo has heard by itself, a moment later."""
    before = [signal.getsignal(each) for each in SIGNALS]
    ended = []

    def interrupted() -> None:
        try:
            signal.raise_signal(number)
        finally:
            for each in SIGNALS:
                signal.raise_signal(each)
            ended.append(number)

    with pytest.raises(KeyboardInterrupt), common.signals_as_ctrl_c():
        interrupted()
    assert ended == [number]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with common.signals_as_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
    finally:
        assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_observatory_is_started_leaves_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class SignalledPopen(subprocess.Popen[bytes]):
        """The signal comes when the process is there, and nobody has it yet."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", SignalledPopen)
    with (
        pytest.raises(KeyboardInterrupt),
        common.signals_as_ctrl_c(),
        observatory.ObservatoryProcess(config, tmp_path / "log"),
    ):
        pytest.fail("the signal was not heard")
    (process,) = started
    assert process.returncode is not None


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write an image a degree wide, at ra 359.9, dec 80."""
    pixels = np.random.default_rng(1).integers(900, 1100, (100, 100), dtype=np.uint16)
    taken = Image(pixels=pixels, seconds=1.0, filter="r", started=1e9, temperature=-20.0, gain=1.0,
                  arcsec_per_pixel=36.0)  # fmt: skip
    return write_image(tmp_path / "image.fits", taken, ImageFacts(object="x", ra=359.9, dec=80.0, observation="o"))


def test_an_image_shows_a_position_or_does_not(image: Path, tmp_path: Path) -> None:
    assert off_centre(image, 359.9, 80.0) == pytest.approx(0, abs=0.01)
    assert off_centre(image, 0.4, 80.0) == pytest.approx(0.5 * np.cos(np.radians(80)) * 3600, rel=1e-3)
    assert off_centre(image, 359.9, 80.6) is None
    assert off_centre(image, 179.9, -80.0) is None
    assert off_centre(tmp_path / "none.fits", 0, 0) is None
    (tmp_path / "other.fits").write_text("not FITS")
    assert off_centre(tmp_path / "other.fits", 0, 0) is None


def test_the_verdict() -> None:
    observation = m.Observation(id="o", target="t", ra=1.0, dec=2.0, exposures=(m.Exposures("r", 5.0),))
    demo.judge(Ended(1.0, "finished"), [False, True], 60)
    for end, good, why in (
        (None, [True], "no end within 60 s"),
        (Planned(1.0, False, "not up: altitude -4°", -4.0, observation), [], "cannot be now: not up: altitude -4°"),
        (Ended(1.0, "refused", "role test"), [], "^not observed: refused: role test"),
        (Ended(1.0, "failed", "rain"), [True], "^not completely observed: failed: rain"),
        (Ended(1.0, "finished"), [False, False], "no image shows the alert's position"),
        (Ended(1.0, "finished"), [], "no image shows the alert's position"),
    ):
        with pytest.raises(PyrosError, match=why):
            demo.judge(end, good, 60)


def test_the_analyzers_preview_is_taken_and_a_missing_one_drawn(image: Path) -> None:
    png = image.with_suffix(".png")
    png.write_bytes(b"half a picture")
    assert preview(image, 359.9, 80.0, patience=0.2) == png
    drawn = png.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    png.write_bytes(drawn + b"")
    assert preview(image, 0.0, 0.0, patience=5.0) == png
    assert png.read_bytes() == drawn
