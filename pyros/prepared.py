"""Types that msgspec may decode to in several threads at once.

msgspec learns what a type of several fields looks like when it is used for the first time, and shows other threads what
it has learnt half (msgspec 0.22, `StructInfo_Convert`): the second thread of two that decode to a new type at the same
time ends the process with SIGSEGV, and without a word. So one thread at a time makes a type known, and nothing is
decoded to it before.
"""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

T = TypeVar("T")

_known: set[object] = set()
_learning = threading.RLock()


def prepared(kind: T) -> T:
    """Return a type that msgspec knows as a whole, with all that it is made of; any thread.

    Raises what ``msgspec.json.Decoder`` raises for a type that it cannot decode to.
    """
    if kind not in _known:
        with _learning:
            msgspec.json.Decoder(kind)
            _known.add(kind)
    return kind
