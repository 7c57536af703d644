"""A check, what it is given, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pyros.clock import Clock, cancel_call
from pyros.errors import CommandAborted, DeviceRefused, InstrumentError, PyrosError
from pyros.instruments.drivers.pointing import TOLERANCE_ARCSEC
from pyros.instruments.interfaces import Started

Outcome: TypeAlias = Literal["passed", "failed", "not supported"]

UNSUPPORTED = ("UNSUPPORTED", "UNKNOWN")
"""The codes of refusals that say that a device does not have that; UNKNOWN is the native grammar's own word."""


class CheckFailed(PyrosError):
    """The device did something else than its interface says; the text tells what."""


class NotSupported(PyrosError):
    """This device has nothing that the check could try."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may use besides the device.

    ``place(altitude, azimuth)`` gives the ICRS position (ra, dec) that stands there now, all in degrees. The seconds
    are the observatory's: a simulator may be faster.
    """

    clock: Clock
    place: Callable[[float, float], tuple[float, float]]
    tolerance_arcsec: float = TOLERANCE_ARCSEC
    """How far from its target a telescope may stand."""
    tracking: float = 5.0
    """For how many seconds tracking is watched; without it the sky moves by 15 arcseconds in each."""
    exposure: float = 1.0
    """Seconds of an exposure whose image is wanted."""
    long_exposure: float = 60.0
    """Seconds of one that is going to be aborted."""
    limit: float = 900.0
    """Seconds after which a check has failed."""

    def pause(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires after so many seconds."""
        timer = self.clock.call_later(seconds, lambda: waiting.callback(None))
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        return waiting

    async def until(self, ask: Callable[[], Awaitable[Any]], *wanted: Any, seconds: float = 30.0) -> Any:
        """Wait until ``ask`` tells one of the answers wanted, and return it. Raises CheckFailed when it never does."""
        end = self.clock.monotonic() + seconds
        while (told := await ask()) not in wanted:
            if self.clock.monotonic() > end:
                expect(False, f"it is still {told!r} after {seconds:g} s, not {' or '.join(map(repr, wanted))}")
            await self.pause(0.2)
        return told


class UnderWay:
    """A command that was given and may not have ended: ``UnderWay(context, lambda begun: device.park(begun))``."""

    def __init__(self, context: Context, begin: Callable[[Started], Deferred[Any]]) -> None:
        self._context = context
        self._waiting: list[Deferred[None]] = []
        self.estimates: list[float] = []
        """What ``started`` was called with."""
        self.outcome: list[Any] = []
        """Its result or its Failure, once it has ended."""
        begin(self._started).addBoth(self._ended)

    def _started(self, seconds: float) -> None:
        self.estimates.append(seconds)
        self._wake()

    def _ended(self, outcome: Any) -> None:
        self.outcome.append(outcome)
        self._wake()

    def _wake(self) -> None:
        """In a later turn of the reactor: no command is given from within the callback of another."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._context.clock.call_later(0, _fire, each)

    def _change(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    async def begun(self) -> None:
        """Return when the device has begun. Raises its refusal, CheckFailed when it failed at once."""
        while not self.estimates and not self.outcome:
            await self._change()
        if self.outcome:
            if isinstance(self.outcome[0], Failure) and self.outcome[0].check(DeviceRefused):
                self.outcome[0].raiseException()
            expect(not isinstance(self.outcome[0], Failure), f"it ended at once: {_reason(self.outcome[0])}")
            raise NotSupported("this device is too quick to be interrupted")

    async def end(self) -> Any:
        """Its result; raises what it failed with."""
        while not self.outcome:
            await self._change()
        if isinstance(self.outcome[0], Failure):
            self.outcome[0].raiseException()
        expect(len(self.estimates) <= 1, f"it said {len(self.estimates)} times that it has begun")
        expect(all(0 <= estimate < 1e6 for estimate in self.estimates), f"it estimated {self.estimates} seconds")
        return self.outcome[0]

    async def aborted(self, what: str) -> None:
        """Raise CheckFailed unless the command ended with CommandAborted."""
        try:
            result = await self.end()
        except CommandAborted:
            return
        except InstrumentError as error:
            raise CheckFailed(f"{what} ended with {_named(error)}, not with CommandAborted") from None
        raise CheckFailed(f"{what} ended with {result}, not with CommandAborted")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an interface promises. ``gentle``: nothing real can come to harm, whatever the device does."""

    name: str
    run: Callable[[Any, Context], Coroutine[Any, Any, None]]
    gentle: bool = True

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended, why it did if it did not pass, and how long it took."""

    check: Check
    outcome: Outcome
    reason: str
    seconds: float


def expect(holds: bool, otherwise: str) -> None:
    """Raise CheckFailed with that text unless it holds."""
    if not holds:
        raise CheckFailed(otherwise)


async def refused(command: Awaitable[Any], *codes: str, what: str) -> None:
    """Raise CheckFailed unless the command is refused, with one of these codes if any are given."""
    try:
        result = await command
    except DeviceRefused as refusal:
        expect(not codes or refusal.code in codes, f"{what} was refused with {refusal}, not {' or '.join(codes)}")
    except InstrumentError as error:
        raise CheckFailed(f"{what} ended with {_named(error)}, not with DeviceRefused") from None
    else:
        raise CheckFailed(f"{what} was not refused: {result}")


async def run(check: Check, device: Any, context: Context) -> Result:
    """Run one check on a device. Raises nothing: whatever goes wrong is the result."""
    began = context.clock.monotonic()
    work = Deferred.fromCoroutine(check.run(device, context))
    timer = context.clock.call_later(context.limit, work.cancel)
    outcome: Outcome = "failed"
    try:
        await work
        outcome, reason = "passed", ""
    except NotSupported as error:
        outcome, reason = "not supported", str(error)
    except DeviceRefused as refusal:
        outcome = "not supported" if refusal.code in UNSUPPORTED else "failed"
        reason = _named(refusal)
    except CheckFailed as error:
        reason = str(error)
    except CancelledError:  # by the timer
        reason = f"no end within {context.limit:g} s"
    except InstrumentError as error:
        reason = _named(error)
    except Exception as other:  # the interface allows no other error: the driver's fault, too
        reason = f"an error that no driver may end with: {_named(other)}"
    finally:
        cancel_call(timer)
    return Result(check, outcome, reason, context.clock.monotonic() - began)


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:  # cancelled
        waiting.callback(None)


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _reason(outcome: Any) -> str:
    return _named(outcome.value) if isinstance(outcome, Failure) else str(outcome)
