"""An agent of one's own: it keeps a list of what was observed, for people, and counts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pyros import messages
from pyros.agents import Agent, Message


class NotifierState(msgspec.Struct):
    """What survives a restart."""

    finished: int = 0
    images: int = 0


class NotifierAgent(Agent):
    """Takes *Observation finished*; ``option_file`` in its section says where the list is kept."""

    NOTIFIER = "notifier"

    state: NotifierState

    def __init__(self) -> None:
        super().__init__(self.NOTIFIER)
        self.actions_by_message[messages.OBSERVATION_FINISHED] = self.observation_finished

    def work(self) -> None:
        self.file: Path = self.config.data / self.option("file", str, "observed.txt")
        self.log.info("{count} observations so far", count=self.state.finished)

    def observation_finished(self, message: Message) -> None:
        report: messages.ObservationReport = message.payload
        self.state.finished += 1
        self.state.images += len(report.images)
        line = f"{self.clock.now():%Y-%m-%d %H:%M:%S} {report.observation}: {len(report.images)} images\n"
        self.after_commit(self._write, line)

    def _write(self, line: str) -> None:
        """Once the turn is committed: a file cannot be rolled back."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(line)
