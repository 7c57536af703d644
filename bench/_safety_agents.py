"""A dome's agent that can be told to hang: what `bench/safety.py` breaks."""

from __future__ import annotations

import threading

from pyros.agents.dome import DomeAgent

HANG = "Hang"


class StuckDomeAgent(DomeAgent):
    """The dome's agent, with a handler that never returns."""

    def __init__(self) -> None:
        super().__init__()
        self.actions_by_message[HANG] = lambda: threading.Event().wait()
