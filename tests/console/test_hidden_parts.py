"""What a hidden section has on other pages: nothing of it is in their answers, nor in the frames."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from pyros.console.pages import PAGES, TONIGHT, Page, sections
from pyros.console.roles import Role
from pyros.views import ObservatoryFrame
from pyros.views.devices import DeviceView
from pyros.views.events import EventLine
from pyros.views.frame import LastImage, StationFrame, TelescopeFrame
from pyros.views.messages import MessageLine
from pyros.views.night import NightState, SafetyView
from pyros.views.plan import Tonight
from pyros.views.sky import Mark, SkyView
from pyros.views.weather import WeatherView
from tests.cli.conftest import copy_demo
from tests.console.conftest import running_console

NIGHT = NightState(observatory="o", now=0.0, word="READY", state="ready", text="", safety=SafetyView(True, ""))
IMAGE = LastImage("one.fits", "o", 3, None, None, None, 0, "")
DOME = DeviceView(name="dome", state="open")
NIGHT = NightState(observatory="o", now=0.0, word="READY", state="ready", text="", safety=SafetyView(True, ""))
IMAGE = LastImage("one.fits", "o", 3, None, None, None, 0, "")
OWN: dict[str, Any] = {
    "night": NIGHT, "plan": Tonight(now=0.0), "weather": WeatherView(now=7.0), "last_image": IMAGE,
    "devices": (DeviceView(name="dome", state="open"),),
}  # fmt: skip
FRAME = ObservatoryFrame(
    number=1, **OWN, telescopes=(TelescopeFrame(unit="east", **OWN),),
    stations=(StationFrame(name="weather", units=("east",)),), events=(EventLine(number=1, name="grb"),),
    messages=(MessageLine(agent="a", number=1, name="n", other="o", sent=1.0),),
)  # fmt: skip


def test_a_frame_has_nothing_of_what_is_hidden() -> None:
    for section, fields in TONIGHT.parts.items():
        bare = TONIGHT.bare(FRAME, (section, "users"))
        changed = {name for name in FRAME.__struct_fields__ if getattr(bare, name) != getattr(FRAME, name)}
        assert changed == {field.partition(".")[0] for field in fields}, section
    assert TONIGHT.bare(FRAME, ("users",)) == FRAME


def test_the_sky_has_no_events_where_they_are_hidden() -> None:
    mark = Mark(name="grb", altitude=1.0, azimuth=2.0)
    sky = SkyView(now=0.0, sidereal=1.0, sun=-20.0, moon=mark, moon_lit=0.5, events=(mark,))
    (page,) = (each for each in PAGES if each.name == "sky")
    assert page.bare(sky, ("events",)) == msgspec.structs.replace(sky, events=())


@pytest.mark.parametrize("page", [page for page in PAGES if page.parts], ids=lambda page: page.name)
def test_each_part_is_of_a_section_and_may_be_left_out(page: Page) -> None:
    assert set(page.parts) <= set(sections())
    for field in (field for fields in page.parts.values() for field in fields):
        kind: Any = get_type_hints(page.view)["return"] if page.view is not None else ObservatoryFrame
        *within, name = field.split(".")
        for each in within:
            kind = get_type_hints(_struct(kind))[each]
            kind = get_args(kind)[0] if get_origin(kind) is tuple else kind
        (found,) = (each for each in msgspec.structs.fields(_struct(kind)) if each.name == name)
        assert found.default is not msgspec.NODEFAULT, field


def _struct(kind: Any) -> Any:
    return next(each for each in get_args(kind) if each is not type(None)) if isinstance(kind, UnionType) else kind


def test_the_last_image_is_nowhere_where_images_are_hidden(tmp_path: Path) -> None:
    with running_console(copy_demo(tmp_path), ("; hide = users ", "hide = images messages ;")) as running:
        browser = running.browser(Role.ADMIN)
        assert browser.get("/tonight/last.png").status == 404
        shown = browser.get("/").body
        assert 'class="devices"' in shown
        assert [name for name in ("image", "messages") if f'class="{name}"' in shown] == []
        assert browser.get("/tonight.json").json["last_image"] is None
