"""The INDI protocol 1.7 in bytes: what a server sends becomes values, and commands become bytes. Sans-IO.

INDI is an endless series of XML elements, without a declaration and without a root (J. Downey, INDI: Instrument-Neutral
Distributed Interface, protocol version 1.7, https://www.clearskyinstitute.com/INDI/INDI.pdf). A device has *vectors*
(numbers, switches, texts, lights, BLOBs) that it defines (``def``), changes (``set``) and takes back (``delProperty``);
a client asks for a change (``new``). expat does the parsing, inside a root of our own; everything has a limit.
"""

from __future__ import annotations

import binascii
import codecs
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pyros.errors import WireError
from pyros.printable import printable

State = Literal["Idle", "Ok", "Busy", "Alert"]
VectorType = Literal["Number", "Switch", "Text", "Light", "BLOB"]

TEXT_LIMIT = 1 << 16
"""Characters of one member's value, or of a message."""
MARKUP_LIMIT = 1 << 18
"""Characters between two things that mean something: a tag or a comment without end is not kept for ever."""
MEMBER_LIMIT = 1024
"""Members of one vector."""
ATTRIBUTE_LIMIT = 4096
"""Characters of one attribute."""
BLOB_LIMIT = 256 << 20
"""Bytes of one image, as it is sent and, later, unpacked."""
_PIECE_BYTES = 1 << 16
_NO_LETTERS = bytes({*range(32)} - set(b"\t\n\r"))
"""What XML 1.0 cannot hold, and drivers send all the same, when they tell what came over a serial line."""
DAMAGE_LIMIT = 16
"""Damaged elements without a whole one between them, after which the server counts as one that doesn't speak INDI."""
_REFERENCE = re.compile(r"&(?:amp|lt|gt|quot|apos);|&#(\d{1,7});|&#x([0-9A-Fa-f]{1,6});|&")
_OPEN_REFERENCE = re.compile(r"&#?\w{0,7}\Z")
_TOP_LEVEL = re.compile(r"(?:(?:def|set)(?:Number|Switch|Text|Light|BLOB)Vector|delProperty|message|pingRequest)\b")
_BEGIN = re.compile(f"<(?={_TOP_LEVEL.pattern})")
_VECTOR = re.compile(r"(def|set)(Number|Switch|Text|Light|BLOB)Vector")
_NUMPY = re.compile(r"(?:np|numpy)\.\w+\((.*)\)")
_SEXAGESIMAL = re.compile(r"([+-]?)(\d+(?:\.\d*)?)[:; ]+(\d+(?:\.\d*)?)(?:[:; ]+(\d+(?:\.\d*)?))?")


@dataclass(frozen=True, slots=True)
class Blob:
    """Binary data as they were sent, perhaps packed: ``format`` is like ``.fits`` or ``.fits.z``, or anything else."""

    data: bytes
    format: str


Value: TypeAlias = float | bool | str | Blob


@dataclass(frozen=True, slots=True)
class VectorMember:
    """One member of a vector. A number may be NaN; ``least`` and ``most`` are equal where it has no limits."""

    name: str
    value: Value
    label: str = ""
    least: float = 0.0
    most: float = 0.0
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector that a device defined (``new`` is True) or changed. ``timeout``: seconds that a change may take."""

    new: bool
    type: VectorType
    device: str
    name: str
    state: State | None
    members: tuple[VectorMember, ...]
    writable: bool = True
    label: str = ""
    timeout: float = 0.0
    message: str = ""
    stamp: float | None = None
    """When the server says that it was so, seconds since 1970; None where it doesn't."""
    rule: str = ""
    """How many of a switch vector's members may be on: OneOfMany, AtMostOne, AnyOfMany."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A device took back one of its vectors, or with '' all of them: it is gone."""

    device: str
    name: str


@dataclass(frozen=True, slots=True)
class IndiNote:
    """What a device, or with '' the server, says to people."""

    device: str
    text: str


@dataclass(frozen=True, slots=True)
class IndiPing:
    """The server wants to hear this back (libindi 2)."""

    uid: str


@dataclass(frozen=True, slots=True)
class IndiDamage:
    """An element that is not XML, or not INDI, and was left out: what was wrong with it."""

    problem: str


IndiEvent: TypeAlias = Vector | Deleted | IndiNote | IndiPing | IndiDamage


def number(text: str) -> float:
    """Read a number as INDI writes it, plain or sexagesimal; NaN for what is not a number.

    Drivers in Python send what str() and repr() make of numpy's numbers, ``np.float64(1.5)``, and are understood.
    """
    text = text.strip()
    if (numpy := _NUMPY.fullmatch(text)) is not None:
        text = numpy[1]
    if (parts := _SEXAGESIMAL.fullmatch(text)) is not None:
        size = float(parts[2]) + float(parts[3]) / 60 + float(parts[4] or 0) / 3600
        return -size if parts[1] == "-" else size
    try:
        return float(text)
    except ValueError:
        return math.nan


class _DamagedError(Exception):
    """An element is not INDI from that byte of the parser on."""

    def __init__(self, problem: str, place: int) -> None:
        super().__init__(problem)
        self.place = place


class IndiDecoder:
    """Bytes in, events out, however the bytes are cut. A WireError is for good: the connection is of no use then.

    An ``&`` that begins nothing is itself, as libindi's own parser (lilxml) takes it. An element that is not XML is
    left out, an `IndiDamage` in its place, and the next one is looked for by its name.
    """

    def __init__(self, blob_limit: int = BLOB_LIMIT) -> None:
        self._blob_limit = blob_limit
        # Drivers send what people typed, in whatever encoding: a wrong letter in a label is no reason to give up.
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._events: deque[IndiEvent] = deque()
        self._depth = 0
        self._silence = 0  # characters since expat last saw something that means something
        self._error: WireError | None = None
        self._tag = ""
        self._attributes: dict[str, str] = {}
        self._members: list[VectorMember] = []
        self._member: dict[str, str] = {}
        self._pieces: list[str] = []
        self._size = 0
        self._room = 0
        self._held = ""  # the beginning of a tag or a reference
        self._damaged = 0  # elements since the last whole one
        self._skips = False
        self._parser = self._new_parser()

    def _new_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = _PIECE_BYTES
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._forbidden
        parser.EntityDeclHandler = self._forbidden
        if hasattr(parser, "SetReparseDeferralEnabled"):  # expat 2.6 leaves a tag that came in two pieces for later
            parser.SetReparseDeferralEnabled(False)
        self._depth = 0
        parser.Parse("<indi>", False)
        self._before = len("<indi>")  # bytes that this parser was given, without the piece that it is at
        return parser

    @property
    def in_blob(self) -> bool:
        """Whether a BLOB has begun and not ended: a large image is on its way."""
        return self._depth == 3 and self._room > TEXT_LIMIT

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises WireError for what is not INDI, or too large."""
        if self._error is not None:
            raise self._error
        try:
            for begin in range(0, len(data), _PIECE_BYTES):
                text = self._text.decode(data[begin : begin + _PIECE_BYTES].translate(None, _NO_LETTERS))
                self._silence += len(text)
                self._parse(text)
                if self._silence > MARKUP_LIMIT:
                    raise WireError(f"markup of more than {MARKUP_LIMIT} characters")
        except WireError as error:
            self._error = error
        if self._error is not None:
            raise self._error from None

    def next(self) -> IndiEvent | None:
        """Return the next event, or None when more bytes are needed."""
        return self._events.popleft() if self._events else None

    def _parse(self, text: str) -> None:
        text, self._held = self._held + text, ""
        cut = text.rfind("<")
        if (cut < 0 or text.find(">", cut) >= 0) and (reference := _OPEN_REFERENCE.search(text)) is not None:
            cut = reference.start()
        if cut >= 0 and text.find(">", cut) < 0:
            text, self._held = text[:cut], text[cut:]  # the parser is given tags and references that are whole
        while text:
            if self._skips:
                begin = _BEGIN.search(text)
                if begin is None:
                    return
                text, self._skips = text[begin.start() :], False
            if "&" in text:
                text = _REFERENCE.sub(_well_formed, text)
            try:
                self._parser.Parse(text, False)
            except expat.ExpatError as error:
                text = self._after_damage(text, self._parser.ErrorByteIndex, expat.errors.messages[error.code])
            except _DamagedError as error:
                text = self._after_damage(text, error.place, str(error))
            else:
                self._before += len(text.encode())
                return

    def _after_damage(self, text: str, place: int, problem: str) -> str:
        """Leave the element out in which the parser stopped at that byte; return what comes after it."""
        problem = f"bad XML: {problem}"
        if self._depth > 1:
            problem += f" in {printable(self._tag[:40])} of {self._attributes.get('device', '')[:60]!r}"
        self._events.append(IndiDamage(problem))
        self._damaged += 1
        if self._damaged > DAMAGE_LIMIT:
            raise WireError(f"{problem}; {DAMAGE_LIMIT} elements before it were damaged, too")
        data = text.encode()
        rest = data[max(0, place - self._before) :]
        self._parser, self._skips = self._new_parser(), True
        return rest.decode(errors="ignore")

    def _damage(self, problem: str) -> _DamagedError:
        return _DamagedError(problem, self._parser.CurrentByteIndex)  # now: the parser goes on to the end of the piece

    # What expat calls.

    def _forbidden(self, *_: object) -> None:
        raise self._damage("a document type or an entity")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._silence = 0
        if self._depth > 1 and _TOP_LEVEL.fullmatch(tag):
            raise self._damage("no end")  # what begins here is whole
        self._depth += 1
        if any(len(value) > ATTRIBUTE_LIMIT for value in attributes.values()):
            raise WireError(f"an attribute of more than {ATTRIBUTE_LIMIT} characters")
        self._pieces, self._size, self._room = [], 0, TEXT_LIMIT
        if self._depth == 2:
            self._tag, self._attributes, self._members = tag, attributes, []
        elif self._depth == 3:
            if len(self._members) >= MEMBER_LIMIT:
                raise WireError(f"more than {MEMBER_LIMIT} members in one vector")
            self._member = attributes
            if tag == "oneBLOB":
                self._room = self._blob_limit * 4 // 3 + self._blob_limit // 32 + 4  # base64 in lines
        elif self._depth > 3:
            raise self._damage("elements deeper than INDI has them")

    def _characters(self, text: str) -> None:
        self._silence = 0
        if self._depth < 2:
            return
        self._size += len(text)
        if self._size > self._room:
            raise WireError(f"a value of more than {self._room} characters")
        self._pieces.append(text)

    def _end(self, tag: str) -> None:
        self._silence = 0
        if self._depth == 3:
            self._end_member(tag)
        elif self._depth == 2:
            self._end_element(tag)
        else:
            raise self._damage("an end tag without its beginning")
        self._depth -= 1
        self._pieces, self._size, self._room = [], 0, TEXT_LIMIT

    def _end_member(self, tag: str) -> None:
        match = _VECTOR.fullmatch(self._tag)
        name = self._member.get("name", "")
        if match is None or not name or tag not in (f"def{match[2]}", f"one{match[2]}"):
            return  # of an element that we don't know: later versions may have more of them
        if match[2] == "BLOB":
            value: Value = self._blob() if match[1] == "set" else Blob(b"", "")
        else:
            value = _value(match[2], "".join(self._pieces).strip())
        least, most = _limit(self._member.get("min", "0")), _limit(self._member.get("max", "0"))
        step = _limit(self._member.get("step", "0"))
        self._members.append(VectorMember(name, value, self._member.get("label", ""), least, most, step))

    def _blob(self) -> Blob:
        try:
            data = binascii.a2b_base64("".join(self._pieces))
        except (binascii.Error, ValueError) as error:
            raise WireError(f"a BLOB that is not base64: {error}") from None
        if len(data) > self._blob_limit:
            raise WireError(f"a BLOB of more than {self._blob_limit} bytes")
        return Blob(data, self._member.get("format", ""))

    def _end_element(self, tag: str) -> None:
        self._damaged = 0
        named = self._attributes.get
        device, name = named("device", ""), named("name", "")
        match = _VECTOR.fullmatch(tag)
        if match is not None and device and name:
            kind: VectorType = match[2]  # type: ignore[assignment]
            self._events.append(
                Vector(
                    new=match[1] == "def",
                    type=kind,
                    device=device,
                    name=name,
                    state=_state(named("state")),
                    members=tuple(self._members),
                    writable="w" in named("perm", "rw") and kind != "Light",
                    label=named("label", ""),
                    timeout=_seconds(named("timeout", "")),
                    message=named("message", ""),
                    rule=named("rule", ""),
                    stamp=_instant(named("timestamp", "")),
                )
            )
        elif tag == "delProperty" and device:
            self._events.append(Deleted(device, name))
        elif tag == "message" and named("message"):
            self._events.append(IndiNote(device, named("message", "")))
        elif tag == "pingRequest" and named("uid"):
            self._events.append(IndiPing(named("uid", "")))
        self._members = []


def _well_formed(reference: re.Match[str]) -> str:
    """Write a reference, or an ``&`` that is none, as XML has it; a reference to what XML cannot hold is left out."""
    if reference[0] == "&":
        return "&amp;"
    if reference[1] is None and reference[2] is None:
        return reference[0]
    code = int(reference[1] or reference[2], 10 if reference[1] else 16)
    held = code in {9, 10, 13} or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code <= 0x10FFFF
    return reference[0] if held else ""


def _state(text: str | None) -> State | None:
    return text if text in ("Idle", "Ok", "Busy", "Alert") else None  # type: ignore[return-value]


def _limit(text: str) -> float:
    limit = number(text)
    return limit if abs(limit) < 1e15 else 0.0


def _seconds(text: str) -> float:
    seconds = number(text)
    return seconds if 0 <= seconds < 86400 else 0.0


def _instant(text: str) -> float | None:
    """Seconds since 1970 of an instant as INDI writes it: ISO 8601, UTC where no zone is told."""
    try:
        instant = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _value(kind: str, text: str) -> Value:
    if kind == "Number":
        return number(text)
    return text == "On" if kind == "Switch" else text


# What a client says ------------------------------------------------------------------------------------------------


def get_properties(device: str = "", name: str = "") -> bytes:
    """Ask for the definitions of all vectors, of a device's, or of one."""
    which = f" device={quoteattr(device)}" * bool(device) + f" name={quoteattr(name)}" * bool(name)
    return f'<getProperties version="1.7"{which}/>\n'.encode()


def enable_blob(device: str, name: str) -> bytes:
    """Ask for the BLOBs of a vector: without this, none is ever sent."""
    return f"<enableBLOB device={quoteattr(device)} name={quoteattr(name)}>Also</enableBLOB>\n".encode()


def ping_reply(uid: str) -> bytes:
    """Write the answer to a Ping."""
    return f"<pingReply uid={quoteattr(uid)}/>\n".encode()


def new_vector(kind: VectorType, device: str, name: str, values: Mapping[str, float | bool | str]) -> bytes:
    """Ask a device to change a vector.

    Raises ValueError for a number that is none: drivers take NaN for whatever they like.
    """
    members = "".join(
        f"<one{kind} name={quoteattr(member)}>{_written(kind, value)}</one{kind}>" for member, value in values.items()
    )
    return f"<new{kind}Vector device={quoteattr(device)} name={quoteattr(name)}>{members}</new{kind}Vector>\n".encode()


def _written(kind: VectorType, value: float | bool | str) -> str:
    if kind == "Number":
        plain = float(value)  # a numpy number's repr is no number
        if not math.isfinite(plain):
            raise ValueError(f"{plain} is not a number that a device could take")
        return repr(plain)
    if kind == "Switch":
        return "On" if value else "Off"
    # What XML 1.0 cannot hold would end the driver's parser.
    return escape("".join(letter if letter.isprintable() else "?" for letter in str(value)))
