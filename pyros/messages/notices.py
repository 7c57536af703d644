"""What the notifier tells people of, besides what other agents say already."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class NightReported(Payload, frozen=True, kw_only=True):
    """majordome -> notifier: the report of a night is written. Guarded, for the file leaves the house."""

    night: str
    """The date of its evening at the site."""
    file: str
    """The report as Markdown."""


class NoteRaised(Payload, frozen=True, kw_only=True):
    """Any agent or program -> notifier: people shall know of this. The same ``key`` and text again say nothing new."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """What it is about, in a few words that never change."""
    text: _Text
    """A sentence for people."""
    critical: bool = False
    """Whether it passes quiet hours and limits."""


class NoteEnded(Payload, frozen=True, kw_only=True):
    """The one who raised a note -> notifier: it is good again."""

    key: str
    """What the note was about."""


class NoticeAcknowledged(Payload, frozen=True, kw_only=True):
    """A person -> notifier: they take care of it, and need not be told again until it is over."""

    cause: Annotated[str, msgspec.Meta(pattern=r"^\d{1,15}-\d{1,12}$")]
    """Its name, as in the signed link."""
    who: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """The person, as the console or the command line knows them."""


class NoticeTest(Payload, frozen=True, kw_only=True):
    """A person -> notifier: send a test message."""

    word: Annotated[str, msgspec.Meta(max_length=100)]
    """By which its deliveries are found again."""
    recipients: tuple[str, ...] = ()
    """Names of recipients; () for all."""


NIGHT_REPORTED = register("Night reported", NightReported, guarded=True)
NOTE = register("Notice", NoteRaised)
NOTE_OVER = register("Notice over", NoteEnded)
NOTICE_ACKNOWLEDGED = register("Notice acknowledged", NoticeAcknowledged, guarded=True)
NOTICE_TEST = register("Notice test", NoticeTest, guarded=True)
