"""What must hold in every rehearsed night, looked at by the devices' truth, not by what anybody believes.

A rule that needs somebody who is alive counts only while that one is: its bound begins anew when the dome's agent, its
link to the device, or the device itself is out of order. So each bound is the promise of who is there: the lease and
the shutter's travel while the dome's agent lives, the guardian's bound while that agent is dead.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from pyros.agents.safety_rules import HOUR
from pyros.angles import separation
from pyros.config import Config
from pyros.planning.visibility import altitude_azimuth, sun, sun_altitude
from pyros.rehearsal.closings import Closings
from pyros.rehearsal.script import DEVICE
from pyros.simulators import Description
from pyros.site import Site

GUARDIAN = "guardian"
LEASE_SECONDS = 60.0
"""Both leases of the dome."""
SLACK_SECONDS = 20.0
"""For a command that is tried again after ten seconds, a connection that is made again, and the network."""
_COMMAND_SECONDS = 6.0  # for a command over a network that is slow, where nothing has been broken for a lease
READING_SECONDS = 10.0
"""Between two readings of the weather, by default."""
LOOK_SECONDS = 5.0
"""How often the dome's agent looks at the Sun and the hold."""
_STARVING_SECONDS = 1800.0
_QUIET_SECONDS = 1200.0  # without any trouble, before it must be observed what can be
_REASON_SECONDS = 300.0  # after trouble, in which monitoring may say for its sake that it is unsafe
_CALM_SECONDS = 1800.0  # without any trouble or bad weather, after which nobody has to be told anything
_ON_TARGET = 0.2  # degrees
_MOST_SLEWS, _SLEWS_SECONDS = 20, 60.0  # a mount that is sent off so often in so short a time is sent to and fro
_RETRACTED_SECONDS = 8.0  # in which a retraction gets to the camera
_SAME_PLACE = 0.01  # degrees
_OF_OPEN_DOME = ("open when unsafe", "open when told unsafe", "open without majordome", "open without monitoring",
                 "open under hold", "open by day", "the guardian does not close")  # fmt: skip
"""The rules that look how long the dome is not closed."""
_LEASES = {"monitoring": b'"Weather safe"', "majordome": b'"Keep open"'}
_WRONG_CLOCK = 2.0  # seconds
_SETTLED_SECONDS = 90.0  # who lives so long has had its minute for the mount


class Violation(NamedTuple):
    """What must not be, and was."""

    time: float
    """Seconds since the night's beginning."""
    rule: str
    """In one word or two, the same for what has the same cause."""
    text: str


class JudgedNight(Protocol):
    """What the invariants look at."""

    config: Config
    site: Site
    devices: dict[str, Description]

    @property
    def now(self) -> float:
        """Seconds since the night's beginning."""
        ...

    def true_time(self) -> float:
        """Unix seconds, by a perfect clock."""
        ...

    def clock_offset(self) -> float:
        """How far (seconds) the computer's clock is ahead."""
        ...

    def alive_since(self, process: str) -> float | None:
        """Since when a process lives; None when it is dead, or isn't there."""
        ...

    def link(self, one: str, other: str) -> bool:
        """Whether what is written between two nodes arrives."""
        ...

    def waits(self, one: str, other: str) -> bool:
        """Whether what is written between two nodes waits on its way, and arrives later."""
        ...

    def faulty(self, device: str) -> bool:
        """Whether a device has a fault now."""
        ...

    def frozen(self, device: str) -> bool:
        """Whether a device's sensors say now for ever what they said before."""
        ...

    def state(self, device: str) -> str:
        """Return what a device really does; '' for one that isn't there."""
        ...

    def truth(self, device: str, quantity: str) -> str:
        """Return what a device's property really is."""
        ...

    def report(self, rule: str, text: str) -> None:
        """Take down that a rule is broken: in one word or two, and what was so."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether nothing is out of order: no fault, nobody dead."""
        ...

    @property
    def full_disk(self) -> bool:
        """Whether nothing can be written."""
        ...

    @property
    def held(self) -> bool:
        """Whether a person holds the observatory."""
        ...


class Invariants:
    """Looks at the night of one telescope, dome and camera whenever something has happened."""

    def __init__(self, night: JudgedNight) -> None:
        self._night = night
        self._since: dict[str, float] = {}
        self.report = night.report
        self.site = night.site
        config = night.config
        dome = night.devices.get("dome")
        self._travel = 0.0
        if dome is not None:
            self._travel = getattr(dome.settings, "travel", 0.0) / dome.speed
        self._roof = "dome" in config.agents and config.agents["dome"].roof
        self._open_air = "telescope" in config.agents and config.agents["telescope"].open_air
        self._silence = config.limits.max_silence
        self._shutter = "closed"
        self._heard: dict[str, float] = {}
        self._retracted: dict[str, tuple[float, float, float]] = {}  # by ivorn: when, ra, dec
        self._forbidden: dict[str, tuple[float, float]] = {}  # tests and utility packets
        self._wanted: dict[str, tuple[float, float]] = {}
        self._exposing: dict[str, Any] | None = None
        self.exposures = self.slews = 0
        self._slews: deque[float] = deque(maxlen=_MOST_SLEWS)
        """When the mount was sent off last."""
        self._last_exposure = 0.0
        self._due_since: float | None = None
        self._closings = Closings(config.limits, night.site)
        self._hold_heard = False
        self.opened = 0
        """How often the dome was opened."""
        self._unsafe = "", ""
        """Why weather and safety monitor are unsafe really, by the last look."""
        self._told: tuple[bool, ...] = (False, False)
        """Whether each tells that: what is frozen tells what it told when that began."""

    @property
    def at_rest(self) -> bool:
        """Whether nothing is open, as of the last look: what may not last then may last for many minutes."""
        return self._shutter == "closed" and not self._open_air

    # What is heard -----------------------------------------------------------------------------------------------

    def delivered(self, sender: str, receiver: str, data: bytes) -> None:
        """Note when the dome's agent last heard its leases, and that a telescope in the open heard one.

        That comes by a new connection where only the other one, of what the telescope's agent says, is still mute.
        """
        if self._open_air and receiver == "telescope" and sender in _LEASES and _LEASES[sender] in data:
            self._since.pop(f"in the open without {sender}", None)
        if receiver == "dome" and sender in ("monitoring", "majordome"):
            if b'"Weather safe"' in data:
                self._heard["Weather safe"] = self._night.now
            if b'"Open"' in data or b'"Keep open"' in data:
                self._heard["Keep open"] = self._night.now

    def judged_weather(self, safe: bool) -> None:
        """Note that monitoring has committed *Weather safe* or *Weather unsafe*."""
        night = self._night
        trouble = not night.quiet or night.now - self._since.get("unquiet", -1e9) < _REASON_SECONDS
        reason = trouble or self._unsafe_within(_REASON_SECONDS)
        self._closings.said(safe, night.now, night.true_time() + night.clock_offset(), reason=reason)

    def wanted(self, ivorn: str, ra: float, dec: float) -> None:
        """Note that an alert that may be observed was accepted."""
        self._wanted[ivorn] = (ra, dec)

    def forbidden(self, ivorn: str, ra: float, dec: float) -> None:
        """Note that a test or utility packet was sent: nothing may point there for it."""
        self._forbidden[ivorn] = (ra, dec)

    def retracted(self, event: str) -> None:
        """Note that the broker has accepted a retraction."""
        if event in self._wanted:
            self._retracted.setdefault(event, (self._night.now, *self._wanted[event]))

    def alarmed(self, text: str) -> None:
        """Judge an alarm that an agent has committed: where nothing is out of order for long there is none to raise."""
        night = self._night
        troubled = not night.quiet or night.held or night.now - self._since.get("unquiet", 0.0) < _CALM_SECONDS
        if not troubled and not self._unsafe_within(_CALM_SECONDS):
            self.report("false alarm", f"nothing is out of order, and there is an alarm: {text}")

    def planned(self, start_now: str | None) -> None:
        """Note what the scheduler says is to be observed now."""
        if start_now is None:
            self._due_since = None
        elif self._due_since is None:
            self._due_since = self._night.now

    # Requests that devices hear ----------------------------------------------------------------------------------

    def requested(self, device: str, line: str) -> None:
        """Judge a command when the device hears it."""
        words = line.split(" ")
        if words[0].startswith("#"):
            words = words[1:]
        if words[:1] != ["DO"]:
            return
        arguments = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        match device, words[1]:
            case "dome", "open":
                self._opening()
            case "telescope", "slew":
                self._slewing(float(arguments["ra"]), float(arguments["dec"]))
            case "camera", "expose":
                self._exposure(arguments)

    def _opening(self) -> None:
        """Judge an opening: it needs what was said to this life of the dome's agent."""
        night = self._night
        self.opened += 1
        since = night.alive_since("dome")
        for name in ("Weather safe", "Keep open"):
            heard = self._heard.get(name, -1.0)
            if since is None or heard < since:
                self.report("opened without leave", f"the dome is told to open, and its agent has heard no {name!r}")
            elif night.now - heard > LEASE_SECONDS + SLACK_SECONDS:
                text = f"the dome is told to open {night.now - heard:.0f} s after the last {name!r}"
                self.report("opened without leave", text)

    def _slewing(self, ra: float, dec: float) -> None:
        night = self._night
        self.slews += 1
        self._slews.append(night.now)
        if len(self._slews) == _MOST_SLEWS and night.now - self._slews[0] < _SLEWS_SECONDS:
            self.report("restless", f"the mount is sent off {_MOST_SLEWS} times in a minute")
        if abs(night.clock_offset()) > _WRONG_CLOCK:
            return  # nobody can know where the sky is
        when = datetime.fromtimestamp(night.true_time(), UTC)
        altitude, azimuth = altitude_azimuth(self.site, ra, dec, when)
        if altitude < self.site.horizon_at(azimuth) - 0.3:
            self.report("slew below the horizon", f"the mount is sent to altitude {altitude:.1f}°")
        if sun_altitude(self.site, when) >= self.site.twilight + 0.1:
            distance = separation(ra, dec, *sun(when))
            if distance < self.site.sun_exclusion - 0.5:
                self.report("slew into the Sun", f"the mount is sent to {distance:.1f}° from the Sun")
        if self._roof and night.state("dome") != "open":
            self.report("slew under the roof", f"the mount is sent off while the roof is {night.state('dome')}")
        for ivorn, place in self._forbidden.items():
            if separation(ra, dec, *place) < _ON_TARGET and not self._near_wanted(ra, dec):
                self.report("pointed at a test", f"the mount is sent to {ivorn}, which is a test or a utility packet")

    def _near_wanted(self, ra: float, dec: float) -> bool:
        return any(separation(ra, dec, *place) < 2 * _ON_TARGET for place in self._wanted.values())

    def _exposure(self, arguments: dict[str, str]) -> None:
        night = self._night
        self.exposures += 1
        self._last_exposure = night.now
        if night.state("camera") in ("exposing", "reading") and not night.faulty("camera"):
            since = night.alive_since("camera")
            if since is not None and night.now - since > SLACK_SECONDS:
                self.report("two commands at once", "the camera is told to expose while it exposes")
        if arguments.get("dark") == "1":
            return
        if self._troubled("telescope") or self._troubled("dome"):
            return  # nobody can know
        mount = night.state("telescope")
        if mount != "tracking":
            self.report("exposing without tracking", f"the camera is told to expose while the mount is {mount}")
        else:
            self._judge_target(*(float(word) for word in night.truth("telescope", "target").split(" ")))
        if "dome" in night.devices and night.state("dome") == "closed":
            self.report("exposing in a closed dome", "the camera is told to expose while the dome is closed")
        self._judge_cover()

    def _judge_cover(self) -> None:
        """Judge what is exposed behind the cover: there is only the light of its lamp."""
        night = self._night
        if "cover" not in night.devices or self._troubled("cover"):
            return
        state, has_lamp = night.state("cover"), getattr(night.devices["cover"].settings, "max_brightness", 0)
        if has_lamp and night.truth("cover", "brightness") != "0":
            return
        if state not in ("open", "absent"):
            self.report("exposing behind the cover", f"the camera is told to expose while the cover is {state}")

    def _judge_target(self, ra: float, dec: float) -> None:
        """Judge what is exposed when nothing has been out of order for a while: nothing that was retracted before."""
        night = self._night
        calm = night.now - self._since.get("unquiet", -1e9) > _RETRACTED_SECONDS
        for event, (when, *place) in self._retracted.items():
            if calm and night.now - when > _RETRACTED_SECONDS and separation(ra, dec, *place) < _SAME_PLACE:
                text = f"{event} is observed {night.now - when:.0f} s after it was retracted"
                self.report("observing a retracted alert", text)

    def _troubled(self, device: str) -> bool:
        """Whether a device's agent cannot know, or for want of room tell, what it does, or could not shortly before."""
        night = self._night
        since = night.alive_since(device)
        sick = since is None or night.now - since < SLACK_SECONDS or night.faulty(device) or night.full_disk
        sick = sick or not night.link(device, f"{device}{DEVICE}") or not night.link(device, "observation_manager")
        key = f"trouble with {device}"
        if sick:
            self._since[key] = night.now
        return night.now - self._since.get(key, -1e9) < 3 * SLACK_SECONDS

    # States ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look at everything that must not last."""
        night = self._night
        self._look_at_weather()
        if not night.quiet:
            self._since["unquiet"] = night.now
        for device in ("telescope", "dome", "cover"):
            if device in night.devices:
                self._troubled(device)
        if self._roof:
            self._mount_troubled()
        self._look_at_dome()
        self._look_in_the_open()
        self._look_at_starving()

    def _silent(self, who: str, listener: str, rule: str) -> bool:
        """Whether the listener hears nothing of an agent, for which a rule has a bound.

        Words that have waited on their way count from when they were said. So where an agent has died while they
        waited, and they have arrived, it is silent since its death.
        """
        night = self._night
        dead, waited = night.alive_since(who) is None, f"words of {who} to {listener}"
        if not dead:
            self._since.pop(f"death of {who}", None)
        died = self._since.setdefault(f"death of {who}", night.now) if dead else night.now
        if night.waits(who, listener):
            self._since[waited] = night.now
        elif self._since.pop(waited, None) is not None and dead and rule in self._since:
            self._since[rule] = died
        return dead or not night.link(who, listener)

    def _lasting(self, rule: str, so: bool, bound: float, text: str) -> None:
        """Report what has been so for longer than its bound."""
        if not so:
            self._since.pop(rule, None)
            return
        lasted = self._night.now - self._since.setdefault(rule, self._night.now)
        if lasted > bound:
            self.report(rule, f"{text}; for {lasted:.1f} s, at most {bound:.1f} are allowed")

    def _look_at_dome(self) -> None:
        night = self._night
        if "dome" not in night.devices:
            return
        state = night.state("dome")
        if state != self._shutter:
            self._roof_moves(state)
            self._shutter = state
        if state == "closed":
            for rule in _OF_OPEN_DOME:
                self._since.pop(rule, None)
            return
        since = night.alive_since("dome")
        able = not night.faulty("dome")
        hand = able and since is not None and night.link("dome", f"dome{DEVICE}")
        unsafe = self._unsafe_in_sight()
        lease = max(LEASE_SECONDS, self._silence) + self._travel + _COMMAND_SECONDS + self._roof * 60.0
        soon = LOOK_SECONDS + self._travel + SLACK_SECONDS + self._roof * 60.0
        self._lasting("open when unsafe", bool(hand and unsafe), lease, f"the dome is {state} while {unsafe}")
        told = hand and unsafe and self._told_at_once()
        bound = READING_SECONDS + self._travel + SLACK_SECONDS + self._roof * 60.0
        self._lasting("open when told unsafe", bool(told), bound, f"the dome is {state} while {unsafe}")
        for who in ("majordome", "monitoring"):
            rule, text = f"open without {who}", f"the dome is {state} while {who} is silent"
            self._lasting(rule, self._silent(who, "dome", rule) and bool(hand), lease, text)
        self._lasting("open under hold", bool(hand and night.held), soon, f"the dome is {state} under a hold")
        self._lasting("open by day", bool(hand and self._is_day()), soon, f"the dome is {state} by day")
        if night.config.guardian is not None:
            guard = night.alive_since(GUARDIAN) is not None and night.link(GUARDIAN, f"dome{DEVICE}")
            alone = bool(able and since is None and guard)
            patience = night.config.guardian.beat + night.config.guardian.poll
            bound = patience + self._travel + SLACK_SECONDS + self._roof * 60.0
            text = f"the dome is {state}, its agent dead, the guardian alive"
            self._lasting("the guardian does not close", alone, bound, text)

    def _look_in_the_open(self) -> None:
        """Judge a telescope in the open as an open dome: it is out of its place while it isn't parked."""
        night = self._night
        if not self._open_air or "telescope" not in night.devices:
            return
        state = night.state("telescope")
        since = night.alive_since("telescope")
        able = not night.faulty("telescope") and night.link("telescope", f"telescope{DEVICE}")
        out = able and state not in ("parked", "parking") and since is not None
        unsafe = self._unsafe_in_sight() if out else ""
        lease = max(LEASE_SECONDS, self._silence) + 2 * LOOK_SECONDS + _COMMAND_SECONDS
        self._lasting("in the open when unsafe", bool(out and unsafe), lease, f"the mount is {state} while {unsafe}")
        for who in ("majordome", "monitoring"):
            rule, text = f"in the open without {who}", f"the mount is {state} while {who} is silent"
            self._lasting(rule, self._silent(who, "telescope", rule) and bool(out), lease, text)
        self._lasting("in the open by day", bool(out and self._is_day()), lease, f"the mount is {state} by day")

    def judge_end(self) -> None:
        """Report what must not be so after the calm hour."""
        night = self._night
        for device, states in (
            ("dome", ("closed",)), ("telescope", ("parked",)), ("camera", ("idle", "ready")),
            ("cover", ("closed", "absent")),
        ):  # fmt: skip
            if device in night.devices and night.state(device) not in states:
                self.report("not closed and parked", f"after the calm hour the {device} is {night.state(device)}")

    def _unsafe_now(self) -> str:
        """Return why it is really unsafe to be open, in words, by each look once; '' when it is safe."""
        weather, safety = self._unsafe
        return weather or safety

    def _unsafe_in_sight(self) -> str:
        """Return what is unsafe now as far as anybody can know: who is frozen tells for ever what it told before."""
        return next((unsafe for unsafe, told in zip(self._unsafe, self._told, strict=True) if told), "")

    def _look_at_weather(self) -> None:
        self._unsafe = self._bad_weather(), self._warning()
        frozen = map(self._night.frozen, ("weather", "safety"))
        told = zip(self._unsafe, self._told, frozen, strict=True)
        self._told = tuple(before if still else bool(unsafe) for unsafe, before, still in told)

    def _bad_weather(self) -> str:
        night, limits = self._night, self._night.config.limits
        if "weather" in night.devices:
            if night.truth("weather", "rain") == "1":
                return "it rains"
            for quantity, most in (
                ("wind", limits.max_wind), ("humidity", limits.max_humidity), ("cloud", limits.max_cloud)
            ):  # fmt: skip
                if float(night.truth("weather", quantity)) > most:
                    return f"{quantity} is {night.truth('weather', quantity)}"
            if self._spread() < limits.min_spread:
                return f"the air is {self._spread():.1f} K above its dew point"
        return ""

    def _warning(self) -> str:
        night = self._night
        warns = "safety" in night.devices and night.truth("safety", "safe").startswith("0")
        return "the safety monitor says unsafe" if warns else ""

    def _told_at_once(self) -> bool:
        """Whether everything is in order that tells the dome of bad weather."""
        night = self._night
        for name in ("weather", "safety"):
            if name not in night.config.agents:
                continue
            if night.faulty(name) or night.alive_since(name) is None:
                return False
            if not (night.link(name, f"{name}{DEVICE}") and night.link(name, "monitoring")):
                return False
        return night.alive_since("monitoring") is not None and night.link("monitoring", "dome") and not night.full_disk

    def _is_day(self) -> bool:
        if abs(self._night.clock_offset()) > _WRONG_CLOCK:
            return False
        when = datetime.fromtimestamp(self._night.true_time(), UTC)
        return sun_altitude(self.site, when) > self.site.dome_sun_limit + 0.1

    def _roof_moves(self, state: str) -> None:
        """Judge a roof that closes: it hits a mount that could have been parked, by its agent or without."""
        night = self._night
        if not self._roof or state != "closing" or night.state("telescope") == "parked":
            return
        agent_dead = night.alive_since("telescope") is None
        if self._mount_troubled() if agent_dead else self._troubled("telescope"):
            return
        dead = night.alive_since("dome") is None
        who, mount = GUARDIAN if dead else "dome", f"telescope{DEVICE}" if dead or agent_dead else "telescope"
        since = night.alive_since(who)
        if since is not None and night.now - since >= _SETTLED_SECONDS and night.link(who, mount):
            text = f"the roof closes while the mount is {night.state('telescope')}, and nothing of either is broken"
            self.report("roof onto the mount", text)

    def _mount_troubled(self) -> bool:
        """Whether the mount itself, or the link to it of who parks it for a roof, is out of order, or was lately."""
        night, mount = self._night, f"telescope{DEVICE}"
        if night.faulty("telescope") or not (night.link("dome", mount) and night.link(GUARDIAN, mount)):
            self._since["trouble with the mount"] = night.now
        return night.now - self._since.get("trouble with the mount", -1e9) < _SETTLED_SECONDS

    def _look_at_starving(self) -> None:
        """Report when nothing is observed of what can be, though nothing is out of order or keeps it rightly shut."""
        night = self._night
        self._look_at_hold()
        calm = night.quiet and not night.held and self._due_since is not None and not self._closings.shut
        begun = max(self._last_exposure, self._due_since or 0.0)
        if self._unsafe_within(_QUIET_SECONDS) or not calm:
            self._since.pop("starving", None)
            return
        since = self._since.setdefault("starving", night.now)
        quiet = HOUR if self._closings.flapping else _QUIET_SECONDS
        idle = night.now - max(begun, since + quiet)
        if idle > _STARVING_SECONDS:
            self.report("starving", f"for {idle:.0f} s nothing is observed of what can be")

    @property
    def shut(self) -> bool:
        """Whether it rightly stays shut until a person releases it."""
        return self._closings.shut

    def _look_at_hold(self) -> None:
        """Note the end of a hold that monitoring has heard: nothing that was before keeps it shut."""
        night = self._night
        if night.alive_since("monitoring") is None:
            return
        if self._hold_heard and not night.held:
            self._closings.released()
        self._hold_heard = night.held

    def _unsafe_within(self, seconds: float) -> bool:
        """Whether it is or was unsafe within so many seconds.

        While monitoring says unsafe, only a reading by which it may say safe again is good.
        """
        night = self._night
        if self._unsafe_now() or (not self._closings.safe and self._nearly_unsafe()):
            self._since["unsafe"] = night.now
        return night.now - self._since.get("unsafe", -1e9) < seconds

    def _nearly_unsafe(self) -> bool:
        """Whether a reading is between its limit and the stricter one by which it is safe again."""
        night, limits = self._night, self._night.config.limits
        if "weather" not in night.devices:
            return False
        limited = (("wind", limits.safe_wind), ("humidity", limits.safe_humidity), ("cloud", limits.safe_cloud))
        high = any(float(night.truth("weather", quantity)) > safe for quantity, safe in limited)
        return high or self._spread() < limits.safe_spread

    def _spread(self) -> float:
        """How much warmer the air is than its dew point, kelvins."""
        return float(self._night.truth("weather", "temperature")) - float(self._night.truth("weather", "dew_point"))
