"""What ``pyros init`` asks where options don't say it: on a terminal; elsewhere it takes what is said in brackets."""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing

import typer

from pyros.cli.common import out
from pyros.cli.init.plan import DEMO_KINDS, TelescopePlace
from pyros.cli.init.properties import DeviceProperties, ask_properties
from pyros.cli.instruments.discover import FoundDevice, ask_devices
from pyros.errors import PyrosError
from pyros.instruments.indi.discovery import PORT as INDI_PORT
from pyros.instruments.plausible import ESSENTIAL
from pyros.kinds import KINDS

DEMO_PLACE = TelescopePlace(latitude=43.9308, longitude=5.7133, elevation=650.0)
"""Where the demo stands, which an observatory of simulators may stand at as well."""
_LIMITS = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 360.0), "elevation": (-500.0, 9000.0)}
_UNITS = {"latitude": "degrees north", "longitude": "degrees east", "elevation": "metres above the sea"}
_PROBE_SECONDS = 0.5


class Questions:
    """Asks a person, or answers for them."""

    def __init__(self, asking: bool) -> None:
        self.asking = asking

    def word(self, text: str, default: str) -> str:
        """Return what is typed; an empty line, and nobody there to ask, means the default."""
        return str(typer.prompt(text, default=default)).strip() if self.asking else default

    def yes(self, text: str, default: bool) -> bool:
        """Return the answer to a question of yes or no."""
        return typer.confirm(text, default=default) if self.asking else default

    def secret(self, text: str) -> str:
        """Return what is typed without showing it."""
        return str(typer.prompt(text, hide_input=True)).strip()

    def place(self, given: Mapping[str, float | None], simulated: bool) -> TelescopePlace:
        """Return where the telescope stands; an observatory of simulators may stand where the demo does.

        Raises PyrosError where nobody can be asked, and it is not known.
        """
        values: dict[str, float] = {}
        missing = []
        for key, value in given.items():
            default = getattr(DEMO_PLACE, key)
            if value is None and self.asking:
                value = self._number(key, default)  # noqa: PLW2901
            elif value is None and simulated and not any(each is not None for each in given.values()):
                value = default  # noqa: PLW2901
            if value is None:
                missing.append(f"--{key}")
            else:
                values[key] = _within(key, value)
        if missing:
            raise PyrosError(f"where does the telescope stand? give {', '.join(missing)}")
        return TelescopePlace(**values)

    def _number(self, key: str, default: float) -> float:
        while True:
            word = self.word(f"{key.capitalize()} of the telescope, {_UNITS[key]}", f"{default:g}")
            try:
                return _within(key, float(word))
            except (ValueError, PyrosError) as error:
                out.print(str(error) if isinstance(error, PyrosError) else f"{word!r} is not a number")

    def devices(self, servers: list[str], alpaca_port: int | None, seconds: float) -> dict[str, FoundDevice]:
        """Look for devices, and return the one of each kind that is to be used.

        An INDI server on this computer is asked whether it is named or not. Raises InstrumentError for one that is
        named and doesn't answer.
        """
        here = f"tcp:127.0.0.1:{INDI_PORT}"
        if not servers and listens_there(INDI_PORT):
            servers = [here]
        by_kind: dict[str, list[FoundDevice]] = {}
        found = ask_devices(seconds, servers, alpaca_port)
        kinds_at = Counter(device.address for device in found)
        # A wheel of its own goes before what a camera says that it has, too.
        for device in sorted(found, key=lambda each: (each.kind == "filter_wheel") * kinds_at[each.address]):
            by_kind.setdefault(device.kind, []).append(device)
        return {kind: self._choose(kind, by_kind[kind]) for kind in KINDS if kind in by_kind}

    def look(self, devices: Mapping[str, FoundDevice]) -> DeviceProperties:
        """Return what the wheel and the weather station say of themselves, and print who doesn't."""
        found = ask_properties(devices)
        for each in found.silent:
            out.print(each)
        return found

    def measuring(self, station: FoundDevice, given: str, missing: Sequence[str] = ()) -> FoundDevice:
        """Return a weather station with what it doesn't measure in its address, as its driver wants it said.

        ``missing`` is what it hasn't told. Raises PyrosError where nobody says that it is so, or for a quantity that is
        not asked of a station.
        """
        without = given or self.word(
            f"What doesn't the weather station measure, of {', '.join(ESSENTIAL)}", ",".join(missing) or "none"
        )
        words = [] if without == "none" else without.replace(",", " ").split()
        if unknown := [word for word in words if word not in ESSENTIAL]:
            raise PyrosError(f"--without {' '.join(unknown)}: a weather station is asked for {', '.join(ESSENTIAL)}")
        if missing and (not set(missing) <= set(words) or not (given or self.asking)):
            all_words = ",".join(each for each in ESSENTIAL if each in (*words, *missing))
            raise PyrosError(
                f"{station.name} tells no {' and no '.join(missing)}. If it has no sensor for that, say --without"
                f" {all_words}: then nothing closes by it"
            )
        if not words:
            return station
        return station._replace(address=f"{station.address}?without={','.join(words)}")

    def _choose(self, kind: str, devices: list[FoundDevice]) -> FoundDevice:
        if len(devices) == 1 or not self.asking:
            for device in devices[1:]:
                out.print(f"another {_words(kind)}, not taken: {device.name} ({device.address})")
            return devices[0]
        for number, device in enumerate(devices, 1):
            out.print(f"  {number}  {device.name} ({device.address})")
        while not 1 <= (chosen := int(typer.prompt(f"Which {_words(kind)}?", default=1, type=int))) <= len(devices):
            out.print(f"give a number from 1 to {len(devices)}")
        return devices[chosen - 1]

    def simulated(self, devices: Mapping[str, FoundDevice], given: list[str]) -> tuple[str, ...]:
        """Return the kinds to be simulated: those that are named, or all of the demo's where there is no device.

        Raises PyrosError for a kind that there is not.
        """
        for kind in given:
            if kind not in KINDS:
                raise PyrosError(f"--simulate {kind}: is no kind of instrument; there are: {', '.join(KINDS)}")
        if not devices:
            return tuple(kind for kind in KINDS if kind in (*DEMO_KINDS, *given))
        missing = [kind for kind in DEMO_KINDS if kind not in devices and kind not in given]
        asked = [kind for kind in missing if self.yes(f"No {_words(kind)} was found. Simulate one?", False)]
        return tuple(kind for kind in KINDS if kind in (*given, *asked) and kind not in devices)


def _within(key: str, value: float) -> float:
    low, high = _LIMITS[key]
    if not (math.isfinite(value) and low <= value <= high):
        raise PyrosError(f"{key}: {value:g} is not from {low:g} to {high:g} ({_UNITS[key]})")
    return value


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def listens_there(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), _PROBE_SECONDS)):
            return True
    except OSError:
        return False
