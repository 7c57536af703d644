"""Decides what is told, to whom and when: a state machine without time, threads and services of its own.

Its state is a `NoticeBook`, which the notifier's turns keep; whoever calls gives the time (Unix seconds). The same text
of one cause is told once until it changes or is over. A rule sends so many messages in a span of time; what is more,
and what comes in quiet hours, waits for one summary. What is critical passes both, up to `CRITICAL_AT_MOST`.

    Delivery   waiting -- begin --> trying -- end, sent -------------> ended
                  ^                   |------ end, not taken, later --> waiting (back-off, EXPIRES_SECONDS at most)
                  |                   `------ nobody knows, once -----> waiting, marked as perhaps a repeat
                  `-- (restart: recover)      nobody knows, twice ----> ended, given up
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pyros.notices import texts
from pyros.notices.links import make_token
from pyros.notices.notice import MAX_TEXT, Cause, ChannelState, Delivered, Delivery, Held, HeldLine, Notice, NoticeBook
from pyros.notices.rules import CRITICAL_AT_MOST, NoticeRule, NoticeRules
from pyros.printable import printable

MAX_CAUSES = 500
MAX_LINES = 50
"""Lines of a summary; of further ones only the number is told."""
MAX_WAITING = 300
"""Messages that may wait; then the oldest that isn't critical is given up."""
MAX_ENDED = 100
DOUBT_SECONDS = 120.0
"""A source that has begun anew says within this what still lasts; what it doesn't say by then is over."""
EXPIRES_SECONDS = 86_400.0
"""After which a message that no service has taken is given up."""
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 600.0
ALARM_FAILURES = 3
"""Failed attempts in a row after which a person is called by other ways."""

Outcome = Literal["sent", "recorded", "not taken", "unknown"]


class Desk:
    """The rules at work on a book."""

    def __init__(self, rules: NoticeRules, book: NoticeBook, observatory: str, key: bytes) -> None:
        """``observatory`` is its name, for subjects; ``key`` is the observatory's, which signs the links."""
        self.rules = rules
        self.book = book
        self._observatory = observatory
        self._key = key

    # What happens --------------------------------------------------------------------------------------------------

    def take(self, notice: Notice, now: float) -> None:
        """Take a notice: it may be told, wait for a summary, or say nothing new."""
        if notice.over:
            self._end(notice.cause, now)
            return
        known = self.book.causes.get(notice.cause)
        if known is not None and known.over is None:
            known.count += 1
            known.doubtful = None
            if known.notice.text == notice.text[:MAX_TEXT]:
                return
            known.notice = _cut(notice)
            if known.acknowledged:
                return
            cause = known
        else:
            self.book.causes.pop(notice.cause, None)
            self.book.number += 1
            cause = Cause(number=self.book.number, notice=_cut(notice), since=now)
            self.book.causes[notice.cause] = cause
            self._forget_causes()
        for rule, to in self._addressed(rule for rule in self.rules.rules if rule.takes(cause.notice)):
            self._tell(rule, to, cause, now)

    def source_begun(self, source: str, now: float) -> None:
        """Hear that an agent has begun anew: it says again within `DOUBT_SECONDS` which of its alarms last."""
        for cause in self.book.causes.values():
            if cause.notice.kind == "alarm" and cause.notice.source == source and cause.over is None:
                cause.doubtful = now if cause.doubtful is None else cause.doubtful

    def acknowledge(self, name: str, who: str) -> Cause | None:
        """Note who has taken care of a cause (``NUMBER-SINCE``): it is told again only when it is over.

        Returns the cause, None when it is not known any more.
        """
        for cause in self.book.causes.values():
            if cause_name(cause) == name:
                cause.acknowledged = cause.acknowledged or printable(who)[:100] or "somebody"
                return cause
        return None

    def test(self, recipients: Iterable[str], word: str, now: float) -> None:
        """Send each recipient a message that says that it is a test."""
        for name in recipients:
            if self.rules.recipient(name) is not None:
                subject = f"[{self._observatory}] test"
                self._add(name, subject, texts.TEST, now, critical=True, test=word)

    def tick(self, now: float) -> None:
        """Do what is due: summaries, reminders, and the end of what nobody says any more."""
        for name, cause in list(self.book.causes.items()):
            if cause.doubtful is not None and not 0 <= now - cause.doubtful < DOUBT_SECONDS:
                self._end(name, now)
        for rule in self.rules.rules:
            for critical in (True, False):
                held = self.book.held.get(_held_name(rule, critical))
                if held is not None and held.lines and self._open(rule, critical, held, now):
                    self._summarise(rule, critical, held, now)
        for cause in self.book.causes.values():
            for rule, to in self._addressed(self._to_remind(cause)):
                if not 0 <= now - cause.told[rule.name] < rule.remind:
                    self._tell(rule, to, cause, now, again=True)

    def next(self, now: float) -> float | None:
        """Return when `tick` has something to do, Unix seconds; None for never."""
        times = [cause.doubtful + DOUBT_SECONDS for cause in self.book.causes.values() if cause.doubtful is not None]
        for rule in self.rules.rules:
            for critical in (True, False):
                held = self.book.held.get(_held_name(rule, critical))
                if held is not None and held.lines:
                    quiet = not critical and self.rules.is_quiet(rule, now)
                    times.append(now + 60.0 if quiet else max(now, held.begun + _limit(rule, critical)[1]))
        for cause in self.book.causes.values():
            times += [cause.told[rule.name] + rule.remind for rule in self._to_remind(cause)]
        for channel in self.book.channels.values():
            if channel.again > now:
                times.append(channel.again)
        return min(times, default=None)

    # Deliveries ----------------------------------------------------------------------------------------------------

    def recover(self, now: float) -> None:
        """After a start: of what was being delivered nobody knows whether it was taken."""
        names = {rule.name for rule in self.rules.rules}
        for gone in [each for each in self.book.held if each.removesuffix("!") not in names]:
            del self.book.held[gone]
        for delivery in [each for each in self.book.waiting if each.trying]:
            delivery.trying = False
            self._note_unknown(delivery, "the notifier ended meanwhile", now)
        for delivery in list(self.book.waiting):
            if self.rules.recipient(delivery.recipient) is None:
                self._close(delivery, "given up", "the rules no longer have this recipient", now)

    def begin(self, now: float) -> list[Delivery]:
        """Mark as being tried, and return, the next delivery of each recipient that has none and need not wait."""
        begun: list[Delivery] = []
        busy = {each.recipient for each in self.book.waiting if each.trying}
        for delivery in sorted(self.book.waiting, key=lambda each: (not each.critical, each.number)):
            channel = self.book.channels.get(delivery.recipient)
            wait = channel.again - now if channel is not None else 0.0
            if delivery.recipient in busy or 0 < wait <= _LONGEST_PAUSE:
                continue
            busy.add(delivery.recipient)
            delivery.trying = True
            delivery.attempts += 1
            begun.append(delivery)
        return begun

    def end(self, number: int, attempt: int, outcome: Outcome, reason: str, now: float) -> ChannelState | None:
        """Take the end of an attempt; returns how its recipient's channel is now, None for an unknown attempt."""
        delivery = next((each for each in self.book.waiting if each.number == number), None)
        if delivery is None or not delivery.trying or delivery.attempts != attempt:
            return None
        delivery.trying = False
        channel = self.book.channels.setdefault(delivery.recipient, ChannelState())
        if outcome in ("sent", "recorded"):
            channel.failures, channel.again, channel.reason = 0, 0.0, ""
            self._close(delivery, outcome, "", now)
            return channel
        channel.failures += 1
        channel.again = now + min(_FIRST_PAUSE * 2.0 ** min(channel.failures - 1, 10), _LONGEST_PAUSE)
        channel.reason = printable(reason)[:300]
        if outcome == "unknown":
            self._note_unknown(delivery, reason, now)
        elif delivery.test:
            self._close(delivery, "given up", reason, now)  # somebody waits for the answer
        elif now - delivery.made > EXPIRES_SECONDS:
            self._close(delivery, "given up", f"not taken for a day: {reason}", now)
        return channel

    # ---------------------------------------------------------------------------------------------------------------

    def _note_unknown(self, delivery: Delivery, reason: str, now: float) -> None:
        """Allow what may have been taken one repeat."""
        delivery.uncertain += 1
        if delivery.uncertain > 1:
            self._close(delivery, "given up", f"tried twice, and nobody knows whether it was taken: {reason}", now)

    def _addressed(self, chosen: Iterable[NoticeRule]) -> list[tuple[NoticeRule, tuple[str, ...]]]:
        """Return rules, each with those of its recipients that no earlier one has."""
        found, told = [], set[str]()
        for rule in chosen:
            if to := tuple(name for name in rule.to if name not in told):
                told.update(to)
                found.append((rule, to))
        return found

    def _end(self, name: str, now: float) -> None:
        cause = self.book.causes.get(name)
        if cause is None or cause.over is not None:
            return
        cause.over, cause.doubtful = now, None
        for rule, to in self._addressed(rule for rule in self.rules.rules if rule.name in cause.told):
            held = self.book.held.get(_held_name(rule, self._critical(rule, cause)))
            if held is not None and name in held.lines:
                held.lines[name].over = True
            else:
                self._tell(rule, to, cause, now)

    def _critical(self, rule: NoticeRule, cause: Cause) -> bool:
        return cause.notice.critical if rule.critical is None else rule.critical

    def _to_remind(self, cause: Cause) -> list[NoticeRule]:
        if cause.over is not None or cause.acknowledged:
            return []
        return [
            rule for rule in self.rules.rules
            if rule.remind and rule.name in cause.told and self._critical(rule, cause)
        ]  # fmt: skip

    def _open(self, rule: NoticeRule, critical: bool, held: Held, now: float) -> bool:
        """Return whether a rule may send; begins a new span of its limit where the last one is over."""
        limit, per = _limit(rule, critical)
        if not critical and self.rules.is_quiet(rule, now):
            return False
        if not 0 <= now - held.begun < per:
            held.begun, held.sent = now, 0
        return held.sent < limit

    def _tell(self, rule: NoticeRule, to: tuple[str, ...], cause: Cause, now: float, *, again: bool = False) -> None:
        critical = self._critical(rule, cause)
        held = self.book.held.setdefault(_held_name(rule, critical), Held())
        cause.told[rule.name] = now
        may = self._open(rule, critical, held, now)
        if may and held.lines:
            self._summarise(rule, critical, held, now)
            may = held.sent < _limit(rule, critical)[0]
        if not may:
            self._hold(held, cause, now)
            return
        held.sent += 1
        subject = texts.subject(self._observatory, cause, again=again)
        link = ""
        if critical and cause.over is None:
            link = texts.acknowledging(self.rules.console, make_token(self._key, cause_name(cause), now))
        for name in to:
            self._add(name, subject, texts.body(cause, link, now), now, critical=critical, file=cause.notice.file)

    def _hold(self, held: Held, cause: Cause, now: float) -> None:
        name = cause.notice.cause
        if name in held.lines:
            line = held.lines[name]
            line.text, line.count, line.over = cause.notice.text, line.count + 1, cause.over is not None
        elif len(held.lines) < MAX_LINES:
            held.lines[name] = HeldLine(text=cause.notice.text, since=now, over=cause.over is not None)
        else:
            held.more += 1

    def _summarise(self, rule: NoticeRule, critical: bool, held: Held, now: float) -> None:
        count = len(held.lines) + held.more
        body = texts.summary(held)
        held.lines.clear()
        held.more = 0
        held.sent += 1
        for name in rule.to:
            self._add(name, f"[{self._observatory}] {count} more: {rule.name}", body, now, critical=critical)

    def _add(
        self, recipient: str, subject: str, body: str, now: float, *, critical: bool, file: str = "", test: str = ""
    ) -> None:
        self.book.number += 1
        self.book.waiting.append(Delivery(
            number=self.book.number, recipient=recipient, subject=subject, body=body, made=now, critical=critical,
            file=file, test=test,
        ))  # fmt: skip
        if len(self.book.waiting) > MAX_WAITING:
            idle = [each for each in self.book.waiting if not each.trying]
            self._close(min(idle, key=lambda each: (each.critical, each.number)), "given up", "too many wait", now)

    def _close(self, delivery: Delivery, how: Literal["sent", "recorded", "given up"], reason: str, now: float) -> None:
        self.book.waiting.remove(delivery)
        self.book.ended.append(Delivered(
            number=delivery.number, recipient=delivery.recipient, subject=delivery.subject, time=now, how=how,
            reason=printable(reason)[:300], test=delivery.test,
        ))  # fmt: skip
        del self.book.ended[:-MAX_ENDED]

    def _forget_causes(self) -> None:
        """Keep `MAX_CAUSES`: first those go that are over or have no end, at last the oldest."""
        causes = self.book.causes
        if len(causes) > MAX_CAUSES:
            passing = ("alert", "job", "progress", "report", "note")
            ended = (name for name, each in causes.items() if each.over is not None or each.notice.kind in passing)
            del causes[next(ended, next(iter(causes)))]


def cause_name(cause: Cause) -> str:
    """Return the name of a cause in links and on the command line: its number, and the second in which it began."""
    return f"{cause.number}-{int(cause.since)}"


def _held_name(rule: NoticeRule, critical: bool) -> str:
    return f"{rule.name}!" if critical else rule.name


def _limit(rule: NoticeRule, critical: bool) -> tuple[int, float]:
    return CRITICAL_AT_MOST if critical else (rule.at_most, rule.per)


def _cut(notice: Notice) -> Notice:
    if len(notice.text) <= MAX_TEXT:
        return notice
    return Notice(
        kind=notice.kind, source=notice.source, key=notice.key, text=notice.text[:MAX_TEXT],
        critical=notice.critical, file=notice.file,
    )  # fmt: skip
