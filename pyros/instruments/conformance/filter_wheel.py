"""What a `FilterWheel` must do."""

from __future__ import annotations

from functools import partial
from typing import get_args

from pyros.instruments.conformance._check import Check, Context, NotSupported, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import FilterWheel, MotorState


async def _answers(wheel: FilterWheel, context: Context) -> None:
    await named(wheel, context, wheel.state)
    state = await wheel.state()
    expect(state in get_args(MotorState), f"its state is {state!r}")
    filters = await wheel.filters()
    expect(bool(filters) and all(filters), f"its filters are {filters}")
    expect(len(set(filters)) == len(filters), f"two of its filters have the same name: {filters}")


async def _selects(wheel: FilterWheel, context: Context) -> None:
    for each in await wheel.filters():
        reached = await UnderWay(context, partial(wheel.select, each)).end()
        expect(reached == each, f"told to select {each!r}, it ended with {reached!r}")
        now = await wheel.filter()
        expect(now == each, f"{each!r} was selected, and it says {now!r}")
        await context.until(wheel.state, "idle")


async def _selects_again(wheel: FilterWheel, context: Context) -> None:
    first = (await wheel.filters())[0]
    await wheel.select(first)
    expect(await wheel.select(first) == first, f"{first!r} was in the beam, and could not be selected")


async def _newer(wheel: FilterWheel, context: Context) -> None:
    filters = await wheel.filters()
    if len(filters) < 2:
        raise NotSupported("it has one filter only")
    await wheel.select(filters[0])
    older = UnderWay(context, partial(wheel.select, filters[-1]))
    await older.begun()
    newer = UnderWay(context, partial(wheel.select, filters[0]))
    await older.aborted("the older turn")
    expect(await newer.end() == filters[0], f"it ended with {newer.outcome[0]!r}, not {filters[0]!r}")


async def _unknown(wheel: FilterWheel, context: Context) -> None:
    first = (await wheel.filters())[0]
    await wheel.select(first)
    await refused(wheel.select("no such filter"), "VALUE", what="an unknown filter")
    expect(await wheel.filter() == first, "a refused filter turned the wheel")


async def remember(wheel: FilterWheel) -> str:
    """Ask for the filter in the beam."""
    return await wheel.filter()


async def tidy(wheel: FilterWheel, before: str | None) -> None:
    """Turn the filter into the beam that was there."""
    if before:
        await wheel.select(before)


CHECKS = (
    Check("tells its name, its state and its filters", _answers),
    Check("selects each filter, and reports it", _selects),
    Check("selects what is in the beam already", _selects_again),
    Check("a newer turn takes the place of the older, which ends with CommandAborted", _newer),
    Check("an unknown filter is refused with VALUE, and nothing turns", _unknown),
    disconnecting(lambda wheel: wheel.state()),
)
