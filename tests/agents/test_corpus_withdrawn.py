"""The corpus of real packets through the real alert manager: what is taken back is withdrawn, tests cause nothing.

The corpus stands beside the checkout (``../shared/corpus``) and is no part of the project; without it these tests are
skipped. Of an event that the corpus has only the retraction of, the first alert is made from the retraction itself: the
same packet with the marks of a retraction taken away, and with a position.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.alerts import Alert, parse
from pyros.errors import AlertError
from pyros.journal import Effects
from tests.builders import voevent
from tests.rig import AlertManagerRig

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
ANYTHING = "rules:\n  - {name: anything, observe: [{filter: r, seconds: 1}]}\n"
MARKS = ("Def_NOT_a_GRB", "StarTrack_Lost_Lock", "Retraction", "retraction", "RetractFlag", "Definite_NOT_GRB")
KINDS = {"164": "150", "219": "202"}  # LVC's and SVOM's packet types of retractions: those of first alerts
POSITION = """<WhereWhen><ObsDataLocation><ObservatoryLocation id="x"/><ObservationLocation>
<AstroCoordSystem id="UTC-ICRS-GEO"/><AstroCoords coord_system_id="UTC-ICRS-GEO"><Position2D unit="deg"><Value2>
<C1>83.6</C1><C2>22.0</C2></Value2><Error2Radius>0.05</Error2Radius></Position2D></AstroCoords></ObservationLocation>
</ObsDataLocation></WhereWhen>"""

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of real packets at {CORPUS}")


def packets() -> Iterator[tuple[str, bytes, Alert]]:
    """Every packet of the corpus that is understood."""
    with (CORPUS / "MANIFEST.tsv").open(encoding="utf-8") as manifest:
        for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE):
            packet = (CORPUS / row["file"]).read_bytes()
            try:
                yield row["file"], packet, parse(packet)
            except AlertError:
                continue


def first_of(packet: bytes, alert: Alert) -> bytes:
    """Make a retraction into the first alert of its event."""
    return _first_json(packet) if packet.lstrip()[:1] == b"{" else _first_voevent(packet, alert)


def _first_json(packet: bytes) -> bytes:
    notice = json.loads(packet)
    if "superevent_id" in notice:
        return json.dumps({**notice, "alert_type": "PRELIMINARY"}).encode()
    place = {"ra": 83.6, "dec": 22.0, "ra_dec_error": 0.05}
    return json.dumps({**notice, "alert_type": "initial", "alert_datetime": "2020-01-01T00:00:00Z", **place}).encode()


def _first_voevent(packet: bytes, alert: Alert) -> bytes:
    root = etree.fromstring(packet)
    cited = [ivorn for ivorn, cite in alert.citations if cite != "followup"]
    root.set("ivorn", cited[0] if cited else f"{alert.ivorn}-first")
    for name in ("Citations", "WhereWhen", "Why"):
        for element in root.findall(name):
            root.remove(element)
    root.append(etree.fromstring(POSITION))
    date = root.find("Who/Date")
    if date is not None:
        date.text = "2010-01-01T00:00:00"
    for param in root.iter("Param"):
        if param.get("name") in MARKS:
            param.set("value", "false")
        elif param.get("name") in {"AlertType", "Alert_Type"}:
            param.set("value", "Preliminary")
        elif param.get("name") == "Packet_Type":
            value = param.get("value") or ""
            param.set("value", KINDS.get(value, value))
    return etree.tostring(root)


def _empty(table: str, db: sqlite3.Connection) -> None:
    db.execute(f"DELETE FROM {table}")


class ForgettingRig(AlertManagerRig):
    """An alert manager that has everything observed."""

    def forget(self) -> None:
        effects = Effects()
        for table in ("alert_events", "alert_links"):
            effects.also.append(partial(_empty, table))
        self.journal.commit(effects)


@pytest.fixture
def manager(inline: Callable[..., Any]) -> ForgettingRig:
    rig: ForgettingRig = inline(AlertManagerAgent(), "scheduler", rig=ForgettingRig, rules=ANYTHING)
    return rig


def withdrawn_after(manager: ForgettingRig, first: bytes, retraction: bytes) -> str:
    """Tell what becomes of the first packet's observation when the other comes; '' where there is none."""
    asked = manager.take(first)
    if not asked:
        return ""
    ((name, request),) = asked
    assert name == messages.OBSERVATION_REQUESTED
    said = manager.take(retraction)
    if not said:
        return "stays"
    ((name, withdrawal),) = said
    assert (name, withdrawal.observation) == (messages.OBSERVATION_REQUEST_WITHDRAWN, request.id)
    return "withdrawn"


@needs_corpus
def test_every_retraction_withdraws_what_its_events_first_alert_had_caused(manager: ForgettingRig) -> None:
    known = list(packets())
    by_event: dict[str, list[tuple[str, bytes, Alert]]] = {}
    for each in known:
        by_event.setdefault(each[2].event, []).append(each)
    outcomes: dict[str, list[str]] = {"corpus": [], "made": []}
    wrong = []
    for file, packet, alert in known:
        if alert.kind != "retraction":
            continue
        earlier = [
            (name, first)
            for name, first, other in by_event[alert.event]
            if other.actionable and other.target and other.sent and alert.sent and other.sent < alert.sent
        ]
        origin = "corpus" if earlier else "made"
        name, first = earlier[0] if earlier else (f"{file} undone", first_of(packet, alert))
        began = parse(first)
        assert (began.event, began.kind != "retraction") == (alert.event, True), name
        manager.forget()
        outcome = withdrawn_after(manager, first, packet)
        outcomes[origin].append(file)
        mock = alert.event.startswith("lvc:MS")
        if outcome != ("" if mock else "withdrawn"):
            wrong.append(f"{file} after {name}: {outcome or 'nothing was observed'}")
    assert not wrong, "\n".join(wrong)
    assert len(outcomes["corpus"]) >= 7, outcomes
    assert len(outcomes["corpus"]) + len(outcomes["made"]) >= 30


@needs_corpus
def test_no_test_and_no_utility_packet_ever_causes_one(manager: ForgettingRig) -> None:
    """All packets one after the other, as they stand in the manifest: whatever events they are joined to."""
    with (CORPUS / "MANIFEST.tsv").open(encoding="utf-8") as manifest:
        said = {row["file"]: row["role"] for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE)}
    caused: dict[str, int] = {}
    for file, packet, alert in packets():
        requests = [
            payload
            for name, payload in manager.take(packet)
            if name in {messages.OBSERVATION_REQUESTED, messages.OBSERVATION_REQUEST_CHANGED}
        ]
        if said[file] in {"test", "utility"} or alert.role in {"test", "utility"} or alert.kind == "retraction":
            assert requests == [], file
        for request in requests:
            assert request.alert == alert.id, file
            caused[file] = caused.get(file, 0) + 1
    assert len(caused) > 150


@pytest.mark.parametrize("role", ["utility", "observation", "test"])
def test_a_retraction_sent_as_utility_counts_and_one_sent_as_a_test_does_not(manager: ForgettingRig, role: str) -> None:
    """CHIME's are utilities."""
    ivorn = "ivo://ca.chimenet.frb/FRB-DETECTION-#2026-01-01-00:00:00.000000UTC+0000_e"
    number = '<Group name="event parameters"><Param name="event_no" value="427325191"/></Group>'
    first = voevent(ivorn, date="2026-01-01T00:01:00", params=number, ra=83.6, dec=22.0)
    retraction = voevent(f"{ivorn}-r", role=role, date="2026-01-01T00:02:00", params=number, ra=None,
                         citations=[("retraction", ivorn)])  # fmt: skip
    assert parse(retraction).kind == "retraction"
    assert withdrawn_after(manager, first, retraction) == ("stays" if role == "test" else "withdrawn")
