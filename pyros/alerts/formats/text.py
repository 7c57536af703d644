"""GCN's classic notices and circulars in text (``gcn.classic.text.*``, e-mails) to `Alert`.

A notice is lines ``KEY: value``, the value with its unit in words; a line that begins with a space goes on with the one
before. https://gcn.gsfc.nasa.gov/sock_pkt_def_doc.html shows one of each type. They are read by the rows of the
streams' table, as the same notices in VOEvent are.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.formats import marks, measurements, streams, values
from pyros.alerts.formats.notices import NOTICES
from pyros.alerts.formats.params import Param
from pyros.alerts.formats.streams import Stream
from pyros.alerts.formats.times import from_tjd, parse_iso
from pyros.alerts.formats.voevent import VOEvent, interpret
from pyros.errors import AlertError

BEGIN = b"TITLE:"
MAX_BYTES = 1024 * 1024
"""Notices have 2 to 4 kB; the longest circulars 100 kB."""
_MAX_VALUE = 1_000  # characters of a line
_TOPIC = "gcn.classic.text."
_FIELD = re.compile(r"((?:2nd_)?[A-Z][A-Z0-9_/-]{0,40}|PROB_[A-Za-z]{1,20}):(.*)")
_TITLE = re.compile(r"GCN(?:/([A-Z0-9_-]{1,40}))? NOTICE")
_PLACES = ("GRB", "SRC", "EVENT", "BURST", "TRANS", "CNTRPART")
"""How the keys begin that have the source's place; NEXT_POINT_RA and SUN_RA are no source's."""
_CLOCKS = (*_PLACES, "DISCOVERY", "TRIGGER", "OBS", "IMG_START")
_DEGREES = re.compile(r"([-+]?\d{1,3}(?:\.\d{0,10})?)d? (?:\{[^}]{0,40}\} )?\(J2000\)")
_RADIUS = re.compile(r"([\d.]{1,12}) \[(deg|arcmin|arcsec)\b([^\]]{0,100})")
_CONTAINMENT = re.compile(r"(\d{2}(?:\.\d)?)% ?cont")
_DAY, _SECONDS = re.compile(r"(\d{4,5}) TJD"), re.compile(r"(\d{1,5}(?:\.\d{0,6})?) SOD")
_CLOCK = re.compile(r"\{(\d\d):(\d\d):(\d\d\.\d{1,6})\}")
"""The same seconds of the day as a time; AMON's alone have fractions."""
_NUMBER = re.compile(r"([A-Za-z]{0,3}[\d.eE+-]{1,30}[a-z]{0,3})(?: {1,3}\[?([A-Za-z][A-Za-z0-9^-]{0,19}))?")
"""An identifier or a number, and its unit: ``S190425z``, ``64 [msec]``, ``1 orbit``."""
_CODE = re.compile(r"\d{1,3} = (\w{1,40})")
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
    "EVENT_TSCALE": ("Timescale",),
    "TRANS_NUM": ("Trans_Num",),
    "TRANS_DURATION": ("Trans_Duration",),
    "GRB_MAG": ("AlertMag",),  # UVOT's Burst_Mag is in hundredths
    "HARD_RATIO": ("Hardness_Ratio",),
    "FAR": ("FAR",),
}
"""The Params of the same notices in VOEvent."""
_CODES = {"GROUP_TYPE": "Group", "PIPELINE_TYPE": "Pipeline", "SEARCH_TYPE": "Search"}
"""Keys whose value is a number and its word, ``1 = CBC``."""
_URLS = ("SKYMAP_FITS_URL", "HEALPIX_URL")
_PROBABILITY = "PROB_"
_CLASSES = {"NS": "HasNS", "REMNANT": "HasRemnant", "TERRES": "Terrestrial"}
"""How the classes of gravitational waves in text are called elsewhere, where that is not the same."""
_TEST = re.compile(
    r"\bis (?:only )?a test\b|\btest (?:notice|alert|event|position|message)|(?<!not a )(?-i:\bTEST\b)", re.IGNORECASE
)
_RETRACTION = re.compile(r"(?<!\bnot )(?<!\bnot been )\bretract|\bnot a GRB\b|StarTracker had lost lock", re.IGNORECASE)
_KNOWN = re.compile(r"\bmatches a source in the (?:on-board|ground|BAT) catalog", re.IGNORECASE)
_NUMBERS = {name: number for number, name in NOTICES.items()}
_PHRASES = {
    "fermi-gbm alert": "FERMI_GBM_ALERT",
    "fermi-gbm flight position": "FERMI_GBM_FLT_POS",
    "fermi-gbm ground position": "FERMI_GBM_GND_POS",
    "fermi-gbm final position": "FERMI_GBM_FIN_POS",
    "fermi-gbm subthreshold": "FERMI_GBM_SUBTHRESH",
    "fermi-lat offline position": "FERMI_LAT_OFFLINE",
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
    fields = _fields(packet.decode(json.detect_encoding(packet), "replace"))
    title = " ".join(_first(fields, "TITLE").split()).upper()
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
    params = _params(fields, _NUMBERS.get(name))
    sent = _sent(_first(fields, "NOTICE_DATE"))
    own = next((param.value for param in params if param.name in {"TrigID", "event_id"}), "")
    count = _first(fields, "RECORD_NUM") or _first(fields, "REVISION")
    parts = (f"gcn.classic.text.{name}", own, count.strip()[:20], f"{sent:%Y-%m-%dT%H:%M:%SZ}" if sent else "")
    identifier = ":".join(part for part in parts if part)
    place = next((prefix for prefix in _PLACES if f"{prefix}_RA" in fields), "")
    radius, containment = _error(fields, place)
    test = _TEST.search(comments) is not None or marks.says_test(name, said)
    alert = interpret(
        VOEvent(
            ivorn=identifier,
            role="test" if test else "observation",
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
    retracts = marks.says_retraction(said) or _RETRACTION.search(comments) is not None
    return msgspec.structs.replace(
        alert,
        ivorn=None,
        event=event,
        notice_type=name[:100],
        kind="retraction" if retracts else alert.kind,
        containment=alert.containment if containment is None or alert.error_radius is None else containment,
        known_source=alert.known_source or "KNOWN" in said.upper().split() or _KNOWN.search(comments) is not None,
        classification=alert.classification or _classification(fields),
    )


def _params(fields: dict[str, list[str]], packet_type: int | None) -> list[Param]:
    """Return the Params that the same notice has as a VOEvent."""
    params = [Param("", "Packet_Type", str(packet_type), "")] if packet_type is not None else []
    for key, names in _PARAMS.items():
        match = _NUMBER.match(_first(fields, key))
        params += [Param("", param, match[1], match[2] or "") for param in names if match]
    for key, param in _CODES.items():
        params += [Param("", param, match[1], "") for match in [_CODE.match(_first(fields, key))] if match]
    if "RUN_NUM" not in fields and (match := _NUMBER.match(_first(fields, "EVENT_NUM"))):
        params.append(Param("", "Event_ID", match[1], ""))  # AMON's coincidences are of no detector's run
    params += [Param("", "skymap_fits", url, "") for key in _URLS if (url := _first(fields, key))]
    for key in fields:
        if key.startswith(_PROBABILITY) and (match := _NUMBER.match(_first(fields, key))):
            name = key.removeprefix(_PROBABILITY)
            params.append(Param("Classification", _CLASSES.get(name, name), match[1], ""))
    return params


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


def _error(fields: dict[str, list[str]], place: str) -> tuple[float | None, float | None]:
    """Return the radius in degrees and its containment; some notices have only one key for each containment."""
    for share in ("", "90", "68", "95", "50"):
        radius, containment = _radius(_first(fields, f"{place}_ERROR{share}"))
        if radius is not None:
            return radius, containment or (int(share) / 100 if share else None)
    return None, None


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
        if not day or not seconds:
            continue
        second, clock = values.number(seconds[1]) or 0.0, _CLOCK.search(_first(fields, f"{prefix}_TIME"))
        finer = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else second
        if moment := from_tjd(values.number(day[1]), finer if abs(finer - second) <= 1 else second):
            return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return ""


def _sent(text: str) -> datetime | None:
    """Read NOTICE_DATE, ``Sun 01 Mar 26 00:17:41 UT``; its month is English whatever the computer's language."""
    match = _SENT.fullmatch(" ".join(text.split())[:40])
    place = _MONTHS.find(match[2]) if match else -1
    if match is None or place % 3:
        return None
    return parse_iso(f"20{match[3]}-{place // 3 + 1:02d}-{match[1]}T{match[4]}Z")
