"""What a service manager such as systemd is told: that a service is ready, ends, and that its threads live.

Source: sd_notify(3) and sd_watchdog_enabled(3). A datagram to the socket that the environment names is all there is to
it. The variables are taken out of the environment, so that no process which is started from here speaks for this one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, MutableMapping

from twisted.logger import Logger

from pyros.clock import Clock, Timer, cancel_call

log = Logger("pyros")
_LOOK_SECONDS = 0.2
_BEATS = 4
"""So many beats in the time after which the service manager would end the process."""


class ServiceManager:
    """Tells the service manager that has started this process; nobody where none has. In the reactor's thread."""

    def __init__(self, clock: Clock, environment: MutableMapping[str, str] = os.environ) -> None:
        self._clock = clock
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        meant = pid in ("", str(os.getpid()))
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() and meant else 0.0
        """Seconds without a beat after which the service manager ends the process; 0: it doesn't watch."""
        self._timer: Timer | None = None
        self._said_hanging = ""

    def watch(self, is_ready: Callable[[], bool], hanging: Callable[[float], Iterable[str]] = lambda _: ()) -> None:
        """Tell when the service is ready, and from then on beat for as long as nothing in it hangs.

        ``hanging`` returns the names of what has been silent for so many seconds: while there are any, no beat is sent.
        """
        if not self._address:
            return
        if not is_ready():
            self._timer = self._clock.call_later(_LOOK_SECONDS, self.watch, is_ready, hanging)
            return
        self._tell("READY=1")
        if self.watchdog_seconds:
            self._beat(hanging)

    def stop(self) -> None:
        """Tell that the service ends: from then on it beats no more, and has the time that its unit gives it."""
        cancel_call(self._timer)
        self._tell("STOPPING=1")

    def _beat(self, hanging: Callable[[float], Iterable[str]]) -> None:
        self._timer = self._clock.call_later(self.watchdog_seconds / _BEATS, self._beat, hanging)
        names = ", ".join(hanging(self.watchdog_seconds / 2))
        if names and names != self._said_hanging:
            log.critical("{names}: no answer from the thread for {seconds:g} s; without one the service manager ends"
                         " the process", names=names, seconds=self.watchdog_seconds / 2)  # fmt: skip
        self._said_hanging = names
        if not names:
            self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.setblocking(False)
                end.sendto(state.encode(), address)
        except OSError as error:
            log.error("the service manager at {address} cannot be told {state}: {error}",
                      address=self._address, state=state, error=error)  # fmt: skip
