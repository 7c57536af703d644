"""The language of Meade's LX200 as a mount speaks it: bytes in, commands out; angles to text and back.

A command is ``:`` letters, an argument, ``#``; the byte 0x06 by itself asks how the mount is aligned. Answers end with
``#``, except the single digits 0 and 1 that answer to what was set. Source: Meade Telescope Serial Command Protocol,
revision 2010.10.

No input and output here: any thread may use a parser, one at a time.
"""

from __future__ import annotations

import re

ALIGNMENT_QUERY = "\x06"
MAX_COMMAND = 64
"""Bytes between ``:`` and ``#``; the longest command of the protocol has about 25."""

_ACK, _BEGIN, _END = 0x06, ord(":"), ord("#")
# Minutes with a tenth, or seconds with or without a fraction; clients write any sign between the numbers.
_SEXAGESIMAL = re.compile(
    r" *([+-]?)([0-9]{1,3})(?:[*:°\xdf ]([0-9]{1,2})(?:\.([0-9])|[':]([0-9]{1,2}(?:\.[0-9]{1,4})?))?)?['\" ]*"
)


class CommandParser:
    """Cuts a stream of bytes into commands, however the network cut it; what is between them is passed over."""

    def __init__(self) -> None:
        self.pending: bytearray | None = None
        self._lost = False  # in a command that is too long

    def feed(self, data: bytes) -> list[str]:
        """Return the commands that are complete now, without ``:`` and ``#``; `ALIGNMENT_QUERY` for that byte."""
        commands = []
        for byte in data:
            if self.pending is None:
                if byte == _BEGIN:
                    self.pending, self._lost = bytearray(), False
                elif byte == _ACK:
                    commands.append(ALIGNMENT_QUERY)
            elif byte == _END:
                if not self._lost:
                    commands.append(self.pending.decode("latin-1"))
                self.pending = None
            elif len(self.pending) == MAX_COMMAND:
                self._lost = True
            else:
                self.pending.append(byte)
        return commands


def sexagesimal(text: str) -> float | None:
    """Read the degrees (or hours) of ``+12*34:56``, ``-12*34``, ``12:34.5`` or ``12:34:56``; None for anything else."""
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, minutes, tenth, seconds = match.groups()
    value = int(minutes or 0) + (int(tenth) / 10 if tenth else 0)
    if value >= 60 or float(seconds or 0) >= 60:
        return None
    value = int(whole) + value / 60 + float(seconds or 0) / 3600
    return -value if sign == "-" else value


def hours(degrees: float, precise: bool) -> str:
    """Return a right ascension as HH:MM:SS, or HH:MM.T."""
    if precise:
        total = round(degrees % 360 / 15 * 3600) % 86400
        return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}"
    total = round(degrees % 360 / 15 * 600) % 14400
    return f"{total // 600:02d}:{total // 10 % 60:02d}.{total % 10}"


def degrees(angle: float, precise: bool, digits: int = 2, signed: bool = True) -> str:
    """Return an angle as sDD*MM'SS, or sDD*MM; ``digits`` of the degrees."""
    sign = ("-" if angle < 0 else "+") if signed else ""
    if precise:
        total = round(abs(angle) * 3600)
        return f"{sign}{total // 3600:0{digits}d}*{total // 60 % 60:02d}'{total % 60:02d}"
    total = round(abs(angle) * 60)
    return f"{sign}{total // 60:0{digits}d}*{total % 60:02d}"
