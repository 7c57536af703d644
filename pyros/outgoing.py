"""Asks a web server one question, within bounds: for programs and worker processes, since it blocks. No Twisted."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping

from pyros.clock import Deadline

_PART = 4096


def get(url: str, *, seconds: float, largest: int, headers: Mapping[str, str] | None = None) -> bytes:
    """Return what a web address answers.

    ``seconds`` bounds each wait for the server, and the reading of its answer as a whole; who sends a byte now and then
    is left in time, and who sends more than ``largest`` bytes at once.

    Raises OSError whose text is for people, without a subject and without the address: TimeoutError when it is too
    slow.
    """
    deadline = Deadline(seconds)
    request = urllib.request.Request(url, headers={"User-Agent": "pyros"} | dict(headers or {}))
    content = b""
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            while part := response.read1(_PART):
                content += part
                if len(content) > largest:
                    break
                if deadline.left() <= 0:
                    raise TimeoutError
    except TimeoutError:
        raise _too_slow(seconds) from None
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        if isinstance(reason, TimeoutError):
            raise _too_slow(seconds) from None
        raise OSError(f"cannot be asked: {getattr(reason, 'strerror', None) or reason}") from None
    if len(content) > largest:
        raise OSError(f"answers more than {largest} bytes")
    return content


def _too_slow(seconds: float) -> TimeoutError:
    return TimeoutError(f"has not answered within {seconds:g} s")
