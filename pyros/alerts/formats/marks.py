"""The words and marks by which packets of any form say that they are a test, or that they take something back.

Authors agree on neither: an ``alert_tense``, a type of notice, a mark (``is_test``, ``Test_Notice``), a topic. They are
looked for wherever a packet says what it is, so that no test moves a telescope because its author chose another word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import lru_cache

from pyros.alerts.formats import values

_TEST_WORDS = frozenset(
    {
        *("test", "tests", "testing", "mock", "mocks", "mdc", "playground", "dev", "fake"),
        *("injection", "injections", "injected", "drill", "drills"),
        *("firedrill", "firedrills"),  # SNEWS's (https://snews-publishing-tools.readthedocs.io)
        *("simulated", "simulation", "simulations", "elasticc", "elasticc2"),  # Rubin's for brokers, and DESC's
    }
)
_WITHDRAWALS = frozenset(
    {
        *("retract", "retracts", "retracted", "retraction", "retractions"),
        *("withdrawn", "withdrawal", "cancelled", "canceled", "cancellation"),
    }
)
_NOUNS = ("", "event", "alert", "notice", "submission", "flag")
_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")
_LONGEST = 500

TEST = frozenset(
    f"{be}{gap if be else ''}{word}{gap if noun else ''}{noun}"
    for be in ("", "is")
    for word in _TEST_WORDS
    for noun in _NOUNS
    for gap in ("", "_")
) | {"internaltest", "hardwareinj"}
"""Names, lower case, of what says ``true`` in a test: ``test``, ``is_mock``, ``Test_Notice``."""
RETRACTION = frozenset(
    f"{be}{word}{flag}" for be in ("", "is", "is_") for word in _WITHDRAWALS for flag in ("", "flag")
)
"""Names, lower case, of what says ``true`` in a retraction."""


def says_test(*texts: str) -> bool:
    """Tell whether one of the texts, in which a packet says what it is, has a word for a test."""
    return any(not _TEST_WORDS.isdisjoint(_words(text[:_LONGEST])) for text in texts if text)


def says_retraction(*texts: str) -> bool:
    """Tell whether one of the texts, in which a packet says what it is, has a word for taking something back."""
    return any(not _WITHDRAWALS.isdisjoint(_words(text[:_LONGEST])) for text in texts if text)


def is_marked(names: Set[str], *places: Mapping[str, object]) -> bool:
    """Tell whether a field of a name in `TEST` or `RETRACTION` is true in one of a packet's objects."""
    return any(field.lower() in names and values.truth(value) for place in places for field, value in place.items())


@lru_cache(maxsize=512)
def _words(text: str) -> frozenset[str]:
    return frozenset(_BETWEEN_WORDS.sub(" ", text).lower().split())
