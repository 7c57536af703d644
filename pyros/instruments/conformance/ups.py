"""What a `Ups` must do."""

from __future__ import annotations

from pyros.instruments.conformance._check import Check, Context, expect
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.ups import Ups


async def _reads(ups: Ups, context: Context) -> None:
    await named(ups, context, ups.read)
    told = await ups.read()
    expect(isinstance(told.on_mains, bool), f"it says {told.on_mains!r}, not True or False")
    expect(told.charge is None or 0 <= told.charge <= 100, f"its charge is {told.charge!r} percent")


CHECKS = (
    Check("tells its name, whether the mains are there, and the battery's charge", _reads),
    disconnecting(lambda ups: ups.read()),
)
