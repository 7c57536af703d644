"""JSON notices to `Alert`: GCN's unified schema, igwn.gwalert, GCN circulars, VOEvents turned into JSON, SNEWS 2.0.

GCN's schema: https://gcn.nasa.gov/docs/schema (core fields: all optional). igwn.gwalert: the LIGO/Virgo/KAGRA Public
Alerts User Guide, section "Alert Contents".
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import msgspec

from pyros.alerts.alert import Alert, Kind, Role
from pyros.alerts.formats import event_keys, localization, marks, measurements, snews, streams, surveys, text, values
from pyros.alerts.formats.streams import Stream
from pyros.alerts.formats.times import parse_iso
from pyros.alerts.formats.voevent import parse_voevent_json
from pyros.errors import AlertError
from pyros.printable import printable

MAX_BYTES = 64 * 1024 * 1024
"""igwn.gwalert carries sky maps of 1 to 2.3 MB; ten times the largest multi-order map fits."""

_SCHEMA = re.compile(r"(?:[^?#]{0,200}/)?gcn/(notices/([\w/.-]+?)|circulars)\.schema\.json#?")
"""Wherever the schema is fetched from: https://gcn.nasa.gov/schema/v4.3.0/gcn/notices/..., or its repository."""
_NO_NUMBER = re.compile(rb"[:,\[]\s*-?(?:NaN|Infinity)\b")
_ENVELOPES = ("content", "data", "payload", "message", "notice", "value", "reply")
"""Fields in which services put a packet as its author made it (SCiMMA's hop client, Kafka Connect, TNS's API), one in
another."""
_NOT_LETTERS = re.compile(r"[^A-Z]+")
_MAX_TARGETS = 100
_MAX_ENVELOPES = 3
_HERMES = frozenset({"title", "submitter", "message_text"})
_TOPIC = re.compile(r"gcn\.notices\.([a-z0-9_]+)\..+")
_PLACES = ("event", "alert", "datetime", "discovery_datetime")
"""Where early schemas nest what the unified one has at the top."""
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
_UTILITY = frozenset({"planned", "commanded"})
"""Words under ``alert_tense``, in early schemas under ``alert_type``, for what nothing was seen of yet."""
_SAYING = ("alert_tense", "alert_type", "role", "notice_type", "subtype", "status", "mode")
"""Fields in which a notice says what it is."""
_CORE = frozenset({"trigger_time", "alert_datetime", "alert_type", "alert_tense", "ra", "ra_dec_error", "mission"})
_QUOTE_BY_NUMBER = rb"\u0022"
CONTAINMENT = 0.9
"""Of an error whose notice doesn't tell it (GCN's schema, core/Localization), or says null."""
MIN_CORE_FIELDS = 2
"""Without a schema and a topic, a JSON object with so many of these fields is taken for a notice."""


def read_json(packet: bytes) -> Any:
    """Decode a JSON packet.

    Raises AlertError where it isn't JSON, and where an object has a name twice with different values.
    """
    if len(packet) > MAX_BYTES:
        raise AlertError(f"the JSON has {len(packet)} bytes; at most {MAX_BYTES} are taken")
    try:
        packet = _utf8(packet).strip(b" \t\r\n\0")
        notice = _decode(packet)
        _check_names(packet, notice)
        return notice
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
        raise AlertError(f"not JSON: {str(error)[:200]}") from None


def _check_names(packet: bytes, notice: Any) -> None:
    """Raise AlertError where a name stands twice in an object with different values.

    Which of them counts is each reader's choice (RFC 8259, section 4), so that I-JSON forbids it (RFC 7493, section
    2.3), and one of two values of ``alert_type`` may take the event back. Written again, a packet without such names
    has as many quotation marks as before, unless one was written by its number; only where that may be otherwise are
    all names looked at.
    """
    if _QUOTE_BY_NUMBER in packet or packet.count(b'"') != msgspec.json.encode(notice).count(b'"'):
        json.loads(packet, object_pairs_hook=_object, parse_constant=lambda _: None)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if members.setdefault(name, value) != value:
            shown = " and ".join(str(each)[:60] for each in (members[name], value))
            raise AlertError(f"JSON with {name[:60]!r} twice: {printable(shown)}")
    return members


def targets_of(notice: Any) -> list[Any]:
    """Return a notice as one of each of its targets, which are events of their own (BOOM); any other as it is."""
    data = notice.get("data") if isinstance(notice, dict) else None
    targets = data.get("targets") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(targets, list) or len(targets) < 2 or notice.keys() >= _HERMES:
        return [notice]
    return [{**notice, "data": {**data, "targets": [each]}} for each in targets[:_MAX_TARGETS]]


def parse_notice(notice: Any, topic: str) -> Alert:
    """Make an `Alert` of a decoded notice: of JSON, or of an Avro record with the same fields.

    Raises:
        AlertError: it is of no kind that is known.
    """
    if isinstance(notice, list) and len(notice) == 1:
        notice = notice[0]
    if isinstance(notice, list):
        raise AlertError(f"a JSON list of {len(notice)}: a packet is one notice, and has an object to itself")
    if not isinstance(notice, dict):
        raise AlertError("the JSON is not an object")
    other, enveloped = _of_another_shape(notice), 0
    while other is None and enveloped < _MAX_ENVELOPES and (inner := _enveloped(notice)) is not None:
        notice, enveloped = inner, enveloped + 1
        other = _of_another_shape(notice)
    if other is not None:
        return other
    schema = _SCHEMA.fullmatch(_text(notice.get("$schema")))
    known = len(_CORE & notice.keys())
    foreign = _text(notice.get("$schema")) if schema is None and notice.get("$schema") is not None else None
    if foreign is not None and (known < MIN_CORE_FIELDS or "json-schema.org" in foreign):
        raise AlertError(f"JSON of schema {_text(notice['$schema'])[:100]!r}, not a notice of gcn.nasa.gov/schema")
    if (schema and schema[1] == "circulars") or (schema is None and {"circularId", "subject"} <= notice.keys()):
        return text.circular(*(_text(notice.get(name)) for name in ("circularId", "eventId", "version")))
    if schema:
        topic = "gcn.notices." + schema[2].replace("/", ".")
    elif not _TOPIC.fullmatch(topic):
        if known < MIN_CORE_FIELDS:
            raise AlertError("JSON, but no alert: no $schema of GCN, no superevent_id, no fields of a notice")
        topic = f"gcn.notices.{_mission(notice) or 'unknown'}"
    return _notice(notice, topic)


def map_within(notice: Any) -> object:
    """Return the sky map that a decoded notice carries, base64 or bytes; None where there is none."""
    if isinstance(notice, list) and len(notice) == 1:
        notice = notice[0]
    for _ in range(_MAX_ENVELOPES + 1):
        if not isinstance(notice, dict):
            return None
        event = notice.get("event")
        found = event.get("skymap") if isinstance(event, dict) else None
        if found := found or localization.find_target(notice).get("healpix_file") or notice.get("healpix_file"):
            return found if isinstance(found, str | bytes) else None
        notice = _enveloped(notice)
    return None


def _decode(packet: bytes) -> Any:
    """Decode JSON, also with ``NaN``, ``Infinity`` and ``1e400``, which become null."""
    try:
        return msgspec.json.decode(packet)
    except msgspec.DecodeError as error:
        if not _NO_NUMBER.search(packet) and "out of range" not in str(error):
            raise
        return msgspec.json.decode(msgspec.json.encode(json.loads(packet, parse_constant=lambda _: None)))


def _enveloped(notice: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an object holds that says nothing of an alert itself; None where it is no envelope."""
    if "$schema" in notice or len(_CORE & notice.keys()) >= MIN_CORE_FIELDS:
        return None
    return next((inner for name in _ENVELOPES if isinstance(inner := _unpacked(notice.get(name)), dict)), None)


def _unpacked(content: object) -> object:
    """Return what a field of an envelope holds: an object, the only one of a list, or one that is written as a text."""
    if isinstance(content, list) and len(content) == 1:
        return content[0]
    if isinstance(content, str) and content.lstrip()[:1] == "{":
        try:
            return read_json(content.encode())
        except (AlertError, UnicodeEncodeError):
            return None
    return content


def _of_another_shape(notice: dict[str, Any]) -> Alert | None:
    """Make the alert of a packet of a known shape that is not GCN's schema; None for others."""
    if "superevent_id" in notice:
        return _gravitational_wave(notice)
    if notice.keys() >= _HERMES:
        return _hermes(notice)
    if notice.keys() >= snews.FIELDS:
        return snews.parse_coincidence(notice)
    inner = next(iter(notice.values())) if len(notice) == 1 else None
    if isinstance(inner, dict) and next(iter(notice)).rpartition(":")[2] == "VOEvent":
        return parse_voevent_json(inner)
    if "ivorn" in notice and "role" in notice:
        return parse_voevent_json(notice)
    notice = surveys.in_words_of_ztf(notice)
    survey = surveys.of_notice(notice)
    return surveys.parse_detection(notice, survey) if survey else None


def _hermes(notice: dict[str, Any]) -> Alert:
    """Make the alert of a message that a person wrote on HERMES (https://hermes.lco.global): prose, never acted on."""
    data = notice.get("data")
    about = _text(data.get("event_id")) if isinstance(data, dict) else ""
    own = _text(notice.get("uuid")) or _digest(notice)[:16]
    return Alert(
        stream="hermes",
        id=f"hermes:{own[:100]}",
        role="utility",
        event=f"hermes:{(about or own)[:200]}",
        notice_type=(_text(notice.get("topic")) or "hermes")[:100],
    )


def _utf8(packet: bytes) -> bytes:
    """Make a packet plain UTF-8: some are UTF-16, with or without a byte order mark, and old ones Latin-1."""
    encoding = json.detect_encoding(packet)
    if encoding != "utf-8":
        return packet.decode(encoding).encode()
    try:
        packet.decode()
    except UnicodeDecodeError:
        return packet.decode("latin-1").encode()
    return packet


def _notice(notice: dict[str, Any], topic: str) -> Alert:
    """Make the alert of a notice of the unified schema."""
    name = topic.removeprefix("gcn.notices.").removeprefix("classic.")  # notices of other missions, translated by GCN
    row = _row(notice, streams.of_schema(name.partition(".")[0].lower()))
    target = localization.find_target(notice)
    place, error, pointing = localization.find_position(target, row)
    said = target.get("containment_probability")
    share = values.fraction(_percent(CONTAINMENT if said is None else said))
    containment = share or None if error is not None else None
    named = _named(notice, target, row)
    event = _event(notice, row, named, name)
    word, own_type = _text(_field(notice, "alert_type")).lower(), _text(notice.get("notice_type"))
    role = _role(notice, row, name, event)
    record, written = _text(_field(notice, "record_number")), _text(_field(notice, "alert_datetime"))
    kind = _kind(notice, row, name, record)
    scale = _text(_field(notice, "time_system") or _field(notice, "time_scale")).upper()
    time = parse_iso(_text(_field(notice, "trigger_time")), scale or "UTC")
    if row.event_by_day and time is not None:
        event = event_keys.by_day(row, time)
    sent = parse_iso(written)
    known_source = _is_known(notice, row, name)
    if event and known_source and named and named[0][0] == "event_name":
        event = event_keys.of_source(event, named[0][1][0], time or parse_iso(_text(notice.get("observation_start"))))
    if not event:
        event = f"{row.name}:{time.strftime('%Y-%m-%dT%H:%M:%S.%fZ') if time else _digest(notice)[:16]}"
    classes = _probabilities(
        notice.get("classification"),
        notice.get("properties"),
        target.get("classification_scores"),
        target.get("classifications"),
    )
    if row.name == "fermi":
        classes = {measurements.gbm_class(each): probability for each, probability in classes.items()}
    subtype = _text(notice.get("subtype")) or own_type or _text(notice.get("pipeline"))
    notice_type = f"{name}/{subtype}" if subtype else name
    parts = (
        *(topic, event.partition(":")[2], word, record, written, subtype),
        *(role if role == "test" else "", "" if record or written else _digest(notice)[:8]),
    )
    return Alert(
        stream=row.name,
        id=":".join(part[:200] for part in parts if part),
        role=role,
        kind=kind,
        event=event,
        notice_type=notice_type[:200],
        time=time,
        sent=sent,
        ra=place[0] if place else None,
        dec=place[1] if place else None,
        pointing=pointing,
        error_radius=error,
        containment=containment,
        skymap=localization.find_skymap(target),
        importance=_first_fraction(notice, "importance", "p_astro"),
        far=values.hertz(notice.get("far"), "Hz"),
        significant=values.truth(notice.get("significant")),
        known_source=known_source or classes.get("unknown") == 0,
        classification=classes,
        instruments=measurements.words(notice.get("instruments") or notice.get("instrument")),
        pipeline=_text(notice.get("pipeline"))[:100],
        search=_text(notice.get("search"))[:100],
        measured=measurements.of_photometry(notice.get("data"), target)
        | measurements.of_notice(target)
        | measurements.of_notice(notice, signalness=bool(row.importance)),
        names=event_keys.further_names(row, event, named) if named else (),
        related=_related(notice, named),
    )


def _mission(notice: dict[str, Any]) -> str:
    """Return the mission's name as topics have it: ``super_kamiokande``."""
    return re.sub(r"[^a-z0-9]+", "_", _text(notice.get("mission")).lower()[:200]).strip("_")


def _row(notice: dict[str, Any], row: Stream) -> Stream:
    """Choose the row that the notice itself asks for, where one schema serves several streams."""
    for field, expression, name in row.json_rows:
        if streams.pattern(expression).fullmatch(_text(notice.get(field))[:200]):
            return streams.BY_NAME[name]
    return row


def _role(notice: dict[str, Any], row: Stream, name: str, event: str) -> Role:
    """Return the role: ``test`` where anything says so, ``utility`` where nothing was seen yet."""
    said = _said(notice)
    if marks.says_test(name, *said, *_texts(notice.get("event_name"))) or _is_mock(event):
        return "test"
    if marks.is_marked(row.test, *_levels(notice)):
        return "test"
    return "utility" if not _UTILITY.isdisjoint(word.lower() for word in said) else "observation"


def _kind(notice: dict[str, Any], row: Stream, name: str, record: str) -> Kind:
    """Return the kind by whatever says it: a retraction, the schema's word, what counts the notices."""
    marked = any(values.truth(notice.get(field)) is value for field, value in row.json_retraction)
    if marked or marks.says_retraction(name, *_said(notice)) or marks.is_marked(row.retraction, *_levels(notice)):
        return "retraction"
    word = _text(_field(notice, "alert_type")).lower()
    return _KINDS.get(word) or ("update" if (values.number(record) or 0) > 1 else "initial")


def _said(notice: dict[str, Any]) -> list[str]:
    """Return what a notice says that it is."""
    return [_text(_field(notice, field)) for field in _SAYING]


def _levels(notice: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a notice, and what early schemas nest in it."""
    return [notice, *(place for name in _PLACES if isinstance(place := notice.get(name), dict))]


def _is_known(notice: dict[str, Any], row: Stream, name: str) -> bool:
    """Tell whether the author of the notice knows the source from before."""
    marks = ((_text(notice.get(field))[:200], expression) for field, expression in row.known_values)
    marked = any(not values.is_nothing(text) and streams.pattern(mark).fullmatch(text) for text, mark in marks)
    source = notice.get("known_source")
    named = _text(source)
    known = source is True or (not values.is_nothing(named) and values.truth(named) is not False)
    return known or name in row.known_types or marked


def _digest(notice: dict[str, Any]) -> str:
    """Return what tells a notice from others of its event where it has neither count nor date (DSA-110, CHIME)."""
    return hashlib.sha1(msgspec.json.encode(notice, order="sorted")).hexdigest()


def _gravitational_wave(notice: dict[str, Any]) -> Alert:
    """Make the alert of an igwn.gwalert packet."""
    said, name = _text(notice.get("alert_type")), _text(notice.get("superevent_id"))
    word = "RETRACTION" if marks.says_retraction(said) else _NOT_LETTERS.sub("", said.upper()).removeprefix("LVC")
    kind = _GW_KINDS.get(word)
    if kind is None:
        raise AlertError(
            f"alert_type {word[:40]!r} is none of {', '.join(_GW_KINDS)}: a record of GraceDB, not igwn.gwalert"
        )
    if not name or len(name) > 100:
        raise AlertError(f"superevent_id {name[:100]!r} names no event")
    content = notice.get("event")
    event: dict[str, Any] = content if isinstance(content, dict) else {}
    search, group = _text(event.get("search")), _text(event.get("group"))
    mock = _is_mock(f"lvc:{name}") or "MDC" in search.upper() or marks.says_test(search, group, *_said(notice))
    return Alert(
        stream="lvc",
        id=f"igwn.gwalert:{name}:{word}:{_text(notice.get('time_created'))[:40]}",
        role="test" if mock or marks.is_marked(marks.TEST, *_levels(notice)) else "observation",
        kind=kind,
        event=f"lvc:{name}",
        notice_type=f"LVC_{word}",
        time=parse_iso(_text(event.get("time"))),
        sent=parse_iso(_text(notice.get("time_created"))),
        skymap="embedded" if event.get("skymap") else None,
        far=values.hertz(event.get("far"), "Hz"),
        significant=values.truth(event.get("significant")),
        classification=_probabilities(event.get("classification"), event.get("properties")),
        instruments=measurements.words(event.get("instruments")),
        group=group[:100],
        pipeline=_text(event.get("pipeline"))[:100],
        search=search[:100],
        measured=measurements.of_notice(event),
        related=_coincidence(notice.get("external_coinc")),
    )


def _coincidence(found: object) -> tuple[str, ...]:
    """Return the key of the burst that LVK found together with a gravitational wave."""
    if not isinstance(found, dict):
        return ()
    return event_keys.reference(_text(found.get("observatory")), _text(found.get("gcn_notice_id")))


def _field(notice: dict[str, Any], name: str) -> Any:
    """Return a field at the top, or one level below."""
    return next((level[name] for level in _levels(notice) if level.get(name) is not None), None)


def _named(notice: dict[str, Any], target: dict[str, Any], row: Stream) -> list[tuple[str, list[str]]]:
    """Return the event's names, field by field in the row's order; the event goes by the first of all."""
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
    """Return the event's key by the first identifier that the notice has; '' where it has none."""
    for field, identifiers in named:
        for identifier in identifiers:
            if field == "id" != row.json_event[0] and len(identifier) < event_keys.SHORTEST:
                continue  # it counts, where its author names events by another field
            if key := event_keys.event_key(row, identifier):
                return key
    if not row.json_event or name.startswith("core."):
        return ""
    reference = _text(notice.get("ref_ID")) or _text(notice.get("ref_id"))
    key = event_keys.event_key(row, reference) if reference else None
    return key if key and key.startswith("lvc:") else ""


def _related(notice: dict[str, Any], named: list[tuple[str, list[str]]]) -> tuple[str, ...]:
    """Return other missions' keys of the same event: what launched the search for it, and a burst's own name."""
    found = [key for field, names in named if field == "event_name" for key in event_keys.burst_name(names)]
    identifier = _text(notice.get("ref_ID")) or _text(notice.get("ref_id"))
    found += event_keys.reference(_text(notice.get("ref_instrument")), identifier)
    followed = _text(notice.get("follow_up_event"))
    found += (*event_keys.external(followed), *event_keys.burst_name((identifier, followed)))
    found += _coincidence(notice.get("external_coincidence"))
    return tuple(dict.fromkeys(found))


def _probabilities(*tables: object) -> dict[str, float]:
    found: dict[str, float] = {}
    for table in tables:
        pairs: list[tuple[object, object]] = list(table.items()) if isinstance(table, dict) else []
        if isinstance(table, list):  # BOOM's
            classes = [item for item in table[:100] if isinstance(item, dict)]
            pairs = [(_text(item.get("classification")), item.get("probability")) for item in classes]
            alone = (item for item in classes if len(item) == 1)  # {"BNS": 0.9}
            pairs += [pair for item in alone for pair in item.items() if pair[0] != "probability"]
        for name, value in pairs[:100]:
            if name and (probability := values.fraction(value)) is not None:
                found[str(name)[:100]] = probability
    return found


def _first_fraction(notice: dict[str, Any], *fields: str) -> float | None:
    return next((value for field in fields if (value := values.fraction(notice.get(field))) is not None), None)


def _percent(value: object) -> float | None:
    """Read a probability, also where it is written in percent (68.0)."""
    size = values.number(value.strip(" %") if isinstance(value, str) else value)
    return size / 100 if size is not None and 1 < size <= 100 else size


def _texts(value: object) -> list[str]:
    """Return the strings and numbers of a list, or the only one, as texts."""
    return [_text(each) for each in (value[:100] if isinstance(value, list) else [value])]


def _joined(value: object) -> str:
    """Join the parts of an identifier, ``["137840", "57034692"]``; else read it as `_text`."""
    parts = [_text(part) for part in value] if isinstance(value, list) else []
    if len(parts) > 1 and all(part.isdecimal() for part in parts):
        return "_".join(parts)
    return _text(value)


def _is_mock(event: str) -> bool:
    """Tell LVK's mock (``MS``) and test (``TS``) superevents, and what GraceDB's own tests number (``M123456``)."""
    return event.upper().startswith(("LVC:M", "LVC:T"))


def _text(value: object) -> str:
    """Return a string, a number's text, or the first of a list of them; '' for everything else."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
