"""What the runtime needs of an agent; `pyros.agents.Agent` is that, and lies above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pyros.config import Config
from pyros.hold import Hold
from pyros.messages import Message
from pyros.reactor import Reactor

Reflex = Callable[[Message], None]


class Hosted(Protocol):
    """An agent as its host and its turns see it; each method says in `Agent` which thread runs it."""

    name: str
    log: Logger
    state: Any
    ending: bool
    made_safe: bool
    reflexes: dict[str, Reflex]
    reflexes_alone: frozenset[str]
    guarded: set[str]

    schema: ClassVar[str]
    SAFE_SECONDS: ClassVar[float]
    LEFT: ClassVar[str]
    HOLD_CHANGED: ClassVar[str]
    TELL_ALARM: ClassVar[str]
    TELL_ALARM_OVER: ClassVar[str]

    @property
    def config(self) -> Config: ...
    @property
    def heeds_hold(self) -> bool: ...
    def check_needs(self, config: Config) -> None: ...
    def state_type(self) -> Any: ...
    def settle(self, host: Any) -> None: ...  # a Host, which imports this
    def begin(self) -> None: ...
    def receive(self, message: Message) -> None: ...
    def shutdown(self) -> None: ...
    def obey_hold(self, hold: Hold, stop: bool) -> None: ...
    def make_safe(self, reason: str) -> Deferred[None] | None: ...
    def alarm(self, key: str, text: str) -> None: ...
    def figures(self) -> dict[str, Any]: ...
    def attach(self, reactor: Reactor) -> None: ...
    def detach(self) -> Deferred[None] | None: ...
