"""What a client knows of one INDI device: its vectors as they were last heard, and what it has said. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from pyros.errors import WireError
from pyros.instruments.indi.codec import Blob, Deleted, IndiEvent, IndiNote, State, Vector, VectorMember, VectorType

VECTOR_LIMIT = 2048
"""Vectors of one device."""
MAX_NOTES = 64
"""How many of the device's last remarks are kept."""
MAX_STAMPS = 64
"""How many timestamps are kept."""
_SAME_MOMENT_SECONDS = 1.0  # seconds


@dataclass(slots=True)
class Property:
    """A vector of the device. ``serial`` grows with everything that is heard, and tells when this was last heard."""

    name: str
    type: VectorType
    state: State
    members: dict[str, VectorMember]
    writable: bool
    label: str
    timeout: float
    serial: int
    changed: int
    """The serial number of the last ``set`` of it, 0 for none yet: a definition repeats what was known."""
    heard: float
    """When that was, by the clock that doesn't run backwards."""
    rule: str
    measured: float = -math.inf
    """When values of it came last, by that clock; not when it only became Busy. -inf for never."""
    late: float = 0.0
    """Seconds for which those values had been so already, by the server's timestamps; 0 where it has none."""

    def number(self, member: str) -> float | None:
        """Return a member's value; None where there is no such number, or it is NaN or infinite."""
        value = self.members[member].value if member in self.members else None
        if isinstance(value, bool) or not isinstance(value, float) or not math.isfinite(value):
            return None
        return value

    def is_on(self, member: str) -> bool:
        return member in self.members and self.members[member].value is True

    def text(self, member: str) -> str:
        value = self.members[member].value if member in self.members else ""
        return value if isinstance(value, str) else ""

    def blob(self, member: str) -> Blob | None:
        value = self.members[member].value if member in self.members else None
        return value if isinstance(value, Blob) and value.data else None

    def forget(self) -> None:
        """Let go of images that were fetched."""
        for name, member in self.members.items():
            if isinstance(member.value, Blob):
                self.members[name] = replace(member, value=Blob(b"", ""))


@dataclass(frozen=True, slots=True)
class Remark:
    """What the device said to people, and when; libindi's drivers put ``[ERROR]`` or ``[WARNING]`` in front."""

    serial: int
    text: str
    heard: float = 0.0
    """When that was, by the clock that doesn't run backwards."""

    @property
    def complains(self) -> bool:
        return self.text.startswith(("[ERROR]", "[WARNING]"))

    @property
    def words(self) -> str:
        """Without the level in front."""
        text = self.text.partition("]")[2] if self.text.startswith("[") else self.text
        return " ".join(text.split())


class Properties:
    """The vectors of one device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.serial = 0
        self.remarks: deque[Remark] = deque(maxlen=MAX_NOTES)
        self._vectors: dict[str, Property] = {}
        self._ahead: deque[float] = deque(maxlen=MAX_STAMPS)
        """By how much the server's last timestamps are ahead of the clock that doesn't run backwards.

        The greatest is how its clock stands: an older timestamp is of something older. So neither our clock nor the
        server's need be right, and after a step of either it is known again after a while.
        """

    def get(self, name: str) -> Property | None:
        return self._vectors.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._vectors

    def at_rest(self, name: str) -> Property | None:
        """Return a vector, unless it is Busy, or isn't there."""
        vector = self._vectors.get(name)
        return vector if vector is not None and vector.state != "Busy" else None

    def number(self, name: str, member: str) -> float | None:
        vector = self._vectors.get(name)
        return None if vector is None else vector.number(member)

    def is_on(self, name: str, member: str) -> bool:
        vector = self._vectors.get(name)
        return vector is not None and vector.is_on(member)

    def text(self, name: str, member: str) -> str:
        vector = self._vectors.get(name)
        return "" if vector is None else vector.text(member)

    def complaint(self, since: int, *, any_level: bool = False) -> str:
        """Return what the device last complained of after that serial number; '' if nothing.

        With ``any_level`` what it last said, if it complained of nothing.
        """
        said = [remark for remark in reversed(self.remarks) if remark.serial > since]
        worth = [remark for remark in said if remark.complains] or (said if any_level else [])
        return worth[0].words if worth else ""

    def said_with(self, vector: Property) -> str:
        """Return what the device last said to people when it last changed a vector; '' if nothing."""
        said = [remark for remark in self.remarks if abs(remark.heard - vector.heard) <= _SAME_MOMENT_SECONDS]
        return said[-1].words if said else ""

    def apply(self, event: IndiEvent, now: float = 0.0) -> bool:
        """Take in what was heard now; whether it was about this device. Raises WireError for too many vectors."""
        if not isinstance(event, Vector | Deleted | IndiNote) or event.device != self.device:
            return False
        self.serial += 1
        if isinstance(event, IndiNote):
            self.remarks.append(Remark(self.serial, event.text, now))
        elif isinstance(event, Deleted):
            if event.name:
                self._vectors.pop(event.name, None)
            else:
                self._vectors.clear()
        else:
            if event.message:
                self.remarks.append(Remark(self.serial, event.message, now))
            if event.stamp is not None:
                self._ahead.append(event.stamp - now)
            self._define(event) if event.new else self._set(event, now)
        return True

    def _define(self, vector: Vector) -> None:
        if len(self._vectors) >= VECTOR_LIMIT and vector.name not in self._vectors:
            raise WireError(f"more than {VECTOR_LIMIT} vectors of one device")
        before = self._vectors.get(vector.name)
        members = {member.name: member for member in vector.members}
        if vector.type == "BLOB" and before is not None:
            members |= before.members  # a definition brings no image
        self._vectors[vector.name] = Property(
            vector.name, vector.type, vector.state or "Idle", members, vector.writable, vector.label, vector.timeout,
            self.serial, before.changed if before is not None else 0, before.heard if before is not None else 0.0,
            vector.rule, before.measured if before is not None else -math.inf,
            before.late if before is not None else 0.0,
        )  # fmt: skip

    def _set(self, vector: Vector, now: float) -> None:
        known = self._vectors.get(vector.name)
        if known is None or known.type != vector.type:
            return
        for member in vector.members:
            if (old := known.members.get(member.name)) is not None:
                limits = (member.least, member.most) if member.least < member.most else (old.least, old.most)
                known.members[member.name] = replace(old, value=member.value, least=limits[0], most=limits[1])
        known.state = vector.state or known.state
        known.timeout = vector.timeout or known.timeout
        known.serial = known.changed = self.serial
        known.heard = now
        if known.state != "Busy":  # libindi says so, with the old values, while it fetches new ones
            known.measured = now
            known.late = 0.0 if vector.stamp is None else max(self._ahead) - (vector.stamp - now)
