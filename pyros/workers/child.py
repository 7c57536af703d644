"""The process of a `Worker`, as the reactor sees it, and the memory that the two share."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer, cancel_call
from pyros.prepared import prepared
from pyros.reactor import SystemReactor
from pyros.workers import process
from pyros.workers.process import BLOCK_DESCRIPTOR, MAX_FRAME, JobAnswer

LATE_SECONDS = 30.0
"""After which a job that still runs, or a process that isn't ready, is told in the log, with where it is; and again
whenever it has taken twice as long."""
_REAP_SECONDS = 0.05
_KILL_SECONDS = 2.0  # within which a killed process is gone, unless it hangs in the kernel
_STDERR_KEPT = 2000


class ChildOwner(Protocol):
    """The worker, as far as its process knows it."""

    def answered(self, process: Child, answer: JobAnswer) -> None: ...

    def died(self, process: Child, why: str) -> None: ...

    def late(self, process: Child, seconds: float, where: str) -> None: ...

    def gone(self, process: Child) -> None: ...


class Child(ProcessProtocol):
    """One process: frames, its limit of time, and its end. All in the reactor's thread."""

    def __init__(self, reactor: SystemReactor, clock: Clock, worker: ChildOwner) -> None:
        self.ready = False
        self.block = Block()
        self.gone: Deferred[None] = Deferred()
        self._clock = clock
        self._worker = worker
        self._received = bytearray()
        self._stderr = b""
        self._exited = False
        self._limit: Timer | None = None
        self._late: Timer | None = None
        self._reaping: Timer | None = None
        self._last_wait: Timer | None = None
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # what this process can import, it can
        self._transport: Any = reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-P", "-m", process.__name__, str(0.9 * LATE_SECONDS)],
            os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            childFDs={0: "w", 1: "r", 2: "r", BLOCK_DESCRIPTOR: self.block.descriptor},
        )
        self._pid: int = self._transport.pid

    @property
    def pid(self) -> int:
        return self._pid

    def send(self, frame: bytes) -> None:
        self._transport.writeToChild(0, frame)

    def limit(self, seconds: float | None) -> None:
        """Give it up unless this is called again within so many seconds; None: no limit."""
        for timer in (self._limit, self._late):
            cancel_call(timer)
        self._limit = self._late = None
        if seconds is not None:
            self._limit = self._clock.call_later(seconds, self._too_late, seconds)
            self._late = self._clock.call_later(LATE_SECONDS, self._tell_late, LATE_SECONDS)

    def _tell_late(self, seconds: float) -> None:
        self._late = self._clock.call_later(seconds, self._tell_late, 2 * seconds)
        lines = [line.strip() for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        self._worker.late(self, seconds, "; ".join(lines))

    def _too_late(self, seconds: float) -> None:
        self._worker.died(self, f"no answer within {seconds:g} s, it is killed")

    def kill(self) -> None:
        """With all that it has started; `gone` fires soon, even when it hangs where no signal reaches it."""
        self.limit(None)
        if not self._exited:
            self._kill_group()
            with suppress(Exception):  # it has ended already
                self._transport.signalProcess("KILL")
            self._reap()
        if not self.gone.called:
            self._last_wait = self._clock.call_later(_KILL_SECONDS, self._all_over)
        self._transport.loseConnection()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Where the reactor doesn't run in the main thread no signal tells that a child has ended."""
        if not self._exited and self._transport.pid is not None:
            self._transport.reapProcess()
        if not self._exited and self._transport.pid is not None and not self.gone.called:
            self._reaping = self._clock.call_later(_REAP_SECONDS, self._reap)

    # From Twisted.

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803  Twisted's names
        if childFD == 2:
            self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
            return
        self._received += data
        while len(self._received) >= 4:
            size = int.from_bytes(self._received[:4], "big")
            if size > MAX_FRAME:
                self._worker.died(self, f"it announces {size} bytes")
                return
            if len(self._received) < 4 + size:
                return
            body = bytes(self._received[4 : 4 + size])
            del self._received[: 4 + size]
            try:
                answer = msgspec.msgpack.decode(body, type=prepared(JobAnswer))
            except msgspec.MsgspecError as error:
                self._worker.died(self, f"its answer cannot be understood: {error}")
                return
            self._worker.answered(self, answer)

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N802, N803
        if childFD == 1 and not self._exited:
            self._reap()

    def processExited(self, reason: Failure) -> None:  # noqa: N802
        self._exited = True
        self._kill_group()  # what it may have left behind
        status: Any = reason.value
        if status.signal is not None:
            how = f"it was killed by signal {status.signal} ({signal.strsignal(status.signal)})"
        else:
            lines = [line for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
            how = f"it ended with code {status.exitCode}" + (f": {lines[-1].strip()[:200]}" if lines else "")
        self._worker.died(self, how)
        self._transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        self._all_over()

    def _all_over(self) -> None:
        for timer in (self._limit, self._late, self._reaping, self._last_wait):
            cancel_call(timer)
        if not self.gone.called:
            self.gone.callback(None)
            self._worker.gone(self)


class Block:
    """A file without a name that this process and a worker share; in memory where the system can.

    It is closed when the last thread that reads or writes it is through with it: a descriptor that was closed under
    their hands might be another file by then.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("pyros-worker", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())

    def write(self, data: memoryview) -> None:
        process.write_block(self.descriptor, data)

    def read(self, size: int) -> bytes:
        return process.read_block(self.descriptor, size)

    def empty(self) -> None:
        """Give its memory back."""
        os.ftruncate(self.descriptor, 0)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self.descriptor)
