"""Every error PYROS raises on purpose.

PyrosError
├── ConfigError             the configuration is wrong; lists every mistake at once
├── WireError               a peer broke the protocol of the wire
├── JournalError            a journal cannot be read or written (disk full, another process holds it ...)
│   ├── JournalInUse        another process has it: it has the device, too
│   ├── StateError          the stored state does not fit the agent's state type
│   └── WriteFailed         a further write of a turn raised; says which one
├── AgentError              an agent could not start, or was asked something it cannot do
├── DeliveryError           a message could not be delivered; names agent, address and reason
│   ├── UnknownAgent        no agent of that name is configured
│   ├── AgentUnreachable    nobody answers at its address
│   └── MessageRefused      the agent answered, and will not take this message
├── AlertError              a packet is not an alert, or is one that cannot be understood
├── PlanningError           a site or a target makes no sense
├── SimulatorError          a simulator's description is wrong
├── CatalogueError          the stars that were asked for are not installed, or cannot be read
├── ImageError              a file is no image that can be shown or measured
├── JobError                a job has no result: it failed, crashed, was revoked or terminated
├── WorkerError             a worker process died, hung, or failed in a way that nobody expects
└── InstrumentError         a device did not do what it was told
    ├── DeviceRefused       it said no; nothing happened
    ├── DeviceFailed        it began and failed
    ├── ConnectionLost      the connection to it broke; what it did is unknown
    ├── NoAnswer            it stayed silent too long; what it did is unknown
    └── CommandAborted      it stopped because it was told to

A class exists only where a caller would react differently. Messages are one line, and say what to do where
there is something to be done.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyros.printable import printable


class PyrosError(Exception):
    """The root of all errors that PYROS raises on purpose."""


class ConfigError(PyrosError):
    """The configuration is wrong.

    ``problems`` holds every mistake found, each naming file, section and key and what would be right.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class WireError(PyrosError):
    """A peer sent bytes that break the protocol; raised by the codec, answered with one line, then closed."""


class JournalError(PyrosError):
    """A journal cannot be opened, read or written."""


class JournalInUse(JournalError):
    """Another process of the observatory has the journal, and with it the agent's device."""


class StateError(JournalError):
    """The stored state does not fit the agent's state type; raised when the agent starts."""


class WriteFailed(JournalError):
    """A further write of a turn raised something that is no trouble with the disk; nothing was stored.

    ``place`` is its place among the further writes; the cause is what it raised.
    """

    def __init__(self, path: object, place: int, error: BaseException) -> None:
        self.place = place
        super().__init__(f"{path}: cannot store: a further write failed: {type(error).__name__}: {error}")


class AgentError(PyrosError):
    """An agent could not start, or was asked something it cannot do."""


class DeliveryError(PyrosError):
    """A message could not be delivered."""

    def __init__(self, agent: str, address: str, reason: str) -> None:
        reason = printable(reason)  # which another program may have given
        self.agent, self.address, self.reason = agent, address, reason
        where = f" at {address}" if address else ""
        super().__init__(f"agent {agent!r}{where}: {reason}")


class UnknownAgent(DeliveryError):
    """No agent of that name is configured; raised before anything is sent."""


class AgentUnreachable(DeliveryError):
    """Nobody answers at the agent's address, or the answer never came in time.

    In the second case the agent may have taken the message all the same: ask it, or send what may come twice.
    """


class MessageRefused(DeliveryError):
    """The agent answered and refuses the message (unknown name, wrong payload, not allowed)."""


class AlertError(PyrosError):
    """A packet is not an alert, or is one that cannot be understood."""


class PlanningError(PyrosError):
    """A site or a target makes no sense."""


class SimulatorError(PyrosError):
    """A simulator's description is wrong."""


class CatalogueError(PyrosError):
    """The stars that were asked for are not installed, or their file cannot be read."""


class ImageError(PyrosError):
    """A file is no image that can be shown or measured; names it and says why."""


class WorkerError(PyrosError):
    """A job was lost because its worker process died or hung, or it raised what nobody expects.

    The job itself may be sound: the next one gets a new process.
    """


class JobError(PyrosError):
    """A job has come to an end without a result; ``state`` is the ledger's word for it, ``traceback`` the task's."""

    def __init__(self, text: str, state: str = "", traceback: str = "") -> None:
        self.state, self.traceback = state, traceback
        super().__init__(text)


class InstrumentError(PyrosError):
    """A device did not do what it was told; it may have given the reason, which is made one printable line."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class DeviceRefused(InstrumentError):
    """The device said no; nothing happened. ``code`` is the device's own error code, or a driver's word for it.

    ``for_good`` tells that it will say no to the same request whenever it is told, as to a filter that it hasn't. What
    a code says that was guessed from people's words, or that something isn't there yet, ``may_pass``.
    """

    def __init__(self, code: str, text: str, *, may_pass: bool = False) -> None:
        self.code = code
        self.for_good = code in _FOR_GOOD and not may_pass
        super().__init__(f"{code}: {text}")


_FOR_GOOD = {"VALUE", "LIMIT", "UNSUPPORTED", "UNKNOWN"}
"""Codes of all families of drivers; others, such as STATE and BUSY, may pass."""


class DeviceFailed(InstrumentError):
    """The device began and failed."""


class ConnectionLost(InstrumentError):
    """The connection to the device broke; what it did meanwhile is unknown."""


class NoAnswer(InstrumentError):
    """The device stayed silent too long; what it did is unknown."""


class CommandAborted(InstrumentError):
    """The command ended because it was told to stop."""
