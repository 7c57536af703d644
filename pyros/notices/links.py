"""Signed words by which a person acknowledges a notice: in a message's link, or on the command line.

A token is ``NUMBER-SINCE.EXPIRES.SIGNATURE``: the cause's number and when it began, and until when it holds (both Unix
seconds). It is signed with the observatory's key, so that the console verifies it without asking anybody.
"""

from __future__ import annotations

import re

from pyros import keys
from pyros.errors import PyrosError

LINK_SECONDS = 7 * 86_400.0
"""How long a link holds."""
PAGE = "/acknowledge/"
"""Where the console serves links, followed by the token."""
_TOKEN = re.compile(r"(\d{1,15}-\d{1,12})\.(\d{1,12})\.([0-9a-f]{64})")
_PURPOSE = "acknowledge"


def make_token(key: bytes, cause: str, now: float) -> str:
    """Return the token of a cause (``NUMBER-SINCE``), which holds from ``now`` (Unix seconds) for `LINK_SECONDS`."""
    expires = int(now + LINK_SECONDS)
    return f"{cause}.{expires}.{keys.sign(key, _PURPOSE, cause, expires)}"


def read_token(key: bytes, token: str, now: float) -> str:
    """Return the cause that a token names; raises PyrosError, in words for the person who followed the link.

    ``now`` is Unix seconds. Any thread.
    """
    match = _TOKEN.fullmatch(token.strip()) if len(token) < 200 else None
    if match is None or not keys.is_signed(match[3], key, _PURPOSE, match[1], int(match[2])):
        raise PyrosError("this link is not one of this observatory's: copy it as a whole from the message")
    if now > int(match[2]):
        raise PyrosError("this link has ended; pyros notify list tells what lasts")
    return match[1]
