"""A session with a device: its driver lives in a reactor in the background, and the command waits for it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Annotated, Any

import typer
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros.cli.common import interrupts_wait
from pyros.clock import Clock
from pyros.config import INSTRUMENTS, Config
from pyros.errors import AgentError, ConfigError, PyrosError
from pyros.instruments import Kind, connect
from pyros.instruments.interfaces import OnEvent
from pyros.planning import Site
from pyros.reactor import Reactor
from pyros.sender import ask

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The instrument: its section in the configuration, such as telescope.")
]
AnywayOption = Annotated[
    bool,
    typer.Option("--anyway", help="Do it even while an agent commands the device: the two may disturb each other."),
]


class DeviceSession:
    """A device that a command talks to, and how to wait for it. Its methods are for the main thread."""

    def __init__(self, kind: Kind, device: Any, reactor: Reactor, clock: Clock, site: Site) -> None:
        self.kind, self.device, self.reactor, self.clock, self.site = kind, device, reactor, clock, site

    def wait(self, give: Callable[[], Any], interrupted: Callable[[], Any] | None = None) -> Any:
        """Call ``give`` in the reactor's thread and return the result of its Deferred, or raise what it fails with.

        Ctrl-C calls ``interrupted`` there, which ends the command, and waits on; without it, or a second time, it is
        raised as KeyboardInterrupt.
        """
        done: SimpleQueue[Any] | None = None
        try:
            with interrupts_wait():  # else a command may be under way whose end we couldn't wait for
                done = given(self.reactor, give)
            return result_of(done)
        except KeyboardInterrupt:
            if interrupted is None or done is None:
                raise
            stopped = given(self.reactor, interrupted)
            try:
                return result_of(done)
            finally:
                stopped.get()


@contextmanager
def device_session(config: Config, name: str, anyway: bool, on_event: OnEvent | None = None) -> Iterator[DeviceSession]:
    """Connect to the device of that section for as long as the ``with`` statement lasts.

    Raises ConfigError for a name without a device, AgentError while its agent runs.
    """
    section = config.agents.get(name)
    if section is None or section.kind not in INSTRUMENTS or not section.driver:
        there = [each for each in config.agents.values() if each.kind in INSTRUMENTS and each.driver]
        known = ", ".join(each.name for each in sorted(there, key=lambda each: INSTRUMENTS.index(each.kind)))
        raise ConfigError([f"{config.path}: no instrument {name!r} (there are: {known or 'none'})"])
    if not anyway and _runs(config, name):
        end = f"pyros send {shlex.quote(name)} Shutdown"
        raise AgentError(f"agent {name!r} is running and commands this device; end it first ({end}), or say --anyway")
    from pyros.agents.runtime.program import background_reactor, in_reactor  # noqa: PLC0415  Twisted takes a moment
    from pyros.observatory import clock_for  # noqa: PLC0415

    reactor = background_reactor()
    seen = config.seen_from(section.unit)
    clock, site = clock_for(config, reactor), Site.load(seen.required("site", "a command to a device"))
    kind: Any = section.kind

    def begin() -> Any:
        return connect(kind, section.driver, section.address, reactor, clock, on_event=on_event, site=site)

    device = in_reactor(reactor, begin)
    try:
        yield DeviceSession(kind, device, reactor, clock, site)
    finally:
        given(reactor, device.disconnect).get()


def _runs(config: Config, name: str) -> bool:
    try:
        ask(config.agent(name), "status", 1.0)
    except PyrosError:
        return False
    return True


def given(reactor: Reactor, function: Callable[[], Any]) -> SimpleQueue[Any]:
    """Call a function in the reactor's thread; what the queue gets is for `result_of`."""
    done: SimpleQueue[Any] = SimpleQueue()

    def give() -> None:
        result: Deferred[Any] = maybeDeferred(function)
        result.addBoth(done.put)

    reactor.callFromThread(give)
    return done


def result_of(done: SimpleQueue[Any]) -> Any:
    """Wait for the result of the function's Deferred, or raise what it fails with."""
    result = done.get()
    if isinstance(result, Failure):
        result.raiseException()
    return result
