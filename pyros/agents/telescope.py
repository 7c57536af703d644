"""The telescope's agent: slews, stops, parks, and says what was measured.

What images show of the mount's error is kept as an offset: the mount is told to point beside by that from then on, and
the position at a slew's end is corrected by it, too. Telemetry is the mount's own word.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, hypot, radians
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred

from pyros import instruments, messages
from pyros.agents.agent import Agent
from pyros.agents.instrument import STALE_ORDER_SECONDS, Command, InstrumentAgent, InstrumentState, asked_ahead
from pyros.agents.options import MERIDIAN_MINUTES, AgentOption, OptionTable
from pyros.angles import separation_arcsec
from pyros.clock import Timer, cancel_call
from pyros.errors import DeviceRefused, InstrumentError
from pyros.hold import Hold
from pyros.messages import (
    Failure,
    Message,
    Order,
    PointingMeasured,
    Reason,
    Slew,
    SlewFinished,
    SlewStarted,
    TrackingLost,
)
from pyros.planning import Site
from pyros.planning.pointing import reason_refused
from pyros.planning.visibility import is_night
from pyros.quantities import number, positive
from pyros.reactor import Reactor

LIMIT_REACHED = "Limit reached"
LEASE_SECONDS = 60.0
"""A telescope in the open is parked when neither the majordome nor monitoring has allowed it to be out for so long."""
LEASE_LOOK_SECONDS = 5.0
"""How often it is looked whether that is so."""
messages.register(LIMIT_REACHED, Reason, guarded=True)
_PARK_AGAIN = 30.0  # seconds
_MAX_OFFSET = AgentOption("max_offset", number(0.0), 1800.0)  # arcseconds
_MARGIN = 0.25  # degrees beside horizon and Sun's cone where tracking stops: the sky turns by 0.04 between two looks
_TRACKING_CHECK = AgentOption("tracking_check", positive, 4.0)  # seconds
_DOUBT_SECONDS = 1.0
"""After so long it is looked again where it did not track."""
_TRACKING_DRIFT = AgentOption("tracking_drift", number(0.0), 300.0)  # arcseconds; 0: it is not asked
_LOOKS_A_POSITION = 3
"""At each third look whether it tracks its position is asked, too: a drift is slow, an end of tracking isn't."""
_SHARE = AgentOption("offset_share", number(0.0, 1.0), 0.5)
"""Of a measured error that is corrected: the rest may be chance, which the next slew has another of."""
_NAME = AgentOption("name", str, "")
_LEAST_COS = 0.01  # of the declination; nearer to a pole, right ascension is no direction


class TelescopeState(InstrumentState):
    """What the telescope's agent remembers."""

    park_wanted: bool = False
    """Whether the telescope shall be parked."""
    park_timer: int | None = None
    """The next attempt to park."""
    east: float = 0.0
    """How far the mount points east of where it is sent, arcseconds on the sky."""
    north: float = 0.0
    """The same to the north."""
    unmeasured: str = ""
    """The id of the observation whose first image may still correct that."""
    on_target: str = ""
    """The id of the observation on whose target it was sent last, and which it tracks."""


class TelescopeAgent(InstrumentAgent):
    """Takes *Slew*, *Park*, *Abort* and *Pointing measured*.

    ``option_max_offset`` is how far (arcseconds) the mount may be corrected in all, 0 for not at all;
    ``option_offset_share`` the share of a measured error that is. ``option_tracking_check`` is how often (seconds) a
    telescope on its target is asked whether it tracks, and ``option_tracking_drift`` how far (arcseconds) it may say
    that it has moved from there; 0 for as far as it likes.
    """

    needs = ("site",)
    LEFT = "the mount is not parked"

    OPTIONS: ClassVar[OptionTable] = (
        *InstrumentAgent.OPTIONS, _NAME, MERIDIAN_MINUTES, _MAX_OFFSET, _SHARE, _TRACKING_CHECK, _TRACKING_DRIFT
    )  # fmt: skip
    state: TelescopeState
    device: instruments.Telescope

    def __init__(self) -> None:
        super().__init__(Agent.TELESCOPE)
        self.actions_by_message |= {
            messages.SLEW: self.slew,
            messages.PARK: self.park,
            messages.ABORT: self.abort,
            messages.POINTING_MEASURED: self.pointing_measured,
            LIMIT_REACHED: self.limit_reached,
            messages.TRACKING_LOST: self.tracking_lost,
            messages.KEEP_OPEN: self.keep_open,
            messages.WEATHER_SAFE: self.weather_safe,
            messages.WEATHER_UNSAFE: self.weather_unsafe,
        }
        self.reflexes[messages.PARK] = self.park_at_once
        self._leases: dict[str, float] = {}
        """In the open, until when majordome and monitoring let it be out of its place, monotonic seconds; in memory."""
        self._lease_timer: Timer | None = None
        self._check_timer: Timer | None = None
        self._checking: Deferred[None] | None = None
        self._lapses = self._looks = 0
        """How often in a row it did not track, and how often it was looked at; as the next, in the reactor's thread."""
        self._arrived: instruments.Position | None = None
        """Where the last slew has ended, by the mount's word."""
        self._parking: list[Deferred[None]] | None = None
        """Who waits for the end of the parking that is under way; in the reactor's thread."""

    def place(self) -> instruments.Place:
        self.site = Site.load(self.config.site)
        return self.site

    def attach(self, reactor: Reactor) -> None:
        super().attach(reactor)
        self._check_pace = self.option(*_TRACKING_CHECK)
        self._drift = self.option(*_TRACKING_DRIFT)
        self._watch_tracking()
        if self.config.agent(self.name).open_air:
            began = self.clock.monotonic()
            self._leases = {self.MAJORDOME: began + LEASE_SECONDS, self.MONITORING: began + self._weather_seconds}
            self._look_at_leases()

    def detach(self) -> Deferred[None] | None:
        cancel_call(self._check_timer)
        cancel_call(self._lease_timer)
        if self._checking is not None:
            self._checking.cancel()
        return super().detach()

    def work(self) -> None:
        self._max_offset = self.option(*_MAX_OFFSET)
        self._share = self.option(*_SHARE)
        if hypot(self.state.east, self.state.north) > self._max_offset:
            self.state.east = self.state.north = 0.0
        super().work()

    def slew(self, message: Message) -> None:
        """Slew; a slew under way is superseded by the new one."""
        slew: Slew = message.payload
        if reason := self.too_old(message, STALE_ORDER_SECONDS):
            self.refuse(message, messages.SLEW_FAILED, reason, lost=True)
            return
        if reason := self.reason_held(message):
            self.refuse(message, messages.SLEW_FAILED, f"not slewed: {reason}")
            return
        self.state.park_wanted = False

        east, north = self.state.east, self.state.north
        by_hand = message.sender not in self.config.agents and self.holds.service is not None

        def measured(end: instruments.Pointing) -> dict[str, Any]:
            ra, dec = _beside(end.ra, end.dec, east, north)
            return {"ra": ra, "dec": dec, "error": end.error_arcsec}

        async def slew_if_allowed(started: Callable[[float], None]) -> dict[str, Any]:
            """In the reactor's thread."""
            self._parking = None  # it gives way
            await self._refuse_what_is_not_allowed(slew, by_hand=by_hand)
            ra, dec = _beside(slew.ra, slew.dec, -east, -north)
            self.refuse_after_safe()
            end = await self.device.slew(ra, dec, slew.observation, started, side=slew.side)
            self._arrived, self._lapses = instruments.Position(end.ra, end.dec), 0
            return measured(end) | {"side": await self._side()}

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(slew_if_allowed(started))

        self.state.unmeasured = self.state.on_target = ""
        self.command(messages.SLEW, slew, run, order=message)

    async def _side(self) -> str:
        """Ask for the side of the pier, on which nothing but a flip depends; '' where it cannot be had."""
        try:
            return await self.device.side()
        except InstrumentError as error:
            self.log.warn("the side of the pier is not known: {reason}", reason=error)
            return ""

    def pointing_measured(self, message: Message) -> None:
        """Correct the offset by the first image after a slew: the others show the same error again."""
        error: PointingMeasured = message.payload
        if not self._max_offset or not error.observation or error.observation != self.state.unmeasured:
            return
        self.state.unmeasured = ""
        east = self.state.east + self._share * error.east
        north = self.state.north + self._share * error.north
        if hypot(east, north) > self._max_offset:
            self.log.error(
                "an image shows the mount {error:.0f} arcseconds off: more than is corrected, so it isn't",
                error=hypot(error.east, error.north),
            )  # fmt: skip
            return
        self.state.east, self.state.north = east, north
        self.log.info(
            "the mount is corrected by {east:+.1f} arcseconds east, {north:+.1f} north", east=-east, north=-north
        )

    def park(self, message: Message) -> None:
        """Park; where that fails it is tried again, until the telescope is parked or something else is wanted."""
        if message.sender == self.name and not self.state.park_wanted:
            return  # a second attempt, and meanwhile there was a slew
        self.state.park_wanted, self.state.on_target = True, ""
        self.cancel_timer(self.state.park_timer)
        self.state.park_timer = None

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return self._park(started).addCallback(lambda _: {})

        self.command(message.name, message.payload, run, order=message)

    def abort(self, message: Message) -> None:
        """Stop the slew of that observation; parking goes on."""
        command = self.state.command
        if command is None or command.name != messages.SLEW:
            return
        if message.payload.observation in ("", command.payload["observation"]):
            self.state.command = None
            self.aborting(self.device.stop)

    # In the open: what would close a dome has the telescope parked.

    @property
    def _weather_seconds(self) -> float:
        return self.config.limits.max_silence

    def keep_open(self, message: Message) -> None:
        """Stay out of its place as long as the majordome says."""
        if self._leases:
            self._leases[self.MAJORDOME] = message.said + min(message.payload.seconds, LEASE_SECONDS)

    def weather_safe(self, message: Message) -> None:
        """Stay out of its place as long as monitoring's readings count."""
        if self._leases:
            self._leases[self.MONITORING] = message.said - message.payload.age + self._weather_seconds

    def weather_unsafe(self, message: Message) -> None:
        """Park at once."""
        if self._leases and not self.state.park_wanted:
            self._leases[self.MONITORING] = message.said
            self.limit_reached(message)

    def _look_at_leases(self) -> None:
        """Have it parked when somebody's word has run out; in the reactor's thread."""
        self._lease_timer = self.clock.call_later(LEASE_LOOK_SECONDS, self._look_at_leases)
        now = self.clock.monotonic()
        silent = [name for name, until in self._leases.items() if now >= until]
        if silent and not (self.state.park_wanted or self.at_rest()) and self.holds.service is None:
            reason = f"{' and '.join(silent)} no longer {'say' if len(silent) > 1 else 'says'} that it may be out"
            self.log.warn("the telescope stands in the open and parks: {reason}", reason=reason)
            self.post_to_self(LIMIT_REACHED, Reason(reason=reason))

    def limit_reached(self, message: Message) -> None:
        """Tell that tracking has stopped, and park: what the telescope tracked is about to set, or near the Sun."""
        self._tell_tracking_lost(TrackingLost(self.state.on_target, message.payload.reason, again=False))
        if not self.state.park_wanted:
            self.state.park_wanted = True
            self._park_again(message.payload.reason)

    def tracking_lost(self, message: Message) -> None:
        """Whoever exposes must know it at once: the image would show nothing but trails."""
        lost: TrackingLost = message.payload
        if lost.observation == self.state.on_target and self.state.command is None:
            self.log.error("the telescope has lost its target: {reason}", reason=lost.reason)
            self._tell_tracking_lost(lost)

    def _tell_tracking_lost(self, lost: TrackingLost) -> None:
        self.state.on_target = ""
        if lost.observation:
            self.send_if_there(self.OBSERVATION_MANAGER, messages.TRACKING_LOST, lost)

    # In the reactor's thread: whether it still tracks.

    def _watch_tracking(self) -> None:
        """Look every few seconds from now on, as long as it is on a target."""
        if self._check_timer is None:
            self._check_timer = self.clock.call_later(self._check_pace, self._check_tracking)

    def _check_tracking(self) -> None:
        """Look whether the mount still tracks: a limit, a cable or a hand on its buttons stops it silently."""
        observation = self.state.on_target
        if not observation:
            self._check_timer, self._lapses = None, 0
            return
        self._check_timer = self.clock.call_later(self._check_pace, self._check_tracking)
        if self.state.command is not None or self.holds.service is not None:
            self._lapses = 0
        elif self._checking is None and self.device.connected:
            checking = self._checking = Deferred.fromCoroutine(self._check_tracking_once(observation))
            checking.addErrback(self._not_measured)
            checking.addBoth(self._checked_once)

    def _checked_once(self, _: object) -> None:
        self._checking = None

    async def _check_tracking_once(self, observation: str) -> None:
        """Twice in a row it must not track: a correction of the pointing may look like a slew for a moment."""
        reason = await self._reason_lost()
        self._lapses = self._lapses + 1 if reason else 0
        if self._lapses >= 2:
            self._lapses = 0
            self.post_to_self(messages.TRACKING_LOST, TrackingLost(observation, reason))
        elif self._lapses and self._check_timer is not None and self._check_timer.active():
            self._check_timer.cancel()
            pause = min(_DOUBT_SECONDS, self._check_pace)
            self._check_timer = self.clock.call_later(pause, self._check_tracking)

    async def _reason_lost(self) -> str:
        """Why it is not on its target any more; '' while it is. Where it points is asked at some of the looks only."""
        self._looks += 1
        asks = self._looks % _LOOKS_A_POSITION == 0 or self._lapses > 0
        if self._arrived is None or not self._drift or not asks:
            state = await self.device.state()
            return f"it is {state}, and does not track" if state != "tracking" else ""
        with asked_ahead(self.device.position()) as position:
            state = await self.device.state()
            if state != "tracking":
                return f"it is {state}, and does not track"
            here = await position
        moved = separation_arcsec(self._arrived.ra, self._arrived.dec, here.ra, here.dec)
        return f"it has moved by {moved:.0f} arcseconds since the slew" if moved > self._drift else ""

    def at_rest(self) -> bool:
        """Whether it was parked when it was measured last, and nothing was wanted of it since."""
        return self.state.command is None and self.last_state == "parked"

    def park_at_once(self, message: Message) -> None:
        """Park, though a handler may hang: a roof waits a minute at most, and the mount may take no other client."""
        if message.sender != self.name:
            self._park_now()

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        """Stop a slew of the automation; with ``stop`` any, and park."""
        if stop:
            self._parking = None  # it ends with the stop
            self.stop_at_once(self.device.stop).addCallback(lambda _: self._park_now())
        elif self.for_automation(messages.SLEW) is not None:
            self.stop_at_once(self.device.stop)

    def _park_now(self) -> None:
        """In the reactor's thread, before the turn and without it. The turn parks, too, and again where that fails."""
        self._park(lambda _: None).addErrback(
            lambda failure: self.log.error("the mount could not be parked: {reason}", reason=failure.getErrorMessage())
        )

    def _park(self, started: Callable[[float], None]) -> Deferred[None]:
        """Park, in the reactor's thread; who asks while the telescope parks hears of the same end."""
        end: Deferred[None] = Deferred()
        if self._parking is not None:
            self._parking.append(end)
            return end
        ends = self._parking = [end]

        def ended(result: Any) -> None:
            if self._parking is ends:
                self._parking = None
            for each in ends:
                each.callback(result)

        maybeDeferred(self.device.park, started).addBoth(ended)
        return end

    def on_hold(self, hold: Hold, stop: bool) -> None:
        self.state.on_target = ""
        if stop:
            self.state.command, self.state.interrupted = None, None
            self.state.park_wanted = True
            self._park_again(str(hold))
        elif self.for_automation(messages.SLEW) is not None:
            self.state.command = None
            self.aborting(self.device.stop)

    def make_safe(self, reason: str) -> Deferred[None]:
        """Park the mount; one that cannot park stops."""
        return Deferred.fromCoroutine(self._park_at_end())

    async def _park_at_end(self) -> None:
        if await self.device.state() == "parked":
            return
        self.log.info("parking the mount ...")
        began = self.clock.monotonic()
        try:
            await self._park(lambda _: None)
        except DeviceRefused as refusal:
            self.log.error("the mount does not park ({reason}): it stops", reason=refusal)
            await self.device.stop()
            await self.device.track(False)
        else:
            self.log.info("parked after {seconds:.1f} s", seconds=self.clock.monotonic() - began)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Slew to the same place again, which ends at once if the telescope is there.

        What moves for nobody is stopped, and what should be parked is parked.
        """
        if interrupted is not None:
            self.again(interrupted)
        elif self.state.park_wanted:
            if state not in ("parked", "parking"):
                self._park_again("it should be parked")
        elif state == "slewing":
            self.log.warn("the telescope is slewing, and no agent asked for it: it is stopped")
            self.aborting(self.device.stop)

    async def _refuse_what_is_not_allowed(self, slew: Slew, *, by_hand: bool) -> None:
        """Raise DeviceRefused for a slew below the horizon, or into or through the Sun's cone, from whoever orders it.

        By hand, during a service, the horizon is left to the person; the Sun never is.
        """
        now = self.clock.now()
        origin = None
        if not is_night(self.site, now):
            here = await self.device.position()
            origin = here.ra, here.dec
        reason = reason_refused(self.site, slew.ra, slew.dec, now, origin=origin, horizon=not by_hand)
        if reason:
            raise DeviceRefused("LIMIT", f"not pointed at: {reason}")

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        with asked_ahead(self.device.position()) as position:
            state = await self.device.state()
            here = await position
        if state == "tracking":
            await self._stop_before_limit(here)
        return state, {"ra": here.ra, "dec": here.dec}

    async def _stop_before_limit(self, here: instruments.Position) -> None:
        """Stop tracking what is about to set, or the Sun to come too near to, and park."""
        horizon = self.holds.service is None
        reason = reason_refused(self.site, here.ra, here.dec, self.clock.now(), margin=_MARGIN, horizon=horizon)
        if reason:
            self.log.warn("the telescope stops tracking and parks: {reason}", reason=reason)
            self.post_to_self(LIMIT_REACHED, Reason(reason=reason))
            await self.device.track(False)

    def started(self, command: Command, seconds: float) -> None:
        if command.name == messages.SLEW:
            self.answer(command, messages.SLEW_STARTED,
                        SlewStarted(observation=command.payload["observation"], seconds=seconds))  # fmt: skip

    def done(self, command: Command, result: dict[str, Any]) -> None:
        if command.name == messages.PARK:
            self.answer(command, messages.PARK_FINISHED)
            self._tell_parked(command)
        else:
            self.state.unmeasured = self.state.on_target = command.payload["observation"]
            self.after_commit(self._watch_tracking)
            self.answer(command, messages.SLEW_FINISHED,
                        SlewFinished(observation=command.payload["observation"], **result))  # fmt: skip

    def _tell_parked(self, command: Command) -> None:
        """Tell who may wait for it, too, whose own order was superseded by ``command``: majordome and roof."""
        dome = self.config.agents.get(self.DOME)
        roof = (self.DOME,) if dome is not None and dome.roof else ()
        for agent in (self.MAJORDOME, *roof):
            section = self.config.agents.get(agent)
            if section is not None and section.name != command.sender:
                self.send_to(agent, messages.PARK_FINISHED)

    def failed(self, command: Command, failure: Failure) -> None:
        if command.name == messages.PARK:
            self.answer(command, messages.PARK_FAILED, failure)
            self.state.park_timer = self.call_later(_PARK_AGAIN, messages.PARK, Order(reason="parking failed before"))
        else:
            self.answer(command, messages.SLEW_FAILED, failure)

    def _park_again(self, reason: str) -> None:
        self.cancel_timer(self.state.park_timer)
        self.state.park_timer = self.call_later(0, messages.PARK, Order(reason=reason))


def _beside(ra: float, dec: float, east: float, north: float) -> tuple[float, float]:
    """Return the position so many arcseconds beside one, for small angles."""
    there = max(-90.0, min(90.0, dec + north / 3600))
    return (ra + east / 3600 / max(cos(radians(there)), _LEAST_COS)) % 360, there
