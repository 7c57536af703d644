"""The messages in the journals: what agents have taken, what failed, what others refused."""

from __future__ import annotations

import heapq
from collections import Counter
from functools import partial
from operator import attrgetter
from typing import Any, Literal

import msgspec

from pyros.errors import UnknownAgent
from pyros.journal import JournalReader
from pyros.printable import last_line
from pyros.views.observed import Observed

_MAX_KEPT = 50
"""Messages of each journal that are kept in memory: they may be large."""
_FEW = 12
"""As many as a frame has; of more none are kept for who asks for no more."""


class MessageLine(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a journal."""

    agent: str
    """Whose journal has it."""
    number: int
    """Its number there; of a refused one its number for its receiver."""
    direction: Literal["in", "out"] = "in"
    """``out`` for one that its receiver refused."""
    name: str
    """The message's name."""
    other: str
    """Whom it came from, or was for."""
    sent: float
    """Unix seconds."""
    taken: float | None = None
    """Unix seconds; None for one that was refused."""
    payload: str = ""
    """JSON."""
    error: str | None = None
    """The traceback of a handler that failed, or why it was refused."""


class MessagePage(msgspec.Struct, frozen=True):
    """A part of the list, the newest first."""

    messages: tuple[MessageLine, ...] = ()
    """The lines."""
    after: str | None = None
    """What to ask the next page after; None at the end."""


def messages(
    observed: Observed, agent: str = "", after: str | None = None, limit: int = 50, failed: bool = False
) -> MessagePage:
    """Return the newest messages of all agents, or of one; with ``failed`` only those that failed or were refused.

    ``after`` is what the page before has given: by journal the number below which it goes on. Raises ValueError for
    another text, UnknownAgent for an agent that there isn't.
    """
    names = observed.names if not agent else (agent,)
    if agent and agent not in observed.names:
        raise UnknownAgent(agent, "", f"no such section in {observed.config.path}")
    cursor = _cursor(after)
    found: list[MessageLine] = []
    for name in names:
        before = cursor.get(name) if after is not None else None
        if after is not None and before is None:
            continue  # that journal has ended
        if after is None and limit <= _MAX_KEPT:
            nothing: list[MessageLine] = []
            count = _FEW if limit <= _FEW else _MAX_KEPT
            read: Any = partial(_newest_failed if failed else _newest, agent=name, count=count)
            found += observed.followed(name, ("messages", failed, count), read, nothing)[:limit]
        else:
            with observed.journal(name) as journal:
                found += _taken(journal, name, before, limit, failed) if journal is not None else []
    if failed and after is None:
        found += _refused(observed, names)
    page = heapq.nlargest(limit, found, key=lambda line: (line.taken or line.sent, line.number))
    there, shown = (Counter(line.agent for line in lines if line.direction == "in") for lines in (found, page))
    reached: dict[str, int] = {}
    for line in page:
        if line.direction == "in":
            reached[line.agent] = min(line.number, reached.get(line.agent, line.number))
    more = {
        name: reached.get(name, cursor.get(name, 1 << 62))
        for name in names
        if there[name] > shown[name] or there[name] >= limit
    }
    return MessagePage(tuple(page), msgspec.json.encode(more).decode() if more else None)


def without_tracebacks(page: MessagePage) -> MessagePage:
    """Return a page in which the last line of each traceback is left, which says what went wrong but not where."""
    return msgspec.structs.replace(page, messages=tuple(
        msgspec.structs.replace(line, error=last_line(line.error)) if line.error else line for line in page.messages
    ))  # fmt: skip


def failure(observed: Observed, agent: str, number: int) -> str | None:
    """Return the traceback of an agent's failed message; None when no failed message has that number."""
    with observed.journal(agent) as journal:
        return journal.error(number) if journal is not None else None
    return None


def _cursor(after: str | None) -> dict[str, int]:
    if after is None:
        return {}
    try:
        return msgspec.json.decode(after, type=dict[str, int])
    except msgspec.DecodeError:
        raise ValueError("after: not what a page of messages has given") from None


def _newest(journal: JournalReader, known: list[MessageLine] | None, agent: str, count: int) -> list[MessageLine]:
    """Return a journal's newest messages; of those that are known only the failed ones are read again."""
    last = known[0].number if known else 0
    if journal.newest() < last:  # it has begun anew
        known, last = None, 0
    new = _taken(journal, agent, None, count, False, last)
    seen = {line.number for line in new}
    lines = [*new, *(line for line in known or () if line.number not in seen)]
    lines.sort(key=attrgetter("number"), reverse=True)
    return lines[:count]


def _newest_failed(
    journal: JournalReader, known: list[MessageLine] | None, agent: str, count: int
) -> list[MessageLine]:
    return _taken(journal, agent, None, count, True)


def _taken(
    journal: JournalReader, agent: str, before: int | None, limit: int, failed: bool, after: int = 0
) -> list[MessageLine]:
    return [
        MessageLine(
            agent=agent, number=number, name=it.name, other=it.sender, sent=it.sent, taken=it.taken,
            payload=it.payload.decode(errors="replace"), error=it.error,
        )
        for number, it in journal.page(before, limit, failed=failed, after=after)
    ]  # fmt: skip


def _refused(observed: Observed, names: tuple[str, ...]) -> list[MessageLine]:
    found = []
    for name in names:
        rows: list[Any] = observed.kept(name, "refused", JournalReader.refused, [])
        found += [
            MessageLine(
                agent=name, number=seq, direction="out", name=message, other=receiver, sent=sent,
                payload=payload.decode(errors="replace"), error=reason,
            )
            for receiver, seq, _id, message, sent, payload, reason in rows
        ]  # fmt: skip
    return found
