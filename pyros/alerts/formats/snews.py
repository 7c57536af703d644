"""SNEWS 2.0 coincidences to `Alert`: several detectors have seen neutrinos, of a supernova perhaps.

As SNEWS's server writes them on SCiMMA's topic ``snews.alert``: https://snews-coincidence-system.readthedocs.io. On
GCN they have the unified schema (``gcn/notices/snews2``) and are read with it.
"""

from __future__ import annotations

from typing import Any

from pyros.alerts.alert import Alert, Kind
from pyros.alerts.formats import marks
from pyros.alerts.formats.event_keys import by_day
from pyros.alerts.formats.streams import BY_NAME
from pyros.alerts.formats.times import parse_iso

FIELDS = frozenset({"detector_names", "neutrino_times"})
"""What only these alerts have."""


def parse_coincidence(notice: dict[str, Any]) -> Alert:
    """Make the alert of a coincidence, of one that has grown (UPDATE), or of one that is taken back.

    Nothing in it names the event but the day of its first neutrino; a supernova is rare enough for that.
    """
    name = _text(notice.get("_id")) or _text(notice.get("id"))
    words = f"{name} {_text(notice.get('alert_type'))}".upper()
    kind: Kind = "retraction" if marks.says_retraction(words) else "update" if "UPDATE" in words else "initial"
    times = notice["neutrino_times"]
    moments = [parse_iso(_text(each)) for each in (times[:1000] if isinstance(times, list) else [times])]
    first = min((moment for moment in moments if moment), default=None)
    sent = parse_iso(_text(notice.get("sent_time")))
    day = first or sent
    return Alert(
        stream="snews",
        id=f"snews.alert:{name or _text(notice.get('sent_time'))}",
        role="test" if marks.says_test(words) or marks.is_marked(marks.TEST, notice) else "observation",
        kind=kind,
        event=by_day(BY_NAME["snews"], day) if day else f"snews:{name}",
        notice_type="snews.alert",
        time=first,
        sent=sent,
    )


def _text(value: object) -> str:
    return value.strip()[:200] if isinstance(value, str) else ""
