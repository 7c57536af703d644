"""Draws the fault script of a night from its seed: every kind of trouble from a stream of its own.

A seed draws for each kind a factor of 0, 0, 1 or 5 (a swarm), so that some nights have much of one trouble and nothing
of another; and in a third of the nights no process, no link, or no device fails of itself at all. That brings the mean
of the factors, 1.5, to the table's rates, and leaves nights in which the dome is open when the rare trouble comes: one
silent sensor shuts an observatory for twenty minutes. What comes together in real nights is drawn together: kills of
several processes, long absences, messages that wait while their sender dies, a network that fails in bad weather.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pyros.agents.agent import Agent
from pyros.agents.runtime.loop import STEPS
from pyros.config import BROKER, Config
from pyros.kinds import KINDS
from pyros.rehearsal.climate import draw_weather
from pyros.rehearsal.script import DEVICE, Fault

Level = Literal["none", "light", "heavy"]
LEVELS: dict[Level, float] = {"none": 0.0, "light": 0.1, "heavy": 1.0}
"""How many of the faults of a heavy night there are."""

_SWARM = (0, 0, 1, 5)
_SOUND_NIGHTS = 1 / 3
"""Of all nights: those in which a group of troubles (processes, the network, devices) is left out."""
_NIGHT = 36_000.0  # seconds, which the rates are for
_ABSENCES = ((0.60, 0.1, 2.0), (0.25, 2.0, 20.0), (0.10, 60.0, 300.0), (0.05, 600.0, 2400.0))
"""Share of the kills, and for how many seconds the process is away."""
_LINE_FAULTS = ("no_answer", "late_answer", "garbage", "half_line", "drop", "refuse")


class Cast(NamedTuple):
    """Who takes part: what can be killed, whose links can break, and which faults a device can have."""

    agents: tuple[str, ...]
    """All processes but the guardian."""
    guardians: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    """Pairs of processes that talk with each other."""
    devices: dict[str, tuple[str, ...]]
    """The faults of each device itself, by its agent's name."""
    kinds: Mapping[str, str] = {}
    """The kinds of the agents that are not called by them."""

    @property
    def processes(self) -> tuple[str, ...]:
        return (*self.agents, *self.guardians)

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the agents of some kinds: those of the first kind first."""
        return [name for kind in kinds for name in self.agents if self.kinds.get(name, name) == kind]

    def speakers(self, dome: str) -> list[str]:
        """Return the agents whose leases a dome needs."""
        return [name for name in self.of_kind("monitoring", "majordome") if (name, dome) in self.links]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all processes and devices."""
        return (*self.processes, *(f"{name}{DEVICE}" for name in self.devices))


class _RandomNumbers:
    """One kind's random numbers, and how often it happens."""

    def __init__(self, seed: str, kind: str, level: float, seconds: float, group: str = "") -> None:
        """``group``: what the kind belongs to that some nights leave out as a whole; '' for none."""
        self.random = random.Random(f"{seed} {kind}")
        if group and random.Random(f"{seed} all {group}").random() < _SOUND_NIGHTS:
            level = 0.0
        self._factor = level * self.random.choice(_SWARM)
        self._seconds = seconds

    def times(self, rate: float) -> list[float]:
        """Return when it happens, for so many in a heavy night."""
        return sorted(self.time() for _ in range(_poisson(self.random, rate * self._factor)))

    def time(self) -> float:
        return round(self.random.uniform(0.0, self._seconds), 3)

    def absence(self) -> float:
        chance, share = self.random.random(), 0.0
        for part, least, most in _ABSENCES:
            share += part
            if chance < share:
                return self.random.uniform(least, most)
        return self.random.uniform(*_ABSENCES[-1][1:])


def draw(seed: str, level: Level, seconds: float, cast: Cast, *, density: float = 1.0) -> list[Fault]:
    """Draw the script of a night that is so long, in the order of its lines' times.

    ``density``: how often things go wrong, as a multiple of a heavy night's rates; what is rare in a night (the power,
    the disk) is no rarer in a shorter one, and the clock, which shuts nothing for long, steps as many times as often.
    """
    factor = LEVELS[level]
    if not factor:
        return []
    share = density * seconds / _NIGHT

    def stream(kind: str, group: str = "", *, least: float = 0.0) -> _RandomNumbers:
        return _RandomNumbers(seed, kind, factor * max(least, share), seconds, group)

    faults = [Fault(0.0, "latency")]
    faults += _kills(stream("kills", "processes"), cast)
    faults += _together(stream("kills together", "processes"), cast)
    for dome in cast.of_kind("dome"):
        faults += _waiting_words(stream(f"waiting words{dome.removeprefix('dome')}"), cast, dome)
    faults += _power(stream("power", least=1.0))
    faults += _network(stream("network", "network"), cast)
    faults += _devices(stream, cast)
    faults += _computer(stream("disk", least=1.0), stream("clock", least=density), cast)
    weather = _weather(seed, factor, seconds, cast)
    faults += weather
    faults += _failures_in_bad_weather(stream("failures in bad weather"), cast, weather)
    holds = stream("holds")
    faults += [_lasting(time, "hold", (), holds.random.uniform(30, 1800)) for time in holds.times(0.5)]
    return sorted(faults, key=lambda fault: fault.time)


def _kills(stream: _RandomNumbers, cast: Cast) -> list[Fault]:
    near, draw = _near(cast), stream.random
    return [
        _kill(time, (draw.choice(near if draw.random() < 0.5 else cast.processes),), stream)
        for time in stream.times(20)
    ]


def _together(stream: _RandomNumbers, cast: Cast) -> list[Fault]:
    """Kill some processes at once, or shortly one after the other, often for long."""
    faults: list[Fault] = []
    for time in stream.times(2):
        for name in _some(stream, cast):
            away = stream.random.choice((stream.absence(), stream.random.uniform(30, 900)))
            faults.append(_kill(time + stream.random.choice((0.0, stream.random.uniform(0, 5))), (name,), stream, away))
    return faults


def _weather(seed: str, level: float, seconds: float, cast: Cast) -> list[Fault]:
    """Draw the weather; where there are several stations, that of each."""
    stations = [name for name in cast.of_kind("weather", "safety") if name in cast.devices]
    units = list(dict.fromkeys(name[len(name.split()[0]) :] for name in stations))
    if len(units) < 2:
        return draw_weather(random.Random(f"{seed} weather"), level, seconds)
    faults: list[Fault] = []
    for unit in units:
        draw = random.Random(f"{seed} weather{unit}")
        faults += draw_weather(draw, level, seconds, (f"weather{unit}",), (f"safety{unit}",))
    return [fault for fault in faults if fault.names[0] in stations]


def _waiting_words(stream: _RandomNumbers, cast: Cast, dome: str) -> list[Fault]:
    """Let what is said to a dome wait on its way, and who says it die meanwhile: all whom it hears, or one of them.

    Each word is said again after 20 s; and a link is given up when nothing has come for 40 s, and what waits with it.
    """
    faults: list[Fault] = []
    speakers = cast.speakers(dome)
    if not speakers:
        return []
    for time in stream.times(2):
        draw, waits = stream.random, stream.random.uniform(15, 45)
        concerned = tuple(draw.choice([speakers, *([name] for name in speakers)]))
        faults += [_lasting(time, "stall", (name, dome), waits) for name in concerned]
        faults.append(_kill(time + draw.uniform(5, waits), concerned, stream, draw.uniform(120, 600), step=False))
    return faults


def _failures_in_bad_weather(stream: _RandomNumbers, cast: Cast, weather: Sequence[Fault]) -> list[Fault]:
    """Let something fail as the weather turns bad, for both have one cause.

    Some processes die; or the majordome alone is away, or cut off from all others, so that the dome must close by
    itself; or the network falls apart.
    """
    faults: list[Fault] = []
    draw = stream.random
    for turn in weather:
        kind, before = draw.random(), max(0.0, turn.time - draw.uniform(0, 20))
        if kind < 0.4:
            faults += [
                _kill(max(0.0, turn.time + draw.uniform(-30, 15)), (name,), stream, draw.uniform(1, 600))
                for name in _some(stream, cast)
            ]
        elif kind < 0.65:
            faults += [
                _kill(before, (name,), stream, draw.uniform(60, 900), step=False) for name in cast.of_kind("majordome")
            ]
        elif kind < 0.85:
            faults += [
                _lasting(before, "partition", (name,), draw.uniform(60, 600)) for name in cast.of_kind("majordome")
            ]
        else:
            faults.append(_partition(before, stream, cast))
    return faults


def _some(stream: _RandomNumbers, cast: Cast) -> list[str]:
    """Return two to four processes, often those on which the dome depends."""
    near = _near(cast)
    names = near if stream.random.random() < 0.6 else list(cast.processes)
    return stream.random.sample(names, min(len(names), stream.random.randint(2, 4)))


def _near(cast: Cast) -> list[str]:
    """Return the processes on which it depends whether the dome is open."""
    near = {*cast.of_kind("dome", "majordome", "monitoring", "weather"), *cast.guardians}
    return [name for name in cast.processes if name in near] or list(cast.processes)


def _power(stream: _RandomNumbers) -> list[Fault]:
    times = stream.times(1 / 3)
    return [_fault(time, "power", (), away=_seconds(stream.random.uniform(20, 600))) for time in times[:2]]


def _network(stream: _RandomNumbers, cast: Cast) -> list[Fault]:
    draw, faults = stream.random, list[Fault]()
    devices = [(name, f"{name}{DEVICE}") for name in cast.devices]
    faults += [_partition(time, stream, cast) for time in stream.times(2)]
    for time in stream.times(2.0 * len(cast.links)):
        faults.append(Fault(time, "cut", draw.choice(cast.links)))
    for time in stream.times(4.0 * len(devices)):
        faults.append(Fault(time, "cut", draw.choice(devices)))
    for time in stream.times(3):
        faults.append(_lasting(time, "stall", draw.choice((*cast.links, *devices)), draw.uniform(2, 120)))
    for time in stream.times(3):
        faults.append(_lasting(time, "mute", draw.choice((*cast.links, *devices)), draw.uniform(10, 300)))
    return faults


def _partition(time: float, stream: _RandomNumbers, cast: Cast) -> Fault:
    """Cut some processes and devices off from all others."""
    draw = stream.random
    names = tuple(sorted(draw.sample(cast.nodes, draw.randint(1, max(1, len(cast.nodes) // 2)))))
    return _lasting(time, "partition", names, draw.uniform(30, 600))


def _devices(stream: object, cast: Cast) -> list[Fault]:
    faults: list[Fault] = []
    for name, own in cast.devices.items():
        each: _RandomNumbers = stream(f"device {name}", "devices")  # type: ignore[operator]
        for kind in (*_LINE_FAULTS, *own):
            for time in each.times(1):
                values = {"for": _seconds(each.random.uniform(10, 600))}
                if kind in _LINE_FAULTS and each.random.random() < 0.5:
                    values["probability"] = f"{each.random.uniform(0.05, 0.9):.2f}"
                faults.append(Fault(time, "device", (name, kind), values))
    return faults


def _computer(disk: _RandomNumbers, clock: _RandomNumbers, cast: Cast) -> list[Fault]:
    """Fill the disk, and have the clock step back or forth, or drift."""
    faults = [_lasting(time, "disk", (), disk.random.uniform(300, 1800)) for time in disk.times(0.2)]
    for sign in (-1, 1):
        for time in clock.times(0.2):
            faults += _clock_step(time, sign, clock, cast)
    for time in clock.times(0.1):
        rate = clock.random.uniform(-2e-4, 2e-4)
        faults.append(_fault(time, "clock", (), drift=f"{rate:.6f}", **{"for": _seconds(7200)}))
    return faults


def _clock_step(time: float, sign: int, stream: _RandomNumbers, cast: Cast) -> list[Fault]:
    """Have the clock step, often while those are dead who say that it is safe: monitoring notices a step at once."""
    draw = stream.random
    size = math.exp(draw.uniform(math.log(0.5), math.log(3600))) * sign
    faults = [_fault(time, "clock", (), step=_seconds(size), **{"for": _seconds(draw.uniform(60, 7200))})]
    gone = tuple(cast.of_kind("monitoring", "majordome"))
    if gone and draw.random() < 0.8:
        faults.append(_kill(time + draw.uniform(-30, 10), gone, stream, draw.uniform(120, 600), step=False))
    return faults


def _kill(
    time: float, names: tuple[str, ...], stream: _RandomNumbers, away: float | None = None, *, step: bool = True
) -> Fault:
    values = {"away": _seconds(stream.absence() if away is None else away)}
    if step and stream.random.random() < 0.6:
        values["step"] = stream.random.choice(STEPS)
    return Fault(max(0.0, round(time, 3)), "kill", names, values)


def _lasting(time: float, kind: str, names: tuple[str, ...], seconds: float) -> Fault:
    return _fault(time, kind, names, **{"for": _seconds(seconds)})


def _fault(time: float, kind: str, names: tuple[str, ...], **values: str) -> Fault:
    return Fault(round(time, 3), kind, names, values)


def _seconds(value: float) -> str:
    return f"{value:.1f}"


def _poisson(draw: random.Random, mean: float) -> int:
    """Return a number of Poisson's distribution (Knuth, The Art of Computer Programming 2, 3.4.1 F3)."""
    count, product, limit = -1, 1.0, math.exp(-min(mean, 500.0))
    while product > limit:
        count += 1
        product *= draw.random()
    return max(0, count)


def busiest_links(config: Config) -> tuple[tuple[str, str], ...]:
    """Return the pairs of processes that talk most; others may, too."""
    sections = list(config.agents.values())
    kinds = dict.fromkeys(section.kind for section in sections)
    pairs = [
        *((kind, Agent.MONITORING) for kind in kinds if kind in KINDS),
        *((Agent.OBSERVATION_MANAGER, name) for name in ("telescope", "camera", "filter_wheel", "focuser", "dome")),
        ("majordome", "dome"), ("monitoring", "dome"), ("monitoring", "majordome"), ("scheduler", "majordome"),
        ("majordome", "observation_manager"), ("scheduler", "observation_manager"), ("alert_manager", "scheduler"),
        ("scheduler", Agent.CENTRAL_SCHEDULER), (BROKER, "alert_manager"), ("majordome", "telescope"),
    ]  # fmt: skip
    speakers = [(section.name, section.kind, config.seen_from(section.unit)) for section in sections]
    speakers = [each for each in speakers if each[0] != Agent.CENTRAL_SCHEDULER]
    speakers += [(BROKER, BROKER, config)] * (config.broker is not None)
    return tuple(
        (name, receiver)
        for one, other in pairs
        for name, kind, seen in speakers
        if kind == one and seen.has(other)
        for receiver in seen.receivers(other)
    )
