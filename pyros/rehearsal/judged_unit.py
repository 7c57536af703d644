"""A rehearsed night as one telescope's unit sees it: ``dome`` is its own dome, ``weather`` the station it hears.

So the invariants know one telescope, as its agents do: an open dome needs the leases of its own majordome and
monitoring, its roof waits for the mount below it, and its camera exposes on that mount.
"""

from __future__ import annotations

from pyros.rehearsal.invariants import GUARDIAN, JudgedNight
from pyros.rehearsal.script import DEVICE
from pyros.site import Site


class JudgedUnit:
    """One unit's view of a night; see `JudgedNight`. Of one telescope, whose unit is '', it is the night itself."""

    def __init__(self, night: JudgedNight, unit: str, site: Site) -> None:
        self._night = night
        self.unit = unit
        self.config = night.config.seen_from(unit)
        self.site = site
        self.devices = {self.short_name(name): device for name, device in night.devices.items()}
        self._names: dict[str, str] = {}

    def short_name(self, name: str) -> str:
        """Return how the unit calls an agent."""
        return self.config.short_name(name)

    def _name(self, node: str) -> str:
        """Return the name of a process or device that the unit calls so."""
        if node not in self._names:
            agent, device, _ = node.partition(DEVICE)
            section = self.config.agents.get(agent)
            name = section.name if section is not None else agent
            if agent == GUARDIAN and self.unit:
                name = f"{GUARDIAN} {self.unit}"
            self._names[node] = f"{name}{device}"
        return self._names[node]

    def report(self, rule: str, text: str) -> None:
        self._night.report(rule, f"{self.unit}: {text}" if self.unit else text)

    @property
    def now(self) -> float:
        return self._night.now

    def true_time(self) -> float:
        return self._night.true_time()

    def clock_offset(self) -> float:
        return self._night.clock_offset()

    def alive_since(self, process: str) -> float | None:
        return self._night.alive_since(self._name(process))

    def link(self, one: str, other: str) -> bool:
        return self._night.link(self._name(one), self._name(other))

    def waits(self, one: str, other: str) -> bool:
        return self._night.waits(self._name(one), self._name(other))

    def faulty(self, device: str) -> bool:
        return self._night.faulty(self._name(device))

    def frozen(self, device: str) -> bool:
        return self._night.frozen(self._name(device))

    def state(self, device: str) -> str:
        return self._night.state(self._name(device))

    def truth(self, device: str, quantity: str) -> str:
        return self._night.truth(self._name(device), quantity)

    @property
    def quiet(self) -> bool:
        return self._night.quiet

    @property
    def full_disk(self) -> bool:
        return self._night.full_disk

    @property
    def held(self) -> bool:
        return self._night.held
