"""An INDI server that answers as a test says, in the network on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from pyros.clock import VirtualClock
from pyros.kinds import KINDS, driver_class
from tests.instruments.conftest import DeviceWorld, DriverRig

ADDRESS = "tcp:127.0.0.1:7624/Dev"
Members = dict[str, Any]


def vector(
    word: str,
    kind: str,
    name: str,
    members: Members,
    state: str = "Ok",
    device: str = "Dev",
    more: str = "",
    labels: Members | None = None,
    stamp: str = "",
) -> str:
    """Write a ``def`` or ``set`` vector; a member's value may be (value, least, most)."""
    tag = ("def" if word == "def" else "one") + kind
    lines = []
    for member, told in members.items():
        value, *limits = told if isinstance(told, tuple) else (told,)
        among = 'min="{}" max="{}"'.format(*limits) if limits else ""
        text = ("On" if value else "Off") if isinstance(value, bool) else value
        label = f'label="{labels[member]}"' if labels and member in labels else ""
        lines.append(f'<{tag} name="{member}" {label} {among} {more}>{text}</{tag}>')
    whole = f"{word}{kind}Vector"
    rule = "OneOfMany" if len(members) == 2 else "AnyOfMany"
    when = f'timestamp="{stamp}"' if stamp else ""
    head = f'device="{device}" name="{name}" state="{state}" perm="rw" rule="{rule}" {when}'
    return f"<{whole} {head}>{''.join(lines)}</{whole}>"


class ScriptedIndi(Factory):
    """An INDI server with one device, which defines its vectors and answers as a test says.

    ``answers`` maps a vector's name to what a change of it is answered with: XML, or a function of the values. Without
    an answer the device takes what it is told, and says Ok.
    """

    noisy = False

    def __init__(self, world: DeviceWorld, kind: str) -> None:
        self.world = world
        self.vectors: dict[str, tuple[str, Members, str]] = {
            "CONNECTION": ("Switch", {"CONNECT": False, "DISCONNECT": True}, "Idle"),
            "DRIVER_INFO": ("Text", {"DRIVER_INTERFACE": str(driver_class("indi", KINDS[kind]).interface)}, "Idle"),
        }
        self.answers: dict[str, str | Callable[[Members], str]] = {}
        self.labels: dict[str, str] = {}
        self.stamp = ""
        self.there = True
        self.asked: list[ElementTree.Element] = []
        self.line: Any = None
        world.listenTCP(7624, self)

    def buildProtocol(self, addr: object) -> Protocol:
        self.line = IndiLine(self)
        return self.line  # type: ignore[no-any-return]

    def say(self, *texts: str) -> None:
        for text in texts:
            self.line.transport.write(text.encode())
        self.world.run()

    def set(self, name: str, state: str = "Ok", **members: Any) -> str:
        """Change a vector, and the XML that tells it."""
        kind, known, _ = self.vectors[name]
        self.vectors[name] = kind, known | members, state
        return vector("set", kind, name, known | members, state, stamp=self.stamp)

    def define(self) -> str:
        return "".join(
            vector("def", kind, name, members, state, labels=self.labels)
            for name, (kind, members, state) in self.vectors.items()
        )

    def changes(self, name: str) -> list[Members]:
        """Return what the client asked a vector to be, from the first to the last."""
        return [{member.attrib["name"]: member.text for member in element} for element in self.asked
                if element.attrib.get("name") == name and element.tag.startswith("new")]  # fmt: skip

    def answer(self, element: ElementTree.Element) -> str:
        name = element.attrib.get("name", "")
        if element.tag == "getProperties":
            if not self.there or element.attrib.get("device", "Dev") != "Dev":
                return ""
            if not name:
                return self.define()
            kind, members, state = self.vectors[name]
            return vector("def", kind, name, members, state, labels=self.labels)
        return self.changed(name, element) if element.tag.startswith("new") else ""

    def changed(self, name: str, element: ElementTree.Element) -> str:
        told: Members = {member.attrib["name"]: member.text for member in element}
        answer = self.answers.get(name)
        if answer is not None:
            return answer if isinstance(answer, str) else answer(told)
        if element.tag == "newSwitchVector":
            told = {key: told.get(key) == "On" for key in self.vectors[name][1]}
        return self.set(name, **told)


class IndiLine(Protocol):
    def __init__(self, server: ScriptedIndi) -> None:
        self.server = server
        self.rest = ""

    def dataReceived(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + data.decode()).split("\n")
        assert self.transport is not None
        for text in whole:
            element = ElementTree.fromstring(text)
            self.server.asked.append(element)
            self.transport.write(self.server.answer(element).encode())


class IndiRig(DriverRig):
    """A driver and the scripted server."""

    def __init__(
        self, world: DeviceWorld, clock: VirtualClock, kind: Any, vectors: dict[str, Any], address: str = ADDRESS,
        labels: dict[str, str] | None = None, **named: Any,
    ) -> None:  # fmt: skip
        self.server = ScriptedIndi(world, kind)
        self.server.vectors |= vectors
        self.server.labels |= labels or {}
        super().__init__(world, clock, kind, "indi", address, **named)
        world.run(1)

    def begin(self, deferred: Deferred[Any], seconds: float = 0.0) -> list[Any]:
        """Return the outcome of a command, in a list that is empty until it has ended."""
        outcome: list[Any] = []
        deferred.addBoth(lambda end: outcome.append(getattr(end, "value", end)))
        self.world.run(seconds)
        return outcome
