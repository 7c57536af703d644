"""A night of the observatory for tests: rehearsed with rules and alerts of their own, and seen to end cleanly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.rehearsal.rehearsal import Rehearsal
from tests.builders import voevent

EXPOSURE = 20.0


def _rule(name: str, priority: int, band: str, seconds: float, count: int, min_altitude: float) -> str:
    return (
        f'  - {{name: {name}, when: {{stream: "*{name}*"}}, priority: {priority}, min_altitude: {min_altitude},'
        f" observe: [{{filter: {band}, seconds: {seconds}, count: {count}}}]}}\n"
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
        """Make a VOEvent about ``place``, by default 65 degrees up in the east; ``cites``: (kind, cited name)."""
        ra, dec = place or self.place()
        time = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        citations = [(cites[0], f"ivo://{cites[1]}")] if cites else []
        return voevent(f"ivo://{name}", role=role, date=time, ra=ra, dec=dec, error=0.05, citations=citations)


SMALL = {"camera": {"width": 64, "height": 64, "speed": 1}}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    """Make nights, with small images that take their time unless told otherwise, and see that they end cleanly."""
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
    """Rehearse until the weather is known to be safe."""
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    return night


@pytest.fixture
def exposing(ready: Night) -> Night:
    """Rehearse until the middle of the first of three exposures of ``pyros.test/first``."""
    ready.publish(ready.packet())
    ready.until(lambda: ready.state("camera") == "exposing")
    ready.run(EXPOSURE / 2)
    return ready
