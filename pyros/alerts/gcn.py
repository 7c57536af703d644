"""JSON notices to `Alert`: GCN's unified schema, igwn.gwalert, GCN circulars, VOEvents turned into JSON, SNEWS 2.0.

GCN's schema: https://gcn.nasa.gov/docs/schema (core fields: all optional). igwn.gwalert: the LIGO/Virgo/KAGRA Public
Alerts User Guide, section "Alert Contents".
"""

from __future__ import annotations

import codecs
import hashlib
import re
from typing import Any

import msgspec

from pyros.alerts import numbering, snews, streams, surveys, values
from pyros.alerts.alert import Alert, Kind, Role
from pyros.alerts.streams import Stream
from pyros.alerts.times import parse_iso
from pyros.alerts.voevent import parse_voevent_json
from pyros.errors import AlertError

MAX_BYTES = 64 * 1024 * 1024
"""igwn.gwalert carries sky maps of 1 to 2.3 MB; ten times the largest multi-order map fits."""

_SCHEMA = re.compile(r"(?:[^?#]{0,200}/)?gcn/(notices/([\w/.-]+?)|circulars)\.schema\.json#?")
"""Wherever the schema is fetched from: https://gcn.nasa.gov/schema/v4.3.0/gcn/notices/..., or its repository."""
_WRAPPED = frozenset({"format", "content"})
"""What SCiMMA's hop client writes around a message."""
_TOPIC = re.compile(r"gcn\.notices\.([a-z0-9_]+)\..+")
_PLACES = ("localization", "location", "position", "event", "alert", "source", "target")
"""Where schemas of a mission's own nest what the unified one has at the top."""
_GW_KINDS: dict[str, Kind] = {
    "EARLYWARNING": "initial",
    "PRELIMINARY": "initial",
    "INITIAL": "update",  # vetted by people; it follows a preliminary one
    "UPDATE": "update",
    "RETRACTION": "retraction",
}
_KINDS: dict[str, Kind] = {
    "initial": "initial",
    "subsequent": "initial",  # another burst of the same source, with its own id
    "update": "update",
    "retraction": "retraction",
}
_ROLES: dict[str, Role] = {
    "current": "observation",
    "archival": "observation",
    "planned": "utility",
    "commanded": "utility",
    "injection": "test",
    "injections": "test",
    "test": "test",
}
_SIZES = ("ra_uncertainty", "dec_uncertainty", "circle_error_radius", "elliptical_error_radii")
"""Error radii in degrees as earlier schemas called them."""
_CORE = frozenset({"trigger_time", "alert_datetime", "alert_type", "alert_tense", "ra", "ra_dec_error", "mission"})
"""Without a schema and a topic, a JSON object with at least two of these is taken for a notice."""
_ENOUGH = 2


def parse_json(packet: bytes, topic: str) -> Alert:
    """A JSON packet to an `Alert`.

    Raises:
        AlertError: not JSON, or JSON of no kind that is known.
    """
    if len(packet) > MAX_BYTES:
        raise AlertError(f"the JSON has {len(packet)} bytes; at most {MAX_BYTES} are taken")
    try:
        notice = msgspec.json.decode(_utf8(packet))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise AlertError(f"not JSON: {str(error)[:200]}") from None
    if not isinstance(notice, dict):
        raise AlertError("the JSON is not an object")
    if notice.keys() == _WRAPPED and isinstance(notice["content"], dict):
        notice = notice["content"]
    if (other := _of_another_shape(notice)) is not None:
        return other
    schema = _SCHEMA.fullmatch(_text(notice.get("$schema")))
    known = len(_CORE & notice.keys())
    foreign = _text(notice.get("$schema")) if schema is None and notice.get("$schema") is not None else None
    if foreign is not None and (known < _ENOUGH or "json-schema.org" in foreign):
        raise AlertError(f"JSON of schema {_text(notice['$schema'])[:100]!r}, not a notice of gcn.nasa.gov/schema")
    if (schema and schema[1] == "circulars") or (schema is None and {"circularId", "subject"} <= notice.keys()):
        return _circular(notice)
    if schema:
        topic = "gcn.notices." + schema[2].replace("/", ".")
    elif not _TOPIC.fullmatch(topic):
        if known < _ENOUGH:
            raise AlertError("JSON, but no alert: no $schema of GCN, no superevent_id, no fields of a notice")
        topic = "gcn.notices." + (_text(notice.get("mission")).lower().replace(" ", "_") or "unknown")
    return _notice(notice, topic, packet)


def _of_another_shape(notice: dict[str, Any]) -> Alert | None:
    """The alert, where it is none of GCN's schema."""
    if "superevent_id" in notice:
        return _gravitational_wave(notice)
    if notice.keys() >= snews.FIELDS:
        return snews.parse_coincidence(notice)
    if "ivorn" in notice and "role" in notice:
        return parse_voevent_json(notice)
    survey = surveys.of_notice(notice)
    return surveys.parse_detection(notice, survey) if survey else None


def _utf8(packet: bytes) -> bytes:
    """JSON is UTF-8; some write a byte order mark before it, or UTF-16, or end it as a C string."""
    if packet.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        packet = packet.decode("utf-16").encode()
    return packet.removeprefix(codecs.BOM_UTF8).rstrip(b" \t\r\n\0")


def _notice(notice: dict[str, Any], topic: str, packet: bytes) -> Alert:
    """A notice of the unified schema."""
    name = topic.removeprefix("gcn.notices.").removeprefix("classic.")  # notices of other missions, translated by GCN
    row = streams.of_schema(name.partition(".")[0].lower())
    target = _target(notice)
    place = values.position(values.number(target.get("ra")), values.number(target.get("dec")))
    error = _error(target, place)
    containment = values.fraction(_percent(target.get("containment_probability", 0.9))) if error is not None else None
    named = _named(notice, target, row)
    event = _event(notice, row, named, name)
    word = _text(notice.get("alert_type")).lower()
    tense = _text(notice.get("alert_tense")).lower()
    role = _ROLES.get(tense, "observation")
    if "test" in name.lower().split(".") or _is_mock(event):
        role = "test"
    record = notice.get("record_number")
    kind = _kind(notice, row, word)
    time = parse_iso(_text(_field(notice, "trigger_time")))
    sent = parse_iso(_text(notice.get("alert_datetime")))
    if not event:
        event = (
            f"{row.name}:{time.strftime('%Y-%m-%dT%H:%M:%S.%fZ') if time else hashlib.sha1(packet).hexdigest()[:16]}"
        )
    classes = _probabilities(
        notice.get("classification"),
        notice.get("properties"),
        target.get("classification_scores"),
        target.get("classifications"),
    )
    subtype = _text(notice.get("subtype")) or _text(notice.get("pipeline"))
    notice_type = f"{name}/{subtype}" if subtype else name
    parts = (topic, event.partition(":")[2], word, record, notice.get("alert_datetime"), subtype)
    return Alert(
        stream=row.name,
        id=":".join(str(part)[:200] for part in parts if part not in (None, "")),
        role=role,
        kind=kind,
        event=event,
        notice_type=notice_type[:200],
        time=time,
        sent=sent,
        ra=place[0] if place else None,
        dec=place[1] if place else None,
        error_radius=error,
        containment=containment,
        skymap=_skymap(target),
        importance=_first_fraction(notice, "importance", "p_astro"),
        far=values.hertz(notice.get("far"), "Hz"),
        known_source=bool(notice.get("known_source")) or name in row.known_types or classes.get("unknown") == 0,
        classification=classes,
        names=numbering.further_names(row, event, named) if named else (),
        related=_related(notice, named),
    )


def _kind(notice: dict[str, Any], row: Stream, word: str) -> Kind:
    if word.startswith("retract") or any(notice.get(field) is value for field, value in row.json_retraction):
        return "retraction"
    record = notice.get("record_number")
    return _KINDS.get(word) or ("update" if isinstance(record, int) and record > 1 else "initial")


def _gravitational_wave(notice: dict[str, Any]) -> Alert:
    """igwn.gwalert."""
    word, name = _text(notice.get("alert_type")).upper(), _text(notice.get("superevent_id"))
    kind = _GW_KINDS.get(word)
    if kind is None:
        raise AlertError(
            f"alert_type {word[:40]!r} is none of {', '.join(_GW_KINDS)}: a record of GraceDB, not igwn.gwalert"
        )
    if not name or len(name) > 100:
        raise AlertError(f"superevent_id {name[:100]!r} names no event")
    content = notice.get("event")
    event: dict[str, Any] = content if isinstance(content, dict) else {}
    mock = _is_mock(f"lvc:{name}") or "MDC" in _text(event.get("search"))
    significant = event.get("significant")
    return Alert(
        stream="lvc",
        id=f"igwn.gwalert:{name}:{word}:{_text(notice.get('time_created'))[:40]}",
        role="test" if mock else "observation",
        kind=kind,
        event=f"lvc:{name}",
        notice_type=f"LVC_{word}",
        time=parse_iso(_text(event.get("time"))),
        sent=parse_iso(_text(notice.get("time_created"))),
        skymap="embedded" if event.get("skymap") else None,
        far=values.hertz(event.get("far"), "Hz"),
        significant=significant if isinstance(significant, bool) else None,
        classification=_probabilities(event.get("classification"), event.get("properties")),
        related=_coincidence(notice.get("external_coinc")),
    )


def _coincidence(found: object) -> tuple[str, ...]:
    """The key of the burst that LVK found together with a gravitational wave."""
    if not isinstance(found, dict):
        return ()
    return numbering.reference(_text(found.get("observatory")), _text(found.get("gcn_notice_id")))


def _circular(notice: dict[str, Any]) -> Alert:
    """A GCN circular: prose for people. Kept and found, never acted on."""
    event, number = _text(notice.get("eventId")), _text(notice.get("circularId"))
    return Alert(
        stream="gcn.circulars",
        id=f"gcn.circulars:{number}",
        role="utility",
        event=f"gcn.circulars:{event or number}",
        notice_type="gcn.circulars",
    )


def _target(notice: dict[str, Any]) -> dict[str, Any]:
    """Where the localization stands: at the top, in the only target of ``data`` (BOOM), or one level below."""
    if "ra" in notice:
        return notice
    data = notice.get("data")
    targets = data.get("targets") if isinstance(data, dict) else None
    if isinstance(targets, list) and len(targets) == 1 and isinstance(targets[0], dict):
        return targets[0]
    nested = [place for name in _PLACES if isinstance(place := notice.get(name), dict) and "ra" in place]
    return nested[0] if len(nested) == 1 else notice


def _field(notice: dict[str, Any], name: str) -> Any:
    """A field at the top, or in ``event`` or ``alert``."""
    for source in (notice, notice.get("event"), notice.get("alert")):
        if isinstance(source, dict) and source.get(name) is not None:
            return source[name]
    return None


def _named(notice: dict[str, Any], target: dict[str, Any], row: Stream) -> list[tuple[str, list[str]]]:
    """What names the event, field by field in the row's order; the first value of all is the one it goes by."""
    found: list[tuple[str, list[str]]] = []
    for field in row.json_event:
        for source in (notice, target, notice.get("event"), notice.get("alert")):
            if not isinstance(source, dict):
                continue
            value = source.get(field)
            names = [_joined(value)] if row.json_id_parts and field == "id" else _texts(value)
            if any(names):
                found.append((field, [name for name in names if name]))
                break
    return found


def _event(notice: dict[str, Any], row: Stream, named: list[tuple[str, list[str]]], name: str) -> str:
    """The event's key by the first identifier that the notice has; '' where it has none."""
    for _, identifiers in named:
        for identifier in identifiers:
            if key := numbering.event_key(row, identifier):
                return key
    if not row.json_event or name.startswith("core."):
        return ""
    reference = _text(notice.get("ref_ID")) or _text(notice.get("ref_id"))
    key = numbering.event_key(row, reference) if reference else None
    return key if key and key.startswith("lvc:") else ""


def _related(notice: dict[str, Any], named: list[tuple[str, list[str]]]) -> tuple[str, ...]:
    """Other missions' keys of the same event: what launched the search for it, and a burst's own name."""
    found = [key for field, names in named if field == "event_name" for key in numbering.burst_name(names)]
    identifier = _text(notice.get("ref_ID")) or _text(notice.get("ref_id"))
    found += numbering.reference(_text(notice.get("ref_instrument")), identifier)
    found += numbering.external(_text(notice.get("follow_up_event")))
    return tuple(dict.fromkeys(found))


def _error(target: dict[str, Any], place: tuple[float, float] | None) -> float | None:
    """Degrees: a number, [a], [a, b] or [a, b, position angle]; or the farthest corner of a box (MAXI)."""
    if place is None:
        return None
    given = [target.get("ra_dec_error")]
    if given == [None]:  # early schemas
        error = target.get("error")
        given = [target.get(name) for name in _SIZES]
        given += [error.get("radius")] if isinstance(error, dict) else []
    sizes = [values.radius(size) for each in given for size in (_sides(each) if isinstance(each, list) else [each])]
    known = [size for size in sizes if size is not None]
    if known:
        return max(known)
    corners = target.get("rectangular_error_corners")
    distances = []
    for corner in corners[:100] if isinstance(corners, list) else ():
        if isinstance(corner, list) and len(corner) == 2:
            ra, dec = values.number(corner[0]), values.number(corner[1])
            if ra is not None and dec is not None and -90 <= dec <= 90:
                distances.append(values.separation(*place, ra, dec))
    return values.radius(max(distances)) if distances else None


def _sides(sizes: list[Any]) -> list[Any]:
    """Of [a], [a, b], [a, b, position angle], or [below, above] (-1.5, 1.4)."""
    return [abs(size) if len(sizes) > 1 and isinstance(size, int | float) else size for size in sizes[:2]]


def _skymap(target: dict[str, Any]) -> str | None:
    url = _text(target.get("healpix_url"))
    if url.startswith(("http://", "https://")) and len(url) < 2000:
        return url
    return "embedded" if target.get("healpix_file") else None


def _probabilities(*tables: object) -> dict[str, float]:
    found: dict[str, float] = {}
    for table in tables:
        pairs: list[tuple[object, object]] = list(table.items()) if isinstance(table, dict) else []
        if isinstance(table, list):  # BOOM's
            classes = (item for item in table if isinstance(item, dict))
            pairs = [(_text(item.get("classification")), item.get("probability")) for item in classes]
        for name, value in pairs[:100]:
            if name and (probability := values.fraction(value)) is not None:
                found[str(name)[:100]] = probability
    return found


def _first_fraction(notice: dict[str, Any], *fields: str) -> float | None:
    return next((value for field in fields if (value := values.fraction(notice.get(field))) is not None), None)


def _percent(value: object) -> float | None:
    """A probability, also where it is written in percent (68.0)."""
    size = values.number(value)
    return size / 100 if size is not None and 1 < size <= 100 else size


def _texts(value: object) -> list[str]:
    """The strings and numbers of a list, or the only one."""
    return [_text(each) for each in (value[:100] if isinstance(value, list) else [value])]


def _joined(value: object) -> str:
    """The parts of an identifier, ``["137840", "57034692"]``, as one; else as `_text`."""
    parts = [_text(part) for part in value] if isinstance(value, list) else []
    if len(parts) > 1 and all(part.isdecimal() for part in parts):
        return "_".join(parts)
    return _text(value)


def _is_mock(event: str) -> bool:
    """LVK's mock (``MS``) and test (``TS``) superevents."""
    return event.startswith(("lvc:MS", "lvc:TS"))


def _text(value: object) -> str:
    """A string, a number's text, or the first of a list of them; '' for everything else."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
