"""A night of the observatory for tests: rehearsed with rules and alerts of their own, and seen to end cleanly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.analysis.images import Analysis, AnalysisJob
from pyros.journal import AnyJournals, MemoryJournals
from pyros.messages import ImageAnalysed, Payload
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
    """A rehearsal with `RULES`, unless told otherwise (None: the demo's), whose packets those rules accept.

    Its journals are objects, which cost less; a test that has other readers than the rehearsal's asks for files.
    """

    def __init__(
        self, folder: Path, *, rules: str | None = RULES, journals: AnyJournals | None = None, **keys: Any
    ) -> None:
        super().__init__(folder, rules=rules, journals=journals or MemoryJournals(), **keys)

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


class Automation:
    """The majordome's agent, which is taught to give commands to an instrument and to keep the answers."""

    def __init__(self, night: Night) -> None:
        self.night, self.answers = night, list[tuple[str, Any]]()
        self._majordome: Any = night.agent("majordome")

    def tell(self, agent: str, name: str, payload: Payload, ends: tuple[str, ...] = ()) -> None:
        """Have the majordome send a command in a turn of its own; what it hears of its end is kept."""
        majordome = self._majordome
        for end in ends or (f"{name} finished", f"{name} failed"):
            majordome.actions_by_message[end] = lambda message: self.answers.append((message.name, message.payload))
        majordome.actions_by_message["Give command"] = lambda: majordome.send_to(agent, name, payload)
        self.night.person("majordome", "Give command")
        self.night.run(0.1)

    def end(self, seconds: float = 60.0) -> tuple[str, Any]:
        """Wait for the end of the oldest command whose end was not asked for."""
        self.night.until(lambda: self.answers, seconds)
        return self.answers.pop(0)


QUIET = {"option_safe_after": 300, "closings_hour": 1000, "closings_night": 1000, "missing": 3600}
"""Of the safety table: a test has more weather and faults in twenty minutes than a night, and doesn't wait as long."""
SMALL = {"camera": {"width": 64, "height": 64, "speed": 1}}


@pytest.fixture(autouse=True)
def _images_show_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave images without analysis, a third of most nights, unless a file says that its tests need it (`ANALYSED`)."""
    if not getattr(request.module, "ANALYSED", False):
        monkeypatch.setattr("pyros.agents.analyzer.analyse_image", _not_analysed)


def _not_analysed(job: AnalysisJob) -> Analysis:
    return Analysis(ImageAnalysed(job.image.observation, job.image.path))


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    """Make nights, with small images that take their time unless told otherwise, and see that they end cleanly."""
    made: list[Night] = []

    def make(**keys: Any) -> Night:
        keys["devices"] = SMALL | keys.get("devices", {})
        options = keys.setdefault("options", {})
        keys["options"] = options | {"monitoring": QUIET | options.get("monitoring", {})}
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
