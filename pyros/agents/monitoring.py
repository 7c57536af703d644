"""Monitoring: judges the weather, and says so each quarter minute; its silence is as good as bad weather.

Where there is a safety monitor, its word counts as well: nothing is safe while it says unsafe, or is silent. A reading
is as old as its measurement, whatever it has waited for since, and one that is too old is none; after a start nothing
counts that was heard before. Monitoring also keeps what the instruments last told of themselves, for people.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import msgspec
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.threads import deferToThreadPool

from pyros import messages, time_server
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.agents.safety_rules import CLOCK_STALE_SECONDS, HOUR, Broken, Facts, judge, rules
from pyros.errors import PlanningError
from pyros.instruments.plausible import impossible
from pyros.messages import (
    AlarmEnded,
    AlarmRaised,
    AlertSource,
    ImageAnalysed,
    InstrumentConnection,
    Message,
    Payload,
    PowerReading,
    SafetyReading,
    Telemetry,
    WeatherReading,
    WeatherState,
)
from pyros.nights import weather_log
from pyros.planning import Site
from pyros.planning.night_log import night_name
from pyros.planning.visibility import sun_altitude
from pyros.quantities import names, number, positive
from pyros.reactor import Reactor

WEATHER_SILENT = messages.guard("Weather silent", fleeting=True)
ASK_CLOCK = messages.guard("Ask the clock's offset", fleeting=True)
_CLOCK_EVERY_SECONDS = 600.0
_FLAPPING = "flapping"
_ABSENCE = "absence"
_REQUIRED = ("weather", "dome", "telescope")
"""The devices without which it is unsafe, where the observatory has them. The UPS counts by its own word's age."""
_INSTRUMENTS = 100
_ALARMS = 200
_NUMBER = re.compile(r"-?[0-9.]+")
_WORDS = 4
"""What stays as it is, is said so often within the silence that others bear, or as often as there are readings."""
_WAVERING = {"temperature": (), "humidity": (100.0,), "wind": (0.0,), "gust": (0.0,)}
"""The quantities that are never the same for long, and the values at which a sensor may well stay: calm, fog."""


def _quantities(text: str) -> tuple[str, ...]:
    if unknown := [word for word in names(text) if word not in _WAVERING]:
        raise ValueError(f"has {unknown[0]}, which is none of {', '.join(_WAVERING)}")
    return names(text)


SAFE_AFTER: AgentOption[float | None] = AgentOption("safe_after", number(0.0), None)
FROZEN_AFTER: AgentOption[float | None] = AgentOption("frozen_after", positive, None)
_COARSE: AgentOption[tuple[str, ...]] = AgentOption("coarse", _quantities, ())


class SafetyWord(msgspec.Struct, frozen=True):
    """What the safety monitor said, and when it was asked (monotonic seconds)."""

    reading: SafetyReading
    measured: float = 0.0


class PowerWord(msgspec.Struct, frozen=True):
    """What the UPS said, and when it was asked (monotonic seconds)."""

    reading: PowerReading
    measured: float = 0.0


class ClockWord(Payload, frozen=True):
    """What was found out about the computer's clock."""

    offset: float | None
    """By how much it is off, seconds; None where nobody knows."""
    source: str
    """Who says so; or why nobody can."""


CLOCK_ASKED = messages.register("Clock's offset asked", ClockWord, guarded=True, fleeting=True)


class Unchanged(msgspec.Struct, frozen=True):
    """The value that a sensor says, and since when it has said exactly that (monotonic seconds)."""

    value: float | bool
    since: float


class Link(msgspec.Struct, frozen=True):
    """Whether an instrument is connected, or a source of alerts is heard.

    With its name and address or why not, and since when (Unix seconds).
    """

    connected: bool
    text: str
    since: float


class StandingAlarm(msgspec.Struct, frozen=True):
    """An alarm that isn't over: who raised it, what it is about, what it says, and since when (Unix seconds)."""

    source: str
    key: str
    text: str
    since: float


class MonitoringState(msgspec.Struct):
    """What monitoring has heard and said."""

    safe: bool | None = None
    """What was said last; None until the first reading."""
    said: float = 0.0
    """When that was, Unix seconds: only to tell a short absence from a long one."""
    broken: dict[str, Broken] = {}
    """The rules of the safety table that are broken, or not good for long enough, by their names."""
    closings: list[float] = []
    """When it became unsafe within the last hour, monotonic seconds."""
    closings_night: int = 0
    """How often it did in the night ``night``."""
    night: str = ""
    """The date of the last night that was counted."""
    shut: bool = False
    """Whether it became unsafe so often that a person must release it."""
    power: PowerWord | None = None
    """What the UPS has said last."""
    battery_since: float | None = None
    """Since when it is on battery, monotonic seconds; None while it isn't."""
    away_since: dict[str, float] = {}
    """By required device that isn't connected: since when, monotonic seconds."""
    last: WeatherReading | None = None
    """The weather station's last reading, for people."""
    measured: float | None = None
    """When that was measured, monotonic seconds; None until one has come since the start."""
    unchanged: dict[str, Unchanged] = {}
    """By quantity: what each sensor says, and since when."""
    safety: SafetyWord | None = None
    """The safety monitor's last word."""
    links: dict[str, Link] = {}
    """By instrument."""
    alert_sources: dict[str, Link] = {}
    """By their names."""
    telemetry: dict[str, Telemetry] = {}
    """The last of each instrument."""
    last_image: ImageAnalysed | None = None
    """What the analyzer found in the last image."""
    alarms: list[StandingAlarm] = []
    """Those that aren't over, the oldest first."""


class MonitoringAgent(Agent):
    """Turns *Weather reading* and *Safety reading* into *Weather safe* and *Weather unsafe* for majordome and dome.

    It judges by the safety table (`pyros.agents.safety_rules`), whose limits are keys of its section. Options there:
    ``option_safe_after`` are seconds that replace every quiet time of the table, ``option_frozen_after`` those after
    which a sensor that always says the same counts as out of order; ``option_coarse = temperature`` names those that
    are too coarse for that.
    """

    OPTIONS: ClassVar[OptionTable] = (SAFE_AFTER, FROZEN_AFTER, _COARSE)
    state: MonitoringState

    def __init__(self) -> None:
        super().__init__(Agent.MONITORING)
        self.actions_by_message |= {
            messages.WEATHER_READING: self.weather_reading,
            messages.SAFETY_READING: self.safety_reading,
            messages.POWER_READING: self.power_reading,
            messages.TELEMETRY: self.telemetry,
            messages.INSTRUMENT_CONNECTED: self.instrument_connected,
            messages.INSTRUMENT_DISCONNECTED: self.instrument_disconnected,
            messages.ALERT_DECIDED: self.alert_decided,
            messages.ALERTS_SILENT: self.alerts_silent,
            messages.ALERTS_HEARD: self.alerts_heard,
            messages.IMAGE_ANALYSED: self.image_analysed,
            WEATHER_SILENT: self.weather_silent,
            ASK_CLOCK: self.ask_clock,
            CLOCK_ASKED: self.clock_asked,
            messages.ALARM: self.alarm_raised,
            messages.ALARM_OVER: self.alarm_ended,
        }
        self._silence_timer: int | None = None
        """When the weather station counts as silent."""
        self._began = 0.0
        self._offset = 0.0
        """Of the wall clock to the monotonic one when that was looked at last, seconds."""
        self._clock_word: ClockWord | None = None
        self._clock_asked = -math.inf
        """When the clock's offset was told last, monotonic seconds."""
        self._wavering = _WAVERING
        self._logged = -math.inf
        """When a reading was kept for the curves last, monotonic seconds."""
        self._told: tuple[tuple[str, bool], float] = ("", False), -math.inf
        """Why it was unsafe by the last word, and when that was said."""

    def site_changed(self, site: Site) -> None:
        self._site: Site | None = site

    def work(self) -> None:
        """Until a reading has come, nothing is safe; and what was heard before this start counts no more."""
        limits = self.config.limits
        frozen = self.option(*FROZEN_AFTER) or limits.frozen
        self.in_transaction(weather_log.prepare)
        self._limits = msgspec.structs.replace(limits, frozen=frozen)
        quiet = self.option(*SAFE_AFTER)
        self._rules = rules(self._limits, quiet)
        self._quiet = limits.quiet if quiet is None else quiet
        self._site = Site.load(self.config.site) if self.config.site.is_file() else None
        coarse = self.option(*_COARSE)
        self._wavering = {quantity: still for quantity, still in _WAVERING.items() if quantity not in coarse}
        self._began = self.clock.monotonic()
        self._offset = self.clock.time() - self._began
        self.state.measured = self.state.safety = None
        for broken in self.state.broken.values():
            broken.good_since = None  # nobody has looked meanwhile
        self.state.closings = [each for each in self.state.closings if 0 <= self._began - each < HOUR]
        self.state.away_since = {name: self._began for name, link in self.state.links.items()
                                 if name in _REQUIRED and not link.connected}  # fmt: skip
        self.state.unchanged = {}
        self.state.alarms = [alarm for alarm in self.state.alarms if alarm.source != self.name]
        away = self.clock.time() - self.state.said
        if self.state.safe and not 0 <= away <= self.config.limits.max_silence:
            self.state.safe = False  # what the weather did meanwhile nobody knows: the quiet time counts from now
        if self.state.safe is False and not self.state.broken:
            self.state.broken[_ABSENCE] = Broken("nobody has looked at the weather", None, self._quiet)
        self._expect_reading(self._began)
        if not self.config.simulated:  # else the clock of this computer says nothing about the observatory's
            self.call_later(0.0, ASK_CLOCK)

    def attach(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def figures(self) -> dict[str, Any]:
        """Tell what is known about the computer's clock, too."""
        word = self._clock_word
        return {} if word is None else {"clock_offset": word.offset, "clock_source": word.source}

    def ask_clock(self) -> None:
        """Have chrony or systemd-timesyncd asked how far the clock is off, every ten minutes."""
        self.call_later(_CLOCK_EVERY_SECONDS, ASK_CLOCK)
        self.after_commit(self._ask_clock)

    def _ask_clock(self) -> None:
        """In the reactor's thread: ask in one of its pool, for the programs may need seconds; not in a rehearsal."""
        if not IReactorProcess.providedBy(self._reactor):
            return
        asked = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), time_server.clock_offset)
        asked.addCallback(lambda found: self.post_to_self(CLOCK_ASKED, ClockWord(found.seconds, found.source)))
        asked.addErrback(
            lambda failure: self.log.failure("the offset of the computer's clock could not be read", failure)
        )

    def clock_asked(self, message: Message) -> None:
        """Take the answer. Where nobody can be asked the log says so, once."""
        before, word = self._clock_word, message.payload
        self._clock_word = word
        if word.offset is None:
            if before is None or before.offset is not None:
                self.log.info("{why}: the rule of the clock's offset says nothing", why=word.source)
            return
        self._clock_asked = self.clock.monotonic()
        if self.state.measured is not None:
            self._judge()

    def weather_reading(self, message: Message) -> None:
        reading: WeatherReading = message.payload
        measured = message.said - reading.age
        if self._too_old(measured, "a reading of the weather"):
            return
        if self.state.measured is not None and measured < self.state.measured:
            return  # a newer one was faster
        self.state.last, self.state.measured = reading, measured
        self._note_unchanged(reading, measured)
        if self.clock.monotonic() - self._logged >= weather_log.EVERY_SECONDS:
            self._logged, now = self.clock.monotonic(), self.clock.time()
            self.in_transaction(lambda db: weather_log.write(db, now, reading))
        self._keep(Telemetry(self.WEATHER, "ok", self.clock.time(), _values(reading)))
        self._expect_reading(measured)
        self._judge()

    def safety_reading(self, message: Message) -> None:
        """Take the safety monitor's word: unsafe counts at once, safe with the next reading of the weather.

        Safe counts at once, too, where there is no weather station, and where its reading was waiting for the safety
        monitor's first word.
        """
        reading: SafetyReading = message.payload
        measured = message.said - reading.age
        if reading.safe and self._too_old(measured, "the safety monitor's word"):
            return
        awaited = self.state.safety is None and self.state.measured is not None
        self.state.safety = SafetyWord(reading, max(measured, self._began))
        state = "safe" if reading.safe else "unsafe"
        self._keep(Telemetry(self.SAFETY, state, self.clock.time(), {"reason": reading.reason}))
        if self.WEATHER not in self.config.agents:
            self._expect_reading(self.state.safety.measured)
            self._judge()
        elif awaited or not reading.safe:
            self._judge()

    def _too_old(self, measured: float, what: str) -> bool:
        age = self.clock.monotonic() - measured
        if age > self.config.limits.max_silence:
            self.log.warn("{what} is {age:.0f} s old, and doesn't count", what=what, age=age)
            return True
        return False

    def _note_unchanged(self, reading: WeatherReading, measured: float) -> None:
        """Remember since when each sensor has said what it says now."""
        values = {key: value for key, value in msgspec.structs.asdict(reading).items() if key != "age"}
        for quantity, value in values.items():
            before = self.state.unchanged.get(quantity)
            if value is None:
                self.state.unchanged.pop(quantity, None)
            elif before is None or before.value != value:
                self.state.unchanged[quantity] = Unchanged(value, measured)

    def power_reading(self, message: Message) -> None:
        """Take the UPS's word. One that is too old is none; from the first one on its silence is unsafe, too."""
        reading: PowerReading = message.payload
        measured = message.said - reading.age
        if self.clock.monotonic() - measured > self._limits.power_silence:
            return
        before = self.state.power
        if before is not None and measured < before.measured:
            return  # a newer one was faster
        self.state.power = PowerWord(reading, measured)
        if reading.on_mains:
            self.state.battery_since = None
        elif self.state.battery_since is None:
            self.state.battery_since = measured
        state = "mains" if reading.on_mains else "battery"
        self._keep(Telemetry("ups", state, self.clock.time(), {"charge": reading.charge}))
        self._judge()

    def _judge(self) -> None:
        """Say whether it is safe, by the safety table and what was heard last."""
        now, reading = self.clock.monotonic(), self.state.last
        verdict = judge(self._rules, self._facts(now), self.state.broken)
        if verdict.reason:
            self._say(False, verdict.reason, reading)
        elif not_heard := self._not_heard_yet():
            # Not bad, only not known to be good: nobody has to wait long after that.
            if now - self._began > self.config.limits.max_silence:
                self._tell(False, not_heard, reading)
        elif self.state.shut:
            self._say(False, self._shut_text(), reading)
        elif verdict.wait > 0:
            was = ", ".join(broken.reason for broken in self.state.broken.values())
            self._say(False, f"good again, safe in {verdict.wait:.0f} s (it was: {was})", reading)
        else:
            self._say(True, "all readings are within their limits", reading)

    def _facts(self, now: float) -> Facts:
        heard = self.state.measured is not None and self.WEATHER in self.config.agents
        reading, power = self.state.last if heard else None, self.state.power
        station = self._station_problem(reading) if reading is not None else ""
        return Facts(
            now=now,
            reading=None if station else reading,
            station=station,
            frozen=self._frozen() if reading is not None else "",
            safety=self._unsafe_by_safety(),
            power=None if power is None else power.reading,
            power_age=0.0 if power is None else now - power.measured,
            battery_since=self.state.battery_since,
            away=self._away(now),
            step=self._clock_step(now),
            clock_offset=self._offset_told(now),
        )

    def _away(self, now: float) -> str:
        """Which required device has been away for too long, in words; '' for none."""
        for device, since in self.state.away_since.items():
            if device in self.config.agents and now - since >= self._limits.missing:
                return f"the {device} has been away for {now - since:.0f} s"
        return ""

    def _clock_step(self, now: float) -> str:
        """By how much the wall clock has stepped since the last look, in words; '' when it hasn't."""
        before, self._offset = self._offset, self.clock.time() - now
        step = self._offset - before
        return f"the clock has stepped by {step:+.0f} s" if abs(step) > self._limits.clock_step else ""

    def _offset_told(self, now: float) -> float | None:
        """Return by how much the clock is off; None where that isn't known, or isn't any more."""
        word = self._clock_word
        return word.offset if word is not None and now - self._clock_asked <= CLOCK_STALE_SECONDS else None

    def _not_heard_yet(self) -> str:
        """Who has said nothing since this agent's start."""
        if self.WEATHER in self.config.agents and self.state.measured is None:
            return "no reading of the weather yet"
        if self.SAFETY in self.config.agents and self.state.safety is None:
            return "no word from the safety monitor yet"
        if self.UPS in self.config.agents and self.state.power is None:
            return "no word from the UPS yet"
        return ""

    def _station_problem(self, reading: WeatherReading) -> str:
        """Tell what is wrong with the weather station, in words; '' when nothing is."""
        silent = self.clock.monotonic() - (self.state.measured or 0.0)
        if silent > self.config.limits.max_silence:
            return f"no reading of the weather for {silent:.0f} s"
        if problem := impossible(reading):
            return f"the weather station is out of order: {problem}"
        if reading.rain is reading.wind is reading.humidity is reading.cloud is None:
            return "the weather station measures neither rain nor wind, humidity or cloud"
        return ""

    def _frozen(self) -> str:
        """Which sensor says the same for ever, in words; '' when none does."""
        now, unchanged = self.clock.monotonic(), self.state.unchanged
        same = {quantity: now - each.since for quantity, each in unchanged.items()}
        if same and min(same.values()) >= self._limits.frozen:
            return f"the weather station has said exactly the same for {min(same.values()):.0f} s"
        for quantity, still in self._wavering.items():
            seconds = same.get(quantity, 0.0)
            if seconds >= self._limits.frozen and unchanged[quantity].value not in still:
                return f"the sensor for {quantity} has said {unchanged[quantity].value:g} for {seconds:.0f} s"
        return ""

    def _unsafe_by_safety(self) -> str:
        """Why the safety monitor keeps it unsafe; '' when it doesn't, or there is none."""
        word = self.state.safety
        if word is None or self.SAFETY not in self.config.agents:
            return ""
        if not word.reading.safe:
            return f"the safety monitor says unsafe: {word.reading.reason or 'it gives no reason'}"
        silent = self.clock.monotonic() - word.measured
        return f"no word from the safety monitor for {silent:.0f} s" if silent > self.config.limits.max_silence else ""

    def weather_silent(self) -> None:
        """Tell that the weather station says nothing."""
        self._silence_timer = None
        reason = f"no reading for {self.config.limits.max_silence:g} s"
        self.state.broken["station"] = Broken(reason, None, self._quiet)
        self._say(False, reason, None)
        self._expect_reading(self.clock.monotonic())

    def alert_decided(self, message: Message) -> None:
        """Kept in the journal, for `pyros alert` and for people."""

    def alerts_silent(self, message: Message) -> None:
        """Nobody else would notice that no alert can come."""
        said: AlertSource = message.payload
        self._source(message, False)
        self.log.critical("no alert can come from {source}: {text}", source=said.source, text=said.text)

    def alerts_heard(self, message: Message) -> None:
        self._source(message, True)

    def _source(self, message: Message, heard: bool) -> None:
        said: AlertSource = message.payload
        if said.source in self.state.alert_sources or len(self.state.alert_sources) < _INSTRUMENTS:
            self.state.alert_sources[said.source] = Link(heard, said.text, message.sent)

    def alarm_raised(self, message: Message) -> None:
        """Keep it for `pyros status`, until it is over."""
        alarm: AlarmRaised = message.payload
        kept = [each for each in self.state.alarms if (each.source, each.key) != (alarm.source, alarm.key)]
        since = next((each.since for each in self.state.alarms if each not in kept), message.sent)
        kept.append(StandingAlarm(alarm.source, alarm.key, alarm.text, since))
        self.state.alarms = sorted(kept, key=lambda each: each.since)[-_ALARMS:]
        self.log.critical("alarm of {source}: {text}", source=alarm.source, text=alarm.text)
        self._pass_on(message)

    def alarm_ended(self, message: Message) -> None:
        """One alarm, or every alarm of a source that has begun anew."""
        over: AlarmEnded = message.payload
        self.state.alarms = [
            each for each in self.state.alarms if each.source != over.source or over.key not in ("", each.key)
        ]
        self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        """Tell the notifier of an alarm that isn't an agent's own: agents tell it themselves, the guardian does not."""
        if message.payload.source not in self.config.agents:
            self.send_if_there(self.NOTIFIER, message.name, message.payload)

    def report_alarm(self, message: Message) -> None:
        """Keep or end an alarm of monitoring's own."""
        super().report_alarm(message)
        (self.alarm_raised if message.name == self.TELL_ALARM else self.alarm_ended)(message)

    def telemetry(self, message: Message) -> None:
        self._keep(message.payload)

    def instrument_connected(self, message: Message) -> None:
        self._link(message, True)

    def instrument_disconnected(self, message: Message) -> None:
        self._link(message, False)
        self.log.warn("{text}", text=message.payload.text)

    def _link(self, message: Message, connected: bool) -> None:
        connection: InstrumentConnection = message.payload
        name = self.config.short_name(connection.instrument)
        if name in self.state.links or len(self.state.links) < _INSTRUMENTS:
            self.state.links[name] = Link(connected, connection.text, message.sent)
        if connected:
            self.state.away_since.pop(name, None)
        elif name in _REQUIRED:
            self.state.away_since.setdefault(name, max(message.said, self._began))

    def _keep(self, telemetry: Telemetry) -> None:
        name = self.config.short_name(telemetry.instrument)
        if name in self.state.telemetry or len(self.state.telemetry) < _INSTRUMENTS:
            self.state.telemetry[name] = telemetry

    def image_analysed(self, message: Message) -> None:
        """How good the images are is worth knowing when something goes wrong with them."""
        report: ImageAnalysed = message.payload
        self.state.last_image = report
        if report.problem:
            self.log.warn("an image of {id}: {problem}", id=report.observation, problem=report.problem)
        else:
            self.log.info(
                "an image of {id}: {sources} sources, stars of {fwhm:.1f} arcseconds, {new} new",
                id=report.observation, sources=report.sources, fwhm=report.fwhm or 0.0, new=report.new,
            )  # fmt: skip

    def _expect_reading(self, measured: float) -> None:
        """Hear of it when no newer reading has come in time; ``measured`` is the last one's instant."""
        self.cancel_timer(self._silence_timer)
        left = self.config.limits.max_silence - (self.clock.monotonic() - measured)
        self._silence_timer = self.call_later(max(0.0, left), WEATHER_SILENT)

    def _say(self, safe: bool, reason: str, reading: WeatherReading | None) -> None:
        """Say it, again and again: the dome's leave to be open ends with the silence; see `_is_told`."""
        if self.state.safe and not safe:
            self._count_closing()
            reason += self._why_longer()
        self._tell(safe, reason, reading, new=safe != self.state.safe)
        if safe != self.state.safe:
            self.log.info(
                "{what}: {reason}", what=messages.WEATHER_SAFE if safe else messages.WEATHER_UNSAFE, reason=reason
            )
        self.state.safe, self.state.said = safe, self.clock.time()

    def _count_closing(self) -> None:
        """Count how often it has become unsafe by night: the more often, the longer it stays so."""
        now, when = self.clock.monotonic(), self.clock.now()
        night = f"{when:%Y-%m-%d}"
        if self._site is not None:
            try:
                night = night_name(self._site, when.timestamp())
                if sun_altitude(self._site, when) >= self._site.dome_sun_limit:
                    return
            except PlanningError as error:
                self.log.warn("{error}", error=error)
        if night != self.state.night:
            self.state.night, self.state.closings_night = night, 0
        self.state.closings_night += 1
        self.state.closings = [each for each in self.state.closings if 0 <= now - each < HOUR] + [now]
        if len(self.state.closings) >= self._limits.closings_hour:
            text = f"unsafe {len(self.state.closings)} times within an hour"
            self.state.broken[_FLAPPING] = Broken(text, None, HOUR)
        if self.state.closings_night >= self._limits.closings_night and not self.state.shut:
            self.state.shut = True
            text = f"it has become unsafe {self.state.closings_night} times this night: the dome stays shut until"
            self.alarm(_FLAPPING, f"{text} you release it (pyros release); look at the weather and the station")

    def _shut_text(self) -> str:
        return f"unsafe {self.state.closings_night} times in a night: shut until a person releases it"

    def _why_longer(self) -> str:
        """Say in brackets why it stays unsafe for longer than its reason; '' where it doesn't."""
        flapping = self.state.broken.get(_FLAPPING)
        why = self._shut_text() if self.state.shut else flapping.reason if flapping is not None else ""
        return f" ({why})" if why else ""

    def on_release(self) -> None:
        """Forget how often it has become unsafe: a person has looked."""
        self.state.shut, self.state.closings, self.state.closings_night = False, [], 0
        self.state.broken.pop(_FLAPPING, None)
        self.alarm_over(_FLAPPING)

    def _tell(self, safe: bool, reason: str, reading: WeatherReading | None, *, new: bool = False) -> None:
        name = messages.WEATHER_SAFE if safe else messages.WEATHER_UNSAFE
        wet = not safe and self._wet(reading)
        if self._is_told("" if safe else _NUMBER.sub("", reason), wet) and not new:
            return
        state = WeatherState(reason=reason, reading=reading, age=self._age(), wet=wet)
        self.send_if_there(self.DOME, name, state, durable=new)
        self.send_if_there(self.MAJORDOME, name, state, durable=new)
        if (telescope := self.config.agents.get(self.TELESCOPE)) is not None and telescope.open_air:
            self.send_to(self.TELESCOPE, name, state, durable=new)
        self.send_if_there(self.CENTRAL_SCHEDULER, name, state)
        if new:
            self.send_if_there(self.NOTIFIER, name, state, durable=True)

    def _is_told(self, unsafe: str, wet: bool) -> bool:
        """Whether the same was told of late: it means nothing more at each reading.

        ``unsafe``: why, without figures, and whether it is ``wet``; '' when it is safe.
        """
        now, (before, when) = self.clock.monotonic(), self._told
        if (unsafe, wet) == before and now - when < self.config.limits.max_silence / _WORDS:
            return True
        self._told = (unsafe, wet), now
        return False

    def _age(self) -> float:
        """Seconds since the oldest measurement that the word rests on."""
        word = self.state.safety if self.SAFETY in self.config.agents else None
        instants = [self.state.measured, word.measured if word is not None else None]
        now = self.clock.monotonic()
        return max((now - instant for instant in instants if instant is not None), default=0.0)

    def _wet(self, reading: WeatherReading | None) -> bool:
        """Whether it rains, as far as anybody can tell: without a word of rain, the safety monitor's counts."""
        if reading is None:
            return True
        if reading.rain is None:
            return self.state.safety is None or not self.state.safety.reading.safe
        return reading.rain or bool(impossible(reading))


def _values(reading: WeatherReading) -> dict[str, float | str | None]:
    return {**msgspec.structs.asdict(reading), "rain": None if reading.rain is None else float(reading.rain)}
