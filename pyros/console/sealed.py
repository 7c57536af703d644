"""Values that the console gives away and takes back: signed by its secret, for one purpose, for a time.

A sealed value can be read by who has it, but neither changed nor made; nothing that is secret goes in. It needs no
database: so a person's pass is known while that is locked.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

import msgspec

from pyros.clock import system_time
from pyros.keys import is_signed, sign
from pyros.prepared import prepared

_T = TypeVar("_T")
MAX_LENGTH = 2000
"""Characters of a sealed value that is looked at."""


class _Sealed(msgspec.Struct, array_like=True):
    expires: float
    value: msgspec.Raw


class Pass(msgspec.Struct, frozen=True):
    """What a signed-in browser shows while the database cannot be asked."""

    name: str
    """The person."""
    role: int
    """The person's role (`pyros.console.roles.Role`)."""
    made: float
    """When it was made, Unix seconds."""


class SignInLink(msgspec.Struct, frozen=True):
    """A link by which its holder signs in: made by who can read the console's secret."""

    name: str
    """The person, who is made where there is none of that name."""
    role: int
    """The role of the person that is made."""


class InvitationLink(msgspec.Struct, frozen=True):
    """A link by which an invited person chooses a name and a password."""

    id: int
    """The invitation's number: it is used once."""


class PasswordLink(msgspec.Struct, frozen=True):
    """A link by which a person chooses a new password: made by an admin for who has forgotten the old one."""

    name: str
    """The person."""
    mark: str
    """A keyed hash of the password that it replaces: when that has changed, the link is used up."""
    by: str
    """The admin."""


class Download(msgspec.Struct, frozen=True):
    """A link to a file that a job has left: whoever has the link may take the file."""

    queue: str
    """The queue."""
    job: str
    """The job's identifier."""
    name: str
    """The file's name in the job's outbox."""


def seal(secret: bytes, value: msgspec.Struct, seconds: float) -> str:
    """Return a value as text for URLs and cookies, which `unseal` takes for so many seconds.

    Its type is its purpose.
    """
    content = msgspec.json.encode(_Sealed(system_time() + seconds, msgspec.Raw(msgspec.json.encode(value))))
    text = urlsafe_b64encode(content).decode().rstrip("=")
    return f"{text}.{sign(secret, type(value).__name__, text)}"


def unseal(secret: bytes, kind: type[_T], text: str) -> _T | None:
    """Return the value of that type in a text that `seal` made; None for anything else, and when its time is over."""
    content, _, signature = text.partition(".")
    if len(text) > MAX_LENGTH or not is_signed(signature, secret, kind.__name__, content):
        return None
    try:
        sealed = msgspec.json.decode(urlsafe_b64decode(content + "=" * (-len(content) % 4)), type=prepared(_Sealed))
        value = msgspec.json.decode(sealed.value, type=prepared(kind))
    except (ValueError, msgspec.DecodeError):
        return None
    return value if system_time() < sealed.expires < math.inf else None
