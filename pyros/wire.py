"""The codec of the wire between agents: bytes in, events out; it owns no socket and no clock.

One port serves two kinds of client, told apart by the first byte (a frame's length begins with 0 or 1):

* text: ``Observation finished\\n``, or ``name<TAB>{json object}\\n``; answered ``OK <id>\\n`` or ``ERR <reason>\\n``;
* frames: a 4-byte big-endian length (as in VTP, IVOA Note VOEvent Transport Protocol 2.0), then one JSON object::

    {"hello": {"protocol": 1, "from": "alert_manager", "to": "scheduler", "epoch": "<journal id>", "nonce": "..."}}
    {"challenge": {"nonce": "..."}}   {"proof": {"now": 4711.5, "mac": "..."}}     see pyros.sender.handshake
    {"welcome": {"last_seq": 1041, "mac": "..."}}
    {"messages": [{"seq": 1042, "id": "...", "name": "...", "sent": 1.7e9, "payload": {...}}, ...]}
                                                                   after: only where numbers before these are gone
    {"fleeting": [{"id": "...", "name": "...", "sent": 1.7e9, "payload": {...}}, ...]}      without numbers and answers
    {"ack": 1042, "refused": [{"seq": 1042, "reason": "..."}]}     refused: only where something was
    {"alive": 51234}                                               bytes that have come: see pyros.sender.liveness
    {"query": "status"}   {"status": {...}}                        needs no hello
    {"error": "..."}                                               then the connection is closed

Numbers count from 1 for each sender and receiver. The receiver acknowledges the highest number it has committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from pyros.errors import WireError
from pyros.prepared import prepared

PROTOCOL = 1
MAX_FRAME = 16 * 1024 * 1024
MAX_LINE = 64 * 1024
NAME_LIMIT = 200
MAX_MESSAGES = 4096
"""In one frame; so that the answer fits a frame even when every one of them is refused."""

_HEADER = 4
_FIRST_TEXT_BYTE = 0x02  # a length within MAX_FRAME begins with 0x00 or 0x01
_COMPACT = 256 * 1024

# Bounded where they come in: a number must fit the journal's INTEGER, and what is kept or repeated must be short.
Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
LastSeq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Short = Annotated[str, msgspec.Meta(max_length=200)]


class Entry(msgspec.Struct, gc=False):
    """One message on the wire; ``payload`` is raw JSON until somebody needs it."""

    seq: Seq
    """Number of the message among those of its sender for its receiver."""
    id: Short
    """Id of the message, unique."""
    name: Short
    """Name of the message."""
    sent: float
    """When it was said, Unix seconds of the sender's wall clock: for people."""
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    """Raw JSON."""
    said: float | None = None
    """The same, monotonic seconds of the sender's computer; None when it waited through a restart of its sender."""

    @property
    def size(self) -> int:
        """Bytes of the payload (without making a copy, as ``bytes(payload)`` does)."""
        return memoryview(self.payload).nbytes


def size_of(entries: Iterable[Entry]) -> int:
    """Return the bytes of the payloads together: `Entry.size` of each, at half its price."""
    return sum([memoryview(entry.payload).nbytes for entry in entries])


class FleetingEntry(msgspec.Struct, gc=False):
    """One fleeting message on the wire: it has no number, gets no acknowledgement, and never comes again."""

    id: Short
    name: Short
    sent: float
    """When it was said, Unix seconds of the sender's wall clock: for people."""
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    said: float | None = None
    """The same, monotonic seconds of the sender's computer."""


class Hello(msgspec.Struct, omit_defaults=True):
    """Who connects, to whom, and which journal its numbers count."""

    protocol: int
    """Version of the protocol."""
    sender: str = msgspec.field(name="from")
    """The agent that connects."""
    to: str
    """The agent that it looks for."""
    epoch: str
    """Id of the journal that counts the sender's numbers."""
    nonce: Short = ""
    """A word that is used once, from a sender that can prove the observatory's key; '' from one that cannot."""
    boot: Short = ""
    """Which start of which computer the sender's monotonic clock counts from; '' when that is unknown."""
    run: Short = ""
    """Which start of which process connects: a second connection of the same one replaces its first. '' for others."""
    alive: bool = False
    """Whether the sender says that it is alive, and takes such frames."""
    seldom: bool = False
    """Whether a sign of life counts for a while for it, on one computer: see pyros.sender.liveness."""


class Challenge(msgspec.Struct):
    """To a sender: prove that you know the key, now."""

    nonce: Short
    """A word that is used once."""


class Proof(msgspec.Struct):
    """A sender's answer to a Challenge."""

    now: float
    """Its monotonic clock (seconds) when it answered."""
    mac: Short
    """HMAC-SHA256, hexadecimal, by the observatory's key, over what was said up to here."""


class Welcome(msgspec.Struct, omit_defaults=True):
    """The end of the handshake: the last number committed from that sender's journal."""

    last_seq: LastSeq
    """The last number that was committed from that journal."""
    mac: Short = ""
    """The receiver's own proof of the key; '' for a sender that has not proved it."""
    fleeting: bool = False
    """Whether the receiver takes fleeting messages without numbers, as it does since PYROS knows them."""
    alive: bool = False
    """Whether the receiver answers signs of life, as it does for a sender that has said so in its hello."""
    lanes: bool = False
    """Whether the receiver takes a second connection of the sender, for its bulk: see pyros.sender.lanes."""
    local: bool = False
    """Whether both are on one computer, so that silence on their connection is no sign of death."""


class Refusal(msgspec.Struct):
    """A message that was not accepted; it is acknowledged like the others, and the sender keeps it."""

    seq: Seq
    """Number of the message."""
    reason: str
    """Why, for people."""


class Frame(msgspec.Struct, omit_defaults=True):
    """Exactly one of these is set (``refused`` comes with ``ack``, ``after`` with ``messages``)."""

    hello: Hello | None = None
    challenge: Challenge | None = None
    proof: Proof | None = None
    welcome: Welcome | None = None
    messages: Annotated[list[Entry], msgspec.Meta(max_length=MAX_MESSAGES)] | None = None
    after: LastSeq | None = None
    """The number before that of the first message, where the sender has forgotten what had it: it was acknowledged once
    by a receiver that has forgotten that itself."""
    fleeting: Annotated[list[FleetingEntry], msgspec.Meta(max_length=MAX_MESSAGES)] | None = None
    alive: LastSeq | None = None
    """A sign of life: how many bytes of this connection have come so far."""
    ack: LastSeq | None = None
    refused: list[Refusal] | None = None
    query: str | None = None
    status: dict[str, Any] | None = None
    error: str | None = None


class TextLine(msgspec.Struct):
    """One line of a text client, without its end."""

    text: bytes
    """The line, UTF-8."""


_encoder = msgspec.json.Encoder()
_frame_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(prepared(Frame))


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of one frame; raises WireError when it would exceed 16 MiB."""
    buffer = bytearray(_HEADER)
    _encoder.encode_into(frame, buffer, _HEADER)
    length = len(buffer) - _HEADER
    if length > MAX_FRAME:
        raise WireError(f"frame of {length} bytes; the limit is {MAX_FRAME}")
    buffer[:_HEADER] = length.to_bytes(_HEADER, "big")
    return bytes(buffer)


def decode_frame(body: bytes) -> Frame:
    """One frame's JSON; raises WireError naming what is wrong."""
    try:
        return _frame_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"bad frame: {error}") from None


def parse_line(line: bytes) -> tuple[str, bytes]:
    """Parse a text client's line into (name, JSON payload); raises WireError saying what is wrong."""
    head, tab, tail = line.partition(b"\t")
    try:
        name = head.decode()
        tail.decode()
    except UnicodeDecodeError:
        raise WireError("the line is not valid UTF-8") from None
    name = name.strip()
    if not valid_name(name):
        raise WireError("a message's name has 1 to 200 printable characters")
    payload = tail.strip()
    if not tab or not payload:
        return name, b"{}"
    try:
        msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise WireError(f"after the tab a JSON object is expected: {error}") from None
    return name, payload


@lru_cache(maxsize=1000)
def valid_name(name: str) -> bool:
    """Whether this can be a message's name: 1 to 200 printable characters, no blank at either end."""
    return 0 < len(name) <= NAME_LIMIT and name.isprintable() and name.strip() == name


class Decoder:
    """Takes a connection's bytes in any cut and gives Frames and Lines.

    ``frames`` says what the connection carries: None until the first byte has told. The buffer never holds more than
    one frame (``limit`` bytes) or one line (64 KiB) besides the chunk that was just fed.
    """

    limit = MAX_FRAME
    """Bytes of a frame; a port may set less for what comes before a hello."""

    def __init__(self, frames: bool | None = None) -> None:
        self.frames = frames
        self._buffer = bytearray()
        self._start = 0

    def __len__(self) -> int:
        """How many bytes of an unfinished frame or line are held."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> list[Frame | TextLine]:
        """Take bytes; return what is complete. Raises WireError, after which the decoder must not be used again.

        Events that were complete before the bad bytes are lost with it: the connection is to be closed, and whatever
        was not acknowledged is sent again.
        """
        self.begin(data)
        self._buffer += data
        events: list[Frame | TextLine] = []
        (self._take_frames if self.frames else self._take_lines)(events)
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        elif self._start > _COMPACT:
            del self._buffer[: self._start]
            self._start = 0
        return events

    def begin(self, data: bytes) -> None:
        """Tell by the first byte whether the connection carries frames."""
        if self.frames is None and data:
            self.frames = data[0] < _FIRST_TEXT_BYTE

    def finish(self) -> list[Frame | TextLine]:
        """Read the rest once the peer has closed its sending side: a line needs no end; half a frame is an error."""
        rest = bytes(self._buffer[self._start :])
        self._buffer.clear()
        self._start = 0
        if self.frames and rest:
            raise WireError("the connection ended in the middle of a frame")
        return [TextLine(rest.rstrip(b"\r"))] if rest.strip() else []

    def _take_frames(self, events: list[Frame | TextLine]) -> None:
        buffer = self._buffer
        while len(buffer) - self._start >= _HEADER:
            begin = self._start + _HEADER
            length = int.from_bytes(buffer[self._start : begin], "big")
            if length > self.limit:
                raise WireError(self._in_words() or f"frame of {length} bytes; the limit is {self.limit}")
            if len(buffer) < begin + length:
                return
            frame = decode_frame(bytes(memoryview(buffer)[begin : begin + length]))
            events.append(frame)
            if frame.hello is not None:
                self.limit = MAX_FRAME
            self._start = begin + length

    def _in_words(self) -> str:
        """Raise a refusal in text as its reason: a port says in a line why it will not even listen to frames."""
        said = bytes(self._buffer[self._start : self._start + 200]).partition(b"\n")[0]
        return said.decode(errors="replace") if said.startswith(b"ERR ") else ""

    def _take_lines(self, events: list[Frame | TextLine]) -> None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._start)
            if end - self._start > MAX_LINE or (end < 0 and len(buffer) - self._start > MAX_LINE):
                raise WireError(f"line of more than {MAX_LINE} bytes")
            if end < 0:
                return
            events.append(TextLine(bytes(buffer[self._start : end]).rstrip(b"\r")))
            self._start = end + 1
