"""The night's calibrations, for the majordome: biases in the evening, flats and focus in between, darks in the morning.

The majordome orders one after the other of the observation manager; the night goes on when the last has ended.
"""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

from pyros import messages
from pyros.agents._night_gate import NightGate
from pyros.agents._night_machine import LIMIT_SECONDS, NightMachine
from pyros.agents.agent import Agent
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import NightEvent, State
from pyros.agents.options import AgentOption
from pyros.agents.sharpness import AT_MOST_EVERY_SECONDS, Sharpness
from pyros.messages import CalibrationAbort, CalibrationOrder, CalibrationReport, Cool, Exposures, Message
from pyros.planning.night_log import night_name
from pyros.planning.phases import Phase, phase
from pyros.planning.visibility import sun, sun_altitude
from pyros.quantities import names, number, positive, whole

_FLATS = 7  # images through each filter
_MAX_FLATS_FAILED = 3  # times in a twilight, after which the filters that are missing are left out
_FLATS_SUN = -2.0  # degrees of the Sun below which flats of the sky are begun
_FLATS_NOON = -6.0  # where it doesn't come so high at noon, in a polar winter, they would wait in vain
_MAX_MISSED = 5  # focusings in a row that found nothing, after each of which the pause is doubled
_MAX_DARK_TIMES = 30
_MAX_FILTERS = 100


_COOL = AgentOption("cool", number(-200.0, 50.0), math.nan)  # degrees Celsius
_BIASES = AgentOption("biases", whole(0, 1000), 0)
_DARKS = AgentOption("darks", whole(0, 1000), 0)
_FLAT_FILTERS: AgentOption[tuple[str, ...]] = AgentOption("flats", names, ())
_FOCUS = AgentOption("focus", positive, math.inf)  # hours
_FOCUS_WIDER = AgentOption("focus_wider", positive, math.inf)  # percent
_FOCUS_KELVIN = AgentOption("focus_kelvin", positive, math.inf)
_FOCUS_FILTERS: AgentOption[tuple[str, ...]] = AgentOption("focus_filters", names, ())
OPTIONS = (_COOL, _BIASES, _DARKS, _FLAT_FILTERS, _FOCUS, _FOCUS_WIDER, _FOCUS_KELVIN, _FOCUS_FILTERS)
"""Those of the majordome's section."""


class NightCalibrations:
    """Which calibrations are due, and the one that runs; for the majordome's turns."""

    def __init__(self, agent: Agent, machine: NightMachine, gate: NightGate) -> None:
        self._agent, self._machine, self._gate = agent, machine, gate
        self._cool = math.nan
        self._biases = self._darks = 0
        self._flat_filters: tuple[str, ...] = ()
        self._focus_seconds = self._focus_wider = self._focus_kelvin = math.inf
        self._focus_filters: tuple[str, ...] = ()
        self._celsius: float | None = None
        """The focuser's temperature by its last word, degrees; None before the first since this agent's start."""

    @property
    def _state(self) -> MajordomeState:
        state: MajordomeState = self._agent.state
        return state

    def begin(self) -> None:
        """Read the options of the agent's section; raises ConfigError."""
        agent = self._agent
        self._cool = agent.option(*_COOL)
        self._biases = agent.option(*_BIASES)
        self._darks = agent.option(*_DARKS)
        self._flat_filters = agent.option(*_FLAT_FILTERS)
        self._focus_seconds = 3600 * agent.option(*_FOCUS)
        self._focus_wider = agent.option(*_FOCUS_WIDER) / 100
        self._focus_kelvin = agent.option(*_FOCUS_KELVIN)
        self._focus_filters = agent.option(*_FOCUS_FILTERS)
        self._gate.flats = bool(self._flat_filters)

    def note_exposures(self, exposures: tuple[Exposures, ...]) -> None:
        """Remember exposure times and binnings of an observation: darks are taken of each in the morning."""
        for each in exposures:
            binned = self._state.binned_times
            times = self._state.dark_times if each.binning == 1 else binned.setdefault(each.binning, [])
            if each.seconds not in times and len(times) < _MAX_DARK_TIMES:
                times.append(each.seconds)

    def prepare(self, reason: str) -> None:
        """Cool, and order biases."""
        self._state.prepared, self._state.biases_left = True, bool(self._biases)
        self._state.attempts = 0
        if not math.isnan(self._cool):
            self._state.cooling = True
            self._agent.send_to(Agent.CAMERA, messages.COOL, Cool(celsius=self._cool))
        self._calibrate(CalibrationOrder(id="bias", kind="bias", count=self._biases) if self._biases else None)

    def finish(self, reason: str) -> None:
        """Order darks that match the night, and biases: those that the evening had no time for, or couldn't know of."""
        orders: list[CalibrationOrder] = []
        if self._biases and self._state.biases_left:
            orders.append(CalibrationOrder(id="bias", kind="bias", count=self._biases))
        if self._darks and (times := tuple(self._state.dark_times)):
            orders.append(CalibrationOrder(id="dark", kind="dark", count=self._darks, seconds=times))
        for binning, binned in sorted(self._state.binned_times.items()):
            if self._biases:
                orders.append(CalibrationOrder(id="bias", kind="bias", count=self._biases, binning=binning))
            if self._darks:
                dark = CalibrationOrder(
                    id="dark", kind="dark", count=self._darks, seconds=tuple(binned), binning=binning
                )
                orders.append(dark)
        self._calibrate(*orders)

    def take_flats(self, reason: str) -> None:
        """Order flats, or what is missing of those that were stopped in this twilight."""
        state, part = self._state, phase(self._gate.site, self._agent.clock.now())
        if part != state.flats_twilight:
            state.flats_twilight, state.flats_failed = part, 0
            binnings = (1, *sorted(state.binned_times))  # in the evening those of the night aren't known yet
            state.flats_left = [
                CalibrationOrder(id="flat", kind="flat", filters=self._flat_filters, count=_FLATS, binning=each)
                for each in binnings
            ]
        state.flats.append(part)
        self._calibrate(*state.flats_left)

    def _flats_ended(self, order: CalibrationOrder, report: CalibrationReport, *, failed: bool, stopped: bool) -> None:
        """Note what is left of flats; where something came between, they are due again while the twilight lasts."""
        state = self._state
        state.flat = None
        complete = {each.filter for each in report.sets if len(each.images) >= order.count}
        missing = tuple(each for each in order.filters if each not in complete) if failed and report.again else ()
        left = [each for each in state.flats_left if each.binning != order.binning]
        if missing:
            left.insert(0, msgspec.structs.replace(order, id="flat", filters=missing))
            state.flats_failed += not stopped
        state.flats_left = left
        again = missing and state.flats_failed < _MAX_FLATS_FAILED
        if again and state.flats_twilight in state.flats:
            state.flats.remove(state.flats_twilight)

    def focus(self, reason: str) -> None:
        self._state.before_focus = self._state.focused, self._state.focus_temperature, self._state.sharpness
        self._state.focused, self._state.sharpness = self._agent.clock.time(), Sharpness()
        self._state.focus_temperature = self._celsius
        self._calibrate(CalibrationOrder(id="focus", kind="focus", filters=self._filters_to_focus()))

    def _filters_to_focus(self) -> tuple[str, ...]:
        """Return the first filter, and those whose offsets beside it aren't known yet."""
        others = (each for each in self._focus_filters[1:] if each not in self._state.focused_filters)
        return (*self._focus_filters[:1], *others)

    def focuser_temperature(self, message: Message) -> None:
        """Note how warm the focuser is: the focus may have to be looked for before the next observation."""
        self._celsius = message.payload.celsius
        if self._state.focus_temperature is None and self._state.focused:
            self._state.focus_temperature = self._celsius  # it wasn't known then; from here on its changes count

    def _calibrate(self, *orders: CalibrationOrder | None) -> None:
        """Order these calibrations one after the other; None is for one that isn't wanted."""
        self._state.orders = [order for order in orders if order is not None]
        if not (self._state.cooling and self._state.state is State.PREPARING):  # they wait for a cold detector
            self._next_calibration()

    def _next_calibration(self) -> None:
        self._state.calibration = ""
        if self._state.orders:
            self._state.calibrations += 1
            order = self._state.orders.pop(0)
            self._state.calibration = f"{self._state.night}-{order.kind}-{self._state.calibrations}"
            order = msgspec.structs.replace(order, id=self._state.calibration)
            if order.kind == "flat":
                self._state.flat = order
            self._agent.send_to(Agent.OBSERVATION_MANAGER, messages.CALIBRATE, order)
            return
        if self._state.state is State.FINISHING and not math.isnan(self._cool):
            self._state.cooling = False
            self._agent.send_to(Agent.CAMERA, messages.COOL, Cool())
        self._machine.happen(NightEvent.CALIBRATED, "calibrated")

    def cooling_ended(self, message: Message) -> None:
        """Go on in the evening, with a cold detector or with one that doesn't get so."""
        was_awaited, self._state.cooling = self._state.cooling, False
        self._agent.log.info("{name} {what}", name=message.name, what=message.payload)
        if was_awaited and self._state.state is State.PREPARING and not self._state.calibration:
            self._next_calibration()

    def calibration_ended(self, message: Message) -> None:
        """Go on with the next one; what has failed is not tried again in this state, but flats that were stopped."""
        report: CalibrationReport = message.payload
        self._agent.log.info("{id}: {name} {reason}", id=report.calibration, name=message.name, reason=report.reason)
        for found in report.focus:
            self._machine.note("focus", str(found.position), found.reason)
            if found.found and found.filter and found.filter not in self._state.focused_filters:
                self._state.focused_filters = [*self._state.focused_filters, found.filter][-_MAX_FILTERS:]
        if report.kind == "focus" and not report.focus:
            self._machine.note("focus", "", report.reason or message.name)
        if report.kind == "focus" and report.calibration == self._state.calibration:
            all_found = bool(report.focus) and all(each.found for each in report.focus)
            self._state.focus_missed = 0 if all_found else min(self._state.focus_missed + 1, _MAX_MISSED)
        flat, mine = self._state.flat, report.calibration == self._state.calibration
        if flat is not None and report.calibration == flat.id:
            failed = message.name == messages.CALIBRATION_FAILED
            self._flats_ended(flat, report, failed=failed, stopped=not mine)
        if report.calibration and mine:
            self._state.before_focus = None
            if report.kind == "bias" and message.name == messages.CALIBRATION_FINISHED:
                self._state.biases_left = False
            self._next_calibration()

    def stop(self, reason: str) -> None:
        """Stop what runs; a focus that was not found in its time, but stopped, is looked for again."""
        before, self._state.before_focus = self._state.before_focus, None
        lasted = self._agent.clock.time() - self._state.focused
        if before is not None and lasted < LIMIT_SECONDS[State.FOCUSING]:
            self._state.focused, self._state.focus_temperature, self._state.sharpness = before
        if self._state.calibration:
            abort = CalibrationAbort(self._state.calibration, reason)
            self._agent.send_to(Agent.OBSERVATION_MANAGER, messages.ABORT_CALIBRATION, abort)
        self._state.calibration, self._state.orders = "", []

    def image_analysed(self, message: Message) -> None:
        """Note how wide the stars are: the focus may have to be looked for before the next observation."""
        if message.payload.fwhm is not None:
            self._state.sharpness.take(message.payload.fwhm)

    def why_focus(self, *, offsets: bool = True) -> str:
        """Say why the focus is to be looked for now; '' where it isn't. With ``offsets`` unknown ones are a reason."""
        if Agent.FOCUSER not in self._agent.config.agents:
            return ""
        since = self._agent.clock.time() - self._state.focused
        if since >= self._focus_seconds:
            return f"the focus was found {_hours(since)} ago"
        if since < AT_MOST_EVERY_SECONDS * 2 ** max(0, self._state.focus_missed - 1):
            return ""
        if offsets and (unknown := [each for each in self._focus_filters if each not in self._state.focused_filters]):
            return f"the focus was never found through {', '.join(unknown)}"
        if self._celsius is not None and self._state.focus_temperature is not None:
            change = self._celsius - self._state.focus_temperature
            if abs(change) >= self._focus_kelvin:
                return f"the focuser's temperature has changed by {change:+.1f} K"
        return self._state.sharpness.why_focus(self._focus_wider)

    def why_focus_at_leisure(self, part: Phase, *, offsets: bool = False) -> str:
        """Say why the focus is to be looked for though nothing is to be observed; '' where it isn't, or may not be.

        So the next alert, which waits for no focus, finds a good one. At the night's end there would be no use in it.
        """
        end = self._agent.clock.now() + timedelta(seconds=LIMIT_SECONDS[State.FOCUSING])
        may = part == phase(self._gate.site, end) == "night" and not self._gate.reason_closed()
        return (
            self.why_focus(offsets=offsets) if may and self._agent.clock.monotonic() >= self._gate.pause_until else ""
        )

    def why_open_to_focus(self, part: Phase, night: str) -> str:
        """Say the same where the dome would have to open for it: only where it wasn't looked for in this night yet."""
        first = night_name(self._gate.site, self._state.focused) < night
        return self.why_focus_at_leisure(part, offsets=True) if first else ""

    def flats_are_due(self, part: Phase) -> bool:
        """Whether the twilight is right for flats of the sky, none were begun in it, and the dome may be open."""
        if (
            not self._flat_filters
            or part not in ("evening", "morning")
            or part in self._state.flats
            or self._state.over
        ):
            return False
        now = self._agent.clock.now()
        low, highest = sun_altitude(self._gate.site, now), 90 - abs(self._gate.site.latitude - sun(now)[1])
        dark = self._gate.site.twilight <= low < min(_FLATS_SUN, self._gate.site.dome_sun_limit)
        return (
            dark
            and highest >= _FLATS_NOON
            and not self._gate.reason_closed(flats=True)
            and self._agent.clock.monotonic() >= self._gate.pause_until
        )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 1e6 else "long"
