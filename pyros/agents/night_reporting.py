"""The night's report, which a worker of the majordome writes in the morning."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption
from pyros.messages import NightReported
from pyros.nights.report import write_report
from pyros.quantities import yes_or_no
from pyros.reactor import Reactor
from pyros.workers import Worker

_REPORT_SECONDS = 300.0
_LAST_REPORT_SECONDS = 2.0  # for which the agent's end waits for a report that is being written


REPORT = AgentOption("report", yes_or_no, True)
"""Whether a report of each night is written."""


class NightReporting:
    """Has the reports written; for the reactor's thread, but `begin`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._wanted = True

    def attach(self, reactor: Reactor) -> None:
        """Prepare the worker, which is started with the first report."""
        agent = self._agent
        self._worker = Worker(reactor, agent.clock, agent.log, "majordome's", [write_report.__module__])

    def detach(self) -> Deferred[None] | None:
        """End the worker."""
        return self._worker.stop(_LAST_REPORT_SECONDS)

    def begin(self) -> None:
        """Read the option of the agent's section; raises ConfigError. For the agent's thread."""
        self._wanted = self._agent.option(*REPORT)

    def write(self, night: str) -> None:
        """Have a night's report written; *Night reported* tells the agent of its file."""
        agent = self._agent
        if not self._wanted:
            return
        job = (str(agent.config.path), night, agent.config.unit)
        done = self._worker.run(write_report, job, seconds=_REPORT_SECONDS)

        def written(files: list[str]) -> None:
            agent.log.info("the night of {night}: {files}", night=night, files=" ".join(files))
            agent.post_to_self(messages.NIGHT_REPORTED, NightReported(night=night, file=files[0]))

        done.addCallbacks(
            written,
            lambda failure: agent.log.error(
                "the night of {night} has no report: {why}; try pyros report {night}", night=night,
                why=failure.getErrorMessage(),
            ),
        )  # fmt: skip
