"""One client's line to a simulated device, on which answers go wrong as a fault wants it, in whatever language."""

from __future__ import annotations

from collections.abc import Callable

from pyros.clock import Clock, Timer, cancel_call
from pyros.simulators.faults import Faults
from pyros.simulators.settings import FaultSettings


class ClientLine:
    """What a port gives its answers to. For the reactor's thread.

    ``write`` sends bytes to the client, ``cut_off`` ends its connection at once, ``go_on`` is called when an answer
    that was held back is out; until then nothing more may be answered. ``end`` ends a line of the language.
    """

    def __init__(
        self, faults: Faults, clock: Clock, write: Callable[[bytes], None], cut_off: Callable[[], None],
        go_on: Callable[[], None], end: bytes = b"\n",
    ) -> None:  # fmt: skip
        self._faults = faults
        self._clock = clock
        self._write, self._cut_off, self._go_on = write, cut_off, go_on
        self._end = end
        self._late: Timer | None = None

    @property
    def held(self) -> bool:
        """Whether an answer is held back, and all that comes after it with it."""
        return self._late is not None

    def reply(self, data: bytes, fault: FaultSettings | None, line: int | None = None) -> None:
        """Send an answer, or what a fault makes of it; its line, of which half may come, has so many bytes."""
        match fault.kind if fault else "":
            case "late_answer":
                assert fault is not None
                self._late = self._clock.call_later(fault.seconds, self._reply_late, data)
            case "garbage":
                self._send(self._faults.garbage(self._end) if data else b"")
            case "half_line":
                self._send(data[: (len(data) if line is None else line) // 2])
            case "drop":
                self._cut_off()
            case _:
                self._send(data)

    def close(self) -> None:
        """Forget what waits for a client that has gone."""
        cancel_call(self._late)
        self._late = None

    def _reply_late(self, data: bytes) -> None:
        self._late = None
        self._send(data)
        self._go_on()

    def _send(self, data: bytes) -> None:
        if data:
            self._write(data)
