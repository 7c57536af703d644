"""Subscribers' filters, evaluated where they hold nobody up: in a process of low priority, each within a budget.

A filter that uses more is ended with the process, and not taken any more; the others go on in the next one. Events wait
for it for each computer that subscribes apart, and the one whose filters have cost least is served next: who sends
costly filters waits for itself.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from lxml import etree
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pyros.broker.packet import parse
from pyros.broker.vtp import filter_worker
from pyros.broker.vtp.filters import Filter, matches
from pyros.clock import cancel_call
from pyros.reactor import Reactor, SystemReactor

BUDGET_SECONDS = 0.25
"""Processor time of all filters of one subscriber on one event."""
ANSWER_SECONDS = 30.0
"""Of the clock, for an answer; a machine that has no time at all looks like that."""
MAX_CONDEMNED = 1_000
"""Filters that are remembered for what they cost."""
_STARTS = 3  # in vain, one after the other
RETRY_SECONDS = 1.0
_HALF_LIFE = 60.0  # of what a computer's filters have cost
_AT_ONCE = 64  # jobs of one question

log = Logger(namespace="pyros.broker")


class Job:
    """One subscriber's filters on one event."""

    def __init__(
        self,
        host: str,
        filters: list[Filter],
        number: int,
        framed: bytes,
        alive: Callable[[], bool],
        answered: Callable[[bool], None],
        refused: Callable[[Filter, str], None],
    ) -> None:
        """Ask for one subscriber whether an event passes; ``host`` is the subscriber's computer.

        ``filters`` is the subscriber's list itself: one that is too costly is taken out of it. ``framed`` is the event
        with its length before it, ``number`` the event's number.

        ``alive`` says whether the subscriber is still there, ``answered`` is told whether the event passes, and
        ``refused`` which filter is no longer taken, and why.
        """
        self.host, self.filters, self.number, self.framed = host, filters, number, framed
        self.alive, self.answered, self.refused = alive, answered, refused


class Evaluator(Protocol):
    """What answers jobs."""

    def ask(self, job: Job, root: etree._Element | None) -> None:
        """Have the job answered; ``root`` is its event, parsed, where that was done before."""

    def condemned(self, text: str) -> str:
        """Why this filter isn't taken, which was too costly before; '' if it is."""

    def close(self) -> Deferred[None]:
        """End; jobs that wait are never answered."""


class InlineFiltering:
    """Answers at once: for a rehearsal, which must be the same each time."""

    def ask(self, job: Job, root: etree._Element | None) -> None:
        job.answered(matches(job.filters, parse(job.framed[4:]) if root is None else root))

    def condemned(self, text: str) -> str:
        return ""

    def close(self) -> Deferred[None]:
        return succeed(None)


class ProcessFiltering:
    """Answers by a process, which is started when there is something to do. In the reactor's thread."""

    def __init__(self, reactor: Reactor, *, budget: float = BUDGET_SECONDS) -> None:
        self._reactor, self._budget = cast("SystemReactor", reactor), budget
        self._queues: dict[str, deque[Job]] = {}
        self._spent: dict[str, tuple[float, float]] = {}  # by computer: seconds of processor time, and when that was
        self._condemned: dict[str, str] = {}
        self._worker: _Worker | None = None
        self._asked: list[Job] = []
        self._at = (0, 0)  # the job and the filter that are being evaluated
        self._starts = 0
        self._calls: dict[str, Any] = {}
        self._closed: Deferred[None] | None = None

    def ask(self, job: Job, root: etree._Element | None) -> None:
        self._queues.setdefault(job.host, deque()).append(job)
        self._go_on()

    def condemned(self, text: str) -> str:
        return self._condemned.get(text, "")

    @property
    def pid(self) -> int | None:
        """Id of the process that evaluates; None while there is none."""
        return None if self._worker is None else self._worker.pid

    def close(self) -> Deferred[None]:
        self._queues.clear()
        self._asked = []
        self._closed = Deferred()
        for call in self._calls.values():
            cancel_call(call)
        if self._worker is None:
            self._closed.callback(None)
        else:
            self._worker.kill()
        return self._closed

    # What is asked -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask the next question, if the last one is answered."""
        while self._queues and not self._asked and self._closed is None:
            host = min(self._queues, key=self._cost)
            queue = self._queues[host]
            number = queue[0].number
            jobs: list[Job] = []
            while queue and queue[0].number == number and len(jobs) < _AT_ONCE:
                job = queue.popleft()
                if job.alive():
                    jobs.append(job)
            if not queue:
                del self._queues[host]
            for job in [job for job in jobs if not job.filters]:
                jobs.remove(job)
                job.answered(True)
            self._asked, self._at = jobs, (0, 0)
            if jobs:
                self._put()

    def _put(self) -> None:
        """Put the question to the process, or start that one first."""
        if self._worker is None:
            self._start()
        elif self._worker.ready:
            question = json.dumps([[filter_.written for filter_ in job.filters] for job in self._asked]).encode()
            packet = self._asked[0].framed[4:]
            self._call("patience", ANSWER_SECONDS, self._lose_patience)
            self._worker.write(struct.pack(">II", len(question), len(packet)) + question + packet)

    def _cost(self, host: str) -> float:
        spent, at = self._spent.get(host, (0.0, 0.0))
        return float(spent * 0.5 ** ((self._reactor.seconds() - at) / _HALF_LIFE))

    def _charge(self, host: str, seconds: float) -> None:
        if host not in self._spent and len(self._spent) >= MAX_CONDEMNED:
            del self._spent[min(self._spent, key=self._cost)]
        self._spent[host] = (self._cost(host) + seconds, self._reactor.seconds())

    def _lose_patience(self) -> None:
        if self._worker is not None:
            self._worker.kill()

    # What is answered --------------------------------------------------------------------------------------------

    def _said(self, line: bytes) -> None:
        """Note that the process has evaluated one filter."""
        if line == b"ready":
            self._starts = 0
            if self._asked:
                self._put()
            return
        if not self._asked:
            return
        number, place, passes, seconds = line.split()
        self._call("patience", ANSWER_SECONDS, self._lose_patience)
        job, last = self._asked[int(number)], int(number) == len(self._asked) - 1
        self._at = (int(number), int(place) + 1)
        if passes != b"1" and int(place) + 1 < len(job.filters):
            return
        self._at = (int(number) + 1, 0)
        self._charge(job.host, float(seconds))
        if last:
            self._asked = []
            self._calls["patience"].cancel()
        if job.alive():
            job.answered(passes == b"1")
        self._go_on()

    def _died(self) -> None:
        """Note that the process has ended: by the filter that it was evaluating, unless it was stopped."""
        worker, self._worker = self._worker, None
        if self._closed is not None:
            self._closed.callback(None)
            return
        cancel_call(self._calls.get("patience"))
        if worker is not None and worker.ready and self._asked:
            self._condemn()
        elif self._asked:
            self._failed_to_start("it ended at once")

    def _condemn(self) -> None:
        """Take out the filter that was being evaluated; what has no answer yet is asked again, without it."""
        number, place = self._at
        left, self._asked = self._asked[number:], []
        job = left[0]
        self._charge(job.host, self._budget)
        queue = self._queues.setdefault(job.host, deque())
        queue.extendleft(reversed(left))
        if place < len(job.filters):
            filter_ = job.filters[place]
            reason = f"took more than {self._budget:g} s for one event: {filter_.text}"
            if len(self._condemned) >= MAX_CONDEMNED:
                del self._condemned[next(iter(self._condemned))]
            self._condemned[filter_.text] = reason
            job.filters.remove(filter_)
            job.refused(filter_, reason)
        self._go_on()

    # The process -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", str(Path(filter_worker.__file__)), f"{self._budget:g}"],
                stdin=theirs.fileno(), stdout=theirs.fileno(), cwd="/", start_new_session=True,
            )  # fmt: skip
            ours.setblocking(False)
            self._worker = worker = _Worker(process, self._said, self._died)
            factory: Any = _Adopting(worker)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        except OSError as error:
            self._worker = None
            self._failed_to_start(str(error))
        finally:
            ours.close()
            theirs.close()

    def _failed_to_start(self, reason: str) -> None:
        """Try again, and at last let everything pass: too much is better than an alert missed."""
        self._starts += 1
        if self._starts < _STARTS:
            self._call("start", RETRY_SECONDS, self._put)
            return
        self._starts = 0
        log.critical("subscribers' filters cannot be evaluated, all events pass: {reason}", reason=reason)
        jobs, self._asked = self._asked, []
        for queue in self._queues.values():
            jobs += queue
        self._queues.clear()
        for job in jobs:
            if job.alive():
                job.answered(True)

    def _call(self, what: str, seconds: float, function: Callable[[], None]) -> None:
        cancel_call(self._calls.get(what))
        self._calls[what] = self._reactor.callLater(seconds, function)


class _Adopting(Factory):
    """Has one connection, which is there already."""

    noisy = False

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    def buildProtocol(self, addr: Any) -> _Worker:
        return self._worker


class _Worker(LineOnlyReceiver):
    """The process, and the socket to it."""

    delimiter = b"\n"
    transport: Any

    def __init__(
        self, process: subprocess.Popen[bytes], said: Callable[[bytes], None], died: Callable[[], None]
    ) -> None:
        self._process, self._said, self._died = process, said, died
        self.ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def kill(self) -> None:
        """End it; `died` is called when it has ended."""
        self._process.kill()

    def lineReceived(self, line: bytes) -> None:
        self.ready = True
        self._said(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._process.kill()
        self._process.wait()  # no longer than the system needs to take it away
        self._died()
