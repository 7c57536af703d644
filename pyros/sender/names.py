"""Where computers were found by their names: for when the server of names is as unreachable as they are.

A name is asked at each attempt to connect. What asks it waits for ten seconds and more once the network is gone, and
goes on waiting for a while when that is back. So an answer that doesn't come within a second is not waited for where
there was one before: the connection is tried there, and the answer counts from the next attempt on. There is never more
than one question about a name on its way. For the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IReactorPluggableNameResolver
from zope.interface import implementer

from pyros.clock import cancel_call

_ANSWER_SECONDS = 1.0
"""How long an answer is waited for at most, from when it was asked for, where another one is known."""


class _Found:
    """What a reactor's process knows of names."""

    def __init__(self) -> None:
        self.known: dict[str, list[Any]] = {}
        """The addresses that a name was found to have last."""
        self.asked: dict[str, _NameQuestion] = {}


_found: WeakKeyDictionary[Any, _Found] = WeakKeyDictionary()


@implementer(IHostResolution)
class _NameQuestion:
    """A question that is on its way, and who waits for its answer; Twisted's resolver hands the answer to it."""

    def __init__(self, name: str, since: float, done: Callable[[list[Any]], None]) -> None:
        self.name = name
        self.since = since
        """Since when, seconds of the reactor."""
        self.waiting: list[Callable[[], None]] = []
        self._addresses: list[Any] = []
        self._done = done

    def cancel(self) -> None:
        """Go on: others may wait for the answer."""

    def resolutionBegan(self, resolution: object) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        self._done(self._addresses)
        for each in self.waiting:
            each()


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Remembering:
    """A reactor whose connections are made with what is known of names."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._found = _found.setdefault(reactor, _Found())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> Any:
        return self

    def installNameResolver(self, resolver: Any) -> Any:
        return self._reactor.installNameResolver(resolver)

    def resolveHostName(
        self,
        receiver: Any,
        name: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Tell ``receiver`` the addresses of a name, as Twisted's resolvers do."""
        question, begun = self._found.asked.get(name), False
        if question is None:
            question, begun = (
                _NameQuestion(name, self._reactor.seconds(), lambda found: self._answered(name, found)),
                True,
            )
            self._found.asked[name] = question
        receiver.resolutionBegan(question)
        timer: Any = None
        told = False

        def tell() -> None:
            nonlocal told
            if told:
                return
            told = True
            cancel_call(timer)
            for address in self._found.known.get(name, ()):
                receiver.addressResolved(type(address)(address.type, address.host, portNumber))
            receiver.resolutionComplete()

        if name in self._found.known:
            patience = question.since + _ANSWER_SECONDS - self._reactor.seconds()
            timer = self._reactor.callLater(max(0.0, patience), tell)
        question.waiting.append(tell)
        if begun:
            self._reactor.nameResolver.resolveHostName(question, name, 0, addressTypes, transportSemantics)
        return question

    def _answered(self, name: str, found: list[Any]) -> None:
        del self._found.asked[name]
        if found:
            self._found.known[name] = found
