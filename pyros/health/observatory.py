"""What checks look at: views of an observatory, each read once for all checks of one look."""

from __future__ import annotations

import atexit
import threading
from functools import cached_property
from typing import Any

from pyros import config as configuration
from pyros import views
from pyros.config import Config
from pyros.health.asking import ask_all
from pyros.views import Observed
from pyros.views.devices import DeviceView, devices
from pyros.views.night import NightState, state
from pyros.views.states import Majordome, Monitoring

ASK_SECONDS = 2.0
"""How long an agent has to answer."""


class Observatory:
    """One look at an observatory. Any thread; what was read once is not read again."""

    def __init__(self, observed: Observed, whole: Observatory | None = None) -> None:
        """``whole``: the look of which this is one telescope's part."""
        self.observed = observed
        """The views' way into it."""
        self._whole = whole
        self._lock = threading.Lock()
        self._asked: dict[str, dict[str, Any]] | None = None

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.observed.config

    @property
    def now(self) -> float:
        """The observatory's time, Unix seconds."""
        return self.observed.time()

    @cached_property
    def telescopes(self) -> tuple[Observatory, ...]:
        """The same look as the unit of each of several telescopes sees it; () where there is one."""
        return tuple(Observatory(each, self) for each in self.observed.telescopes)

    def each(self, kind: str) -> list[tuple[str, Observatory]]:
        """Return the unit of each agent of a kind, and the look in which that agent is called by its kind.

        An instrument that telescopes share is looked at by the one that monitors it. Where there is one telescope: '',
        and this look, whether it has such an agent or not.
        """
        if not self.telescopes:
            return [("", self)]
        looks = {look.config.unit: look for look in self.telescopes}
        found = []
        for section in self.config.agents.values():
            if section.kind == kind:
                unit = section.unit
                if unit not in looks:
                    unit = self.config.agents[self.config.monitored(section)[0]].unit
                if looks[unit].config.agents[kind].name == section.name:
                    found.append((section.unit, looks[unit]))
        return found

    @cached_property
    def night(self) -> NightState:
        """The state of the night."""
        return state(self.observed)

    @cached_property
    def devices(self) -> tuple[DeviceView, ...]:
        """The devices."""
        return devices(self.observed)

    @cached_property
    def monitoring(self) -> Monitoring:
        """What monitoring has heard and said."""
        return self.observed.state("monitoring", Monitoring)

    @cached_property
    def majordome(self) -> Majordome:
        """Where the majordome stands."""
        return self.observed.state("majordome", Majordome)

    def is_up(self, name: str) -> bool:
        """Whether an agent runs, by its lock."""
        return any(agent.name == name and agent.up is not False for agent in self.night.agents)

    def asked(self) -> dict[str, dict[str, Any]]:
        """Return what each agent, the broker and the guardian say of themselves, by name; they are asked once.

        Of one that doesn't answer ``up`` is False, and ``reason`` says why.
        """
        if self._whole is not None:
            return self._whole.asked()
        with self._lock:
            if self._asked is None:
                self._asked = {line["agent"]: line for line in ask_all(self.config, ASK_SECONDS)}
            return self._asked


_default: dict[str, Observatory] = {}


def default_observatory() -> Observatory:
    """Return the observatory that the environment names, made once for each file: for pytest and unittest.

    Raises ConfigError.
    """
    path = str(configuration.find())
    if path not in _default:
        _close_default()
        _default[path] = Observatory(views.observed(path))
    return _default[path]


@atexit.register
def _close_default() -> None:
    while _default:
        _default.popitem()[1].observed.close()
