"""The client's side of the native instrument grammar: bytes in, answers and events out. No network here.

The grammar itself, with its documentation, is ``native.grammar`` beside this file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import TypeAlias

import msgspec

from pyros.errors import DeviceRefused, WireError

MAX_LINE_BYTES = 4096
"""Bytes of a line, without its end."""
MAX_BLOCK_BYTES = 512 * 2**20
"""Bytes of a block."""

Value: TypeAlias = str | float | int


def compile_rules(text: str) -> dict[str, re.Pattern[str]]:
    """Compile ``name = expression`` lines; ``{name}`` in an expression stands for a rule above it."""
    rules: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, expression = (part.strip() for part in line.split(" = ", 1))
            rules[name] = re.sub(r"\{([a-z]+)\}", lambda match: f"(?:{rules[match[1]]})", expression)
    return {name: re.compile(expression) for name, expression in rules.items()}


RULES = compile_rules(files("pyros.instruments.native").joinpath("native.grammar").read_text("utf-8"))


class Ok(msgspec.Struct, frozen=True):
    """The device did it; ``block`` are the raw bytes that followed the line, if any."""

    number: int | None
    values: tuple[str, ...] = ()
    named: dict[str, str] = {}
    block: bytes | None = None


class Busy(msgspec.Struct, frozen=True):
    """The device began and estimates so many seconds."""

    number: int | None
    seconds: float


class Err(msgspec.Struct, frozen=True):
    """The device refuses."""

    number: int | None
    code: str
    text: str


class NativeEvent(msgspec.Struct, frozen=True):
    """The device says something on its own."""

    name: str
    values: tuple[str, ...] = ()
    named: dict[str, str] = {}


NativeAnswer: TypeAlias = Ok | Busy | Err


def quote(value: Value) -> str:
    """Write a value as the grammar wants it; floats in plain decimals, to 1e-9.

    Raises DeviceRefused for text that no line can carry.
    """
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    text = str(value)
    if "\n" in text:
        raise DeviceRefused("VALUE", f"{text!r} cannot be sent: a value has no line ends")
    if RULES["word"].fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def request(number: int, verb: str, name: str, *values: Value, **named: Value) -> bytes:
    """Write one request, e.g. ``request(7, "DO", "slew", ra=83.6, dec=22.01)``.

    Raises DeviceRefused where that would not be a request that a device can read.
    """
    if verb == "GET" and not values and not named and 0 < number < 1_000_000_000:
        return b"#%d %b\n" % (number, _get_request(name))
    words = [f"#{number}", verb, name, *map(quote, values)]
    words += [f"{key}={quote(value)}" for key, value in named.items()]
    line = " ".join(words)
    if not RULES["request"].fullmatch(line):
        raise DeviceRefused("SYNTAX", f"{line[:100]!r} is not a request of the native grammar")
    try:
        data = line.encode()
    except UnicodeEncodeError as error:
        raise DeviceRefused("SYNTAX", f"{line[:100]!r} cannot be sent as UTF-8: {error.reason}") from None
    if len(data) > MAX_LINE_BYTES:
        raise DeviceRefused("SYNTAX", f"a request of {len(data)} bytes is longer than {MAX_LINE_BYTES}")
    return data + b"\n"


@lru_cache(1000)
def _get_request(name: str) -> bytes:
    """Return ``GET name`` as it is sent. Raises DeviceRefused as `request` does."""
    return request(0, "GET", name)[3:-1]


def parse(line: str) -> NativeAnswer | NativeEvent:
    """Read one line of a device. Raises WireError for a line that is none of the grammar's."""
    match = RULES["message"].fullmatch(line)
    if match is None:
        raise WireError(f"not a line of the native grammar: {line[:100]!r}")
    number = int(match["tag"]) if match["tag"] else None
    if (text := match["ok"]) is not None:
        return Ok(number, *_arguments(text))
    if match["busy"]:
        return Busy(number, float(match["busy"]))
    if match["code"]:
        return Err(number, match["code"], match["text"] or "")
    return NativeEvent(match["event"], *_arguments(match["values"]))


def _arguments(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    values: list[str] = []
    named: dict[str, str] = {}
    if '"' not in text:
        for word in text.split():
            key, equals, value = word.partition("=")
            if equals:
                named[key] = value
            else:
                values.append(word)
        return tuple(values), named
    for match in RULES["argument"].finditer(text):
        word = match["word"]
        if word.startswith('"'):
            word = re.sub(r"\\(.)", r"\1", word[1:-1])
        if match["key"] is None:
            values.append(word)
        else:
            named[match["key"]] = word
    return tuple(values), named


class NativeDecoder:
    """Turns a device's bytes, however they are cut, into answers and events.

    ``feed`` it what came, then take with ``next`` until that returns None. It holds at most one line, or one block and
    what came with it, and looks at each byte a constant number of times.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._waiting: Ok | None = None  # for its block
        self._missing = 0

    @property
    def in_block(self) -> bool:
        """Whether a block has begun and not ended."""
        return self._waiting is not None

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the device."""
        self._buffer += data

    def next(self) -> NativeAnswer | NativeEvent | None:
        """Return the next answer or event, or None when more bytes are needed.

        Raises WireError when the bytes are not of the grammar; the connection is of no more use then.
        """
        if self._waiting is None:
            line = self._line()
            if line is None:
                return None
            message = parse(line)
            if not isinstance(message, Ok) or "block" not in message.named:
                return message
            self._missing = _block_size(message.named["block"])
            self._waiting = message
        if len(self._buffer) < self._missing:
            return None
        answer, self._waiting = self._waiting, None
        return Ok(answer.number, answer.values, answer.named, self._take(self._missing))

    def _line(self) -> str | None:
        buffer = self._buffer
        end = buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(buffer)
        length = end if end >= 0 else self._searched
        if length > MAX_LINE_BYTES and length - buffer.endswith(b"\r", 0, length) > MAX_LINE_BYTES:
            raise WireError(f"a line of more than {MAX_LINE_BYTES} bytes")
        if end < 0:
            return None
        data = bytes(buffer[:end]).removesuffix(b"\r")
        del buffer[: end + 1]  # constant time: a bytearray only moves its start
        self._searched = 0
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise WireError(f"a line that is not UTF-8: {error.reason} at byte {error.start}") from None

    def _take(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            data = bytes(view[:count])
        del self._buffer[:count]
        return data


def _block_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MAX_BLOCK_BYTES):
        raise WireError(f"block={text[:40]} is not a number of bytes up to {MAX_BLOCK_BYTES}")
    return int(text)
