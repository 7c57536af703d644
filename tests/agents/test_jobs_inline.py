"""A queue's turns on virtual time, with a runner that does what the test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from pyros import messages
from pyros.agents import Agent
from pyros.agents.jobs import JobsAgent
from pyros.config import JobConfig, schedule
from pyros.jobs.ledger import JobEnd, JobRun
from pyros.jobs.reading import JobProgress
from pyros.messages import JobFinished, JobRequest, JobRevoked, Message
from tests.rig import AgentRig

Inlines = Callable[..., AgentRig]
DONE = JobEnd(code=0)
FAILED = JobEnd(code=1)
CRASHED = JobEnd(crashed=True)


class Scripted:
    """A runner without processes."""

    def __init__(self) -> None:
        self.runs: list[JobRun] = []
        self.stopped: list[str] = []
        self.forgotten: list[str] = []
        self.percent = 0.0

    def carry_on(self, run: JobRun) -> None:
        self.runs.append(run)

    def stop(self, id: str) -> None:  # noqa: A002
        self.stopped.append(id)

    def progress(self) -> list[tuple[JobRun, JobProgress]]:
        return [(run, JobProgress(self.percent, "adding", 0)) for run in self.runs[-1:]]

    def forget(self, ids: list[str]) -> None:
        self.forgotten += ids

    def close(self) -> Deferred[None]:
        return succeed(None)


class JobsRig:
    """A queue on virtual time."""

    def __init__(self, inline: Inlines, *others: str, **changes: Any) -> None:
        self.inline, self.others, self.changes = inline, others, changes
        self.sent = 0
        self.start()

    def start(self) -> None:
        agent = JobsAgent("jobs")
        self.runner = Scripted()
        agent.runner = self.runner
        self.life = self.inline(agent, *self.others, **self.changes)
        self.life.reactor.advance(0)

    def say(self, name: str, payload: Any) -> None:
        self.life.agent.post_to_self(name, payload)
        self.life.reactor.advance(0)
        self.life.reactor.advance(0)

    def ask(self, id_: str, **what: Any) -> None:
        request = JobRequest(id=id_, name="test", **({"command": ("/bin/true",)} | what))
        self.say(messages.JOB_REQUESTED, request)

    def end(self, id_: str, attempt: int = 1, end: JobEnd = DONE) -> None:
        self.say("Job ended", {"id": id_, "attempt": attempt, "end": msgspec.to_builtins(end)})

    def advance(self, seconds: float) -> None:
        self.life.reactor.pump([seconds, 0, 0])

    def begun(self) -> list[tuple[str, int]]:
        return [(run.id, run.attempt) for run in self.runner.runs]

    def state(self, id_: str) -> str:
        return str(self.life.rows(f"SELECT state FROM jobs WHERE id = '{id_}'")[0][0])


@pytest.fixture
def rig(inline: Inlines) -> Callable[..., JobsRig]:
    return lambda *others, **changes: JobsRig(inline, *others, **changes)


def test_a_countdown_is_of_the_observatorys_clock(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", countdown=100.0)
    jobs.advance(99)
    assert jobs.begun() == []
    jobs.advance(1.5)
    assert jobs.begun() == [("a", 1)]


def test_a_clock_that_is_set_is_noticed(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", due=jobs.life.clock.time() + 3600)
    jobs.life.clock.step(3600)
    jobs.advance(31)
    assert jobs.begun() == [("a", 1)]


def test_the_pause_between_retries_doubles(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", retries=2, retry_seconds=60.0)
    jobs.end("a", 1, FAILED)
    jobs.advance(59)
    assert jobs.begun() == [("a", 1)]
    jobs.advance(2)
    jobs.end("a", 2, FAILED)
    jobs.advance(119)
    assert jobs.begun() == [("a", 1), ("a", 2)]
    jobs.advance(2)
    jobs.end("a", 3, FAILED)
    assert (jobs.begun()[-1], jobs.state("a")) == (("a", 3), "failed")


def test_an_end_that_is_told_twice_or_too_late_changes_nothing(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", retries=1, retry_seconds=0.0)
    jobs.end("a", 1, FAILED)
    jobs.advance(1)
    jobs.end("a", 1, DONE)
    assert jobs.state("a") == "running"
    jobs.end("a", 2, DONE)
    jobs.end("a", 2, FAILED)
    assert jobs.state("a") == "succeeded"


def test_a_job_that_crashes_each_time_is_told_in_the_end(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", on_crash="rerun")
    for attempt in range(1, 6):
        assert jobs.state("a") == "running"
        jobs.end("a", attempt, CRASHED)
    assert jobs.state("a") == "crashed"


def test_a_running_job_is_terminated_or_only_not_run_again(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("a", retries=5, retry_seconds=0.0)
    jobs.say(messages.JOB_REVOKED, JobRevoked(id="a"))
    assert jobs.runner.stopped == []
    jobs.end("a", 1, FAILED)
    jobs.ask("b", on_crash="rerun")
    jobs.say(messages.JOB_REVOKED, JobRevoked(id="b", terminate=True))
    jobs.start()
    assert (jobs.begun(), jobs.runner.runs[0].stop) == ([("b", 1)], True)
    jobs.end("b", 1, CRASHED)
    assert (jobs.state("a"), jobs.state("b")) == ("failed", "terminated")


def test_the_end_is_told_once_also_when_the_agent_dies(rig: Callable[..., JobsRig]) -> None:
    jobs = rig("asker")
    jobs.ask("a", tell="asker", owner="ada")
    jobs.ask("b", tell="asker", countdown=1e6)
    jobs.say(messages.JOB_REVOKED, JobRevoked(id="b"))
    jobs.end("a", 1, JobEnd(code=0, value=[20]))
    for _ in range(2):
        jobs.start()
        told = [msgspec.json.decode(row[0], type=JobFinished) for row in jobs.life.rows("SELECT payload FROM outbox")]
        assert sorted((each.id, each.state, each.value, each.owner) for each in told) == [
            ("a", "succeeded", [20], "ada"), ("b", "revoked", None, ""),
        ]  # fmt: skip


@pytest.mark.parametrize(("others", "percents"), [(("notifier",), [25, 70, 30]), ((), [])])
def test_the_notifier_hears_of_each_quarter_once(
    rig: Callable[..., JobsRig], monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...], percents: list[float]
) -> None:
    jobs = rig(*others)
    told: list[tuple[str, float, str]] = []

    def send(agent: str, name: str, payload: Any) -> None:
        if name == messages.JOB_PROGRESSED:
            told.append((agent, payload.percent, payload.owner))

    monkeypatch.setattr(jobs.life.agent, "send_if_there", send)
    jobs.ask("a", owner="ada", on_crash="rerun")
    for percent in (24, 25, 40, 70, 60, 74, 100):
        jobs.runner.percent = percent
        jobs.advance(30)
    jobs.end("a", 1, CRASHED)  # and begins once more
    jobs.runner.percent = 30
    jobs.advance(30)
    jobs.end("a", 2)
    jobs.advance(30)
    assert told == [("notifier", percent, "ada") for percent in percents]


def test_old_ends_are_forgotten_and_others_are_not(rig: Callable[..., JobsRig]) -> None:
    jobs = rig()
    jobs.ask("old")
    jobs.end("old")
    jobs.advance(1000)
    jobs.ask("new")
    jobs.end("new")
    jobs.ask("running")
    jobs.say(messages.JOBS_CLEANED, {"older": 500.0})
    jobs.advance(0)
    assert jobs.runner.forgotten == ["old"]
    assert [row[0] for row in jobs.life.rows("SELECT id FROM jobs ORDER BY number")] == ["new", "running"]


class JobAskingAgent(Agent):
    """Asks for a job, and may fail after it."""

    def __init__(self) -> None:
        super().__init__("asking")
        self.actions_by_message["Ask"] = self.ask

    def ask(self, message: Message) -> None:
        self.send_to("jobs", messages.JOB_REQUESTED, JobRequest(id=message.id, name="x", command=("/bin/true",)))
        if message.payload.get("fail"):
            raise RuntimeError("after it has asked")


def test_a_job_asked_for_by_a_handler_goes_with_its_turn(inline: Inlines) -> None:
    life = inline(JobAskingAgent(), "jobs")
    life.turn(("Ask", b"{}"), ("Ask", b'{"fail": true}'))
    assert [row[0] for row in life.rows("SELECT agent FROM outbox")] == ["jobs"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5), st.sampled_from(["tell", "rerun"]), st.integers(0, 2)),
        st.tuples(st.just("revoke"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("end"), st.sampled_from([DONE, FAILED, CRASHED, JobEnd(why="stopped")])),
        st.tuples(st.just("restart")),
        st.tuples(st.just("advance"), st.sampled_from([0.0, 5.0, 30.0])),
    ),
    max_size=30,
)


@settings(max_examples=30)
@given(STEPS)
def test_no_job_is_lost_or_under_way_twice(steps: list[Any]) -> None:
    """Whatever comes in whatever order: one at a time, no attempt begins twice, and each job comes to an end."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        lives: list[AgentRig] = []

        def inline(agent: Agent, *others: str, **changes: Any) -> AgentRig:
            for each in lives:
                each.stop()
            lives.append(AgentRig(agent, Path(folder), *others, **changes))
            return lives[-1]

        jobs = JobsRig(inline)
        begun: set[tuple[str, int]] = set()
        current: list[tuple[str, int]] = []
        asked: set[str] = set()

        def look(adopted: bool = False) -> None:
            for run in jobs.runner.runs:
                key = (run.id, run.attempt)
                if key in begun:
                    assert adopted
                    assert key in current
                else:
                    begun.add(key)
                    current.append(key)
            jobs.runner.runs.clear()
            assert len(current) <= 1

        for step in steps:
            match step:
                case ("ask", number, on_crash, retries):
                    asked.add(f"j{number}")
                    jobs.ask(f"j{number}", on_crash=on_crash, retries=retries, retry_seconds=1.0)
                case ("revoke", number, terminate):
                    jobs.say(messages.JOB_REVOKED, JobRevoked(id=f"j{number}", terminate=terminate))
                case ("end", end) if current:
                    jobs.end(*current.pop(), end)
                case ("advance", seconds):
                    jobs.advance(seconds)
                case ("restart",):
                    jobs.start()
                    look(adopted=True)
            look()
        for _ in range(60):
            if current:
                jobs.end(*current.pop(), DONE)
            jobs.advance(60)
            look()
        states = dict(jobs.life.rows("SELECT id, state FROM jobs"))
        assert set(states) == asked
        assert set(states.values()) <= {"succeeded", "failed", "crashed", "terminated", "revoked"}
        lives[-1].stop()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_schedule_is_kept_through_restarts(rig: Callable[..., JobsRig]) -> None:
    """It is 23:30; what is missed while the agent is down is one job, or none."""
    once = JobConfig("once", schedule("6 h"), command=("/bin/true",))
    skip = JobConfig("skip", schedule("6 h"), command=("/bin/true",), missed="skip")
    jobs = rig(jobs=(once, skip))
    assert jobs.begun() == []
    jobs.advance(1800)
    assert jobs.begun() == [("once-20260321T000000", 1)]
    jobs.end("once-20260321T000000")
    jobs.end("skip-20260321T000000")
    clock = jobs.life.clock
    jobs.start()
    jobs.life.clock.step(at("2026-03-22T05:30") - jobs.life.clock.time())
    assert clock is not jobs.life.clock
    jobs.advance(31)
    assert jobs.begun() == [("once-20260321T060000", 1)]
    jobs.end("once-20260321T060000")
    jobs.advance(1800)
    assert [run[0] for run in jobs.begun()[1:]] == ["once-20260322T060000"]


def test_a_scheduled_job_that_hasnt_ended_isnt_asked_for_again(rig: Callable[..., JobsRig]) -> None:
    jobs = rig(jobs=(JobConfig("often", schedule("10 min"), command=("/bin/true",)),))
    jobs.advance(3600)
    jobs.advance(3600)
    assert len(jobs.begun()) == 1
    jobs.end(*jobs.begun()[0])
    jobs.advance(600)
    assert len(jobs.begun()) == 2


def test_an_instant_that_comes_again_is_one_job(rig: Callable[..., JobsRig]) -> None:
    jobs = rig(jobs=(JobConfig("daily", schedule("1 d"), command=("/bin/true",)),))
    jobs.advance(1800)
    jobs.end("daily-20260321T000000")
    jobs.life.clock.step(-3600)
    jobs.advance(3600)
    assert jobs.begun() == [("daily-20260321T000000", 1)]
