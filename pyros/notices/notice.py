"""What may be told, and what is kept of it."""

from __future__ import annotations

from typing import Literal

import msgspec

KINDS = ("alarm", "safety", "alert", "fault", "job", "progress", "report", "note")
"""What there is to be told of: an alarm, safe or unsafe, an alert that is to be observed, what failed, a job's end, how
far a job is, the night's report, and what an agent of one's own has to say."""
UNASKED = tuple(kind for kind in KINDS if kind != "progress")
"""What a rule for all is told: how far jobs are is for who names it."""
Kind = Literal["alarm", "safety", "alert", "fault", "job", "progress", "report", "note"]

MAX_TEXT = 2000
"""Characters of what a notice says; the rest is cut off."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person may want to know of: it has begun, or it is over."""

    kind: Kind
    """Its kind, one of `KINDS`."""
    source: str
    """The agent that it comes from, or is about."""
    key: str
    """What it is about, in words that never change while it lasts."""
    text: str = ""
    """A sentence for people."""
    critical: bool = False
    """Whether it must be told at once, whatever the hour."""
    over: bool = False
    """It is good again."""
    file: str = ""
    """Path of a text file that the message carries; '' for none."""

    @property
    def cause(self) -> str:
        """The name under which its beginning and its end are known."""
        return f"{self.kind} {self.source} {self.key}"


class Cause(msgspec.Struct, kw_only=True):
    """What was said of one thing, and who was told."""

    number: int
    """Its number, by which an acknowledgement names it; no other cause ever has it in this journal."""
    notice: Notice
    """What was said of it last."""
    since: float
    """When it began, Unix seconds."""
    count: int = 1
    """How often it was said."""
    over: float | None = None
    """When it was over, Unix seconds; None while it isn't."""
    told: dict[str, float] = {}
    """By rule: when its recipients were told last, Unix seconds."""
    doubtful: float | None = None
    """Since when its source has begun anew without saying it again, Unix seconds; None when it hasn't."""
    acknowledged: str = ""
    """Who has acknowledged it; '' for nobody."""


class HeldLine(msgspec.Struct, kw_only=True):
    """A line of a summary to come."""

    text: str
    """What it says."""
    since: float
    """When that was said first, Unix seconds."""
    count: int = 1
    """How often."""
    over: bool = False
    """Whether it is good again."""


class Held(msgspec.Struct, kw_only=True):
    """How much of one rule was sent lately, and what waits for a summary."""

    begun: float = 0.0
    """When the present span of its limit began, Unix seconds."""
    sent: int = 0
    """Messages that were sent within it."""
    lines: dict[str, HeldLine] = {}
    """What waits, by cause, the oldest first."""
    more: int = 0
    """How many further ones wait, of which only the number is kept."""


class Delivery(msgspec.Struct, kw_only=True):
    """One message to one recipient, until it has been taken there."""

    number: int
    """Its number; no other delivery ever has it in this journal."""
    recipient: str
    """Name of the recipient."""
    subject: str
    """Its first line."""
    body: str
    """The text."""
    made: float
    """When it was made, Unix seconds."""
    critical: bool = False
    """Whether it goes before the others."""
    file: str = ""
    """Path of a text file that it carries; '' for none."""
    trying: bool = False
    """An attempt has begun, and its end is not known."""
    attempts: int = 0
    """How many attempts have begun."""
    uncertain: int = 0
    """After how many of them nobody knew whether it was taken."""
    test: str = ""
    """The word of the test that it belongs to; '' for none."""


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a delivery."""

    number: int
    """The delivery's number."""
    recipient: str
    """Name of the recipient."""
    subject: str
    """Its first line."""
    time: float
    """When it ended, Unix seconds."""
    how: Literal["sent", "recorded", "given up"]
    """Whether it was sent; or, in a rehearsal, only recorded; or given up."""
    reason: str = ""
    """Why it was given up; '' where it was not."""
    test: str = ""
    """The word of the test that it belongs to; '' for none."""


class ChannelState(msgspec.Struct, kw_only=True):
    """How the way to a recipient is doing."""

    failures: int = 0
    """Attempts that have failed since the last one that has not."""
    again: float = 0.0
    """When the next attempt may begin, Unix seconds."""
    reason: str = ""
    """Why the last one failed; '' when it has not."""


class NoticeBook(msgspec.Struct, kw_only=True):
    """All that must survive a restart: the notifier's state."""

    causes: dict[str, Cause] = {}
    """What was said, by `Notice.cause`, the oldest first."""
    held: dict[str, Held] = {}
    """By rule, its ordinary notices; and by rule and ``!``, its critical ones."""
    waiting: list[Delivery] = []
    """Messages that were not taken yet, the oldest first."""
    ended: list[Delivered] = []
    """The last deliveries that ended, the oldest first."""
    channels: dict[str, ChannelState] = {}
    """By recipient."""
    number: int = 0
    """The last number that was given."""
