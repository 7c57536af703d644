"""Agents that send numbers and agents that count them, forked from one process that has everything imported already.

Run as ``numbers_agents.py``; it reads ``start NAME KIND`` from its standard input, forks a process in which that agent
runs until it is killed, and answers with the process's number. It ends with its standard input.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pyros.agents import Agent, Message
from pyros.agents.runtime import program
from pyros.messages import guard

assert program  # imported here, so that a fork is up within milliseconds; the reactor is installed after the fork


GLIMPSE = guard("Glimpse", fleeting=True)


class Counts(msgspec.Struct):
    """What has had its effect, by the number's origin."""

    handled: dict[str, int] = {}
    last: dict[str, int] = {}
    out_of_order: list[tuple[str, int, int]] = []
    glimpsed: dict[str, int] = {}
    """The last fleeting message of each sender: some of them are lost, none comes twice, or before what it follows."""


class CountingAgent(Agent):
    """Counts the numbers of each origin, and sends them on where ``option_forward`` says."""

    state: Counts

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {"Number": self.number, GLIMPSE: self.glimpse}
        self.forward = ""

    def work(self) -> None:
        self.forward = self.section.options.get("forward", "")

    def number(self, message: Message) -> None:
        number, origin = message.payload["number"], message.payload.get("origin", message.sender)
        if number != self.state.last.get(origin, 0) + 1:
            self.state.out_of_order.append((origin, self.state.last.get(origin, 0), number))
        self.state.last[origin] = number
        self.state.handled[origin] = self.state.handled.get(origin, 0) + 1
        if self.forward:
            self.send_to(self.forward, "Number", {"number": number, "origin": origin})

    def glimpse(self, message: Message) -> None:
        number, last = message.payload["number"], self.state.last.get(message.sender, 0)
        if not self.state.glimpsed.get(message.sender, 0) < number <= last:
            raise RuntimeError(f"{number} of {message.sender} after {self.state.glimpsed}, while {last} came last")
        self.state.glimpsed[message.sender] = number


class NumbersSent(msgspec.Struct):
    sent: int = 0
    up_to: int = 0
    sending: bool = False


class NumberingAgent(Agent):
    """Sends 1, 2, 3 ... to ``receiver``, a few at a time, up to what *Up to* allows; goes on after its own death."""

    CHUNK = 12
    PAUSE = 0.006

    state: NumbersSent

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message["Up to"] = self.up_to
        self.actions_by_message["Next numbers"] = self.next_numbers

    def up_to(self, message: Message) -> None:
        self.state.up_to = max(self.state.up_to, message.payload["number"])
        if not self.state.sending:
            self.state.sending = True
            self.call_later(0, "Next numbers")

    def next_numbers(self) -> None:
        for _ in range(min(self.CHUNK, self.state.up_to - self.state.sent)):
            self.state.sent += 1
            self.send_to("receiver", "Number", {"number": self.state.sent})
            self.send_to("receiver", GLIMPSE, {"number": self.state.sent})
        self.state.sending = self.state.sent < self.state.up_to
        if self.state.sending:
            self.call_later(self.PAUSE, "Next numbers")


PR_SET_PDEATHSIG = 1  # linux/prctl.h
KINDS: dict[str, Any] = {"counting": CountingAgent, "numbering": NumberingAgent}


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the kernel
    for line in sys.stdin:
        _, name, kind = line.split()
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it dies with its parent, however that dies
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            KINDS[kind](name).start()
            return  # its thread keeps the process alive
        print(pid, flush=True)
    for living in Path("/proc/self/task").glob("*/children"):  # the numbers of the dead may be others' by now
        for number in living.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)


if __name__ == "__main__":
    main()
