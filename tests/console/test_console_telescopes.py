"""Tonight of several telescopes: a part for each, what is shared once; STOP and Hold say that they are for all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from pyros import config as configuration
from pyros import messages
from pyros.agents.monitoring import MonitoringState
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import State
from pyros.clock import system_time
from pyros.config import Config
from pyros.console.links import entry_link
from pyros.console.roles import Role
from pyros.messages import Exposures, Observation, Telemetry, WeatherReading
from pyros.nights import weather_log
from pyros.nights.times import night_times
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.rehearsal.folder import write_observatory
from pyros.site import Site
from pyros.views.plan import night_name_of
from tests.conftest import free_port
from tests.console.chromium import WIDTHS, Visit, chromium
from tests.console.conftest import RunningConsole, running_console
from tests.console.test_console_browser import unreadable, wide
from tests.views.test_lists import write_fate, written_events
from tests.views.written import commit, received

UNITS = ("east", "andes one")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """Run the console of two telescopes, of which one is ready."""
    folder = tmp_path_factory.mktemp("two")
    file = write_observatory(folder, ("telescope", "dome", "weather"), devices={}, options={}, rules=None,
                             guardian=False, telescopes=UNITS, sites={"andes": SITE})  # fmt: skip
    file.write_text(f"{file.read_text()}[console]\nport = {free_port()}\n")
    config = configuration.load(file)
    commit(config, "majordome east", MajordomeState(state=State.READY))
    for unit in UNITS:
        telemetry = {"dome": Telemetry("dome", "closed" if unit == "east" else "open", 1.0)}
        state = MonitoringState(safe=unit == "east", telemetry=telemetry, last=READING)
        commit(config, f"monitoring {unit}", state, also=[weather_log.prepare, _readings])
    write_night(config)
    written_events(config, 1)
    line = NightLine(night="2026-03-20", observation="obs-1", fate="observed", images=4, began=104.0, ended=160.0)
    asked = Observation("obs-1", "grb", (Exposures("r", 1.0),), ra=10.0, dec=20.0, reason="error 0.1 deg")
    commit(
        config,
        "scheduler andes one",
        also=[night_log.prepare, partial(write_fate, line=line)],
        messages=[received(messages.OBSERVATION_REQUESTED, asked, taken=101.5)],
    )
    with running_console(file) as running:
        yield running


READING = WeatherReading(rain=False, wind=4.0, humidity=60.0, cloud=0.1, temperature=11.0)


def _readings(db: sqlite3.Connection) -> None:
    now = system_time()
    for minutes in range(180):
        changes = {"wind": 4.0 + minutes % 7, "temperature": 11.0 + minutes % 5}
        weather_log.write(db, now - 60.0 * minutes, msgspec.structs.replace(READING, **changes))


def write_night(config: Config) -> None:
    """Write what each telescope has done and plans to do in the night that is or comes next."""
    for number, unit in enumerate(UNITS):
        site, now = Site.load(config.seen_from(unit).site), system_time()
        night = night_name_of(site, now)
        begin = night_times(site, night).sunset + 3600.0
        done: dict[str, Any] = {"fate": "observed", "began": begin, "ended": begin + 3000.0, "images": 3}
        lines = [
            NightLine(
                night=night, observation=f"{unit}-{place}", target=f"M {place + 80}", planned=now,
                start=begin + 5400.0 * place, end=begin + 5400.0 * place + 4000.0 + 1000.0 * number,
                **(done if not place else {}),
            )
            for place in range(4)
        ]  # fmt: skip
        also = [night_log.prepare]
        also += [partial(write_fate, line=line) for line in lines]
        commit(config, f"scheduler {unit}", also=also)


SITE = "name: Paranal\nlatitude: -24.6\nlongitude: -70.4\nelevation: 2635\n"


def test_each_telescope_has_a_part_and_what_is_shared_is_there_once(console: RunningConsole) -> None:
    page = console.browser(Role.OPERATOR).get("/").body
    parts = re.findall(r'<section class="telescope" data-unit="([^"]+)"(.*?)</section>', page, re.DOTALL)
    assert [unit for unit, _ in parts] == list(UNITS)
    east, andes = (text for _, text in parts)
    assert "Dome closed" in east
    assert "Dome open" in andes
    assert "telescope east" in east
    assert "andes" not in east
    assert page.count('data-panel="events"') == page.count('data-panel="messages"') == 1
    shared = page.split('data-panel="devices"')[1]
    assert "/device?key=weather%20andes" in shared
    assert "dome" not in shared.split("</div>")[0]
    assert "2 TELESCOPES" in page
    assert 'id="sky"' not in page


def test_an_events_page_tells_what_each_telescope_did(console: RunningConsole) -> None:
    browser = console.browser(Role.OPERATOR)
    page = browser.get("/event?key=swift%3A1").body
    rows = re.findall(r'<tr><th scope="row">(.*?)<td class="text">([^<]*)', page)
    (east, why), (andes, _) = rows
    assert east.startswith("east<td>")
    assert "not asked" in east
    assert why == ""
    assert andes.startswith("andes one<td>")
    assert "observed" in andes
    assert '<td class="number">4' in andes
    assert "Nights of andes one" in page
    assert "Nights of east" not in page
    steps = re.findall(r'<td class="time">[^<]*<td>([^<]*)<td><b>([^<]*)</b>', page)
    assert steps == [("", "decided"), ("andes one", "asked"), ("andes one", "ended")]
    told = browser.get("/event.json?key=swift%3A1").json
    assert [(each["unit"], each["word"]) for each in told["telescopes"]] == [
        ("east", "not asked"),
        ("andes one", "observed"),
    ]


def test_stop_and_hold_say_that_they_are_for_all(console: RunningConsole) -> None:
    page = console.browser(Role.OPERATOR).get("/").body
    assert ">STOP all</button>" in page
    assert "All 2 telescopes (east, andes one): what runs is ended, the domes close" in page
    assert "Hold all telescopes</button>" in page


def test_each_telescopes_sky_weather_and_nights_are_asked_for_by_its_unit(console: RunningConsole) -> None:
    browser = console.browser(Role.VIEWER)
    skies = [browser.get(f"/sky.json?unit={unit.replace(' ', '%20')}").json["sidereal"] for unit in UNITS]
    assert abs(skies[0] - skies[1]) > 1
    assert browser.get("/weather.json?unit=andes%20one").json["unit"] == "andes one"
    assert browser.get("/weather.json").json["unit"] == "east"
    assert browser.get("/sky.json?unit=north").status == 400
    assert "Weather at andes one" in browser.get("/weather?unit=andes%20one").body
    assert "<option selected>east</option>" in browser.get("/images?unit=east").body
    frame = browser.get("/tonight.json").json
    assert [each["unit"] for each in frame["telescopes"]] == list(UNITS)
    checks = browser.get("/checks").body
    assert "guardian andes one" in checks


def test_the_night_has_a_lane_for_each_and_each_station_its_curves(console: RunningConsole) -> None:
    frame = console.browser(Role.VIEWER).get("/tonight.json").json
    assert [(each["name"], each["units"]) for each in frame["stations"]] == [
        ("weather", ["east"]), ("weather andes", ["andes one"]),
    ]  # fmt: skip
    with chromium() as browser:
        for width in WIDTHS:
            visit = Visit(browser, entry_link(console.config, "operator", Role.OPERATOR), width)
            visit.wait_for("document.querySelectorAll('[data-station] .uplot').length >= 8")
            lanes = visit.page.evaluate("[...document.querySelectorAll('#night [data-lane]')].map(e => e.dataset.lane)")
            assert lanes == list(UNITS)
            words = visit.page.evaluate("[...document.querySelectorAll('#night title')].map(e => e.textContent)")
            assert sum("observed" in each for each in words) == 2
            assert sum("planned" in each for each in words) == 6
            assert visit.complaints == []
            visit.context.close()


def test_the_parts_are_whole_and_readable_on_a_desk_and_a_phone(console: RunningConsole) -> None:
    with chromium() as browser:
        for width in WIDTHS:
            visit = Visit(browser, entry_link(console.config, "operator", Role.OPERATOR), width)
            visit.wait_for("document.querySelectorAll('.telescope svg circle').length > 4")
            assert wide(visit.page) == []
            assert unreadable(visit.page) == []
            assert visit.complaints == []
            visit.context.close()
