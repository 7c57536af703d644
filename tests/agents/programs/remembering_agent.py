"""An agent with a durable timer, a handler that can fail, and a handler that stores much; run as a program."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pyros.agents import Agent, Message


class Remembered(msgspec.Struct):
    heard: list[str] = []
    size: int = 0


class RememberingAgent(Agent):
    state: Remembered

    def __init__(self) -> None:
        super().__init__("remembering")
        self.actions_by_message |= {"Remember": self.remember, "Remind": self.remind, "Fail": self.fail}

    def remember(self, message: Message) -> None:
        self.state.heard.append(message.payload["what"])
        self.state.size += len(message.payload.get("data", ""))

    def remind(self, message: Message) -> None:
        self.call_later(message.payload["seconds"], "Remember", {"what": message.payload["what"]})

    def fail(self) -> None:
        self.state.heard.append("half done")
        if not Path("works").exists():
            raise RuntimeError("it does not work yet")

    def shutdown(self) -> None:
        self.state.heard.append("shut down")


if __name__ == "__main__":
    RememberingAgent().start()
