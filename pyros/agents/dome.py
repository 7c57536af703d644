"""The dome's agent: opens and closes the dome, and turns its slit.

The dome may be open only while two leases run: the weather's, renewed by every *Weather safe* of monitoring, and the
majordome's, renewed by *Keep open*; by night; and while nobody holds the observatory. When one of these ends, for
whatever reason, it closes by itself. So it does when it is found open though it should not be.

What decides that is in memory only (`ShutterGuard`): an agent that begins has heard nothing, and closes its dome. What
closes is in the reactor's thread (`ShutterControl`): words that make safe are heard before their turn, and no turn is
in a closing's way. It opens only after a turn's commit, and only if at that instant it still may.

A dome whose connection is lost while it may be open is opened again as soon as it is back, if it still may be open and
did not stay open by itself; else it is closed.

A roof that would hit the telescope (``roof = yes``) has the mount parked first, and waits for *Park finished* for a
minute at most. Where the telescope's agent doesn't even answer, the mount is parked by a link of the dome's agent to
its device.

The slit of a dome follows the telescope: it is turned to the target's azimuth, as seen from the centre of the dome, and
turned again when the sky has moved on. A roof has none, and says so at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._shutter import ShutterGuard
from pyros.agents.agent import Agent
from pyros.agents.beat import BeatSender
from pyros.agents.instrument import Command, InstrumentAgent, InstrumentState, asked_ahead
from pyros.agents.runtime.batches import NotTaken
from pyros.agents.shutter_control import OPEN_LEASE_SECONDS, ShutterControl, ShutterReport
from pyros.angles import turn_between
from pyros.errors import PlanningError, PyrosError
from pyros.files import disk_problem
from pyros.hold import Hold
from pyros.instruments.parking import park
from pyros.messages import DomeFailure, DomeReport, Failure, Follow, Message, Order, Reason, SlitInPlace
from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth, sun_altitude
from pyros.reactor import Reactor

SHUTTER = messages.register("Shutter", ShutterReport, guarded=True)
FOLLOW_ON = messages.guard("Follow on")
OPEN_AGAIN = messages.guard("Open again")
GUARDIAN_HEARD = messages.guard("Guardian heard")
_ALIVE_SECONDS = 3.0
_MAX_ORDERS = 100
_NO_GUARDIAN = "no guardian"
_NOT_CLOSED = "the dome does not close"
_FOLLOW_EVERY = 30.0
_SLIT = 3.0  # degrees by which the slit may look beside the target
_AGAIN = 10.0
_OPEN_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)  # before it is opened again, each time that it was lost meanwhile


class DomeState(InstrumentState):
    """What the dome's agent remembers; none of it says that the dome may be open."""

    follows: Follow | None = None
    """What the slit follows."""
    follow_sender: str = ""
    """The agent that waits to hear that the slit is there."""
    follow_timer: int | None = None
    lost: int = 0
    """How often the device was lost while it opened."""
    open_timer: int | None = None
    """The next attempt to open what was lost."""
    open_sender: str = ""
    """The agent that has told it to open last."""
    shutter: str = ""
    """What became of the shutter last, and why; for people."""
    orders: dict[str, str] = msgspec.field(default_factory=dict)
    """The *Open* and *Close* of persons that haven't ended, by their messages' ids."""


class DomeAgent(InstrumentAgent):
    """Takes *Open*, *Close*, *Keep open*, *Follow*, *Weather safe* and *Weather unsafe*.

    *Close* from a person is a hold of the observatory, until it is released.
    """

    needs = ("site",)
    LEFT = "the dome is not closed"

    state: DomeState
    device: instruments.Dome
    control: ShutterControl

    def __init__(self) -> None:
        super().__init__(Agent.DOME)
        self.actions_by_message |= {
            messages.OPEN: self.open,
            messages.CLOSE: self.close,
            messages.KEEP_OPEN: self.keep_open,
            messages.FOLLOW: self.follow,
            FOLLOW_ON: self.follow_on,
            messages.WEATHER_SAFE: self.tell_may_open,
            messages.WEATHER_UNSAFE: self.weather,
            messages.PARK_FINISHED: self.parked,
            messages.PARK_FAILED: self.park_failed,
            messages.DEVICE_STATE: self.mount_state,
            SHUTTER: self.shutter,
            OPEN_AGAIN: self.open_again,
            GUARDIAN_HEARD: self.tell_may_open,
        }
        self.reflexes |= {
            messages.CLOSE: self.close_at_once,
            messages.KEEP_OPEN: self.hear_keep_open,
            messages.PARK_FINISHED: self.hear_parked,
            messages.DEVICE_STATE: self.hear_mount,
            messages.WEATHER_SAFE: self.hear_weather_safe,
            messages.WEATHER_UNSAFE: self.hear_weather_unsafe,
        }
        self.reflexes_alone = frozenset({messages.WEATHER_SAFE})
        self._site_problem: PyrosError | None = None
        self._may_open = ""
        self._beats: BeatSender | None = None

    # The reactor's thread: what is done before and without any turn -------------------------------------------------

    def attach(self, reactor: Reactor) -> None:
        """Close whatever is open: nothing is known yet that would allow it."""
        super().attach(reactor)
        sun_limit = 0.0
        try:
            self.site = Site.load(self.config.site)
            sun_limit = self.site.dome_sun_limit
        except PyrosError as error:  # it closes without, and work() fails
            self._site_problem = error
        self.guard = ShutterGuard(
            self.clock,
            self.holds,
            self._sun_altitude,
            max_silence=self.config.limits.max_silence,
            sun_limit=sun_limit,
            guardian=self.config.guardian is not None,
            disk=lambda: disk_problem(
                self.config.data, self.config.limits.disk_dome
            ),  # soon nothing could be committed
        )
        roof = self.section.roof and self.TELESCOPE in self.config.agents
        self.control = ShutterControl(
            self.device, self.clock, self.guard, self.log, self._report, self._tell_not_closed, self._stirred,
            self._park_for_roof if roof else None,
            lambda seconds: Deferred.fromCoroutine(park(self.config, reactor, self.clock, self.log, seconds)),
        )  # fmt: skip
        self.control.close("this agent was started")
        if self.config.guardian is not None:
            self._beats = BeatSender(
                reactor, self.clock, self.config, self.log, self._turns_go_on, self._guardian_seen,
                self.at_rest, self.measure_now,
            )  # fmt: skip
            self._beats.start()

    def detach(self) -> Deferred[None] | None:
        self.control.stop()
        if self._beats is not None:
            self._beats.stop()
        return super().detach()

    def make_safe(self, reason: str) -> Deferred[None]:
        """Close the dome. Fires when the device says that it is closed, or cannot be reached."""
        began, ended = self.clock.monotonic(), self.control.end(reason)
        if self.control.state != "closed":
            self.log.info("closing the dome ...")
            ended.addCallback(lambda _: self._tell_closed(self.clock.monotonic() - began))
        return ended

    def _tell_closed(self, seconds: float) -> None:
        if self.control.state == "closed":
            self.log.info("the dome is closed after {seconds:.1f} s", seconds=seconds)
        else:
            self.log.critical("the dome is {state} after {seconds:.1f} s: close it by hand",
                              state=self.control.state, seconds=seconds)  # fmt: skip

    def close_at_once(self, message: Message) -> None:
        """Close; if a person says so, nothing opens until it is released."""
        if message.sender not in self.config.agents and self.holds.service is None:
            self.set_hold(message.sender, message.payload.reason or "told the dome to close")
        self.control.close(message.payload.reason, message.said)

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        """Close what is open for the automation; with ``stop`` whatever is open."""
        if stop:
            self.control.close(str(hold))
        else:
            self.control.look()

    def hear_keep_open(self, message: Message) -> None:
        self.guard.kept_open(message.said, message.payload.seconds)
        self.control.look()
        self._may_open = self.control.reason_closed()

    def hear_parked(self, message: Message) -> None:
        """Take the mount's word that it is parked: a roof that waits for that closes now."""
        if self.config.short_name(message.sender) == self.TELESCOPE:
            self.control.mount_parked()

    def hear_mount(self, message: Message) -> None:
        """Take the answer of the telescope's agent, which was asked what the mount does, as a sign that it is there."""
        if self.config.short_name(message.sender) == self.TELESCOPE and message.payload.state != "unknown":
            self.control.mount_answers()

    def hear_weather_safe(self, message: Message) -> None:
        self.guard.weather_safe(message.said - message.payload.age)
        self.control.look()

    def hear_weather_unsafe(self, message: Message) -> None:
        self.guard.weather_unsafe(message.said, message.payload.reason, message.payload.wet)
        self.control.look()

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        with asked_ahead(self.device.azimuth()) as azimuth:
            state = await self.device.state()
            self.control.saw(state)
            values: dict[str, float | str | None] = {"azimuth": await azimuth}
        if state == "open":
            values["lease"] = round(self.guard.lease(), 1)
        return state, values

    def at_rest(self) -> bool:
        """Whether the dome is closed, nothing else is wanted, and the guardian sees it, too."""
        return self.control.at_rest and self._beats is not None and self._beats.present

    def _stirred(self) -> None:
        """Look and beat at the usual pace: the device is about to be told to open."""
        self.measure_soon()
        if self._beats is not None:
            self._beats.beat_now()

    def on_connection(self, connected: bool) -> None:
        if connected:
            self.control.connected()
        else:
            self.control.disconnected()

    def site_changed(self, site: Site) -> None:
        super().site_changed(site)
        self.guard.sun_limit = site.dome_sun_limit

    def _sun_altitude(self, when: datetime) -> float:
        if self._site_problem is not None:
            raise PlanningError(str(self._site_problem))
        return sun_altitude(self.site, when)

    def _turns_go_on(self) -> bool:
        """Whether the agent's thread has passed its mailbox within the last seconds: else the guardian takes over."""
        return self.clock.monotonic() - self._settled.loop.heard_of_thread() < _ALIVE_SECONDS

    def _guardian_seen(self, present: bool, reason: str) -> None:
        """Without a guardian nobody closes the dome when this agent cannot: then it isn't open."""
        self.guard.guardian(present, reason)
        self.control.look()
        if present:
            self.alarm_over(_NO_GUARDIAN)
            self.post_to_self(GUARDIAN_HEARD)
        else:
            self.alarm(_NO_GUARDIAN, f"{reason}: nothing opens without it")

    def _tell_not_closed(self, reason: str) -> None:
        if reason:
            self.alarm(_NOT_CLOSED, f"the dome does not close: {reason}; close it by hand")
        else:
            self.alarm_over(_NOT_CLOSED)

    def _park_for_roof(self, reason: str) -> None:
        self._report(ShutterReport(what="park", reason=reason))

    def _report(self, report: ShutterReport) -> None:
        self.post_to_self(SHUTTER, report)

    # Turns ----------------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Nothing that was wanted before counts: the dome is being closed."""
        if self._site_problem is not None:
            raise self._site_problem
        self.state.command = self.state.interrupted = None
        self.state.orders = {}
        self._forget_opening()
        super().work()

    def open(self, message: Message) -> None:
        """Open after the commit, if it may be open then."""
        person = message.sender not in self.config.agents
        by_hand = person and message.proved and self.holds.service is not None
        asked = float("-inf") if by_hand else message.said + OPEN_LEASE_SECONDS
        if person and (refusal := self.guard.reason_closed(by_hand=by_hand, asked=asked)):
            raise NotTaken(f"not opened: {refusal}")
        self.state.lost, self.state.open_sender = 0, message.sender
        self._forget_opening()
        self._keep_order(message)
        self.after_commit(partial(self.control.open, message.payload.reason, message.said, by_hand=by_hand))

    def tell_may_open(self) -> None:
        """Tell the majordome what is so now: it may have heard that nothing opens without guardian or monitoring."""
        asked = self.clock.monotonic() + OPEN_LEASE_SECONDS
        report = DomeReport(state=self.control.state, may_open=self.guard.reason_closed(asked=asked))
        self.send_if_there(self.MAJORDOME, messages.KEPT_OPEN, report, durable=True)

    def open_again(self) -> None:
        """Open again a dome that was lost while it opened. One still away is opened when it is connected again."""
        self.state.open_timer = None
        if self.control.wanted_open and self.state.connected:
            self.after_commit(self.control.open_again, "it was lost while it opened")

    def close(self, message: Message) -> None:
        """Forget the opening; the reflex has closed already, but for an order that comes a second time."""
        self._forget_opening()
        self._keep_order(message)
        self.at_once(self.control.close_still, message.payload.reason, message.said)

    def keep_open(self, message: Message) -> None:
        """Tell who keeps it open what the dome does: without that word nobody observes."""
        report = DomeReport(state=self.control.state, may_open=self._may_open)
        self.send_if_there(message.sender, messages.KEPT_OPEN, report)

    def weather(self) -> None:
        """Heard already; kept in the journal for people."""

    def parked(self) -> None:
        """Heard already."""

    def mount_state(self, message: Message) -> None:
        """Heard already."""

    def park_failed(self, message: Message) -> None:
        self.log.error("the mount isn't parked: {reason}", reason=message.payload.reason)

    def follow(self, message: Message) -> None:
        """Turn the slit to a target and follow it; when it first looks there is told."""
        self.state.follows, self.state.follow_sender = message.payload, message.sender
        self._turn(message.payload, message)

    def follow_on(self) -> None:
        self.state.follow_timer = None
        follows = self.state.follows
        if follows is not None and self.control.wanted_open:
            self._turn(follows)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Open a dome that is wanted open again once its device is connected again, if it may be."""
        control = self.control
        if state is None or not control.wanted_open:
            return
        if self.state.open_timer is None and not control.opening and (control.lost or state != "open"):
            if state != "open":  # no light comes in
                self.log.warn("the dome was lost, and is {state}", state=state)
                self._report_closed(f"the dome was lost, and is {state}")
            self.after_commit(control.open_again, "it is connected again, and may be open")
        if self.state.follows is not None:
            self._turn(self.state.follows)

    def shutter(self, message: Message) -> None:
        """Tell others what became of the shutter."""
        report: ShutterReport = message.payload
        reason = report.reason
        self.state.shutter = f"{report.what}: {reason}"
        self._end_orders(report)
        match report.what:
            case "refused":
                self.log.warn("not opened: {reason}", reason=reason)
                self.send_if_there(
                    self.state.open_sender or self.MAJORDOME,
                    messages.DOME_FAILED,
                    DomeFailure(reason=f"not opened: {reason}"),
                )
            case "opened":
                self.state.lost = 0
                self._tell(messages.DOME_OPENED, Reason(reason=reason))
            case "not opened":
                self._not_opened(report)
            case "dark":
                self._forget_opening()
                self._report_closed(reason)
                if not report.ordered:
                    self._tell_closing(reason)
            case "park":
                self.send_to(self.TELESCOPE, messages.PARK, Order(reason=f"the roof closes: {reason}"))
            case "ask mount":
                self.send_to(self.TELESCOPE, messages.TELL_STATE)
            case "closed":
                self._tell(messages.DOME_CLOSED, Reason(reason=reason))
                self.send_if_there(self.COVER, messages.DOME_CLOSED, Reason(reason=reason))
            case "not closed":
                self.send_if_there(
                    self.MAJORDOME, messages.DOME_FAILED, DomeFailure(reason=f"Close: {reason}", what="close")
                )

    def _tell_closing(self, reason: str) -> None:
        """Tell the majordome at once that the dome closes by itself: a roof may wait a minute for the mount before."""
        report = DomeReport(state=self.control.state, may_open=reason)
        self.send_if_there(self.MAJORDOME, messages.KEPT_OPEN, report, durable=True)

    def _opens_again(self, report: ShutterReport) -> bool:
        return report.lost and self.state.lost < len(_OPEN_PAUSES)

    def _not_opened(self, report: ShutterReport) -> None:
        """Try again some times to open what was lost while it opened, for it could not be closed either."""
        again = self._opens_again(report)
        failure = DomeFailure(reason=f"Open: {report.reason}", lost=again, what="open")
        self.send_if_there(self.MAJORDOME, messages.DOME_FAILED, failure)
        if again:
            self._forget_opening()
            self.state.open_timer = self.call_later(_OPEN_PAUSES[self.state.lost], OPEN_AGAIN)
            self.state.lost += 1
        elif report.lost:
            self.at_once(self.control.close, f"opening failed: {report.reason}")

    def _keep_order(self, message: Message) -> None:
        if message.sender not in self.config.agents:
            self.state.orders[message.id] = message.name
            while len(self.state.orders) > _MAX_ORDERS:
                del self.state.orders[next(iter(self.state.orders))]

    def _end_orders(self, report: ShutterReport) -> None:
        """Keep the ends of the orders that are over with this report; one that is tried again is not."""
        reason = report.reason
        ends: dict[str, dict[str, str]] = {
            "refused": {messages.OPEN: f"not opened: {reason}"},
            "opened": {messages.OPEN: "", messages.CLOSE: "superseded by Open"},
            "not opened": {messages.OPEN: reason},
            "dark": {messages.OPEN: f"the dome closes: {reason}"},
            "closed": {messages.CLOSE: ""},
            "not closed": {messages.CLOSE: reason},
        }
        if report.what == "not opened" and self._opens_again(report):
            return
        over = ends.get(report.what, {})
        for id_, name in [(id_, name) for id_, name in self.state.orders.items() if name in over]:
            del self.state.orders[id_]
            self.keep_end(id_, "", over[name])

    def figures(self) -> dict[str, Any]:
        """Tell how the agent is doing, its orders beside its commands."""
        figures = super().figures()
        return figures | {"under_way": [*figures["under_way"], *list(self.state.orders)]}

    def reason_not_allowed(self) -> str:
        return self.guard.reason_closed()

    def done(self, command: Command, result: dict[str, Any]) -> None:
        azimuth: float | None = result["azimuth"]
        observation = command.payload.get("observation", "")
        self._tell_follower(messages.SLIT_IN_PLACE, SlitInPlace(observation=observation, azimuth=azimuth))
        self.state.follow_sender = ""
        if azimuth is not None:
            self._follow_later(_FOLLOW_EVERY)

    def failed(self, command: Command, failure: Failure) -> None:
        self._tell_follower(messages.SLIT_FAILED, failure)
        self._follow_later(_AGAIN)

    def _forget_opening(self) -> None:
        self.cancel_timer(self.state.open_timer)
        self.state.open_timer = None

    def _report_closed(self, reason: str) -> None:
        """Tell the observation manager that no light reaches the camera any more."""
        self.send_if_there(self.OBSERVATION_MANAGER, messages.DOME_CLOSED, Reason(reason=reason))

    def _turn(self, follow: Follow, order: Message | None = None) -> None:
        """Turn the slit beside whatever the shutter is doing. A turn under way is superseded by it."""
        _, wanted = altitude_azimuth(self.site, follow.ra, follow.dec, self.clock.now())

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._turn_to(wanted))

        self.state.aside = [command for command in self.state.aside if command.name != messages.FOLLOW]
        self.command(messages.FOLLOW, follow, run, order=order, aside=True)

    async def _turn_to(self, wanted: float) -> dict[str, Any]:
        """In the reactor's thread."""
        azimuth = await self.device.azimuth()
        if azimuth is not None and turn_between(azimuth, wanted) > _SLIT:
            azimuth = await self.device.rotate(wanted % 360)
        return {"azimuth": azimuth}

    def _tell_follower(self, name: str, payload: Any) -> None:
        if self.state.follow_sender:
            self.send_if_there(self.state.follow_sender, name, payload)

    def _follow_later(self, seconds: float) -> None:
        self.cancel_timer(self.state.follow_timer)
        self.state.follow_timer = self.call_later(seconds, FOLLOW_ON)

    def _tell(self, name: str, payload: Any) -> None:
        for agent in (self.MAJORDOME, self.OBSERVATION_MANAGER):
            self.send_if_there(agent, name, payload)
