"""In which order agents that end together make safe what they move: a roof closes when the mount is parked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from twisted.internet.defer import Deferred, DeferredList

from pyros.agents.runtime.host import Host

_DOME, _MOUNT = "dome", "telescope"
SAME_SIGNAL_SECONDS = 0.5
"""A signal so soon after another is the same: from a terminal, and from what runs in it."""

PARK_SECONDS = 60.0
"""How long a roof waits for the mount before it closes all the same."""


def make_safe(hosts: Iterable[Host], reason: str) -> Deferred[None]:
    """Have agents make safe what they move; fires, and never fails, when they have, or have had the time for it."""
    return Deferred.fromCoroutine(_make_safe(list(hosts), reason))


def stop(hosts: Iterable[Host], reason: str) -> Deferred[None]:
    """Make safe what agents move while all of them live, and then end them; fires when nothing of them is left."""
    return Deferred.fromCoroutine(_stop(list(hosts), reason))


def left(hosts: Iterable[Host]) -> str:
    """Say in words what would be left as it is if the process ended now; '' for nothing."""
    return ", ".join(host.agent.LEFT.format(name=host.agent.name) for host in hosts if host.unsafe)


def exit_at_once(hosts: Iterable[Host]) -> NoReturn:
    """End the process with code 1, and say what is left as it is: a second signal wants that. Any thread."""
    with suppress(OSError):
        os.write(2, f"pyros: ended at once, and left as it is: {left(hosts) or 'nothing that moves'}\n".encode())
    os._exit(1)


async def _make_safe(hosts: list[Host], reason: str) -> None:
    roofs = [host for host in hosts if host.section.kind == _DOME and host.section.roof]
    others = [host for host in hosts if host not in roofs]
    making = [host.make_safe(reason) for host in others]
    mounts = [(host.section.unit, safe) for host, safe in zip(others, making, strict=True)
              if host.section.kind == _MOUNT]  # fmt: skip
    closing = [
        Deferred.fromCoroutine(_close(roof, [safe for unit, safe in mounts if unit == roof.section.unit], reason))
        for roof in roofs
    ]
    await DeferredList([*making, *closing])


async def _close(roof: Host, mounts: list[Deferred[None]], reason: str) -> None:
    await _within(PARK_SECONDS, mounts, roof)
    await roof.make_safe(reason)


async def _stop(hosts: list[Host], reason: str) -> None:
    await _make_safe(hosts, reason)
    await DeferredList([host.stop() for host in hosts if host.running], consumeErrors=True)


async def _within(seconds: float, safe: list[Deferred[None]], host: Host) -> None:
    """Wait until all have fired, or so many seconds."""
    waiting: Deferred[None] = Deferred()

    def go_on(_: object = None) -> None:
        if not waiting.called:
            waiting.callback(None)

    timer = host.clock.call_later(seconds, go_on)
    DeferredList(safe).addCallback(go_on)
    await waiting
    if timer.active():
        timer.cancel()
    else:
        host.agent.log.critical(
            "the mount isn't parked after {seconds:g} s, and the roof closes all the same", seconds=seconds
        )
