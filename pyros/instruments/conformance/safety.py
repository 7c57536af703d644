"""What a `SafetyMonitor` must do."""

from __future__ import annotations

from pyros.instruments.conformance._check import Check, Context, expect
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import SafetyMonitor


async def _reads(safety: SafetyMonitor, context: Context) -> None:
    await named(safety, context, safety.read)
    told = await safety.read()
    expect(isinstance(told.safe, bool), f"it says {told.safe!r}, not True or False")
    expect(isinstance(told.reason, str), f"its reason is {told.reason!r}")


CHECKS = (
    Check("tells its name, and whether it is safe", _reads),
    disconnecting(lambda safety: safety.read()),
)
