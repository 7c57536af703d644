"""A process with the agent of one site.

    python -m bench._site NAME CONFIG

It says on its standard output what comes, one line each: sender, name, number and instant (monotonic seconds). On its
standard input it takes what it is to say: ``TO NAME COUNT SIZE FIRST``, ``COUNT`` messages numbered from ``FIRST``
on; ``waiting`` is answered with how many messages wait in its outbox.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import msgspec
from twisted.logger import globalLogBeginner, textFileLogObserver

from pyros import config as configuration
from pyros.agents import Agent
from pyros.messages import guard
from pyros.sender import Sender, ask

URGENT = "Urgent"
BULK = guard("Picture", bulk=True)
_TELL = "Tell"


class TalkingSite(Agent):
    """Says to other sites what it is told, and notes what they say."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {_TELL: self.tell, URGENT: self.take, BULK: self.take}

    def tell(self, message: Any) -> None:
        told = message.payload
        for n in range(told["first"], told["first"] + told["count"]):
            self.send_to(told["to"], told["name"], {"from": self.name, "n": n, "data": "x" * told["size"]})

    def take(self, message: Any) -> None:
        self.after_commit(_write, message.payload["from"], message.name, message.payload["n"], time.monotonic())


def _write(*words: object) -> None:
    """Write a line at once: `print` writes word by word, and two threads would mix theirs."""
    os.write(sys.stdout.fileno(), f"{' '.join(map(str, words))}\n".encode())


def _main(name: str, path: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    config = configuration.load(path)
    agent = TalkingSite(name)
    agent.start(config)
    here = msgspec.structs.replace(config.agent(name), at=None)  # whatever becomes of its address
    config = msgspec.structs.replace(config, agents={**config.agents, name: here})
    _write("up")
    for line in sys.stdin:
        words = line.split()
        if words == ["waiting"]:
            _write("waiting", sum(ask(here, "status")["outbox"].values()))
            continue
        to, what, count, size, first = words
        told = {"to": to, "name": what, "count": int(count), "size": int(size), "first": int(first)}
        Sender.send_to(name, _TELL, told, config=config)
    agent.stop()


if __name__ == "__main__":
    _main(*sys.argv[1:])
