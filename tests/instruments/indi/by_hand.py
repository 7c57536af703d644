"""An INDI client of a few lines, for tests in which a foreign driver drives our simulators.

The real one is in `pyros.instruments.indi`, and looks at one device only.
"""

from __future__ import annotations

import socket
from typing import Any, cast
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import pytest

from pyros.clock import Deadline
from tests.conftest import PATIENCE, wait_until


class HandClient:
    """One connection: what the devices' vectors hold now, and what they said."""

    def __init__(self, port: int) -> None:
        self.states: dict[str, str] = {}
        """By ``device.vector``."""
        self.values: dict[str, str] = {}
        """By ``device.vector.element``."""
        self._said: dict[str, list[str]] = {}
        """The states and values that came since the last command, and that nobody has waited for yet. What comes at
        once is read at once, and one that was there for a moment only must not be missed."""
        self.messages: list[str] = []
        self._vector = self._element = ""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.Parse("<all>")
        self._socket = cast("socket.socket", wait_until(lambda: _connected(port), what="indiserver"))
        self._socket.sendall(b"<getProperties version='1.7'/>")

    def close(self) -> None:
        self._socket.close()

    def wait(self, what: str, is_so: Any = None, seconds: float = PATIENCE) -> str:
        """Read until the vector or element is there, or its state or value is or was one of those wanted; return it."""
        deadline = Deadline(seconds)
        while True:
            value = self.values.get(what, self.states.get(what))
            said = self._said.get(what, [])
            for number, each in enumerate([*said, *([] if value is None else [value])], 1):
                if is_so is None or (is_so(each) if callable(is_so) else each == is_so):
                    del said[:number]
                    return each
            if not deadline.left():
                pytest.fail(f"{what} is {value} after {seconds:g} s; the devices said {self.messages[-10:]}")
            self._read(min(0.5, deadline.left()))

    def number(self, what: str) -> float:
        return float(self.values[what])

    def set(self, kind: str, vector: str, **elements: object) -> None:
        """``set("Number", "Mount.EQUATORIAL_EOD_COORD", RA=12, DEC=20)``; the vector's state counts as unknown then."""
        device, name = vector.split(".")
        ones = "".join(f"<one{kind} name={quoteattr(key)}>{value}</one{kind}>" for key, value in elements.items())
        self.states.pop(vector, None)
        self._said.clear()
        self._socket.sendall(
            f"<new{kind}Vector device={quoteattr(device)} name={quoteattr(name)}>{ones}</new{kind}Vector>".encode()
        )

    def switch(self, vector: str, on: str) -> None:
        self.set("Switch", vector, **{on: "On"})

    def read_all(self) -> None:
        """Take in what has come until now."""
        while self._read(0.001):
            pass

    def _read(self, seconds: float) -> bool:
        self._socket.settimeout(max(0.001, seconds))
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        assert data, f"indiserver has closed the connection; the devices said {self.messages[-10:]}"
        self._parser.Parse(data)
        return True

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        if "message" in attributes:
            self.messages.append(attributes["message"])
        if tag.endswith("Vector"):
            self._vector = f"{attributes['device']}.{attributes['name']}"
            self.states[self._vector] = attributes.get("state", "Idle")
            self._said.setdefault(self._vector, []).append(self.states[self._vector])
        elif tag.startswith(("def", "one")):
            self._element = f"{self._vector}.{attributes['name']}"
            self.values[self._element] = ""

    def _end(self, tag: str) -> None:
        if self._element:
            self.values[self._element] = self.values[self._element].strip()
            self._said.setdefault(self._element, []).append(self.values[self._element])
            self._element = ""

    def _text(self, text: str) -> None:
        if self._element:
            self.values[self._element] += text


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), 5)
    except OSError:
        return None
