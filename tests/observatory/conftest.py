"""A night of the observatory for tests: rehearsed with rules and alerts of their own, and seen to end cleanly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.rehearsal.rehearsal import Rehearsal

EXPOSURE = 20.0


def _rule(name: str, priority: int, filter: str, seconds: float, count: int, min_altitude: float) -> str:
    return (
        f'  - {{name: {name}, when: {{stream: "*{name}*"}}, priority: {priority}, min_altitude: {min_altitude},'
        f" observe: [{{filter: {filter}, seconds: {seconds}, count: {count}}}]}}\n"
    )


RULES = "rules:\n" + "".join(
    (
        _rule("first", 10, "r", EXPOSURE, 3, 15),
        _rule("urgent", 90, "g", EXPOSURE, 1, 15),
        _rule("low", 10, "r", EXPOSURE, 1, 0),
        _rule("blue", 10, "u", EXPOSURE, 1, 15),  # a filter that the camera doesn't have
        _rule("long", 10, "r", 3000, 100, 15),
    )
)

_PACKET = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="{role}" ivorn="ivo://{name}">
<Who><AuthorIVORN>ivo://pyros.test</AuthorIVORN><Date>{time}</Date></Who>
<WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation>
<AstroCoordSystem id="UTC-ICRS-GEO"/><AstroCoords coord_system_id="UTC-ICRS-GEO">
<Time unit="s"><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time>
<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.6f}</C1><C2>{dec:.6f}</C2></Value2>
<Error2Radius>0.05</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
{citation}</voe:VOEvent>
"""


class Night(Rehearsal):
    """A rehearsal with `RULES`, unless told otherwise (None: the demo's), whose packets those rules accept."""

    def __init__(self, folder: Path, *, rules: str | None = RULES, **keys: Any) -> None:
        super().__init__(folder, rules=rules, **keys)

    def packet(
        self,
        name: str = "pyros.test/first#1",
        place: tuple[float, float] | None = None,
        *,
        role: str = "observation",
        cites: tuple[str, str] | None = None,
    ) -> bytes:
        """A VOEvent about ``place``, 65 degrees up in the east by default; ``cites`` is (kind, name of the cited)."""
        ra, dec = place or self.place()
        citation = (
            f'<Citations><EventIVORN cite="{cites[0]}">ivo://{cites[1]}</EventIVORN></Citations>' if cites else ""
        )
        time = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        return _PACKET.format(role=role, name=name, time=time, ra=ra, dec=dec, citation=citation).encode()


SMALL = {"camera": {"width": 64, "height": 64, "speed": 1}}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    """Makes a Night (images are small and take their time, unless told otherwise), and sees that it ends clean."""
    made: list[Night] = []

    def make(**keys: Any) -> Night:
        keys["devices"] = SMALL | keys.get("devices", {})
        made.append(Night(tmp_path / f"rehearsal-{len(made) + 1}", **keys))
        return made[-1]

    yield make
    for each in made:
        assert each.close() == [], "connections, ports or timers are left behind"


@pytest.fixture
def ready(rehearsal: Callable[..., Night]) -> Night:
    """A rehearsal whose weather is known to be safe."""
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    return night


@pytest.fixture
def exposing(ready: Night) -> Night:
    """A rehearsal in the middle of the first of three exposures of ``pyros.test/first``."""
    ready.publish(ready.packet())
    ready.until(lambda: ready.state("camera") == "exposing")
    ready.run(EXPOSURE / 2)
    return ready
