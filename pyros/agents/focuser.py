"""The focuser's agent: moves it, to a position or to that of a filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents.agent import Agent
from pyros.agents.instrument import Command, InstrumentAgent, InstrumentState
from pyros.hold import Hold
from pyros.messages import Failure, FocusMoved, Message, MoveFocus


class FocuserState(InstrumentState):
    """The position of a filter whose offset is 0; None until the device was asked where it is."""

    base: int | None = None


class FocuserAgent(InstrumentAgent):
    """Takes *Move focus* and *Abort*.

    ``option_offsets`` in its section are the filters' offsets in steps, like ``r:0 g:120 i:-40``; a filter that isn't
    named has none. The offset 0 belongs to the position in which the focuser stands when it is first asked for a
    filter, or to the one that *Move focus* last gave.
    """

    state: FocuserState
    device: instruments.Focuser

    def __init__(self) -> None:
        super().__init__(Agent.FOCUSER)
        self.actions_by_message |= {messages.MOVE_FOCUS: self.move_focus, messages.ABORT: self.abort}

    def work(self) -> None:
        none: dict[str, int] = {}
        self._offsets = self.option("offsets", offsets, none)
        super().work()

    def move_focus(self, message: Message) -> None:
        """Move the focuser; a move under way is superseded by the new one."""
        move: MoveFocus = message.payload
        if reason := self.reason_held(message):
            failure = Failure(observation=move.observation, reason=f"not moved: {reason}")
            self.send_if_there(message.sender, messages.FOCUS_FAILED, failure)
            return
        base, offset = self.state.base, self._offsets.get(move.filter, 0)
        if move.position is not None:
            base = move.position - offset

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._move(base, offset, started))

        self.command(messages.MOVE_FOCUS, move, run, order=message)

    def abort(self, message: Message) -> None:
        """Stop a move; whoever wanted it hears that it failed."""
        command = self.state.command
        wanted = message.payload.observation
        if command is not None and wanted in ("", command.payload.get("observation", "")):
            self.aborting(self.device.stop)

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self.for_automation(messages.MOVE_FOCUS) is not None:
            self.stop_at_once(self.device.stop)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self.for_automation(messages.MOVE_FOCUS) is not None:
            self.state.command = self.state.interrupted = None
            self.aborting(self.device.stop)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Move to the same position again, which ends at once where it is reached; stop what moves for nobody."""
        if interrupted is not None:
            self.again(interrupted)
        elif state == "moving":
            self.log.warn("the focuser moves for nobody: it is stopped")
            self.aborting(self.device.stop)

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        state, position = await self.device.state(), await self.device.position()
        return state, {"position": position, "temperature": await self.device.temperature()}

    def done(self, command: Command, result: dict[str, Any]) -> None:
        self.state.base = result["base"]
        moved = FocusMoved(
            observation=command.payload.get("observation", ""),
            position=result["position"],
            filter=command.payload.get("filter", ""),
        )
        self.answer(command, messages.FOCUS_MOVED, moved)

    def failed(self, command: Command, failure: Failure) -> None:
        self.answer(command, messages.FOCUS_FAILED, failure)

    async def _move(self, base: int | None, offset: int, started: Callable[[float], None]) -> dict[str, Any]:
        """In the reactor's thread."""
        here = await self.device.position()
        if base is None:
            base = here
        reached = here if here == base + offset else await self.device.move(base + offset, started)
        return {"base": base, "position": reached}


def offsets(text: str) -> dict[str, int]:
    """``r:0 g:120`` as values; ValueError for anything else."""
    found = {}
    for word in text.split():
        name, _, steps = word.rpartition(":")
        if not name:
            raise ValueError(f"{word} is not like r:120")
        found[name] = int(steps)
    return found
