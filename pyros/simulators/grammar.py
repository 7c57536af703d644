"""The native instrument grammar as the simulators speak it: bytes in, requests out; answers in, bytes out.

Lines of UTF-8, each ended by a newline (a carriage return before it is ignored), at most 4096 bytes:

    request  = ["#" n " "] ("GET" property | "SET" property value+ | "DO" action (name "=" value)*
                            | "FAULT" kind (name "=" value)*)
    answer   = ["#" n " "] ("OK" (value | name "=" value)* | "BUSY" seconds | "ERR" CODE text)
    event    = "EVT" name (value | name "=" value)*            unasked, to every client
    name     = [a-z][a-z0-9_]*        n = 1 to 9 digits, repeated on the answer
    value    = a bare word without whitespace, double quote and "=", or "quoted" with the escapes \\" and \\\\;
               what has a "#" in it, and the word EVT, is quoted in answers: half a line and the next are no values

FAULT is for simulators alone: something shall go wrong from now on (see ``faults``), or ``FAULT clear``.

``OK <width> <height> <bits> block=<n>``, the answer to ``GET image``, is followed by n raw bytes. BUSY tells in how
many seconds an action will be over; its end comes as an event. The instruments' drivers have their own parser: a
shared one would hide its own mistakes.

No input and output here: any thread may use a parser, one at a time.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

MAX_LINE = 4096
"""Bytes of one line, without its newline."""

_NUMBER = re.compile(r"#([0-9]{1,9})(?= |\Z)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_GET = re.compile(r"GET ([a-z][a-z0-9_]*)")
_VALUE = re.compile(r'(?:([a-z][a-z0-9_]*)=)?(?:"((?:[^"\\]|\\["\\])*)"|([^\s"=]+))(?= |\Z)')
_BARE = re.compile(r'(?!EVT\Z)[^\s"=#]+')
_NAMED = {"GET": "a property", "SET": "a property", "DO": "an action", "FAULT": "a kind of fault"}
_ESCAPED = re.compile(r'\\(["\\])')


class DeviceRequest(msgspec.Struct, frozen=True):
    """What a client asks. ``line`` is the text as it came; ``number`` the digits after ``#``, or ''."""

    line: str
    number: str
    verb: str
    name: str
    values: tuple[str, ...] = ()
    """Of SET."""
    arguments: dict[str, str] = {}
    """Of DO and FAULT."""


class BadRequest(msgspec.Struct, frozen=True):
    """A line that is no request, and why. After a ``fatal`` one the parser has lost its place: close."""

    line: str
    number: str
    reason: str
    fatal: bool = False


class DeviceAnswer(msgspec.Struct, frozen=True):
    """One line without its newline, and the raw bytes that follow it."""

    line: str
    block: bytes = b""

    def encode(self, number: str = "") -> bytes:
        """Return the bytes for the wire; ``number`` is that of the request."""
        prefix = f"#{number} " if number else ""
        return f"{prefix}{self.line}\n".encode() + self.block


class RequestParser:
    """Cuts a stream of bytes into requests, however the network cut it.

    ``feed`` only stores; ``next`` gives one request at a time, so that a server which must wait with its answers
    can leave the rest where it is. Between the two, at most what was fed is kept.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lost = False

    def __len__(self) -> int:
        """Bytes not yet given out."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrive."""
        if not self._lost:
            self._buffer += data

    def end(self) -> None:
        """End: a last line without its newline counts (``printf 'GET id' | nc``)."""
        if self._buffer and not self._buffer.endswith(b"\n"):
            self.feed(b"\n")

    def next(self) -> DeviceRequest | BadRequest | None:
        """Return the next request, or what is wrong with the next line, or None when no line is complete."""
        end = self._buffer.find(b"\n", 0, MAX_LINE + 1)
        if end < 0:
            if len(self._buffer) <= MAX_LINE:
                return None
            self._lost = True
            self._buffer.clear()
            return BadRequest("", "", f"the line is longer than {MAX_LINE} bytes", fatal=True)
        raw = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        try:
            return parse(raw.decode())
        except UnicodeDecodeError:
            return BadRequest(raw.decode(errors="replace"), "", "the line is not UTF-8")


def parse(line: str) -> DeviceRequest | BadRequest:
    """Read one line, given without its newline."""
    number, at = "", 0
    if found := _NUMBER.match(line):
        number, at = found[1], found.end()
    text = line[at:].strip(" ")
    if name := _plain_name(text):
        return DeviceRequest(line, number, "GET", name)
    try:
        return _request(line, number, text)
    except _Wrong as wrong:
        return BadRequest(line, number, str(wrong))


def ok(*values: object, **named: object) -> DeviceAnswer:
    """``OK``, with values; a named one that is None is left out."""
    return DeviceAnswer(_line("OK", values, named))


def busy(seconds: float) -> DeviceAnswer:
    """``BUSY``: the action has begun and will be over in so many seconds."""
    return DeviceAnswer(f"BUSY {seconds:.3f}")


def error(code: str, text: str) -> DeviceAnswer:
    """``ERR``: it was not done; the text says why, and what would be right."""
    return DeviceAnswer(f"ERR {code} {_printable(text)}")


def event(name: str, *values: object, **named: object) -> DeviceAnswer:
    """``EVT``: something happened; a named value that is None is left out."""
    return DeviceAnswer(_line(f"EVT {name}", values, named))


def shown(text: str) -> str:
    """Return a client's own text as an error may repeat it: quoted, short, on one line."""
    return f"'{_printable(text[:40])}{'...' if len(text) > 40 else ''}'"


@lru_cache(1000)
def _plain_name(text: str) -> str:
    """Return what ``GET name`` asks for, by far the most frequent request; '' for anything else."""
    found = _GET.fullmatch(text)
    return found[1] if found else ""


class _Wrong(Exception):
    """Why a line is no request; never leaves this file."""


def _request(line: str, number: str, text: str) -> DeviceRequest:
    verb, _, rest = text.partition(" ")
    name, _, rest = rest.lstrip(" ").partition(" ")
    if verb not in ("GET", "SET", "DO", "FAULT"):
        raise _Wrong(f"{shown(verb)} is not GET, SET, DO or FAULT")
    if not _NAME.fullmatch(name):
        raise _Wrong(f"{verb} takes {_NAMED[verb]} (a-z, 0-9, _), not {shown(name)}")
    words = _words(rest.lstrip(" "))
    if verb in ("DO", "FAULT"):
        arguments = {key: value for key, value in words if key is not None}
        if len(arguments) < len(words):
            raise _Wrong(f"{verb} {name} takes name=value, each name once")
        return DeviceRequest(line, number, verb, name, arguments=arguments)
    values = tuple(value for key, value in words if key is None)
    if len(values) < len(words):
        raise _Wrong(f"{verb} {name} takes no name=value")
    if bool(values) != (verb == "SET"):
        raise _Wrong(f"SET {name} takes a value" if verb == "SET" else "GET takes one property only")
    return DeviceRequest(line, number, verb, name, values=values)


def _words(text: str) -> list[tuple[str | None, str]]:
    """Return the words after the name: (name or None, value)."""
    words = []
    at = 0
    while at < len(text):
        found = _VALUE.match(text, at)
        if not found:
            raise _Wrong(f'{shown(text[at:])} is not a word, name=word or "quoted string"')
        words.append((found[1], found[3] if found[2] is None else _ESCAPED.sub(r"\1", found[2])))
        at = found.end()
        while at < len(text) and text[at] == " ":
            at += 1
    return words


def _line(start: str, values: tuple[object, ...], named: dict[str, object]) -> str:
    line = start
    for value in values:
        line += f" {_word(value)}"
    for key, value in named.items():
        if value is not None:
            line += f" {key}={_word(value)}"
    return line


def _word(value: object) -> str:
    text = str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)
