"""What an Alpaca device answers: JSON with a value or an error number, and what its errors mean here.

The numbers are those of the ASCOM Alpaca API reference, section "Alpaca error numbers". No Twisted here.
"""

from __future__ import annotations

import codecs
import math
from typing import Any, TypeVar

import msgspec

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError
from pyros.prepared import prepared

T = TypeVar("T")

NOT_IMPLEMENTED = 0x400
NOT_CONNECTED = 0x407
"""The server is there and its device isn't, or nobody has told it to connect."""

_REFUSALS = {
    NOT_IMPLEMENTED: "UNSUPPORTED",
    0x401: "VALUE",  # invalid value
    0x402: "VALUE",  # a value that must be set first
    NOT_CONNECTED: "STATE",
    0x408: "STATE",  # parked
    0x409: "STATE",  # slaved
    0x40B: "STATE",  # invalid operation
    0x40C: "UNSUPPORTED",  # action not implemented
    0x40D: "STATE",  # not there now (ASCOM: not in the cache)
}
_CANCELLED = 0x40E
_MAX_TEXT_CHARACTERS = 300
"""Letters of a device's words that are kept."""


class PropertyAbsent(DeviceRefused):
    """The device has no such property or method (0x400), which is not the same as a sensor that is out of order."""


class Reply(msgspec.Struct, rename="lower"):
    """The JSON of an answer, as far as it matters; a device may add what it likes.

    Its names are Value, ErrorNumber and ErrorMessage, but some write ``errorNumber``: an error is one all the same.
    """

    Value: Any = None
    ErrorNumber: int = 0
    ErrorMessage: str | None = None


_decoder = msgspec.json.Decoder(dict[str, Any])


def value_of(body: bytes, what: str) -> Any:
    """Return the value in an answer.

    ``what`` names device and request in the errors. Raises DeviceRefused, DeviceFailed or CommandAborted.
    """
    try:
        said = _decoder.decode(body.removeprefix(codecs.BOM_UTF8))
        reply = msgspec.convert({name.lower(): value for name, value in said.items()}, prepared(Reply))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeviceFailed(f"{what}: answered {in_words(body)!r}: {error}") from None
    if reply.ErrorNumber:
        raise error_of(reply.ErrorNumber, reply.ErrorMessage or "", what)
    return reply.Value


def typed(value: Any, type_: type[T], what: str) -> T:
    """Convert a value to this type. Raises DeviceFailed for any other, and for numbers that are not finite."""
    try:
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError("not finite")
            if type_ is int and value.is_integer():  # some devices write 3.0
                value = int(value)
        return msgspec.convert(value, prepared(type_))
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise DeviceFailed(f"{what}: answered {in_words(repr(value))}: {error}") from None


def error_of(number: int, text: str, what: str) -> InstrumentError:
    """Return the error for an error number; those of drivers (0x500 to 0xFFF) and unknown ones are device failures."""
    text = in_words(text) or "it gave no reason"
    if number == NOT_IMPLEMENTED:
        return PropertyAbsent("UNSUPPORTED", f"{what}: {text} (error 0x{number:X})")
    if number in _REFUSALS:
        return DeviceRefused(_REFUSALS[number], f"{what}: {text} (error 0x{number:X})")
    if number == _CANCELLED:
        return CommandAborted(f"{what}: {text} (error 0x{number:X})")
    return DeviceFailed(f"{what}: {text} (error 0x{number & 0xFFFFFFFF:X})")


def http_error_of(status: int, body: bytes, what: str) -> InstrumentError:
    """Return the error for an HTTP status other than 200.

    Alpaca has 400 for a request that makes no sense to the server, and 500 for a server that failed; servers also
    have 404 for a device or method that they don't know. Their bodies are text for people.
    """
    text = f"{what}: HTTP {status}: {in_words(body) or 'no reason given'}"
    if status == 404:
        return DeviceRefused("UNSUPPORTED", text)
    if 400 <= status < 500:
        return DeviceRefused("VALUE", text)
    return DeviceFailed(text)


def in_words(text: bytes | str) -> str:
    """Put a device's words on one line, without what doesn't print, and not too many."""
    if isinstance(text, bytes):
        text = text[: 4 * _MAX_TEXT_CHARACTERS].decode(errors="replace")
    text = " ".join(
        "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MAX_TEXT_CHARACTERS]).split()
    )
    return text if len(text) <= _MAX_TEXT_CHARACTERS else f"{text[:_MAX_TEXT_CHARACTERS]}..."
