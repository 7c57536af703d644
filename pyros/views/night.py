"""The state of the night in one struct: what goes on, whether it is safe and why, dome, telescope, holds and agents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from pyros import messages
from pyros.errors import PlanningError
from pyros.hold import Hold
from pyros.journal import JournalFigures, JournalReader
from pyros.messages import Observation, Plan, Telemetry
from pyros.nights import diary
from pyros.planning.visibility import altitude_azimuth
from pyros.printable import clock_time
from pyros.views.events import short_name
from pyros.views.observed import Observed
from pyros.views.states import Majordome, Monitoring, ObservationManager, SeenAlarm, SeenInstrument

_DOME_WORDS = {messages.DOME_OPENED: "open", messages.DOME_CLOSED: "closed"}
_LAST_MESSAGES = 100
"""Of the majordome, in which the dome's last word is looked for."""
WORDS = {
    "": "NOT RUN YET", "closed": "CLOSED", "preparing": "PREPARING", "ready": "READY", "opening": "OPENING",
    "flats": "FLATS", "focusing": "FOCUSING", "observing": "OBSERVING", "closing": "CLOSING",
    "finishing": "FINISHING", "held": "HELD", "fault": "FAULT",
}  # fmt: skip
WAITING = "WAITING"
"""In the place of OBSERVING, while the dome is open and nothing is due."""
_SENTENCES = {
    "": "no majordome has run here yet", "closed": "day: nothing moves", "preparing": "the night is prepared",
    "ready": "closed and parked", "opening": "the dome is told to open", "flats": "flats of the twilight",
    "focusing": "the focus is looked for", "observing": "nothing is due", "closing": "told to close and to park",
    "finishing": "the last calibrations of the night", "held": "nothing moves, but closing",
    "fault": "the dome does not obey",
}  # fmt: skip
_PHASES = {
    "slewing": "the telescope slews", "ready": "about to expose", "centring": "the field is centred",
    "waiting": "waits for a device",
}  # fmt: skip


class SafetyView(msgspec.Struct, frozen=True):
    """Whether the dome may be open by the weather and the other rules of the safety table."""

    safe: bool | None
    """None where nobody knows: monitoring doesn't run, or has not heard enough."""
    text: str
    """Why, for people; never cut it."""
    since: float | None = None
    """When it became so, Unix seconds."""
    good_in: float | None = None
    """Seconds until it is safe if all stays as good as it is now; None while something is bad, or safe."""
    monitor: str = ""
    """The safety monitor's own word; '' where there is none."""


class DomeView(msgspec.Struct, frozen=True):
    """The dome, by its last word."""

    state: str
    """As in `pyros.instruments.interfaces`; ``unknown`` where nobody knows."""
    since: float | None = None
    """When it became so, Unix seconds; None where that isn't known any more."""
    said: float | None = None
    """When it was said last, Unix seconds."""
    azimuth: float | None = None
    """Of the slit, degrees from north through east; None for a roof."""
    text: str = ""
    """What became of its shutter last, where something went wrong."""
    lease: float | None = None
    """Until when it stays open if nobody says anything further, Unix seconds, by its telemetry; None when closed."""


class TelescopeView(msgspec.Struct, frozen=True):
    """Where the telescope looks."""

    state: str
    """As in `pyros.instruments.interfaces`."""
    ra: float
    """ICRS, degrees."""
    dec: float
    """ICRS, degrees."""
    altitude: float
    """Degrees."""
    azimuth: float
    """Degrees from north through east."""
    said: float
    """When that was measured, Unix seconds."""


class AgentView(msgspec.Struct, frozen=True):
    """One agent, or the broker."""

    name: str
    """Its name."""
    up: bool | None
    """Whether it runs; None where that cannot be known."""
    taken: int = 0
    """Messages that it has taken."""
    failed: int = 0
    """Messages that its handlers failed at; counted up to `pyros.journal.MAX_COUNTED`, as the next two."""
    waiting: int = 0
    """Messages that wait for others."""
    refused: int = 0
    """Messages that others have refused."""
    problem: str = ""
    """Why its journal cannot be read; '' where it can, or the agent has never run."""


class TargetView(msgspec.Struct, frozen=True):
    """What is observed now."""

    id: str
    """The observation's id."""
    name: str
    """The target's name."""
    event: str
    """The event that it is for; '' for none."""
    ra: float
    """ICRS, degrees."""
    dec: float
    """ICRS, degrees."""
    phase: str
    """What is done for it: slewing, ready, centring, exposing, waiting."""
    image: int
    """The number of the image that is taken, or comes next."""
    of: int
    """How many there are to be."""
    filter: str
    """Its filter."""
    seconds: float
    """Its exposure, seconds."""


class NightState(msgspec.Struct, frozen=True, kw_only=True):
    """All that must agree about the night at one moment."""

    observatory: str
    """Its name."""
    now: float
    """The observatory's time, Unix seconds."""
    word: str
    """The night's state in one word for people, in capitals."""
    state: str
    """The same as the majordome calls it; '' where it has never run."""
    text: str
    """What goes on, in a sentence."""
    progress: float | None = None
    """The share of the observation's images that there are, 0 to 1; None while nothing is observed."""
    ends: float | None = None
    """When what is observed ends by the plan, Unix seconds."""
    target: TargetView | None = None
    """What is observed."""
    safety: SafetyView
    """Safe or not."""
    dome: DomeView | None = None
    """None where there is no dome."""
    telescope: TelescopeView | None = None
    """None while it has not said where it looks."""
    hold: Hold | None = None
    """Who holds the observatory."""
    service_left: float = 0.0
    """Seconds of the service by hand that goes on; 0 without."""
    alarms: tuple[SeenAlarm, ...] = ()
    """Those that aren't over, the oldest first."""
    agents: tuple[AgentView, ...] = ()
    """All of the configuration, and the broker."""

    @property
    def up(self) -> int:
        """How many agents run."""
        return sum(agent.up is True for agent in self.agents)

    @property
    def down(self) -> tuple[str, ...]:
        """The names of those that don't."""
        return tuple(agent.name for agent in self.agents if agent.up is False)

    @property
    def failed(self) -> int:
        """How many messages have failed and were not handled since."""
        return sum(agent.failed for agent in self.agents)


def state(observed: Observed) -> NightState:
    """Return the state of the night. A few milliseconds; raises nothing for a journal that cannot be read.

    Of several telescopes: what of it is all telescopes', such as whether it is safe at each; see `several`.
    """
    return several(observed, {each.config.unit: _state(each) for each in observed.telescopes})


def several(observed: Observed, nights: Mapping[str, NightState]) -> NightState:
    """Return the state of the whole's night, given that of each of several telescopes, by its unit."""
    whole = _state(observed)
    if not nights:
        return whole
    said = [f"{unit} {night.word.lower()}" for unit, night in nights.items()]
    unsafe = [f"{unit}: {night.safety.text}" for unit, night in nights.items() if night.safety.safe is not True]
    verdicts = {night.safety.safe for night in nights.values()}
    safety = SafetyView(
        False if False in verdicts else None if None in verdicts else True,
        "; ".join(dict.fromkeys(unsafe)) or f"at {', '.join(nights)}",
    )
    alarms = {(alarm.source, alarm.key): alarm for night in nights.values() for alarm in night.alarms}
    return msgspec.structs.replace(
        whole,
        word=f"{len(nights)} TELESCOPE{'S' * (len(nights) > 1)}",
        text=", ".join(said),
        safety=safety,
        alarms=tuple(sorted(alarms.values(), key=lambda alarm: alarm.since)),
    )


def _state(observed: Observed) -> NightState:
    now = observed.time()
    agents = _agents(observed)
    up = {agent.name: agent.up for agent in agents}
    monitoring = observed.state("monitoring", Monitoring)
    majordome = observed.state("majordome", Majordome)
    manager = observed.state("observation_manager", ObservationManager)
    since, reason, weather_since, dome_word = _majordomes(observed)
    safety = _safety(observed, monitoring, up.get("monitoring"), weather_since)
    target = _target(manager) if majordome.state in ("observing", "flats", "focusing") else None
    hold = observed.holds.hold
    word, text = _words(observed, majordome, target, safety, hold, up.get("majordome"), since, reason)
    total = target.of if target is not None else 0
    return NightState(
        observatory=observed.config.name, now=now, word=word, state=majordome.state, text=text,
        progress=min(1.0, manager.done / total) if total else None,
        ends=_ends(majordome, target), target=target, safety=safety,
        dome=_dome(observed, monitoring, dome_word) if "dome" in observed.config.agents else None,
        telescope=_telescope(observed, monitoring.telemetry.get("telescope"), manager, now),
        hold=hold, service_left=observed.holds.service_left(), alarms=tuple(monitoring.alarms), agents=agents,
    )  # fmt: skip


def _agents(observed: Observed) -> tuple[AgentView, ...]:
    alive = observed.running()
    return tuple(_agent(observed, name, alive[observed.path(name)]) for name in observed.names)


def _agent(observed: Observed, name: str, up: bool | None) -> AgentView:
    figures = observed.kept(name, "figures", JournalReader.figures, JournalFigures(0, 0, 0, 0))
    return AgentView(name, up, *figures, problem=observed.problems.get(name, ""))


def _majordomes(observed: Observed) -> tuple[float | None, str, float | None, tuple[str, float] | None]:
    """Return from the majordome's journal: when its state began and why, when the weather turned, the dome's word."""
    last = observed.kept("majordome", "last state", lambda journal: diary.last(journal, "state"), None)
    since, reason = (last.time, last.reason) if last is not None else (None, "")
    turned = observed.kept("majordome", "last weather", lambda journal: diary.last(journal, "weather"), None)
    weather = turned.time if turned is not None else None
    return since, reason, weather, _dome_word(observed)


_ReadWord = tuple[int, tuple[str, float] | None]
"""Up to which message the majordome's journal was read, and the dome's last word among them with its time."""


def _dome_word(observed: Observed) -> tuple[str, float] | None:
    """Return what the dome has told the majordome last, and when (Unix seconds)."""
    nothing: _ReadWord = (0, None)
    return observed.followed("majordome", "dome word", _newest_dome_word, nothing)[1]


def _newest_dome_word(journal: JournalReader, known: _ReadWord | None) -> _ReadWord:
    newest = journal.newest()
    until, word = known if known is not None and known[0] <= newest else (0, None)
    for _, received in journal.page(limit=_LAST_MESSAGES, after=until):
        if received.name in _DOME_WORDS:
            return newest, (_DOME_WORDS[received.name], received.sent)
    return newest, word


def _safety(observed: Observed, monitoring: Monitoring, up: bool | None, since: float | None) -> SafetyView:
    if "monitoring" not in observed.config.agents:
        return SafetyView(None, "there is no monitoring in the configuration")
    if up is False:
        return SafetyView(None, "monitoring does not run: nothing may be open")
    return _judged(monitoring, since, observed.clock.monotonic())


def _judged(monitoring: Monitoring, since: float | None, steady: float) -> SafetyView:
    monitor = monitoring.safety.reading if monitoring.safety is not None else None
    said = (
        "" if monitor is None else f"{'safe' if monitor.safe else 'unsafe'}{monitor.reason and f': {monitor.reason}'}"
    )
    if monitoring.safe:
        return SafetyView(True, "all readings are within their limits", since, None, said)
    if monitoring.shut:
        return SafetyView(False, "unsafe too often in this night: shut until a person releases it", since, None, said)
    bad = [rule.reason for rule in monitoring.broken.values() if rule.good_since is None]
    if bad:
        return SafetyView(False, "; ".join(bad), since, None, said)
    waits = [
        rule.quiet - (steady - rule.good_since) for rule in monitoring.broken.values() if rule.good_since is not None
    ]
    if waits:
        reasons = "; ".join(rule.reason for rule in monitoring.broken.values())
        good_in = max(0.0, *waits)
        return SafetyView(False, f"good again, safe in {good_in:.0f} s (it was: {reasons})", since, good_in, said)
    unknown = monitoring.safe is None
    return SafetyView(None if unknown else False, "no reading yet" if unknown else "unsafe", since, None, said)


def _words(
    observed: Observed, majordome: Majordome, target: TargetView | None, safety: SafetyView, hold: Hold | None,
    up: bool | None, since: float | None, reason: str,
) -> tuple[str, str]:  # fmt: skip
    if "majordome" not in observed.config.agents:
        return "NO MAJORDOME", "the configuration has none: nobody runs the night"
    if up is False and majordome.state:
        left = WORDS.get(majordome.state, majordome.state.upper()).lower()
        return "STOPPED", f"the majordome does not run; it was {left} when it stopped"
    word = WORDS.get(majordome.state, majordome.state.upper())
    if majordome.state == "held" and hold is not None:
        return word, str(hold)
    if target is not None:
        return word, _progress(target)
    if majordome.state == "observing":
        word = WAITING
    text = ""
    if majordome.state in ("ready", "closed") and safety.safe is False:
        text = f"closed: {safety.text}"
    elif majordome.state in ("ready", "observing", "opening"):
        text = _next(majordome.plan, observed.time()) or _SENTENCES[majordome.state]
    why = f": {reason}" if reason else ""
    return word, text or f"{_SENTENCES.get(majordome.state, majordome.state)}{why}{_at(since)}"


def _at(since: float | None) -> str:
    return "" if since is None else f" (since {clock_time(since)} UTC)"


def _progress(target: TargetView) -> str:
    images = f"image {target.image} of {target.of}, {target.filter} {target.seconds:g} s"
    doing = _PHASES.get(target.phase, "")
    return f"{short_name(target.name)}, {images}{f': {doing}' if doing else ''}"


def _next(plan: Plan | None, now: float) -> str:
    if plan is None:
        return ""
    coming = [(line.start, line.observation.target) for line in plan.observations if (line.start or 0.0) > now]
    if not coming:
        return "nothing more is planned"
    start, target = min(coming)
    return f"next: {short_name(target)} at {clock_time(start or 0.0)} UTC"


def _target(manager: ObservationManager) -> TargetView | None:
    current = manager.current
    if current is None:
        return None
    total = sum(each.count for each in current.exposures)
    exposure = _exposure(current, manager.done)
    return TargetView(
        id=current.id, name=current.target, event=current.event, ra=current.ra, dec=current.dec, phase=manager.phase,
        image=min(manager.done + 1, total), of=total, filter=exposure.filter, seconds=exposure.seconds,
    )  # fmt: skip


def _exposure(observation: Observation, done: int) -> messages.Exposures:
    left = done
    for each in observation.exposures:
        if left < each.count:
            return each
        left -= each.count
    return observation.exposures[-1]


def _ends(majordome: Majordome, target: TargetView | None) -> float | None:
    if target is None or majordome.plan is None:
        return None
    return next((line.end for line in majordome.plan.observations if line.observation.id == target.id), None)


def dome(observed: Observed) -> DomeView | None:
    """Return the dome by its last word, which is newer than its telemetry where it has just moved; None without one."""
    if "dome" not in observed.config.agents:
        return None
    return _dome(observed, observed.state("monitoring", Monitoring), _dome_word(observed))


def _dome(observed: Observed, monitoring: Monitoring, word: tuple[str, float] | None) -> DomeView:
    shutter = observed.state("dome", SeenInstrument).shutter
    text = "" if shutter.startswith("opened") else shutter
    told: Telemetry | None = monitoring.telemetry.get("dome")
    link = monitoring.links.get("dome")
    if link is not None and not link.connected:
        return DomeView("unknown", link.since, link.since, None, f"not connected: {link.text}")
    azimuth = told.values.get("azimuth") if told is not None else None
    where = float(azimuth) if isinstance(azimuth, int | float) else None
    if word is not None and (told is None or word[1] > told.time):
        return DomeView(word[0], word[1], word[1], where, text)
    if told is None:
        return DomeView("unknown", text=text)
    since = word[1] if word is not None and word[0] == told.state else None
    left = told.values.get("lease")
    lease = told.time + left if isinstance(left, int | float) else None
    return DomeView(told.state, since, told.time, where, text, lease)


def telescope(observed: Observed) -> TelescopeView | None:
    """Return where the telescope looks, by what is newest: its telemetry, or the observation; None before its word."""
    told = observed.state("monitoring", Monitoring).telemetry.get("telescope")
    return _telescope(observed, told, observed.state("observation_manager", ObservationManager), observed.time())


def _telescope(
    observed: Observed, told: Telemetry | None, manager: ObservationManager, now: float
) -> TelescopeView | None:
    if told is None or observed.site is None:
        return None
    ra, dec, state = told.values.get("ra"), told.values.get("dec"), told.state
    if manager.current is not None and manager.pointing is not None:  # newer than what is told every ten seconds
        (ra, dec), state = manager.pointing, "tracking"
    elif manager.current is not None and manager.phase == "slewing":
        state = "slewing"
    if not isinstance(ra, int | float) or not isinstance(dec, int | float):
        return None
    try:
        altitude, azimuth = altitude_azimuth(observed.site, ra, dec, datetime.fromtimestamp(now, UTC))
    except (PlanningError, ValueError, OverflowError):
        return None
    return TelescopeView(state, ra, dec, altitude, azimuth, told.time)
