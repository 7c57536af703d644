"""A limit on attempts to sign in: so many in a time from one address, for one name, and for both."""

from __future__ import annotations

import threading
from collections import OrderedDict

from pyros.clock import steady_seconds

_LIMITS = {"both": (5, 300.0), "address": (20, 300.0), "name": (50, 3600.0)}
"""How many failures in how many seconds are too many."""
_MAX_KEPT = 10_000


class Attempts:
    """Failures to sign in, in memory. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def wait(self, name: str, address: str) -> float:
        """Return for how many seconds nobody of that name may try from that address; 0 for now."""
        with self._lock:
            return max(self._wait(key) for key in _keys(name, address))

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            for key in _keys(name, address):
                failures = self._failures.setdefault(key, [])
                failures.append(steady_seconds())
                del failures[: -_LIMITS[key[0]][0]]
                self._failures.move_to_end(key)
            while len(self._failures) > _MAX_KEPT:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of that name from that address."""
        with self._lock:
            self._failures.pop(("both", f"{name} {address}"), None)

    def _wait(self, key: tuple[str, str]) -> float:
        count, seconds = _LIMITS[key[0]]
        failures = self._failures.get(key, [])
        return max(0.0, failures[0] + seconds - steady_seconds()) if len(failures) >= count else 0.0


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("both", f"{name} {address}"), ("address", address), ("name", name)
