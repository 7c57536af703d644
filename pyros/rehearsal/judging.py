"""What must not be so of the processes after the calm hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyros.agents.jobs import JobsAgent
from pyros.rehearsal.jobs import LEDGER, judge
from pyros.rehearsal.process import AgentProcess, Process

Outboxes = Mapping[tuple[str, str], int]
"""The number of each agent's last message to another, by the names of both."""


def outbox_ends(processes: Mapping[str, Process]) -> Outboxes:
    """Return how far the outboxes of all agents that live have come."""
    return {
        (name, agent): last
        for name, process in processes.items()
        if isinstance(process, AgentProcess) and process.host is not None
        for agent, last in process.host.journal.destinations.items()
    }


def judge_processes(processes: Mapping[str, Process], outboxes: Outboxes, now: float) -> Iterator[tuple[str, str]]:
    """Give the broken rules, each with a text: what stands in ``outboxes`` yet, who is dead, which jobs do not end.

    ``outboxes`` are those of a while before ``now`` (Unix seconds by the computer's clock).
    """
    for (name, agent), last in outboxes.items():
        process = processes[name]
        if isinstance(process, AgentProcess) and process.host is not None:
            journal = process.host.journal
            left = last - (journal.destinations[agent] - journal.waiting.get(agent, 0))
            if left > 0:
                yield "outbox", f"after the calm hour {name} keeps {left} messages for {agent}"
    for name, process in processes.items():
        if not process.alive:
            yield "dead", f"after the calm hour {name} is dead"
        if isinstance(process, AgentProcess) and process.host is not None and isinstance(process.host.agent, JobsAgent):
            for text in judge(name, process.host.journal.rows(LEDGER), now):
                yield "jobs", text
