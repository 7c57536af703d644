"""What the agents of a focuser and of a rotator share: a motor that one message moves, and a hold stops."""

from __future__ import annotations

from typing import Any, ClassVar

from pyros.agents.instrument import Command, InstrumentAgent
from pyros.hold import Hold
from pyros.messages import ABORT, Message


class MotorAgent(InstrumentAgent):
    """An instrument that moves; takes *Abort*."""

    moves: ClassVar[str]
    """The message that moves it."""
    device: Any

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {ABORT: self.abort}

    def abort(self, message: Message) -> None:
        """Stop a move; the agent that asked for it hears that it failed."""
        command = self.state.command
        wanted = message.payload.observation
        if command is not None and wanted in ("", command.payload.get("observation", "")):
            self.aborting(self.device.stop)

    def ends_by_hold(self, stop: bool) -> bool:
        """Whether a hold ends what the device does: a move of the automation; with ``stop`` any."""
        return stop or self.for_automation(self.moves) is not None

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        if self.ends_by_hold(stop):
            self.stop_at_once(self.device.stop)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if self.ends_by_hold(stop):
            self.state.command = self.state.interrupted = None
            self.aborting(self.device.stop)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Give an interrupted move again, which ends at once where it is done; stop what moves for nobody."""
        if interrupted is not None:
            self.again(interrupted)
        elif state == "moving":
            self.log.warn("the {name} moves, and no agent asked for it: it is stopped", name=self.name)
            self.aborting(self.device.stop)
