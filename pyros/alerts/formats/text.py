"""GCN's classic notices and circulars in text (``gcn.classic.text.*``, e-mails) to `Alert`.

A notice is lines ``KEY: value``, the value with its unit in words; a line that begins with a space goes on with the one
before. https://gcn.gsfc.nasa.gov/sock_pkt_def_doc.html shows one of each type. They are read by the rows of the
streams' table, as the same notices in VOEvent are.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.formats import measurements, streams, values
from pyros.alerts.formats.notices import NOTICES
from pyros.alerts.formats.streams import Stream
from pyros.alerts.formats.times import from_tjd, parse_iso
from pyros.alerts.formats.voevent import Param, VOEvent, interpret
from pyros.errors import AlertError

BEGIN = b"TITLE:"
MAX_BYTES = 1024 * 1024
"""Notices have 2 to 4 kB; the longest circulars 100 kB."""
_MAX_VALUE = 1_000  # characters of a line
_TOPIC = "gcn.classic.text."
_FIELD = re.compile(r"((?:2nd_)?[A-Z][A-Z0-9_/-]{0,40}):(.*)")
_TITLE = re.compile(r"GCN(?:/([A-Z0-9_-]{1,40}))? NOTICE")
_PLACES = ("GRB", "SRC", "EVENT", "BURST", "TRANS", "CNTRPART")
"""How the keys begin that have the source's place; NEXT_POINT_RA and SUN_RA are no source's."""
_CLOCKS = (*_PLACES, "DISCOVERY", "TRIGGER", "OBS", "IMG_START")
_DEGREES = re.compile(r"([-+]?\d{1,3}(?:\.\d{0,10})?)d? (?:\{[^}]{0,40}\} )?\(J2000\)")
_RADIUS = re.compile(r"([\d.]{1,12}) \[(deg|arcmin|arcsec)\b([^\]]{0,100})")
_CONTAINMENT = re.compile(r"(\d{2}(?:\.\d)?)% ?cont")
_DAY, _SECONDS = re.compile(r"(\d{4,5}) TJD"), re.compile(r"(\d{1,5}(?:\.\d{0,6})?) SOD")
_NUMBER = re.compile(r"[A-Za-z]{0,3}[\d.eE+-]{1,30}[a-z]{0,3}")
_RATE = re.compile(r"([\d.eE+-]{1,20}) \[([^\]]{1,20})\]")
_CLASS = re.compile(r"(\d{1,3})% +(.{1,40})")
_SENT = re.compile(r"[A-Z][a-z]{2} (\d\d) ([A-Z][a-z]{2}) (\d\d) (\d\d:\d\d:\d\d) UTC?")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_UNITS = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600}
_PARAMS = {
    "TRIGGER_NUM": ("TrigID", "Trigger_Number", "GraceID", "Trans_Num"),
    "TRIGGER_NUMBER": ("Trigger_Number", "TrigID"),
    "EVENT_ID_NUM": ("TrigID",),
    "RUN_NUM": ("run_id",),
    "EVENT_NUM": ("event_id",),
    "REVISION": ("Rev", "rev"),
    "SIGNALNESS": ("signalness",),
    "DATA_SIGNIF": ("Data_Signif",),
    "TRIGGER_SIGNIF": ("Trig_Signif",),
    "RATE_SIGNIF": ("Rate_Signif",),
    "IMAGE_SIGNIF": ("Image_Signif",),
    "TRIGGER_DUR": ("Trig_Dur",),
    "INTEG_TIME": ("Integ_Time",),
    "HARD_RATIO": ("Hardness_Ratio",),
}
"""The Params of the same notices in VOEvent."""
_TEST = re.compile(r"this is (?:only )?a test|\btest (?:notice|alert|event|position|message)", re.IGNORECASE)
_RETRACTION = re.compile(r"\bretract|\bnot a GRB\b", re.IGNORECASE)
_NUMBERS = {name: number for number, name in NOTICES.items()}
_PHRASES = {
    "fermi-gbm alert": "FERMI_GBM_ALERT",
    "fermi-gbm flight position": "FERMI_GBM_FLT_POS",
    "fermi-gbm ground position": "FERMI_GBM_GND_POS",
    "fermi-gbm final position": "FERMI_GBM_FIN_POS",
    "fermi-gbm subthreshold": "FERMI_GBM_SUBTHRESH",
    "swift-bat grb alert": "SWIFT_BAT_GRB_ALERT",
    "swift-bat grb position": "SWIFT_BAT_GRB_POS_ACK",
    "swift-xrt position": "SWIFT_XRT_POSITION",
    "swift-uvot position": "SWIFT_UVOT_POS",
    "integral wakeup": "INTEGRAL_WAKEUP",
    "integral refined": "INTEGRAL_REFINED",
    "integral offline": "INTEGRAL_OFFLINE",
    "integral weak": "INTEGRAL_WEAK",
    "icecube astrotrack gold": "ICECUBE_ASTROTRACK_GOLD",
    "icecube astrotrack bronze": "ICECUBE_ASTROTRACK_BRONZE",
    "icecube cascade": "ICECUBE_CASCADE",
}
"""What the notice calls its type, where it came without the topic that says it."""


def parse_text(packet: bytes, topic: str) -> Alert:
    """Make an `Alert` of a notice or a circular in text.

    Raises:
        AlertError: it is too long, or neither.
    """
    if len(packet) > MAX_BYTES:
        raise AlertError(f"the text has {len(packet)} bytes; at most {MAX_BYTES} are taken")
    fields = _fields(packet.decode("utf-8", "replace"))
    title = " ".join(_first(fields, "TITLE").split())
    if title == "GCN CIRCULAR" and fields.get("NUMBER"):
        return circular(fields["NUMBER"][0].strip()[:20], "", "")
    match = _TITLE.fullmatch(title)
    if match is None or "NOTICE_TYPE" not in fields:
        raise AlertError(f"a text, but no notice or circular of GCN: TITLE {title[:60]!r}")
    return _notice(fields, match[1] or "", topic)


def circular(number: str, event: str, version: str) -> Alert:
    """Make the alert of a GCN circular: prose for people, kept and found, never acted on."""
    return Alert(
        stream="gcn.circulars",
        id=f"gcn.circulars:{number}:{version}" if version else f"gcn.circulars:{number}",
        role="utility",
        event=f"gcn.circulars:{event or number}",
        notice_type="gcn.circulars",
    )


def _fields(text: str) -> dict[str, list[str]]:
    """Return the values by key, in the order of the lines; a key may stand often (COMMENTS)."""
    fields: dict[str, list[str]] = {}
    last: list[str] = []
    for line in text.splitlines()[:5_000]:
        match = _FIELD.fullmatch(line.rstrip())
        if match:
            last = fields.setdefault(match[1], [])
            last.append(match[2].strip()[:_MAX_VALUE])
        elif line[:1].isspace() and last:
            last[-1] += f" {line.strip()[:_MAX_VALUE]}"
    return fields


def _notice(fields: dict[str, list[str]], mission: str, topic: str) -> Alert:
    said = " ".join(fields["NOTICE_TYPE"][0].split())[:100]
    name = topic.removeprefix(_TOPIC) if topic.startswith(_TOPIC) else _PHRASES.get(said.lower(), "")
    name = name or re.sub(r"[^A-Z0-9]+", "_", said.upper()).strip("_") or "UNKNOWN"
    row = _row(said, mission)
    comments = " ".join(fields.get("COMMENTS", ()))[:20_000]
    number = _NUMBERS.get(name)
    params = [Param("", "Packet_Type", str(number), "")] if number is not None else []
    for key, names in _PARAMS.items():
        match = _NUMBER.match(_first(fields, key))
        params += [Param("", param, match[0], "") for param in names if match]
    if rate := _RATE.match(_first(fields, "FAR")):
        params.append(Param("", "FAR", rate[1], rate[2]))
    sent = _sent(_first(fields, "NOTICE_DATE"))
    own = next((param.value for param in params if param.name in {"TrigID", "event_id"}), "")
    count = _first(fields, "RECORD_NUM") or _first(fields, "REVISION")
    parts = (f"gcn.classic.text.{name}", own, count.strip()[:20], f"{sent:%Y-%m-%dT%H:%M:%SZ}" if sent else "")
    identifier = ":".join(part for part in parts if part)
    place = next((prefix for prefix in _PLACES if f"{prefix}_RA" in fields), "")
    radius, containment = _radius(_first(fields, f"{place}_ERROR"))
    role: Literal["test", "observation"] = (
        "test"
        if _TEST.search(comments) or "TEST" in re.split(r"[^A-Z0-9]+", f"{name} {said}".upper())
        else "observation"
    )
    alert = interpret(
        VOEvent(
            ivorn=identifier,
            role=role,
            date=sent,
            params=tuple(params),
            system="UTC-FK5-GEO",
            isotime=_moment(fields),
            offset=0.0,
            ra=_degrees(_first(fields, f"{place}_RA")),
            dec=_degrees(_first(fields, f"{place}_DEC")),
            error=radius,
            where="",
            importance=None,
            probability=None,
            citations=(),
        ),
        row,
    )
    event = alert.event
    if event == identifier and alert.time is not None:
        event = f"{row.name}:{alert.time:%Y-%m-%dT%H:%M:%S.%fZ}"
    retracts = "RETRACT" in said.upper() or _RETRACTION.search(comments) is not None
    return msgspec.structs.replace(
        alert,
        ivorn=None,
        event=event,
        notice_type=name[:100],
        kind="retraction" if retracts else alert.kind,
        containment=alert.containment if containment is None or alert.error_radius is None else containment,
        known_source=alert.known_source or "KNOWN" in said.upper().split(),
        classification=_classification(fields),
    )


def _classification(fields: dict[str, list[str]]) -> dict[str, float]:
    """Read the two most likely classes that GBM gives, ``67%  Below horizon``."""
    found: dict[str, float] = {}
    for key in ("MOST_LIKELY", "2nd_MOST_LIKELY"):
        match = _CLASS.fullmatch(_first(fields, key))
        if match and 0 < int(match[1]) <= 100:
            found.setdefault(measurements.gbm_class(match[2]), int(match[1]) / 100)
    return found


def _row(said: str, mission: str) -> Stream:
    """Return the stream's row by the notice's own type (``ICECUBE Cascade`` in AMON's notices), else by its title."""
    word = re.split(r"[\s_-]", said, maxsplit=1)[0]
    row = streams.of_mission(word)
    return row if row.name in streams.BY_NAME or not mission else streams.of_mission(mission)


def _first(fields: dict[str, list[str]], key: str) -> str:
    return fields.get(key, [""])[0]


def _degrees(text: str) -> float | None:
    match = _DEGREES.search(text[:300])
    return values.number(match[1]) if match else None


def _radius(text: str) -> tuple[float | None, float | None]:
    """Return the radius in degrees and its containment, where the unit says them."""
    match = _RADIUS.match(text)
    size = values.number(match[1]) if match else None
    if match is None or size is None:
        return None, None
    share = _CONTAINMENT.search(match[3])
    return size * _UNITS[match[2]], float(share[1]) / 100 if share else None


def _moment(fields: dict[str, list[str]]) -> str:
    """Return the event's time as ISO, from its truncated Julian day and seconds of the day; '' where it has none."""
    for prefix in _CLOCKS:
        day, seconds = _DAY.search(_first(fields, f"{prefix}_DATE")), _SECONDS.search(_first(fields, f"{prefix}_TIME"))
        if day and seconds and (moment := from_tjd(values.number(day[1]), values.number(seconds[1]))):
            return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return ""


def _sent(text: str) -> datetime | None:
    """Read NOTICE_DATE, ``Sun 01 Mar 26 00:17:41 UT``; its month is English whatever the computer's language."""
    match = _SENT.fullmatch(" ".join(text.split())[:40])
    place = _MONTHS.find(match[2]) if match else -1
    if match is None or place % 3:
        return None
    return parse_iso(f"20{match[3]}-{place // 3 + 1:02d}-{match[1]}T{match[4]}Z")
