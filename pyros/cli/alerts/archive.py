"""``pyros alerts list | search | show | explain``: looking into the archive."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pyros import config as configuration
from pyros.alerts import followup, identity
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.alerts.history import history
from pyros.alerts.rules import decisions
from pyros.alerts.rules.conditions import ConditionResult
from pyros.cli.alerts.options import (
    ArchiveOption,
    ConeOption,
    KindOption,
    RoleOption,
    SinceOption,
    StreamOption,
    UntilOption,
    as_dict,
    query,
    reading,
    show_entries,
)
from pyros.cli.alerts.parse import iso
from pyros.cli.common import ConfigOption, JsonOption, looking, out, plain_table, show
from pyros.errors import JournalError, PyrosError
from pyros.printable import instant
from pyros.views.decided import decided
from pyros.views.fates import fates

if TYPE_CHECKING:
    from pyros.alerts.archive.search import ArchiveReader

LastOption = Annotated[int, typer.Option("--last", "-n", min=1, metavar="N", help="Only so many, the newest.")]
EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help="An event's name, or a packet's ivorn or number.")]


def list_(last: LastOption = 20, stream: StreamOption = None, role: RoleOption = None, kind: KindOption = None,
          since: SinceOption = None, until: UntilOption = None, as_json: JsonOption = False,
          archive: ArchiveOption = None, config: ConfigOption = None) -> None:  # fmt: skip
    """List the packets of the archive, oldest first.

    Examples:
      pyros alerts list
      pyros alerts list --stream swift --role observation --since 2026-03-01 --last 500
    """
    _print(query(stream, role, kind, since, until, last=last), as_json, reading(archive, config))


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="All of these; burst* for a beginning.", show_default=False),
    ] = None,
    cone: ConeOption = None, last: LastOption = 100, stream: StreamOption = None, role: RoleOption = None,
    kind: KindOption = None, since: SinceOption = None, until: UntilOption = None, as_json: JsonOption = False,
    archive: ArchiveOption = None, config: ConfigOption = None,
) -> None:  # fmt: skip
    """Search the archive by words in the packets and by position.

    Examples:
      pyros alerts search GRB 260211A
      pyros alerts search --cone '83.63 22.01 30 arcmin' --since 2025-01-01
    """
    if not words and cone is None:
        raise PyrosError("say what to search for: words, or --cone 'RA DEC RADIUS'; pyros alerts list shows everything")
    wanted = query(stream, role, kind, since, until, last=last, words=" ".join(words or ()), cone=cone)
    _print(wanted, as_json, reading(archive, config))


def show_(
    event: EventArgument,
    raw: Annotated[bool, typer.Option("--raw", help="A packet's bytes as they came, and nothing else.")] = False,
    as_json: JsonOption = False,
    archive: ArchiveOption = None,
    config: ConfigOption = None,
) -> None:
    """Show an event: what is believed of it, and what each of its packets changed.

    Examples:
      pyros alerts show fermi:494767139
      pyros alerts show 4711 --raw > packet.xml
    """
    with closing(reading(archive, config)) as reader:
        entries = _of_event(reader, event)
        if raw:
            if len(entries) > 1 and not event.isdecimal():
                numbers = ", ".join(str(entry.number) for entry in entries[:20])
                raise PyrosError(f"{event} has {len(entries)} packets; name one by its number: {numbers}")
            number = int(event) if event.isdecimal() else entries[0].number
            out.file.flush()
            typer.get_binary_stream("stdout").write(reader.packet(number))
            return
    if as_json:
        for entry in entries:
            out.file.write(json.dumps(as_dict(entry)) + "\n")
        return
    _show_event(entries)


def explain(event: EventArgument, as_json: JsonOption = False, archive: ArchiveOption = None,
            config: ConfigOption = None) -> None:  # fmt: skip
    """Explain what was decided about each packet of an event, by which rule, and why.

    Below it: what other missions saw at the same time and place, with the
    probability of that by chance, and what has become of the observation.

    Examples:
      pyros alerts explain swift:1017711
      pyros alerts explain swift:1017711 --json
    """
    loaded = configuration.load(config)
    entries: list[ArchivedPacket] = []
    try:
        reader = reading(archive, config)
    except JournalError:  # decisions are kept by the alert manager; without an archive it knows its own names only
        ids, names = [event], [event]
    else:
        with closing(reader):
            entries = _of_event(reader, event, missing=True)
        ids = [event, *(entry.identity for entry in entries)]
        names = [event, *(entry.event for entry in entries)]
    with looking(loaded) as observed:
        made = decided(observed, list(dict.fromkeys(ids)), list(dict.fromkeys(names)))
        wanted = {record.observation: record.outcome for record in made.records if record.observation}
        asked = [each for each, outcome in wanted.items() if outcome != "withdrawn"]
        stands = () if as_json else fates(observed, asked, [record.event for record in made.records])
    found = made.records
    if not found and not entries:
        raise PyrosError(f"{event}: not in the archive, and no decision about it; pyros alerts list shows some")
    if as_json:
        for record in found:
            when = iso(datetime.fromtimestamp(record.decided, UTC))
            out.file.write(json.dumps({**msgspec.to_builtins(record), "decided": when}) + "\n")
        return
    decided_ids = {record.alert for record in found}
    told: list[tuple[float, decisions.DecisionRecord | ArchivedPacket]] = [(record.decided, record) for record in found]
    told += [(entry.received, entry) for entry in entries if entry.identity not in decided_ids]
    for _, each in sorted(told, key=lambda pair: pair[0]):
        if isinstance(each, decisions.DecisionRecord):
            _explain(each)
        else:
            own = loaded.broker is not None and followup.is_own(each.identity, loaded.broker.ivo)
            why = "our own follow-up, published" if own else "no decision: the alert manager never had it"
            out.print(f"{instant(each.received)}  {each.identity}\n    {why}")
    for line in made.coincidences:
        out.print(line)
    for fate in stands:
        out.print(f"now: {f'at {fate.unit}: ' if fate.unit else ''}{fate.observation} {fate.words}")


def _explain(record: decisions.DecisionRecord) -> None:
    verdict = {"requested": "observation requested", "changed": "observation changed",
               "withdrawn": "observation withdrawn", "nothing": "no change"}[record.outcome]  # fmt: skip
    out.print(f"{instant(record.decided)}  {record.alert}")
    out.print(f"    {verdict}{f' ({record.observation})' if record.observation else ''}: {record.reason}")
    looked = ", ".join(f"{name} {_short(value)}" for name, value in record.looked_at.items() if value != "")
    out.print(f"    looked at: {looked}")
    for considered in record.considered:
        out.print(f"    rule {considered.rule!r} {'fits' if considered.applies else 'does not fit'}:")
        for judged in considered.conditions or (ConditionResult("any alert", True, words="any alert with a position"),):
            _explain_condition(judged, 6)


def _explain_condition(judged: ConditionResult, indent: int) -> None:
    """One line a condition, and below ``any`` and ``not`` what they looked at."""
    mark = {True: "yes", False: "no ", None: "?  "}[judged.holds]
    out.print(f"{' ' * indent}{mark} {judged.condition}: {judged.words}")
    for part in judged.parts:
        _explain_condition(part, indent + 4)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_short(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _of_event(reader: ArchiveReader, event: str, *, missing: bool = False) -> list[ArchivedPacket]:
    """Return the packets of an event, or the one with that number; raises PyrosError when there is none."""
    name = event
    if event.isdecimal():
        name = next((entry.event for entry in reader.find(Query(number=int(event)))), event)
    found = list(reader.find(Query(event=name)))
    if not found and not missing:
        raise PyrosError(f"{event}: no such event or packet in {reader.where}; pyros alerts search finds some")
    return found


def _show_event(entries: list[ArchivedPacket]) -> None:
    by_id = {entry.identity: entry for entry in entries}
    seen = identity.join(*(identity.Event((identity.packet_record(entry.alert),)) for entry in entries if entry.alert))
    belief = identity.believe(seen)
    out.print(f"event        {entries[0].event}")
    others = sorted(seen.keys - {entries[0].event})
    if others:
        out.print(f"also         {', '.join(others)}")
    if belief.retracted:
        out.print("retracted    yes")
    if belief.best is not None:
        radius = belief.best.error_radius
        size = "" if radius is None else f" within {radius:.4g} deg"
        out.print(f"position     {belief.best.ra:.5f} {belief.best.dec:+.5f}{size}, by {belief.best.id}")
    out.print(f"packets      {len(entries)}\n")
    table = plain_table("written (UTC)", "received (UTC)", "number", "kind", "notice", "what it changes", "packet")
    for step in history(seen):
        new, entry = step.packet, by_id[step.packet.id]
        written = "" if new.sent is None else instant(new.sent)
        table.add_row(
            written, instant(entry.received), str(entry.number), new.kind, new.notice_type, step.change, new.id
        )
    for entry in entries:
        what = [instant(entry.received), str(entry.number), "", ""]
        if entry.alert is None:
            table.add_row("", *what, f"not understood: {entry.error}", "")
        elif by_id[entry.identity] is not entry:
            table.add_row("", *what, "other bytes under the same name", entry.identity)
    show(table)


def _print(wanted: Query, as_json: bool, reader: ArchiveReader) -> None:
    with closing(reader):
        entries = list(reader.find(wanted))
    if as_json:
        for entry in entries:
            out.file.write(json.dumps(as_dict(entry)) + "\n")
    elif entries:
        show_entries(entries)
    else:
        out.print("no packets")
