"""A simulated telescope behind the LX200 language. Its coordinates are those of date ("JNow"), as such mounts' are.

What is set of time and place is repeated when it is asked for, and otherwise ignored: the simulator has a clock and a
site already, and the sky above it would not follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from pyros.simulators.celestial import Ground, OfDate, Sky, from_date, of_date
from pyros.simulators.device import Refused
from pyros.simulators.faults import Faults
from pyros.simulators.grammar import DeviceRequest
from pyros.simulators.lx200.codec import ALIGNMENT_QUERY, CommandParser, degrees, hours, sexagesimal
from pyros.simulators.mount.pointing_model import SIDEREAL_RATE
from pyros.simulators.mount.telescope import SimulatedTelescope

_RATES = {"G": 1.0, "C": 16.0, "M": 128.0}  # of the sky's motion; S is as fast as it can
_REFUSALS = {"LIMIT": "1", "STATE": "4", "BUSY": "5"}
_SLEWING = "\x7f"
_MEANINGS = {
    **dict.fromkeys(("GR", "GD"), ("GET", "position")),
    **dict.fromkeys(("GA", "GZ"), ("GET", "altitude")),
    **dict.fromkeys(("Gr", "Gd"), ("GET", "target")),
    **dict.fromkeys(("D", "GW"), ("GET", "state")),
    **dict.fromkeys(("MS", "MA"), ("DO", "slew")),
    **dict.fromkeys(("Q", "Qn", "Qs", "Qe", "Qw"), ("DO", "stop")),
    **dict.fromkeys(("AL", "AP", "AA"), ("DO", "track")),
    "CM": ("DO", "sync"),
    "hP": ("DO", "park"),
    "hW": ("DO", "unpark"),
}
"""The requests of the grammar that mean the same: faults name those."""


class Lx200Mount:
    """One telescope, many clients: precision, target and rate belong to the mount, as on the real one."""

    end = b"#"

    def __init__(self, telescope: SimulatedTelescope) -> None:
        self._telescope = telescope
        self._clock = telescope.clock
        self._precise = False  # when it is switched on
        self._target = OfDate(0.0, 0.0)
        self._target_ground = Ground(0.0, 0.0)
        self._rate = "S"
        self._push = {"first": 0.0, "second": 0.0}
        self._latitude, self._west = telescope.site.latitude, -telescope.site.longitude % 360
        self._utc_offset = 0.0  # hours to add to local time for UTC
        self._time_error = timedelta(0)
        self._queries: dict[str, Callable[[], str]] = self._all_queries()
        self._actions: dict[str, Callable[[], str]] = self._all_actions()
        self._settings: dict[str, Callable[[str], bool]] = self._all_settings()

    @property
    def faults(self) -> Faults:
        """Those of the telescope."""
        return self._telescope.faults

    def parser(self) -> CommandParser:
        """Make the parser of a new client."""
        return CommandParser()

    def greeting(self) -> str:
        """Return nothing: a mount speaks when it is asked."""
        return ""

    def meaning(self, command: str) -> DeviceRequest:
        """Return the request of the grammar that means the same; one without a name where the grammar has none."""
        if command in _MEANINGS:
            verb, name = _MEANINGS[command]
        elif command[:2] in ("Sr", "Sd", "Sa", "Sz"):
            verb, name = "SET", "target"
        elif command[:1] == "M":
            verb, name = "DO", "move"
        else:
            verb, name = ("GET" if command in self._queries or command in ("P", ALIGNMENT_QUERY) else "SET"), ""
        return DeviceRequest(command, "", verb, name)

    def answer(self, command: str) -> str:
        """Return what the mount answers; nothing to most commands that move it, and to those that it doesn't know."""
        request = self.meaning(command)
        try:
            if request.verb != "GET":
                self._telescope.refuse_by_fault(request)
        except Refused as refused:
            return self._refusal(request, refused)
        return self._answer(command)

    def _refusal(self, request: DeviceRequest, refused: Refused) -> str:
        match request:
            case DeviceRequest(name="slew"):
                return f"{_REFUSALS.get(refused.code, '2')}{refused}#"
            case DeviceRequest(name="sync"):
                return f"Not matched: {refused}#"
        return "0" if request.line[:1] == "S" else ""

    def _answer(self, command: str) -> str:
        if command in self._queries:
            return self._queries[command]() + "#"
        if command in self._actions:
            return self._actions[command]()
        if command[:2] == "SC":  # the only setting with a text after its digit
            return "1Updating Planetary Data#" + " " * 30 + "#" if self._set_date(command[2:].strip()) else "0"
        if command[:2] in self._settings:
            return str(int(self._settings[command[:2]](command[2:].strip())))
        if pulse := re.fullmatch(r"Mg([nsew])([0-9]{1,5})", command):
            self._pulse(pulse[1], int(pulse[2]) / 1000)
        return ""

    def _all_queries(self) -> dict[str, Callable[[], str]]:
        return {
            "GR": lambda: hours(self._place().ra, self._precise),
            "GD": lambda: degrees(self._place().dec, self._precise),
            "Gr": lambda: hours(self._target.ra, self._precise),
            "Gd": lambda: degrees(self._target.dec, self._precise),
            "GA": lambda: degrees(self._told("altitude")[0], self._precise),
            "GZ": lambda: degrees(self._told("altitude")[1], self._precise, 3, signed=False),
            "GS": lambda: hours(self._telescope.site.sidereal_time(self._clock.time()), precise=True),
            "GL": lambda: f"{self._local():%H:%M:%S}",
            "Ga": lambda: f"{self._local():%I:%M:%S}",
            "GC": lambda: f"{self._local():%m/%d/%y}",
            "Gc": lambda: "24",
            "GG": lambda: f"{self._utc_offset:+05.1f}",
            "Gt": lambda: degrees(self._latitude, precise=False),
            "Gg": lambda: degrees(self._west, False, 3, signed=False),
            "GT": lambda: "60.1",
            "GW": self._alignment_status,
            "GVP": lambda: "PYROS LX200",
            "GVN": lambda: "4.2g",
            "GVD": lambda: "Nov 01 2010",
            "GVT": lambda: "12:00:00",
            "GM": lambda: "Site 1",
            "GN": lambda: "Site 2",
            "GO": lambda: "Site 3",
            "GP": lambda: "Site 4",
            "D": lambda: _SLEWING if self._telescope.busy else "",
            "CM": self._sync,
        }

    def _all_actions(self) -> dict[str, Callable[[], str]]:
        pushes = {f"M{way}": partial(self._start_push, way) for way in "nsew"}
        ends = {f"Q{way}": partial(self._end_push, way) for way in "nsew"}
        rates = {f"R{rate}": partial(self._set_rate, rate) for rate in "GCMS"}
        return {
            ALIGNMENT_QUERY: self._alignment,
            "MS": lambda: self._slew(from_date(self._target, self._clock.time())),
            "MA": lambda: self._slew(self._telescope.site.sky(self._target_ground, self._clock.time())),
            "Q": self._stop,
            "U": self._toggle_precision,
            "P": lambda: "HIGH PRECISION" if self._precise else "LOW PRECISION",
            "hP": lambda: self._try(self._telescope.park),
            "hW": lambda: self._try(self._telescope.unpark),
            "AL": lambda: self._try(lambda: self._telescope.track(False)),
            "AP": lambda: self._try(lambda: self._telescope.track(True)),
            "AA": lambda: self._try(lambda: self._telescope.track(True)),
            **pushes,
            **ends,
            **rates,
        }

    def _all_settings(self) -> dict[str, Callable[[str], bool]]:
        return {
            "Sr": self._set_ra,
            "Sd": self._set_dec,
            "Sa": self._set_altitude,
            "Sz": self._set_azimuth,
            "St": self._set_latitude,
            "Sg": self._set_longitude,
            "SL": self._set_time,
            "SG": self._set_utc_offset,
            "SS": lambda text: sexagesimal(text) is not None,
            "ST": lambda text: re.fullmatch(r"[0-9.]{1,10}", text) is not None,
            "Sw": lambda text: text in tuple("2345678"),
            "Sh": lambda text: text.isascii() and text.isdigit(),
            "So": lambda text: re.fullmatch(r"[0-9]{1,2}\*?", text) is not None,
        }

    # Where it is.

    def _place(self) -> OfDate:
        ra, dec = self._told("position")
        return of_date(Sky(ra, dec), self._clock.time())

    def _told(self, name: str) -> tuple[float, float]:
        """Two numbers as the mount's own grammar says them, with what faults make of them."""
        first, second = self._telescope.get(DeviceRequest(f"GET {name}", "", "GET", name)).line.split()[1:]
        return float(first), float(second)

    def _alignment(self) -> str:
        kinds = {"equatorial": "P", "german": "G", "altazimuth": "A"}
        return kinds[self._telescope.settings.mount]

    def _alignment_status(self) -> str:
        """Mount, tracking or not, and aligned on one star."""
        return f"{self._alignment()}{'T' if self._telescope.state == 'tracking' else 'N'}1"

    # What it does.

    def _slew(self, target: Sky) -> str:
        self._push = dict.fromkeys(self._push, 0.0)
        try:
            self._telescope.slew(target)
        except Refused as refused:
            return self._refusal(self.meaning("MS"), refused)
        return "0"

    def _sync(self) -> str:
        try:
            self._telescope.sync(from_date(self._target, self._clock.time()))
        except Refused as refused:
            return f"Not matched: {refused}"
        return "Coordinates     matched.        "

    def _stop(self) -> str:
        self._push = dict.fromkeys(self._push, 0.0)
        self._telescope.stop_moving(tracking=True)
        return ""

    def _start_push(self, way: str) -> str:
        rate = _RATES.get(self._rate, 1e9) * SIDEREAL_RATE
        axis, sign = self._axis(way)
        self._push[axis] = sign * min(rate, 360.0)
        return self._push_on()

    def _end_push(self, way: str) -> str:
        self._push[self._axis(way)[0]] = 0.0
        return self._push_on() if self._telescope.nudged else ""

    def _push_on(self) -> str:
        def push() -> None:
            self._telescope.nudge(self._push["first"], self._push["second"])

        return self._try(push)

    def _pulse(self, way: str, seconds: float) -> None:
        axis, sign = self._axis(way)
        self._push[axis] = sign * SIDEREAL_RATE / 2
        self._push_on()

        def end() -> None:
            self._end_push(way)

        self._telescope.later("pulse", seconds, end)

    def _axis(self, way: str) -> tuple[str, float]:
        if way in "ns":
            return "second", 1.0 if way == "n" else -1.0
        west = 1.0 if way == "w" else -1.0  # hour angles grow to the west, azimuths to the east
        return "first", -west if self._telescope.settings.mount == "altazimuth" else west

    def _try(self, function: Callable[[], object]) -> str:
        """Do what has no answer; what is refused is not done."""
        try:
            function()
        except Refused:
            self._push = dict.fromkeys(self._push, 0.0)
        return ""

    def _toggle_precision(self) -> str:
        self._precise = not self._precise
        return ""

    def _set_rate(self, rate: str) -> str:
        self._rate = rate
        return ""

    # What is set.

    def _set_ra(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or not 0 <= value < 24:
            return False
        self._target = OfDate(value * 15, self._target.dec)
        return True

    def _set_dec(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or abs(value) > 90:
            return False
        self._target = OfDate(self._target.ra, value)
        return True

    def _set_altitude(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or abs(value) > 90:
            return False
        self._target_ground = Ground(value, self._target_ground.az)
        return True

    def _set_azimuth(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or not 0 <= value < 360:
            return False
        self._target_ground = Ground(self._target_ground.alt, value)
        return True

    def _set_latitude(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or abs(value) > 90:
            return False
        self._latitude = value
        return True

    def _set_longitude(self, text: str) -> bool:
        value = sexagesimal(text)
        if value is None or not -180 <= value <= 360:
            return False
        self._west = value % 360
        return True

    def _set_utc_offset(self, text: str) -> bool:
        if re.fullmatch(r"[+-]?[0-9]{1,2}(\.[0-9])?", text) is None or abs(float(text)) > 14:
            return False
        self._utc_offset = float(text)
        return True

    def _set_time(self, text: str) -> bool:
        match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5]?[0-9]):([0-5]?[0-9])", text)
        if match is None:
            return False
        here = self._local()
        there = here.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3]))
        self._time_error += there - here
        return True

    def _set_date(self, text: str) -> bool:
        match = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{2})", text)
        here = self._local()
        try:
            there = here.replace(year=2000 + int(match[3]), month=int(match[1]), day=int(match[2])) if match else None
        except ValueError:
            there = None
        if there is None:
            return False
        self._time_error += there - here
        return True

    def _local(self) -> datetime:
        return self._clock.now() - timedelta(hours=self._utc_offset) + self._time_error
