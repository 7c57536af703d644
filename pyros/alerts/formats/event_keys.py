"""Identity keys: ``mission:identifier``, from what packets, ivorns and other missions call an event."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote, unquote

from pyros.alerts.formats import streams, values
from pyros.alerts.formats.streams import Stream

RECEIVED = "/received#"
"""What follows an observatory's identifier in the ivorns that PYROS gives to packets which have none."""
MAX_IDENTIFIER_CHARACTERS = 200
_SUPEREVENT = re.compile(r"([MT]?S\d{6}[a-z]+)(?:-.*)?")
"""What LVK calls an event, or a notice about it (``S230914ak-2-Preliminary``), in whoever's packet:
https://emfollow.docs.ligo.org/userguide, section "Alert Contents"."""
_TRIGGER = re.compile(r"bn ?(\d{9})")
"""GBM's name of a trigger: the day and the thousandths of it."""
_BURST = re.compile(r"GRB[ _]?(\d{6}[A-Z])")
"""The name that all missions share; without its letter it is only a date."""
_DATED = re.compile(r"(?:.*[^\dJ])?\d{6}(?:[A-Za-z]|\.\d).*")
"""A name of one event, not of a source that may flare again: it has a day, and a letter or a fraction of the day. What
stands after a J is no day but a right ascension (``Swift J174540.7-290015``)."""
SHORTEST = 6
"""Fewer characters under ``id`` count something, beside the identifier that stands first."""
_EXTERNAL = re.compile(r"([A-Za-z]+)[ _#:/-]+(\w[\w.]*)")


def event_key(row: Stream, identifier: str) -> str | None:
    """Return the key for a packet's name of its event; None when that only says that it has none."""
    identifier = identifier.strip()
    if wave := _SUPEREVENT.fullmatch(identifier[:MAX_IDENTIFIER_CHARACTERS]):
        return f"lvc:{wave[1]}"
    if row.event_mask is not None:
        try:
            identifier = str(int(identifier) & row.event_mask)
        except ValueError:
            return None
    if identifier in row.no_event or values.is_nothing(identifier) or len(identifier) > MAX_IDENTIFIER_CHARACTERS:
        return None
    return f"{row.namespace or row.name}:{_canonical(identifier)}"


def by_day(row: Stream, moment: datetime) -> str:
    """Return the key of an event that only its day (UTC) names."""
    return f"{row.name}:{moment:%Y-%m-%d}"


def of_source(key: str, name: str, moment: datetime | None) -> str:
    """Return the key of one flare of a source that flares again and again: with its day, where the name has none."""
    if moment is None or _DATED.fullmatch(name[:MAX_IDENTIFIER_CHARACTERS]):
        return key
    return f"{key}@{moment:%Y-%m-%d}"


def counterpart(key: str, number: str, identifier: str) -> str:
    """Return the key of one candidate counterpart of a superevent: it is an event of its own."""
    own = number.strip()[:40] or identifier.partition("#")[2][:100] or identifier[:100]
    return f"{key}/counterpart:{own}"


def event_of_ivorn(ivorn: str) -> str:
    """Return the event that an ivorn is about, as far as the ivorn tells; else the packet stands for its event."""
    packet = packet_of_ivorn(ivorn)
    row = streams.of_ivorn(packet)
    match = streams.pattern(row.event_in_ivorn).search(packet[:500]) if row.event_in_ivorn else None
    return f"{row.namespace or row.name}:{_canonical(match[1])}" if match else packet


def further_names(row: Stream, key: str, fields: Iterable[tuple[str, list[str]]]) -> tuple[str, ...]:
    """Return the other keys of a JSON notice's event.

    A field ``id`` or ``event_name`` lists names of one event (GCN's schema, core/Event). What only counts is left out,
    and so is the name of a source that may flare again: they would join what has nothing in common.

    Args:
        row: its stream.
        key: the key that was taken.
        fields: those that name the event, with their values.
    """
    found: list[str | None] = []
    for field, identifiers in fields:
        for identifier in identifiers:
            if field == "event_name" and not _DATED.fullmatch(identifier[:MAX_IDENTIFIER_CHARACTERS]):
                continue
            if field == "id" and len(identifier) < SHORTEST:
                continue
            found += [
                event_key(row, name) for name in (identifier, _TRIGGER.sub(r"\1", identifier), _also(row, identifier))
            ]
    return tuple(dict.fromkeys(other for other in found if other and other != key))


def _also(row: Stream, identifier: str) -> str:
    """Rewrite an identifier of a JSON notice as the same event's VOEvents write it."""
    short = identifier[:MAX_IDENTIFIER_CHARACTERS]
    match = streams.pattern(row.json_id_also).fullmatch(short) if row.json_id_also else None
    return match[1] if match else identifier


def burst_name(names: Iterable[str]) -> tuple[str, ...]:
    """Return the key of a burst's name that all missions share, where one of the names is such."""
    matches = (_BURST.fullmatch(name.strip()[:MAX_IDENTIFIER_CHARACTERS]) for name in names)
    return tuple(dict.fromkeys(f"grb:{match[1]}" for match in matches if match))


def reference(mission: str, identifier: str) -> tuple[str, ...]:
    """Return the key of another mission's event, where the table knows that mission.

    None where many candidates are looked for in each of that mission's events (gravitational waves): then the reference
    tells what was followed up, not that the two are one.

    Args:
        mission: as a packet names it: ``Fermi``, ``Swift-BAT``.
        identifier: the trigger's number or name there.
    """
    row = streams.of_mission(mission)
    identifier = _TRIGGER.sub(r"\1", identifier.strip()[:MAX_IDENTIFIER_CHARACTERS])
    if row.name not in streams.BY_NAME or row.wide or _SUPEREVENT.fullmatch(identifier):
        return ()
    key = event_key(row, identifier)
    return (key,) if key and len(identifier) >= SHORTEST else ()


def external(text: str) -> tuple[str, ...]:
    """Return the `reference` of a text such as ``Fermi 694215970`` or ``IceCube-300506A``."""
    match = _EXTERNAL.fullmatch(text.strip()[:MAX_IDENTIFIER_CHARACTERS])
    if match is None:
        return ()
    numbered = match[2].isdecimal() or _TRIGGER.fullmatch(match[2])
    return reference(match[1], match[2] if numbered else text)


def received_ivorn(ivo: str, identifier: str) -> str:
    """Make an ivorn of the observatory's own for a packet without one; it carries that packet's identifier.

    Args:
        ivo: the observatory's identifier, ``ivo://authority/telescope``.
        identifier: of the packet, `Alert.id`.
    """
    return f"{ivo}{RECEIVED}{quote(identifier, safe=':+')}"


def packet_of_ivorn(ivorn: str) -> str:
    """Return the identifier of the packet that an ivorn names: itself, or what `received_ivorn` made it of."""
    before, mark, local = ivorn.partition(RECEIVED)
    identifier = unquote(local) if mark and before.startswith("ivo:") else ""
    return identifier if identifier and identifier.isprintable() else ivorn


def _canonical(identifier: str) -> str:
    """Drop leading zeros: ``128290_006888376`` and ``128290_6888376`` are the same run and event."""
    run, underscore, number = identifier.partition("_")
    return f"{run}_{int(number)}" if underscore and run.isdecimal() and number.isdecimal() else identifier
