"""The fault script: all that goes wrong in a rehearsed night, a line each, with the time since the night's beginning.

    02:13:07.500 kill dome away=35 step=committed     # at the next turn that reaches that step; without step at once
    02:20:00.000 kill majordome,monitoring away=600   # the processes are started again so many seconds later
    03:00:00.000 power away=120                       # every process ends, the computer starts anew
    03:10:00.000 cut majordome dome                   # every connection between the two
    03:11:00.000 mute majordome dome for=120          # half-open: what is written is lost; then reset
    03:12:00.000 stall dome dome:device for=40        # nothing passes; then everything
    03:20:00.000 partition majordome,monitoring for=300   # these against all others, devices too
    00:00:00.000 latency                              # each delivery takes 1 to 20 ms, one of a hundred up to 2 s
    04:00:00.000 device dome stuck for=60             # a fault of `pyros.simulators.faults`, with its arguments
    04:10:00.000 weather rain=1 for=1800              # what the weather is, by the station's words; at all of several
    04:10:00.000 weather "weather andes" rain=1 for=1800  # or at one: it, flicker and safety may name devices
    04:50:00.000 flicker humidity=88 to=92 every=40 for=900   # the weather changes to and fro
    05:00:00.000 safety for=600                       # the safety monitor says unsafe
    05:10:00.000 disk for=900                         # full: nothing can be written
    05:20:00.000 clock step=-3600 for=1800            # the wall clock; a time server sets it right in the end
    05:30:00.000 clock drift=0.0001 for=3600          # the same, seconds a second
    05:40:00.000 hold for=600                         # a person holds the observatory, and releases it

A device is called as its agent, with ``:device``. A name that has blanks stands in double quotes, as in
``kill "dome east",majordome away=35``. What stands after a ``#`` is a comment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pyros.agents.runtime.loop import STEPS
from pyros.errors import ConfigError
from pyros.simulators.decoding import decode
from pyros.simulators.settings import FaultSettings

DEVICE = ":device"
"""How the names of devices end."""
_LINE = re.compile(r"(\d{2,4}):([0-5]\d):([0-5]\d(?:\.\d{1,3})?)\s+([a-z]+)(?:\s+(.*))?")
_MOST_LINES = 100_000
_LONGEST = 400 * 86_400.0
_QUANTITIES = {"rain": (0, 1), "wind": (0, 100), "humidity": (0, 100), "cloud": (0, 1), "temperature": (-90, 60)}


class Fault(msgspec.Struct, frozen=True):
    """One line of a script."""

    time: float
    """Seconds since the night's beginning, whole milliseconds."""
    kind: str
    names: tuple[str, ...] = ()
    """Processes, or a device and its fault."""
    values: Mapping[str, str] = {}
    """What follows as ``key=value``."""

    def number(self, key: str, default: float = 0.0) -> float:
        """Return the number that a key has."""
        return float(self.values.get(key, default))

    def __str__(self) -> str:
        milliseconds = round(self.time * 1000)
        seconds, rest = divmod(milliseconds, 1000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
        values = " ".join(f"{key}={_quoted(value)}" for key, value in self.values.items())
        names = ("," if self.kind in _LISTS else " ").join(_quoted(name) for name in self.names)
        return " ".join(part for part in (clock, self.kind, names, values) if part)


class _Kind(NamedTuple):
    names: tuple[int, float]
    """How many names there may be."""
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


_OF_DEVICES = ("device", "weather", "flicker", "safety")  # whose names are devices'
_KINDS: dict[str, _Kind] = {
    "kill": _Kind((1, math.inf), ("away",), ("step", "nth")),
    "power": _Kind((0, 0), ("away",)),
    "cut": _Kind((2, 2)),
    "mute": _Kind((2, 2), ("for",)),
    "stall": _Kind((2, 2), ("for",)),
    "partition": _Kind((1, math.inf), ("for",)),
    "latency": _Kind((0, 0)),
    "device": _Kind((2, 2), (), tuple(field.encode_name for field in msgspec.structs.fields(FaultSettings))),
    "weather": _Kind((0, math.inf), ("for",), tuple(_QUANTITIES)),
    "flicker": _Kind((0, math.inf), ("for", "to", "every"), tuple(_QUANTITIES)),
    "safety": _Kind((0, math.inf), ("for",)),
    "disk": _Kind((0, 0), ("for",)),
    "clock": _Kind((0, 0), ("for",), ("step", "drift")),
    "hold": _Kind((0, 0), ("for",)),
}
_LISTS = ("kill", "partition", *_OF_DEVICES[1:])  # whose names stand in one word
KINDS = tuple(_KINDS)
"""The kinds of lines."""


def parse(text: str, where: str, nodes: Iterable[str] | None = None) -> list[Fault]:
    """Read a script; ``where`` is the file for people, ``nodes`` are the names of processes and devices there are.

    Raises ConfigError with every mistake in it, each naming file and line.
    """
    faults: list[Fault] = []
    problems: list[str] = []
    known = None if nodes is None else set(nodes)
    lines = text.split("\n")
    if len(lines) > _MOST_LINES:
        raise ConfigError([f"{where}: {len(lines)} lines; a script has {_MOST_LINES} at most"])
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            faults.append(_parse_line(content, known))
        except ValueError as error:
            problems.append(f"{where}: line {number}: {error}")
    if problems:
        raise ConfigError(problems)
    return sorted(faults, key=lambda fault: fault.time)


def load(path: Path, nodes: Iterable[str] | None = None) -> list[Fault]:
    """Read a script's file. Raises ConfigError as `parse` does, and where it cannot be read."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    return parse(text, str(path), nodes)


def write(faults: Iterable[Fault]) -> str:
    """Return the script of these faults."""
    return "".join(f"{fault}\n" for fault in faults)


def _parse_line(line: str, known: set[str] | None) -> Fault:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"must be HH:MM:SS.sss, a kind and what belongs to it, not {line[:60]!r}")
    hours, minutes, seconds, kind, rest = match.groups()
    time = round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)
    if kind not in _KINDS:
        raise ValueError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    if time > _LONGEST:
        raise ValueError("that is more than 400 days after the beginning")
    words = _words(rest or "")
    names = tuple(name for word in words if "=" not in word for name in word.split(",") if name)
    values = dict(word.split("=", 1) for word in words if "=" in word)
    if len(values) != sum("=" in word for word in words):
        raise ValueError("a key stands twice")
    _check(kind, names, values)
    if known is not None:
        _check_names(kind, names, known)
    return Fault(time, kind, names, values)


def _words(text: str) -> list[str]:
    """Split at blanks, but not inside double quotes, which are left out."""
    if text.count('"') % 2:
        raise ValueError("a double quote is missing")
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*")+', text)]


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) or not value else value


def _check(kind: str, names: tuple[str, ...], values: Mapping[str, str]) -> None:
    """Raise ValueError for what such a line cannot say."""
    about = _KINDS[kind]
    least, most = about.names
    if not least <= len(names) <= most:
        wanted = f"{least:g}" if least == most else f"{least:g} or more"
        raise ValueError(f"{kind} takes {wanted} names, not {len(names)}")
    for key in values:
        if key not in about.needs and key not in about.may:
            allowed = ", ".join(f"{each}=" for each in (*about.needs, *about.may)) or "nothing more"
            raise ValueError(f"{kind} takes no {key}=; it takes {allowed}")
    for key in about.needs:
        if key not in values:
            raise ValueError(f"{kind} needs {key}=")
    if kind == "device":
        _check_device(names, values)
        return
    for key, value in values.items():
        if key == "step" and kind == "kill":
            if value not in STEPS:
                raise ValueError(f"step must be one of {', '.join(STEPS)}, not {value!r}")
        else:
            _check_number(key, value, kind)
    quantities = [key for key in values if key in _QUANTITIES]
    if (kind == "weather" and not quantities) or (kind == "flicker" and len(quantities) != 1):
        raise ValueError(f"{kind} needs {'one' if kind == 'flicker' else 'some'} of {', '.join(_QUANTITIES)}")
    if kind == "clock" and ("step" in values) == ("drift" in values):
        raise ValueError("clock needs step= or drift=")


def _check_number(key: str, value: str, kind: str) -> None:
    least, most = _QUANTITIES.get(key, (0.0, _LONGEST))
    if key == "step":
        least, most = -_LONGEST, _LONGEST
    elif key == "drift":
        least, most = -0.1, 0.1
    elif key == "every":
        least, most = 1.0, 3600.0
    elif key == "to":
        least, most = -90.0, 100.0
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ValueError(f"{key} must be a number from {least:g} to {most:g}, not {value[:40]!r}")


def _check_device(names: tuple[str, ...], values: Mapping[str, str]) -> None:
    settings, problems = decode({"kind": names[1], **values}, FaultSettings, strict=False)
    if settings is None:
        raise ValueError(problems[0])


def _check_names(kind: str, names: tuple[str, ...], known: set[str]) -> None:
    wanted: Iterable[str] = names
    if kind in _OF_DEVICES:
        wanted = [f"{name}{DEVICE}" for name in (names[:1] if kind == "device" else names)]
    for name in wanted:
        if name not in known:
            raise ValueError(f"there is no {name!r}; there are {', '.join(sorted(known))}")
