"""The LX200 language as a client speaks it: commands out, answers in. No input and output here.

There is no mark that tells which answer belongs to which command, and each command has its own kind of answer: none, a
byte, or text up to ``#``. So one command is under way at a time, and an answer that doesn't fit ends the connection.
Source: Meade Telescope Serial DeviceCommand Protocol, revision 2010.10.
"""

from __future__ import annotations

import re
from enum import Enum

from pyros.errors import WireError

MAX_ANSWER_BYTES = 128
"""Bytes; the longest answer of the protocol has about 60."""

_ANGLE = re.compile(
    r"([+-]?)([0-9]{1,3})[^0-9.+-]+([0-9]{1,2})(?:\.([0-9]))?(?:[^0-9.+-]+([0-9]{1,2}(?:\.[0-9]+)?))?\W?"
)


class AnswerKind(Enum):
    """What a command is answered with."""

    NOTHING = "nothing"
    BYTE = "a byte"
    """1 for taken, 0 for not taken."""
    TEXT = "text up to #"
    SLEW = "0, or a digit and perhaps a text up to #"
    """0 for a slew that has begun; the text of a refusal doesn't come from all mounts."""


class AnswerReader:
    """Reads one answer, however the network cuts it."""

    def __init__(self, answer: AnswerKind) -> None:
        self._answer = answer
        self._text = bytearray()
        self._digit = b""

    @property
    def partial(self) -> str:
        """What has come: good enough where the rest stays out, as the text of a refusal may."""
        return (self._digit + bytes(self._text)).decode("latin-1")

    @property
    def refused(self) -> bool:
        """Whether a slew's digit has come, and says no."""
        return bool(self._digit)

    def feed(self, data: bytes) -> tuple[str, bytes] | None:
        """Return the answer without its ``#``, and what came after it; None while incomplete. Raises WireError."""
        if not data:
            return None
        if self._answer is AnswerKind.BYTE:
            return self._byte(data[:1], b"01"), data[1:]
        if self._answer is AnswerKind.SLEW and not self._digit:
            digit = self._byte(data[:1], b"0123456789")
            if digit == "0":
                return digit, data[1:]
            self._digit, data = data[:1], data[1:]
        text, end, rest = data.partition(b"#")
        self._text += text[: MAX_ANSWER_BYTES + 1]
        if len(self._text) > MAX_ANSWER_BYTES:
            raise WireError(f"more than {MAX_ANSWER_BYTES} bytes without #")
        return (self.partial, rest) if end else None

    def _byte(self, byte: bytes, allowed: bytes) -> str:
        if byte not in allowed:
            raise WireError(f"{byte!r} where one of {allowed.decode()} was due")
        return byte.decode()


def angle(text: str) -> tuple[float, float] | None:
    """Read an angle as mounts write it: its value in its own unit (degrees or hours), and the step of its last digit.

    ``+12*34'56``, ``12:34:56.7``, ``+12\\xdf34``, ``12:34.5``; None for anything else.
    """
    match = _ANGLE.fullmatch(text.strip())
    if match is None:
        return None
    sign, whole, minutes, tenth, seconds = match.groups()
    if int(minutes) > 59 or (seconds and (float(seconds) >= 60 or tenth)):
        return None
    value = int(whole) + int(minutes) / 60 + int(tenth or 0) / 600 + float(seconds or 0) / 3600
    step = 1 / 3600 if seconds else (1 / 600 if tenth else 1 / 60)
    return (-value if sign == "-" else value), step


def ra_command(degrees: float, precise: bool) -> str:
    """``SrHH:MM:SS``, or ``SrHH:MM.T`` for a mount that is in low precision."""
    if precise:
        total = round(degrees / 15 * 3600) % 86400
        return f"Sr{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}"
    total = round(degrees / 15 * 600) % 14400
    return f"Sr{total // 600:02d}:{total // 10 % 60:02d}.{total % 10}"


def dec_command(degrees: float, precise: bool) -> str:
    """``SdsDD*MM:SS``, or ``SdsDD*MM``."""
    sign = "-" if degrees < 0 else "+"
    if precise:
        total = round(abs(degrees) * 3600)
        return f"Sd{sign}{total // 3600:02d}*{total // 60 % 60:02d}:{total % 60:02d}"
    total = round(abs(degrees) * 60)
    return f"Sd{sign}{total // 60:02d}*{total % 60:02d}"
