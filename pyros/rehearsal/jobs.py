"""Jobs of a rehearsed night: processes that take virtual time, go on when their agent is killed, die with the power.

What a job does is drawn from its identifier and attempt: how long it takes, and whether it succeeds, fails, or loses
its wrapper. The agents of the queues are the real ones, with a `RehearsedRunner` in place of the processes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed

from pyros.clock import Clock, Timer
from pyros.jobs.ledger import JobEnd, JobRun
from pyros.jobs.reading import JobProgress
from pyros.jobs.runner import OnEnd
from pyros.rehearsal.computer import Computer
from pyros.rehearsal.timeline import Timeline
from pyros.unique import boot_id

_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 600.0
_STOP_SECONDS = 5.0
"""How long a job takes to end that is told to."""
_DISK_AGAIN_SECONDS = 1.0
_SLACK_SECONDS = 120.0
LEDGER = "SELECT id, state, attempt, crashes, failures, due, begun FROM jobs"
"""What `judge` takes of a queue's ledger."""
_FAILS, _CRASHES = 0.1, 0.05
"""Of all attempts: those that fail, and those whose wrapper is killed."""


@dataclass
class _Attempt:
    """What the computer knows of an attempt that has begun."""

    ends: float
    """The timeline's instant at which it ends."""
    end: JobEnd


class RehearsedJobs:
    """The computer's jobs, in whatever life their agents are."""

    def __init__(self, timeline: Timeline, computer: Computer, seed: str) -> None:
        self.timeline = timeline
        self.computer = computer
        self._seed = seed
        self._attempts: dict[tuple[str, str, int], _Attempt] = {}
        self.begun = 0
        """How many attempts have begun."""

    def runner(self, queue: str, clock: Clock, on_end: OnEnd) -> RehearsedRunner:
        """Make the runner of a life of a queue's agent."""
        return RehearsedRunner(self, queue, clock, on_end)

    def find(self, queue: str, run: JobRun) -> _Attempt | None:
        """Return an attempt that has begun."""
        return self._attempts.get((queue, run.id, run.attempt))

    def begin(self, queue: str, run: JobRun) -> _Attempt:
        """Begin an attempt: what becomes of it is drawn now."""
        chance = random.Random(f"{self._seed} {queue} {run.id} {run.attempt}")
        seconds = chance.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS) * chance.random()
        fate = chance.random()
        end = JobEnd(code=0, seconds=seconds)
        if fate < _CRASHES:
            end = JobEnd(crashed=True)
        elif fate < _CRASHES + _FAILS:
            end = JobEnd(code=1, error="it fails, as one in ten does", seconds=seconds)
        limit = run.request.seconds
        if limit is not None and seconds > limit:
            seconds, end = limit, JobEnd(why=f"it took longer than {limit:g} s", seconds=limit)
        attempt = self._attempts[queue, run.id, run.attempt] = _Attempt(self.timeline.now + seconds, end)
        self.begun += 1
        return attempt

    def cut(self) -> None:
        """Lose the power: what ran has crashed."""
        for attempt in self._attempts.values():
            if attempt.ends > self.timeline.now:
                attempt.ends, attempt.end = self.timeline.now, JobEnd(crashed=True)

    def forget(self, queue: str, ids: list[str]) -> None:
        """Forget jobs that have ended."""
        gone = set(ids)
        for key in [key for key in self._attempts if key[0] == queue and key[1] in gone]:
            del self._attempts[key]


class RehearsedRunner:
    """A `pyros.jobs.runner.Runner` of one life of a queue's agent."""

    def __init__(self, jobs: RehearsedJobs, queue: str, clock: Clock, on_end: OnEnd) -> None:
        self._jobs, self._queue, self._clock, self._on_end = jobs, queue, clock, on_end
        self._waits: dict[str, tuple[JobRun, Timer]] = {}

    def carry_on(self, run: JobRun) -> None:
        """See `Runner.carry_on`."""
        if run.id in self._waits:
            return
        attempt = self._jobs.find(self._queue, run)
        if attempt is None:
            if run.boot != boot_id():
                self._wait(run, 0.0, JobEnd(crashed=True))
                return
            if run.stop:
                self._wait(run, 0.0, JobEnd(why="stopped"))
                return
            if self._jobs.computer.disk_full:  # no folder can be made for it
                self._waits[run.id] = (run, self._clock.call_later(_DISK_AGAIN_SECONDS, self._again, run))
                return
            attempt = self._jobs.begin(self._queue, run)
        self._wait(run, max(0.0, attempt.ends - self._jobs.timeline.now), attempt.end)
        if run.stop:
            self.stop(run.id)

    def stop(self, id: str) -> None:  # noqa: A002  a job has an id
        """See `Runner.stop`."""
        if id not in self._waits:
            return
        run, timer = self._waits.pop(id)
        timer.cancel()
        attempt = self._jobs.find(self._queue, run)
        if attempt is None:
            self._wait(run, 0.0, JobEnd(why="stopped"))
            return
        ends = min(attempt.ends, self._jobs.timeline.now + _STOP_SECONDS)
        if ends < attempt.ends:
            attempt.ends, attempt.end = ends, JobEnd(why="stopped")
        self._wait(run, max(0.0, attempt.ends - self._jobs.timeline.now), attempt.end)

    def progress(self) -> list[tuple[JobRun, JobProgress]]:
        """See `Runner.progress`: a rehearsed job says nothing."""
        return []

    def forget(self, ids: list[str]) -> None:
        """See `Runner.forget`."""
        self._jobs.forget(self._queue, ids)

    def close(self) -> Deferred[None]:
        """See `Runner.close`."""
        for _, timer in self._waits.values():
            timer.cancel()
        self._waits.clear()
        return succeed(None)

    def _again(self, run: JobRun) -> None:
        self._waits.pop(run.id, None)
        self.carry_on(run)

    def _wait(self, run: JobRun, seconds: float, end: JobEnd) -> None:
        self._waits[run.id] = (run, self._clock.call_later(seconds, self._over, run, end))

    def _over(self, run: JobRun, end: JobEnd) -> None:
        self._waits.pop(run.id, None)
        self._on_end(run.id, run.attempt, end)


def judge(queue: str, rows: list[Any], now: float) -> list[str]:
    """Return what is wrong with the rows of a queue's ledger (`LEDGER`) after the calm hour, ``now`` (Unix seconds)."""
    problems = []
    oldest = now - _LONGEST_SECONDS - _SLACK_SECONDS
    runs = any(state == "running" for _, state, *_ in rows)
    for id_, state, attempt, crashes, failures, due, begun in rows:
        if state == "running" and begun < oldest:
            problems.append(f"{queue}: {id_} still runs after the calm hour")
        elif state == "pending" and due < now - _SLACK_SECONDS and not runs:
            problems.append(f"{queue}: {id_} is due, nothing runs, and it does not begin")
        elif state == "succeeded" and attempt != crashes + failures + 1:
            problems.append(f"{queue}: {id_} was begun {attempt} times with {crashes} crashes and {failures} failures")
    return problems
