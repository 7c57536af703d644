"""Which filters there are: told by the wheel when it is connected, and held against what rules and requests name."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.instrument import InstrumentAgent
from pyros.messages import FiltersKnown, Message

FILTERS_READ = messages.register("Filters read", FiltersKnown, guarded=True)


class FiltersAgent(InstrumentAgent):
    """An instrument with a filter wheel: it tells which filters there are whenever it is connected."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message[FILTERS_READ] = self.filters_read

    @property
    def has_filters(self) -> bool:
        """Whether this is the wheel that observations use."""
        return True

    def on_connection(self, connected: bool) -> None:
        super().on_connection(connected)
        if connected and self.has_filters:
            reading: Deferred[tuple[str, ...]] = self.device.filters()
            reading.addCallbacks(self._filters_told, self._filters_not_told)

    def _filters_told(self, filters: tuple[str, ...]) -> None:
        if filters:
            self.post_to_self(FILTERS_READ, FiltersKnown(instrument=self.name, filters=filters))

    def _filters_not_told(self, failure: Failure) -> None:
        self.log.warn(
            "{name} does not say which filters it has: {reason}", name=self.name, reason=failure.getErrorMessage()
        )

    def filters_read(self, message: Message) -> None:
        for agent in (self.ALERT_MANAGER, self.SCHEDULER):
            self.send_if_there(agent, messages.FILTERS_KNOWN, message.payload)


def check_filters(agent: Agent, known: FiltersKnown, named: Iterable[str], where: str) -> None:
    """Raise an alarm for the filters named ``where`` that the wheel has not, or end it. In a handler of ``agent``."""
    key = f"unknown filters in {where}"
    if missing := sorted(set(named) - set(known.filters) - {""}):
        there = ", ".join(known.filters)
        agent.alarm(key, f"{where} name {', '.join(missing)}, which the {known.instrument} has not (it has: {there})")
    else:
        agent.alarm_over(key)
