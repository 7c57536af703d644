"""The page Notices: what lasts that people were told of, who takes care of it, what waits, and a test of each way."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from pyros import messages
from pyros.config import StandardAgents
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.errors import DeliveryError, PyrosError
from pyros.messages import NoticeAcknowledged, NoticeTest
from pyros.notices.desk import cause_name
from pyros.notices.reading import read_book
from pyros.notices.rules import NoticeRules
from pyros.sender import Sender
from pyros.unique import new_name

_SHOWN = 30
_LASTING = ("alarm", "safety", "fault", "note")
"""Kinds of which it is told when they are over; the others have happened, and are no state."""
_SECONDS = 5.0


class LastingNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people were told of, and that isn't over."""

    name: str
    """By which it is acknowledged."""
    kind: str
    """alarm, safety, fault or note."""
    source: str
    """The agent that it comes from, or is about."""
    text: str
    """What was said of it last."""
    since: float
    """When it began, Unix seconds."""
    count: int
    """How often it was said."""
    critical: bool
    """Whether somebody was to be woken."""
    acknowledged: str
    """Who takes care of it; '' for nobody."""


class NoticeOnItsWay(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was sent, given up, or waits."""

    recipient: str
    """To whom, by the name in the rules."""
    subject: str
    """Its first line."""
    time: float
    """When it ended, or was made, Unix seconds."""
    how: str
    """sent, recorded (a rehearsal sends nothing), given up, or waits."""
    reason: str = ""
    """Why it was given up, or waits."""


class NoticePage(msgspec.Struct, frozen=True, kw_only=True):
    """What the notifier has told, and what waits."""

    lasting: tuple[LastingNotice, ...] = ()
    """What isn't over, the newest first."""
    messages: tuple[NoticeOnItsWay, ...] = ()
    """What waits, then the last ones that have ended, the newest first."""
    held: int = 0
    """How many notices wait for a summary."""
    recipients: tuple[str, ...] = ()
    """Who can be told, by the rules."""
    problem: str = ""
    """Why there is nothing to show."""


def notices(request: HttpRequest) -> NoticePage:
    """Return what was told, and what waits."""
    config = settings.CONSOLE.config
    if StandardAgents.NOTIFIER not in config.agents:
        return NoticePage(problem="the configuration has no section [notifier]")
    try:
        book, recipients = read_book(config), _recipients()
    except PyrosError as error:
        return NoticePage(problem=str(error))
    waiting = [
        NoticeOnItsWay(recipient=each.recipient, subject=each.subject, time=each.made, how="waits",
                       reason=book.channels[each.recipient].reason if each.recipient in book.channels else "")
        for each in book.waiting
    ]  # fmt: skip
    ended = [
        NoticeOnItsWay(recipient=each.recipient, subject=each.subject, time=each.time, how=each.how, reason=each.reason)
        for each in book.ended
    ]
    lasting = [
        LastingNotice(name=cause_name(each), kind=each.notice.kind, source=each.notice.source, text=each.notice.text,
                      since=each.since, count=each.count, critical=each.notice.critical,
                      acknowledged=each.acknowledged)
        for each in book.causes.values() if each.over is None and each.notice.kind in _LASTING
    ]  # fmt: skip
    return NoticePage(
        lasting=tuple(sorted(lasting, key=lambda each: -each.since)[:_SHOWN]),
        messages=tuple([*waiting[::-1], *ended[::-1]][:_SHOWN]),
        held=sum(len(each.lines) + each.more for each in book.held.values()), recipients=recipients,
    )  # fmt: skip


def send_test(request: HttpRequest) -> HttpResponse:
    """Have the notifier send a test message to one recipient, as ``pyros notify test`` does; the page tells its end."""
    name = str(request.POST.get("recipient", ""))
    try:
        known = _recipients()
    except PyrosError as error:
        return problem(request, 404, "there are no recipients", str(error))
    if name not in known:
        return problem(request, 404, "there is no such recipient")
    return _tell(request, messages.NOTICE_TEST, NoticeTest(word=new_name(), recipients=(name,)), "test notice", name)


def take_care(request: HttpRequest) -> HttpResponse:
    """Tell the notifier that who asks takes care of something, as by a message's link."""
    name, caller = str(request.POST.get("notice", "")), caller_of(request)
    try:
        causes = read_book(settings.CONSOLE.config).causes.values()
    except PyrosError as error:
        return problem(request, 404, "there is no such notice", str(error))
    lasts = next((each for each in causes if cause_name(each) == name), None)
    if lasts is None:
        return problem(request, 404, "there is no such notice")
    said = NoticeAcknowledged(cause=name, who=caller.full_name)
    return _tell(request, messages.NOTICE_ACKNOWLEDGED, said, "acknowledge", lasts.notice.text)


def _tell(
    request: HttpRequest, name: str, payload: NoticeTest | NoticeAcknowledged, what: str, about: str
) -> HttpResponse:
    config, caller = settings.CONSOLE.config, caller_of(request)
    try:
        Sender.send_to(StandardAgents.NOTIFIER, name, payload, config=config, timeout=_SECONDS)
    except DeliveryError as error:
        note(caller, what, f"{about}: {error}", ok=False)
        return problem(request, 503, "the notifier does not answer; try again", str(error))
    note(caller, what, about)
    return HttpResponseRedirect("/notices", status=303)


def _recipients() -> tuple[str, ...]:
    """Return who can be told, by the notifier's rules; none without rules. Raises ConfigError."""
    config = settings.CONSOLE.config
    section = config.agents.get(StandardAgents.NOTIFIER)
    file = section.options.get("rules", "") if section is not None else ""
    return tuple(each.name for each in NoticeRules.load(config.path.parent / file).recipients) if file else ()
