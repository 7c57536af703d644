"""``pyros instruments test``: the conformance suite on the real device."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from twisted.internet.defer import Deferred, DeferredList

from pyros import config as configuration
from pyros.cli.common import ConfigOption, out
from pyros.cli.instruments.device import AnywayOption, DeviceSession, NameArgument, device_session
from pyros.errors import PyrosError
from pyros.kinds import KINDS

if TYPE_CHECKING:
    from pyros.instruments.conformance import Result

_COLOURS = {"passed": "green", "failed": "red", "not supported": "yellow"}


def conform(
    name: NameArgument,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the checks that may do harm: opening the dome, going beyond limits ...")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before anything moves.")] = False,
    anyway: AnywayOption = False,
    config: ConfigOption = None,
) -> None:
    """Test a device, through its driver, against what its kind of instrument promises.

    Gently: what could do harm if the device did not behave is left out, unless
    you say --all, and before anything moves you are asked. At the end the
    device is left as after a night: parked, closed, exposing nothing; filter
    and focus are as they were. What a device cannot do is not a failure, and is
    told in its own words. The exit code is 0 when no check has failed.

    Examples:
      pyros instruments test telescope
      pyros instruments test dome --all
    """
    loaded = configuration.load(config)
    if not yes and (everything or (name in KINDS and KINDS[name].trial)):
        _ask(name, everything)
    with device_session(loaded, name, anyway) as session:
        failed = test_device(session, everything)
    raise typer.Exit(1 if failed else 0)


def _ask(name: str, everything: bool) -> None:
    """Ask whether the device may move; raises PyrosError without a terminal, typer's Abort when the answer is no."""
    does = f"may open, move or switch what {name} controls to its limits" if everything else KINDS[name].trial
    if not sys.stdin.isatty():
        raise PyrosError(f"this {does}; say --yes if it may")
    typer.confirm(f"This {does}. Go on?", abort=True)


def test_device(session: DeviceSession, everything: bool) -> int:
    """Run the checks of the device's kind, tell their outcomes, and return how many have failed."""
    from pyros.instruments.conformance import CHECKS, Check, Context, remember, run, tidy  # noqa: PLC0415  numpy takes a moment
    from pyros.planning.visibility import place_overhead  # noqa: PLC0415

    def place(altitude: float, azimuth: float) -> tuple[float, float]:
        return place_overhead(session.site, session.clock.now(), altitude, azimuth)

    context = Context(session.clock, place)

    under_way: list[Deferred[Result]] = []

    def try_(check: Check) -> Deferred[Result]:
        under_way[:] = [Deferred.fromCoroutine(run(check, session.device, context))]
        return under_way[0]

    def stop() -> Deferred[Any]:
        """End the check that Ctrl-C has left behind, which must not command the device while that is left in order."""
        ends = DeferredList(under_way)
        for check in under_way:
            check.cancel()
        return ends

    before = session.wait(lambda: Deferred.fromCoroutine(remember(session.kind, session.device)))
    outcomes: Counter[str] = Counter()
    *checks, last = CHECKS[session.kind]
    try:
        for check in checks:
            if not check.gentle and not everything:
                outcomes["left out"] += 1
                out.print(Text("left out       ").append(f"{check.name} (--all)"))
                continue
            with out.status(check.name) if out.is_terminal else nullcontext():
                result = session.wait(partial(try_, check))
            outcomes[result.outcome] += 1
            _tell(result)
            if not session.device.connected and result.outcome == "failed" and outcomes["passed"] == 0:
                raise PyrosError(f"{session.kind}: cannot be tested: {result.reason}")
    finally:
        session.wait(stop)
        never_there = not session.device.connected and not outcomes["passed"]
        order = partial(tidy, session.kind, session.device, before)
        problem = "" if never_there else session.wait(lambda: Deferred.fromCoroutine(order()))
        if problem:
            out.print(Text(f"It could not be left in order: {problem}", "red"))
    result = session.wait(partial(try_, last))
    outcomes[result.outcome] += 1
    _tell(result)
    out.print(f"\n{session.device.name}: " + ", ".join(f"{count} {what}" for what, count in outcomes.items()))
    return outcomes["failed"]


def _tell(result: Result) -> None:
    line = Text(f"{result.outcome:<14} ", _COLOURS[result.outcome]).append(result.check.name, "default")
    out.print(line.append(f": {result.reason}" if result.reason else f" ({result.seconds:.1f} s)", "default"))
