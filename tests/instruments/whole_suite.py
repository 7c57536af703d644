"""The whole conformance suite on one telescope, one check after the other, in a reactor that runs in a thread."""

from __future__ import annotations

from typing import Any

from twisted.internet import threads
from twisted.internet.defer import Deferred

from pyros.clock import RealClock
from pyros.instruments.conformance import CHECKS, Context, run
from pyros.planning.visibility import place_overhead

blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never


def exceptions(telescope: Any, site: Any, reactor: Any) -> dict[str, tuple[str, str]]:
    """How every check of the suite ended that did not pass, and why; what the device lacks is its own word."""
    clock = RealClock(reactor)

    def place(altitude: float, azimuth: float) -> tuple[float, float]:
        return place_overhead(site, clock.now(), altitude, azimuth)

    async def try_all() -> dict[str, tuple[str, str]]:
        await telescope.sync(*place(70, 95))  # it is there at once: not half a minute for the first slew
        results = [await run(check, telescope, context) for check in CHECKS["telescope"]]
        return {str(each.check): (each.outcome, each.reason) for each in results if each.outcome != "passed"}

    context = Context(clock, place, tracking=2.0, limit=200.0)
    found: dict[str, tuple[str, str]] = blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(try_all()))
    return found
