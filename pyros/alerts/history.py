"""What each packet of an event changed, in words, in the order in which their authors wrote them."""

from __future__ import annotations

import msgspec

from pyros.alerts.identity import Belief, Event, PacketRecord, believe, join


class HistoryStep(msgspec.Struct, frozen=True):
    """One packet, and what is believed of the event once it is there."""

    packet: PacketRecord
    """The packet."""
    change: str
    """What it changed, in words."""
    belief: Belief
    """What is believed of the event from then on."""


def history(event: Event) -> tuple[HistoryStep, ...]:
    """Go through an event packet by packet, in their authors' order; they may have come late and in another one."""
    steps: list[HistoryStep] = []
    so_far, before = Event(), Belief()
    for new in event.packets:
        so_far = join(so_far, Event((new,)))
        after = believe(so_far)
        steps.append(HistoryStep(new, _change(new, before, after, not steps), after))
        before = after
    return tuple(steps)


def _change(new: PacketRecord, before: Belief, after: Belief, first: bool) -> str:
    if not (new.real or new.takes_back):
        return f"role {new.role}: changes nothing"
    if new.kind == "retraction":
        if after.retracted:
            return "retracted again" if before.retracted else "retracted"
        return "takes a part back" if after != before else "takes nothing back that is known"
    if before.retracted:
        return "retracted before" if after.retracted else "stands again"
    return _placed(new, before, after, first)


def _placed(new: PacketRecord, before: Belief, after: Belief, first: bool) -> str:
    if after.best is not None and after.best.id == new.id:
        size = f", {_size(new)}" if new.error_radius else ""
        return ("first position" if before.best is None else "better position") + size
    if after.best != before.best:
        return "replaces an earlier position"
    if new.ra is None:
        return "first packet, no position" if first else "no position"
    return "no better position"


def _size(packet: PacketRecord) -> str:
    """Format a packet's error radius in the unit people would use."""
    degrees = packet.error_radius or 0.0
    for unit, size in (("deg", 1.0), ("arcmin", 1 / 60), ("arcsec", 1 / 3600)):
        if degrees >= size or unit == "arcsec":
            return f"{degrees / size:.3g} {unit}"
    raise AssertionError("unreachable")
