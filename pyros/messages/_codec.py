"""Names and their payload types; payloads as JSON; a message as a handler sees it."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from pyros.prepared import prepared

PAYLOADS: dict[str, type[msgspec.Struct]] = {}
"""What the messages of each registered name carry."""

GUARDED: set[str] = set()
"""The names that move a device, end an agent or say that it is safe, and what agents say to themselves: taken only
from who has proved the observatory's key."""

FLEETING: set[str] = set()
"""The names of what is said again soon, and means nothing when it is old: readings, telemetry, leases. Such a message
is dropped where its receiver is away or behind, and no journal keeps it; decision 0065."""

_decoders: dict[str, msgspec.json.Decoder[Any]] = {}
_any_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


BULK: set[str] = set()
"""Names of what is large and may come later: whatever else its sender says may overtake it, and its own order stays;
decision 0098."""

PATIENT: dict[str, float] = {}
"""For how many seconds the receiver of a report may wait for more before its turn: of what nobody acts on at once, so
that what is urgent has the disk to itself (decision 0110), and of what is said every few seconds (decision 0130)."""


def register(
    name: str,
    payload: type[msgspec.Struct],
    *,
    guarded: bool = False,
    fleeting: bool = False,
    bulk: bool = False,
    patient: float = 0.0,
) -> str:
    """Give the messages of that name a payload type, so that a wrong payload is refused where it arrives.

    ``guarded``: it moves a device or says that it is safe (see `GUARDED`). ``fleeting``: it is said again soon (see
    `FLEETING`). ``bulk``: others may overtake it (see `BULK`). ``patient``: for how many seconds its receiver may wait
    for others before it begins a turn (see `PATIENT`). Returns the name, for the constant it gets; raises ValueError
    when the name has another type already.
    """
    if guarded:
        GUARDED.add(name)
    if fleeting:
        FLEETING.add(name)
    if bulk:
        BULK.add(name)
    if patient:
        PATIENT[name] = patient
    if PAYLOADS.get(name, payload) is not payload:
        raise ValueError(f"message {name!r} already carries {PAYLOADS[name].__name__}")
    PAYLOADS[name] = payload
    _decoders[name] = msgspec.json.Decoder(prepared(payload))
    return name


def guard(name: str, *, fleeting: bool = False, bulk: bool = False) -> str:
    """Take the messages of that name only from who has proved the key, as `register` does with ``guarded``.

    For what has no payload type: what an agent says to itself; ``fleeting`` and ``bulk`` as there. Returns the name.
    """
    GUARDED.add(name)
    if fleeting:
        FLEETING.add(name)
    if bulk:
        BULK.add(name)
    return name


def unproved(name: str) -> str:
    """Return why a message of that name is refused from a sender that has not proved the observatory's key."""
    return (
        f"{name!r} moves a device, ends an agent or says that it is safe: it is taken only from who proves the"
        " observatory's key; use `pyros send`, as a user who may read observatory.key in the data folder"
    )


def encode_payload(name: str, payload: Any = None) -> bytes:
    """Return the JSON object for a payload: None, a dict, or the name's own type.

    Raises ValueError when it does not fit the name, naming the field.
    """
    if payload is None:
        json = b"{}"
    elif isinstance(payload, (dict, msgspec.Struct)):
        try:
            json = _encoder.encode(payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"payload of {name!r} cannot be written as JSON: {error}") from None
    else:
        raise ValueError(f"payload of {name!r} must be a JSON object, not {type(payload).__name__}")
    type_ = PAYLOADS.get(name)
    if type_ is not None and not (isinstance(payload, type_) and type(payload) is type_):
        decode_payload(name, json)
    return json


def decode_payload(name: str, json: bytes) -> Any:
    """Decode a payload (to a dict for a name nobody registered); raises ValueError naming the field that is wrong."""
    try:
        return _decoders.get(name, _any_object).decode(json)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"payload of {name!r}: {error}") from None


class Message(msgspec.Struct, eq=False):
    """A named message as a handler sees it; its ``payload`` is decoded when it is first read."""

    id: str
    """Unique, of its sender's making."""
    name: str
    """What it says or asks, such as *Observe*."""
    sender: str
    """The agent or program that it came from."""
    sent: float
    """When, in Unix seconds of its sender's clock; for people."""
    json: bytes = b"{}"
    """The payload as it came."""
    said: float = -math.inf
    """When, in seconds of this agent's monotonic clock, from which leases and ages count; -inf: it cannot be known."""
    proved: bool = False
    """Whether the sender knows the observatory's key."""
    doubt: float = 0.0
    """How much later than ``said`` it may have been said, seconds: the clock of another computer is not quite known."""
    by_wall: float = math.inf
    """The same as ``said`` by both wall clocks, for what its sender has not sent before it died: a journal keeps no
    monotonic time. No lease counts from it, for these clocks may be set; inf: it isn't known either."""
    unreadable: bool = False
    """Whether its payload was found not to be what its name asks for."""
    _payload: Any = None

    @property
    def payload(self) -> Any:
        """The typed payload, or a dict for a name that has no type."""
        if self._payload is None:
            self._payload = decode_payload(self.name, self.json)
        return self._payload

    def was_said_before(self, instant: float) -> bool:
        """Tell whether it is older than an instant of the agent's monotonic clock; not where that cannot be known.

        The answer to a command that was given at that instant is not.
        """
        return (self.said + self.doubt if self.said > -math.inf else self.by_wall) < instant

    def check(self) -> None:
        """Decode a typed payload now.

        Raises ValueError naming the field that is wrong, and sets ``unreadable``: such a message is refused.
        """
        self.unreadable = True
        if self.name in PAYLOADS:
            self._payload = decode_payload(self.name, self.json)
        elif not self.json.startswith(b"{"):
            raise ValueError(f"payload of {self.name!r} must be a JSON object")
        else:
            try:
                str(self.json, "utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"payload of {self.name!r} is not valid UTF-8") from None
        self.unreadable = False

    def __repr__(self) -> str:
        return f"<Message {self.name!r} {self.id} from {self.sender}>"
