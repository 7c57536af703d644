"""A box of relays and dimmers: power outlets, lamps, heaters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Refused, SimulatedDevice, number
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.settings import Settings, Strict, Word

_Level = Annotated[float, Meta(ge=-1e6, le=1e6)]


class ChannelSettings(Strict, frozen=True, kw_only=True):
    """One channel: its name, its level at the start, the levels it can have: off and on (0 and 1) by default."""

    name: Word
    """The channel's name."""
    level: _Level = 0.0
    """Level at the start, in the channel's own unit."""
    least: _Level = 0.0
    """Least level."""
    most: _Level = 1.0
    """Greatest level."""
    step: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    """Distance of two levels."""
    writable: bool = True
    """Whether it can be set."""


class SwitchSettings(Settings, frozen=True, kw_only=True):
    """The channels, counted from 0 in their order."""

    kind = "switch"

    channels: Annotated[
        tuple[ChannelSettings, ...],
        Meta(
            min_length=1,
            max_length=64,
            description="a list such as [{name: lamp}, {name: heater, most: 100}, {name: door, writable: false}]",
        ),
    ]
    """The channels, counted from 0."""

    def contradictions(self) -> list[str]:
        names = [channel.name for channel in self.channels]
        problems = [
            f"channels: {name} stands there twice; each channel has a name of its own"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        for channel in self.channels:
            if channel.least >= channel.most:
                problems.append(f"channels: {channel.name}: least must be below most")
            elif not _fits(channel, channel.level):
                problems.append(f"channels: {channel.name}: level must be {_levels(channel)}, not {channel.level:g}")
        return problems


class SimulatedSwitch(SimulatedDevice):
    """State: ok. ``GET channels`` tells the names; channel ``n`` has ``channel_n`` (what it can) and ``level_n``."""

    def __init__(self, settings: SwitchSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self._levels = [channel.level for channel in settings.channels]
        self.properties |= {"channels": lambda: ok(*(channel.name for channel in settings.channels))}
        for index, channel in enumerate(settings.channels):
            self.properties |= {
                f"channel_{index}": partial(_described, channel),
                f"level_{index}": partial(self._get_level, index),
            }
            self.settable |= {f"level_{index}": partial(self._set_level, index, channel)}

    def _get_level(self, index: int) -> DeviceAnswer:
        return ok(f"{self._levels[index]:.10g}")

    def _set_level(self, index: int, channel: ChannelSettings, values: tuple[str, ...]) -> DeviceAnswer:
        if not channel.writable:
            raise Refused("UNSUPPORTED", f"{channel.name} can only be read")
        if len(values) != 1:
            raise Refused("VALUE", f"level_{index} takes one value")
        level = number(channel.name, values[0], channel.least, channel.most)
        if not _fits(channel, level):
            raise Refused("VALUE", f"{channel.name} must be {_levels(channel)}, not {level:g}")
        if level != self._levels[index]:
            self._levels[index] = level
            self.event("level_changed", channel=index, level=f"{level:.10g}")
        return ok()


def _described(channel: ChannelSettings) -> DeviceAnswer:
    return ok(
        name=channel.name,
        writable=int(channel.writable),
        least=f"{channel.least:.10g}",
        most=f"{channel.most:.10g}",
        step=f"{channel.step:.10g}",
    )


def _fits(channel: ChannelSettings, level: float) -> bool:
    steps = (level - channel.least) / channel.step
    return channel.least <= level <= channel.most and math.isclose(steps, round(steps), abs_tol=1e-6)


def _levels(channel: ChannelSettings) -> str:
    return f"{channel.least:g} to {channel.most:g} in steps of {channel.step:g}"
