"""The better plan of a night as a job for a worker process: what it needs, and what comes back. No Twisted here."""

from __future__ import annotations

from dataclasses import dataclass

from pyros.messages import Observation, Plan
from pyros.planning.planner import ROUNDS, Running, plan_night
from pyros.site import Site

LONGEST_SECONDS = 10.0
"""Processor time after which a plan is taken as good as it is then."""


@dataclass(frozen=True, slots=True)
class ImprovementJob:
    """A night to plan."""

    requests: tuple[Observation, ...]
    """All that may be made tonight."""
    site: Site
    """Where."""
    begin: float
    """Now, Unix seconds."""
    running: Running | None
    """What the telescope does meanwhile."""
    pointing: tuple[float, float] | None
    """Where it points, ICRS degrees."""
    rounds: int = ROUNDS
    """How much is done for the plan."""
    seconds: float | None = LONGEST_SECONDS
    """Limit of processor time; None where the plan must not depend on the processor, as in a rehearsal."""


def improve(job: ImprovementJob) -> Plan:
    """Plan a night as well as the job asks; raises PlanningError."""
    return plan_night(
        job.requests, job.site, job.begin, running=job.running, pointing=job.pointing, rounds=job.rounds,
        seconds=float("inf") if job.seconds is None else job.seconds,
    )  # fmt: skip
