"""The hand on the shutter: opens it when it may be open, closes it at once and whatever else fails.

It lives in the reactor's thread, beside the agent's turns (decision 0040): no journal, no disk and no handler that
hangs is in a closing's way. Turns only tell others what became of it.

    closed --open()--> opening --the device: it is open--> open
    opening, open --close(), a lease ends, the device: it failed--> closing
    closing --the device: it is closed--> closed

A roof that would hit the telescope closes when the mount is parked, or has not been within `ROOF_SECONDS`. A mount
whose agent is silent for `MOUNT_ANSWER_SECONDS` is parked by its device. While it is
``closing`` the device is told again and again, until it says itself that it is closed. An opening during
which the device was lost stays wanted: it is up to the agent's turns to try again, while the leases run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.agents._shutter import ShutterGuard
from pyros.agents.instrument import in_words
from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConnectionLost, InstrumentError, NoAnswer
from pyros.instruments import Dome
from pyros.messages import Payload

CLOSE_RETRY_SECONDS = 10.0
"""A device that doesn't say that it is closed is told so often."""
AWAY_SECONDS = 15.0
"""At its end an agent waits so long for a device that cannot be reached."""
ROOF_SECONDS = 60.0
"""A roof that would hit the telescope waits so long for the mount to be parked, and then closes all the same."""
MOUNT_ANSWER_SECONDS = 5.0
"""The mount's agent, which parks it for the roof, is asked so often what the mount does, and has so long to answer."""
OPEN_LEASE_SECONDS = 60.0
"""For how long *Open* itself keeps the dome open."""

What = Literal["refused", "opened", "not opened", "dark", "park", "ask mount", "closed", "not closed"]


class ShutterReport(Payload, frozen=True):
    """What became of the shutter, for a turn of the agent to tell others."""

    what: What
    reason: str
    lost: bool = False
    """The device was lost meanwhile: what it did is unknown."""
    ordered: bool = False
    """It is what somebody has ordered, and not the dome's own doing."""


class ShutterControl:
    """Opens and closes one dome. Everything is for the reactor's thread; the attributes may be read from any."""

    def __init__(
        self,
        device: Dome,
        clock: Clock,
        guard: ShutterGuard,
        log: Logger,
        report: Callable[[ShutterReport], None],
        on_alarm: Callable[[str], None],
        on_opening: Callable[[], None],
        park: Callable[[str], None] | None = None,
        park_by_device: Callable[[float], Deferred[None]] | None = None,
    ) -> None:
        """Take the device, and who is told.

        ``report`` has others told by a turn. ``on_alarm`` is called with why the dome has not closed at a second
        attempt, and with '' when it has. ``on_opening`` is called before the device is told to open. ``park``: for a
        roof that would hit the telescope; has the mount's agent park it, whose word `mount_answers` and end
        `mount_parked` hear. ``park_by_device`` parks it without that agent, within so many seconds.
        """
        self.wanted_open = False
        """Whether the dome shall be open; whatever it is, it closes when it may not."""
        self.lost = False
        """The device was lost while it opened."""
        self.opening = False
        """The device was told to open, and hasn't answered."""
        self.state = "unknown"
        """The shutter's, as the device has told it last."""
        self._device = device
        self._clock = clock
        self._guard = guard
        self._log = log
        self._report = report
        self._on_alarm = on_alarm
        self._on_opening = on_opening
        self._failures = 0
        self._park = park
        self._clear = park is None
        self._park_by_device = park_by_device
        self._mount: Timer | None = None
        self._answer: Timer | None = None
        self._answered = False
        self._parking: Deferred[None] | None = None
        """The mount is being parked by its device."""
        self._by_hand = False
        self._closed = False
        self._reason = ""
        self._number = 0
        self._under_way = False
        self._retry: Timer | None = None
        self._look: Timer | None = None
        self._close_said = self._open_said = float("-inf")
        self._ending = False
        self._ends: list[Deferred[None]] = []
        self._end_timer: Timer | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the dome is closed, by its own word, and nothing else is wanted."""
        return self.state == "closed" and not (self.wanted_open or self.opening or self._under_way)

    # Orders -------------------------------------------------------------------------------------------------------

    def open(self, reason: str, said: float, *, by_hand: bool = False) -> None:
        """Open, if it may be open now; the order itself counts as the first word of who keeps it open.

        ``said``: the order's monotonic instant. ``by_hand``: it is a person's.
        """
        if said < self._close_said:
            self._report(ShutterReport(what="refused", reason="it was told to close after that"))
            return
        self._open_said = said
        if not by_hand:
            self._guard.kept_open(said, OPEN_LEASE_SECONDS)
        self._open(reason, by_hand)

    def open_again(self, reason: str) -> None:
        """Open what was lost while it was wanted open, if it is wanted open still."""
        if self.wanted_open:
            self._open(reason, self._by_hand)

    def close(self, reason: str, said: float | None = None) -> None:
        """Close now, whatever is known of the shutter. ``said``: when the order was given, if it was one."""
        if said is not None:
            self._close_said = max(self._close_said, said)
        was_wanted, self.wanted_open = self.wanted_open, False
        self._reason = reason
        self.lost = False
        self._cancel_look()
        if was_wanted:
            self._report(ShutterReport(what="dark", reason=reason, ordered=said is not None))
        self._command_close()

    def close_still(self, reason: str, said: float) -> None:
        """Close by an order that came before, unless that was done, or it was told to open since."""
        done = self._closed or self._under_way
        if said >= self._open_said if self.wanted_open else not done:
            self.close(reason, said)

    def end(self, reason: str) -> Deferred[None]:
        """Close for good. Fires when the device says that it is closed, or isn't there to be asked."""
        ended: Deferred[None] = Deferred()
        self._ends.append(ended)
        self._ending = True
        if self._end_timer is None:
            self._end_timer = self._clock.call_later(AWAY_SECONDS, self._end_if_away)
        if self.wanted_open or self.opening:
            self.close(reason)
            return ended
        number = self._number

        def told(state: str) -> None:
            self.state = state
            if state == "closed" and number == self._number and not self._under_way:
                self._closed = True
                self._fire_ends()
            elif not self._under_way:
                self.close(reason)

        def silent(_: Failure) -> None:
            if self._closed and not self._device.connected:
                self._fire_ends()  # nothing more can be done about it
            elif not self._under_way:
                self.close(reason)

        maybeDeferred(self._device.state).addCallbacks(told, silent)
        return ended

    def stop(self) -> None:
        """Forget everything: the device's connection is about to be closed."""
        self._number += 1
        self._cancel_look()
        self._cancel_retry()
        self._forget_mount()
        self._fire_ends()

    # What is heard ------------------------------------------------------------------------------------------------

    def reason_closed(self) -> str:
        """Why the dome must not be open now; '' when it may."""
        return self._guard.reason_closed(by_hand=self._by_hand)

    def look(self) -> None:
        """Close what may not be open any more."""
        self._guard.notice_step()
        if not self.wanted_open:
            return
        if reason := self.reason_closed():
            self.close(reason)
        else:
            self._look_in_time()

    def saw(self, state: str) -> None:
        """Take the device's word for its shutter, given of its own or asked for."""
        self.state = state
        if self.wanted_open:
            if not self.opening and not self.lost and state in ("closed", "closing", "stopped"):
                self.close(f"the dome was found {state}")
        elif state != "closed" and not self._under_way and self._retry is None:
            self._log.warn("the dome was found {state}, and is closed", state=state)
            self.close(f"the dome was found {state}")

    def connected(self) -> None:
        """Close or open again once the device is connected again: what it has done meanwhile isn't known."""
        if self.wanted_open:
            return  # a turn looks at it
        if self._under_way:
            return  # the command has waited for the connection
        if not self._closed:
            self._command_close()
        else:
            maybeDeferred(self._device.state).addCallbacks(self.saw, lambda _: None)

    def disconnected(self) -> None:
        """Nobody knows what the shutter does."""
        self.state = "unknown"

    # Opening ------------------------------------------------------------------------------------------------------

    def _open(self, reason: str, by_hand: bool) -> None:
        self._guard.notice_step()
        if refusal := self._guard.reason_closed(by_hand=by_hand):
            self._report(ShutterReport(what="refused", reason=refusal))
            if self.wanted_open:
                self.close(refusal)
            return
        if self._ending:
            self._report(ShutterReport(what="refused", reason="the dome's agent ends"))
            return
        self._cancel_retry()
        self._forget_mount()
        self._number += 1
        number = self._number
        self._clear = self._park is None
        self.wanted_open, self._by_hand = True, by_hand
        self.opening, self.lost, self._closed, self._under_way = True, False, False, False
        self._look_in_time()

        def started(seconds: float) -> None:
            self._log.info("the dome opens, which takes {seconds:.1f} s", seconds=seconds)
            self.state = "opening"

        def opened(_: object) -> None:
            if number == self._number:
                self.opening, self.state = False, "open"
                self._report(ShutterReport(what="opened", reason=reason))

        def failed(failure: Failure) -> None:
            if number != self._number:
                return
            self.opening = False
            self.lost = failure.check(ConnectionLost, NoAnswer) is not None
            why = self._words(failure)
            self._log.error("the dome could not be opened: {reason}", reason=why)
            self._report(ShutterReport(what="not opened", reason=why, lost=self.lost))
            if not self.lost:
                self.close(f"opening failed: {why}")

        self._on_opening()
        maybeDeferred(self._device.open, started).addCallbacks(opened, failed)

    def _look_in_time(self) -> None:
        self._cancel_look()
        seconds = self._guard.next_change() - self._clock.monotonic()
        self._look = self._clock.call_later(max(0.001, seconds), self._look_now)

    def _look_now(self) -> None:
        self._look = None
        self.look()

    # Closing ------------------------------------------------------------------------------------------------------

    def _command_close(self) -> None:
        """Tell the device to close, whatever it was told before, and again until it says that it is closed."""
        self._cancel_retry()
        self._number += 1
        number = self._number
        self.opening, self._closed, self._under_way = False, False, True
        if not self._clear:
            self._wait_for_mount()
            return
        self._retry = self._clock.call_later(CLOSE_RETRY_SECONDS, self._close_in_time, number)

        def started(seconds: float) -> None:
            self._log.info("the dome closes, which takes {seconds:.1f} s", seconds=seconds)
            if number == self._number:
                self.state = "closing"

        closing = maybeDeferred(self._device.close, started)
        closing.addCallback(lambda _: self._device.state() if number == self._number else "")
        closing.addCallbacks(self._told, lambda failure: self._not_closed(number, self._words(failure)), (number,))

    def _wait_for_mount(self) -> None:
        """Have the mount parked first; a roof that is closed already is told so at once."""
        if self._park is None or self._mount is not None:
            return
        self._mount = self._clock.call_later(ROOF_SECONDS, self._mount_is_late)
        self._park(self._reason)
        self._ask_mount()

        def told(state: str) -> None:
            self.state = state
            if state == "closed":
                self.mount_parked()

        maybeDeferred(self._device.state).addCallbacks(told, lambda _: None)

    def mount_parked(self) -> None:
        """Nothing is in the roof's way: close it, if it waits for that."""
        if self._mount is not None:
            self._forget_mount()
            self._clear = True
            self._command_close()

    def mount_answers(self) -> None:
        """Leave the mount to its agent for now, which is there and has its device."""
        self._answered = True

    def _ask_mount(self) -> None:
        self._answered = False
        self._answer = self._clock.call_later(MOUNT_ANSWER_SECONDS, self._look_for_answer)
        self._report(ShutterReport(what="ask mount", reason=self._reason))

    def _look_for_answer(self) -> None:
        if self._answered or self._park_by_device is None:
            self._ask_mount()
            return
        self._answer = None
        self._log.warn("the telescope's agent does not answer: the mount is parked by its device")
        self._parking = parking = self._park_by_device(ROOF_SECONDS - MOUNT_ANSWER_SECONDS)

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) is None:
                self._log.error("the mount isn't parked: {why}", why=failure.getErrorMessage())

        parking.addCallbacks(lambda _: self.mount_parked(), failed)

    def _mount_is_late(self) -> None:
        self._forget_mount()
        self._log.critical(
            "the mount isn't parked after {seconds:g} s, and the roof closes all the same", seconds=ROOF_SECONDS
        )
        self._clear = True
        self._command_close()

    def _forget_mount(self) -> None:
        cancel_call(self._mount)
        cancel_call(self._answer)
        self._mount = self._answer = None
        parking, self._parking = self._parking, None
        if parking is not None:
            parking.cancel()

    def _told(self, state: str, number: int) -> None:
        """End the attempt when the device says that it has closed, and its shutter's state agrees."""
        if number != self._number:
            return
        self.state = state
        if state == "closed":
            self._is_closed()
        else:
            self._not_closed(number, f"it says that it has closed, and that it is {state}")

    def _is_closed(self) -> None:
        self._cancel_retry()
        self._number += 1
        self._closed, self._under_way = True, False
        self._failures, self._clear = 0, self._park is None
        self._on_alarm("")
        self._report(ShutterReport(what="closed", reason=self._reason))
        self._fire_ends()

    def _not_closed(self, number: int, why: str) -> None:
        """Note that the attempt failed; the device is told again in time."""
        if number != self._number:
            return
        self._under_way = False
        self._failures += 1
        self._log.critical("THE DOME DOES NOT CLOSE: {reason}; it is told again, close it by hand", reason=why)
        if self._failures > 1:
            self._on_alarm(why)
        self._report(ShutterReport(what="not closed", reason=why))

    def _close_in_time(self, number: int) -> None:
        """Tell the device again, for it hasn't said yet that it is closed."""
        self._retry = None
        if number != self._number:
            return
        if not self._under_way:
            self._command_close()
            return
        self._retry = self._clock.call_later(CLOSE_RETRY_SECONDS, self._close_in_time, number)

        def told(state: str) -> None:
            if number != self._number:
                return
            self.state = state
            if state == "closed":
                self._is_closed()
            elif state != "closing":
                self._log.warn("told to close, the dome is {state}: it is told again", state=state)
                self._command_close()

        maybeDeferred(self._device.state).addCallbacks(told, lambda _: None)  # the command's own end will tell

    # The end ------------------------------------------------------------------------------------------------------

    def _end_if_away(self) -> None:
        self._end_timer = None
        if self._device.connected:  # it is told until it is closed, or the agent may wait no longer
            self._end_timer = self._clock.call_later(AWAY_SECONDS, self._end_if_away)
            return
        self._log.critical("this agent ends, and the dome is not known to be closed: its device is not there")
        self._fire_ends()

    def _fire_ends(self) -> None:
        cancel_call(self._end_timer)
        self._end_timer = None
        ends, self._ends = self._ends, []
        for ended in ends:
            ended.callback(None)

    def _words(self, failure: Failure) -> str:
        if not isinstance(failure.value, InstrumentError):
            self._log.failure("a command failed in an unexpected way", failure)
        return in_words(failure)

    def _cancel_retry(self) -> None:
        cancel_call(self._retry)
        self._retry = None

    def _cancel_look(self) -> None:
        cancel_call(self._look)
        self._look = None
