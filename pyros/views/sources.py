"""The sources of alerts: where they should come from, and when each was heard last."""

from __future__ import annotations

import msgspec

from pyros.views.observed import Observed
from pyros.views.states import Monitoring

_LAST = 2000
"""Events among which the last one of each source is looked for."""


class AlertSourceView(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts come from."""

    name: str
    """As alarms call it: ``kafka gcn``, ``broker voevents.example.org:8099``."""
    kind: str
    """broker, kafka, folder, or author for who has sent something without being configured."""
    asked_for: tuple[str, ...] = ()
    """Filters or topics; () for everything."""
    heard: bool | None = None
    """Whether it is; None where only its alerts tell."""
    text: str = ""
    """What was noticed last."""
    since: float | None = None
    """When that was, Unix seconds."""
    last: float | None = None
    """When the last alert came from it, Unix seconds; None for none among the last 2,000."""
    alerts: int = 0
    """How many of the last 2,000 alerts came from it."""


def published(observed: Observed, beginning: str) -> tuple[str, ...]:
    """Return the ivorns that the broker keeps and that begin so, as what the observatory itself has published."""
    with observed.events() as journal:
        return tuple(row.ivorn for row in journal.beginning_with(beginning)) if journal is not None else ()
    return ()


def sources(observed: Observed) -> tuple[AlertSourceView, ...]:
    """Return the sources that the configuration names, and who else has sent one of the last 2,000 alerts."""
    broker = observed.config.broker
    if broker is None:
        return ()
    said = observed.state("monitoring", Monitoring).alert_sources
    rows: list[tuple[str, float]] = []
    with observed.events() as journal:
        rows = journal.heard_last(_LAST) if journal is not None else []
    last: dict[str, float] = {}
    count: dict[str, int] = {}
    for source, received in rows:
        if source.startswith("agent "):  # our own
            continue
        last.setdefault(source, received)
        count[source] = count.get(source, 0) + 1
    wanted = [(f"broker {each.host}:{each.port}", "broker", each.filters) for each in broker.remotes]
    wanted += [(f"kafka {each.name}", "kafka", each.topics) for each in broker.kafka]
    if broker.folder is not None:
        wanted.append((f"folder {broker.folder}", "folder", ()))
    known = {name for name, _, _ in wanted}
    wanted += [(each, "author", ()) for each in last if each not in known]
    found = []
    for name, kind, asked_for in wanted:
        link = said.get(name)
        found.append(
            AlertSourceView(
                name=name, kind=kind, asked_for=asked_for, heard=link.connected if link is not None else None,
                text=link.text if link is not None else "", since=link.since if link is not None else None,
                last=last.get(name), alerts=count.get(name, 0),
            )
        )  # fmt: skip
    return tuple(found)
