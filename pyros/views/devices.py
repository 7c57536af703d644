"""The devices: what each says that it does, what it measures, and whether its agent reaches it."""

from __future__ import annotations

import msgspec

from pyros.config import INSTRUMENTS
from pyros.views.night import dome, telescope
from pyros.views.observed import Observed
from pyros.views.states import Monitoring, SeenInstrument

_DOME, _TELESCOPE = "dome", "telescope"


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument, as its agent and monitoring know it."""

    name: str
    """The agent's name, which is the instrument's."""
    state: str
    """As in `pyros.instruments.interfaces`, by its last telemetry; ``unknown`` where nobody knows."""
    said: float | None = None
    """When that was measured, Unix seconds."""
    values: dict[str, float | str | None] = {}
    """What it measures, by name, in the units of `pyros.instruments.interfaces`."""
    connected: bool | None = None
    """Whether its agent reaches it; None before it was tried."""
    link: str = ""
    """The device and its address, or why it isn't connected."""
    link_since: float | None = None
    """Since when, Unix seconds."""
    up: bool | None = None
    """Whether its agent runs; None where that cannot be known."""
    driver: str = ""
    """The language that it speaks."""
    address: str = ""
    """Where it is."""
    command: str = ""
    """What is under way; '' for nothing."""
    failed_commands: int = 0
    """How many have failed in all."""
    last_failure: str = ""
    """The last one's name, and why."""

    @property
    def silent(self) -> bool:
        """Whether it isn't reached: its last word then says nothing of now."""
        return self.up is False or self.connected is False


def devices(observed: Observed) -> tuple[DeviceView, ...]:
    """Return the instruments of the configuration, in its order; and the UPS where one is heard."""
    config = observed.config
    sections = [section for section in config.agents.values() if section.kind in INSTRUMENTS or section.driver]
    alive = observed.running()
    found = []
    shutters = {
        each.config.agents[_DOME].name: dome(each)
        for each in (observed, *observed.telescopes)
        if _DOME in each.config.agents
    }
    pointings = {
        each.config.agents[_TELESCOPE].name: telescope(each)
        for each in (observed, *observed.telescopes)
        if _TELESCOPE in each.config.agents
    }
    for section in sections:
        kept = observed.state(section.name, SeenInstrument)
        keeper, known_as = config.monitored(section)
        monitoring = observed.state(keeper, Monitoring)
        told, link = monitoring.telemetry.get(known_as), monitoring.links.get(known_as)
        state, said = (told.state, told.time) if told is not None else ("unknown", None)
        if (shutter := shutters.get(section.name)) is not None:
            state, said = shutter.state, shutter.said
        values = dict(told.values) if told is not None else {}
        if (pointing := pointings.get(section.name)) is not None:
            state, where = pointing.state, round(pointing.altitude, 1)
            values |= {"ra": pointing.ra, "dec": pointing.dec, "altitude": where}
        found.append(
            DeviceView(
                name=section.name,
                state=state,
                said=said,
                values=values,
                connected=link.connected if kept.connected is None and link is not None else kept.connected,
                link=link.text if link is not None else "",
                link_since=link.since if link is not None else None,
                up=alive[observed.path(section.name)],
                driver=section.driver,
                address=section.address,
                command=kept.command.name if kept.command is not None else "",
                failed_commands=kept.failed_commands,
                last_failure=kept.last_failure,
            )
        )
    ups = observed.state("monitoring", Monitoring).telemetry.get("ups")
    if ups is not None:
        found.append(DeviceView(name="ups", state=ups.state, said=ups.time, values=ups.values, connected=True))
    return tuple(found)
