"""VOEvent 1.1, 2.0 and 2.1 (IVOA Recommendations 2006 and 2011; 2.1 is a Proposed Recommendation) to `Alert`.

`read` takes from the document what the standard defines; `interpret` adds what the row of the stream's table knows.
"""

from __future__ import annotations

import re
from collections.abc import Set
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, get_args

import msgspec

from pyros.alerts.alert import Alert, Kind, Role
from pyros.alerts.formats import event_keys, marks, measurements, streams, values
from pyros.alerts.formats.notices import NOTICES, TRANSPORT
from pyros.alerts.formats.params import (
    ALERT_TYPES,
    COORDS_NAMES,
    PACKET_TYPE,
    Param,
    read_params,
    read_plain,
)
from pyros.alerts.formats.streams import Stream
from pyros.alerts.formats.times import from_tjd, parse_iso
from pyros.alerts.formats.wherewhen import source_coords
from pyros.alerts.formats.xml import MAX_BYTES, child, element_from_json, local_name, read_xml, text
from pyros.errors import AlertError

NAMESPACES = tuple(f"http://www.ivoa.net/xml/VOEvent/v{version}" for version in ("2.0", "1.1", "2.1"))
_SECURE = tuple(namespace.replace("http:", "https:") for namespace in NAMESPACES)
"""A namespace is no address, but ANTARES takes it for one."""
_ROLES = frozenset(get_args(Role))
_CITES = {
    "supersedes": "supersedes",
    "supercedes": "supersedes",
    **dict.fromkeys(("retraction", "retract", "retracts", "retracted"), "retraction"),
}
"""How something is cited, with the spelling of the VOEvents before 1.1; ``followup`` by other words."""
_LONGEST_TRUE = max(map(len, values.TRUE))
MAX_IVORN_CHARACTERS = 1000
MAX_OFFSET_SECONDS = 1e9
"""Seconds; 32 years."""
_TJD_TOLERANCE = timedelta(days=90)
"""How far the TJD of a notice may lie from its Who/Date to be believed; garbled ones are years away."""
_FITS = re.compile(r"\.fits?(?:\.gz|\.fz)?(?:,\d+)?$", re.IGNORECASE)
_COORDS_TYPES = {"0": "unavailable", "2": "pointing_direction"}
"""What the Param Coords_Type means where no words do; 1 is the source."""
_COORDS_TYPE = re.compile(r"coordinates are of the type:?\s*(\w+)", re.IGNORECASE)


class VOEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a VOEvent in the words of the standard; nothing is interpreted yet."""

    ivorn: str
    role: Role
    date: datetime | None
    params: tuple[Param, ...]
    """Of What, those that a row of the streams' table, or `interpret` itself, asks for."""
    system: str
    """The coordinate system's id, upper case (``UTC-FK5-GEO``)."""
    isotime: str
    offset: float
    ra: float | None
    dec: float | None
    error: float | None
    where: str
    """WhereWhen/Description."""
    importance: float | None
    probability: float | None
    """That of the first Inference."""
    citations: tuple[tuple[str, str], ...]


def parse_voevent(packet: bytes) -> Alert:
    """Make an `Alert` of a VOEvent's bytes; an archive may have written the root without its namespace.

    Raises:
        AlertError: not well-formed, not a VOEvent, or without what identifies one.
    """
    plain = read_plain(packet) if len(packet) <= MAX_BYTES else None
    if plain is not None:
        try:
            root = _voevent(plain.rest)
        except AlertError:
            return interpret(read(_voevent(packet)))  # its words name the place in the packet as it came
        what = child(root, "What")
        if what is not None and what.prefix is None:
            return interpret(read(root, plain.params))
    return interpret(read(_voevent(packet)))


def _voevent(packet: bytes) -> Any:
    """Return the root of a VOEvent."""
    root = read_xml(packet)
    if not isinstance(root.tag, str) or local_name(root) != "VOEvent":
        raise AlertError(f"not a VOEvent: its root element is {str(root.tag)[:100]}")
    namespace = root.tag[1:].rpartition("}")[0] or None
    if namespace is not None and namespace not in NAMESPACES and namespace not in _SECURE:
        raise AlertError(f"VOEvent in namespace {str(namespace)[:100]}; known are {', '.join(NAMESPACES)}")
    return root


def parse_voevent_json(document: dict[str, Any]) -> Alert:
    """Make an `Alert` of a VOEvent that a broker (SCiMMA's hop and others) turned into JSON.

    Raises:
        AlertError: as `parse_voevent`.
    """
    return interpret(read(element_from_json("VOEvent", document)))


def read(root: Any, params: tuple[Param, ...] | None = None) -> VOEvent:
    """Read what the document says.

    Args:
        root: the lxml element VOEvent.
        params: its Params, where they have been read already.

    Raises:
        AlertError: without an ivorn, with one that is no IVOA identifier, or with a role the standard doesn't know.
    """
    ivorn = (root.get("ivorn") or "").strip()
    if not ivorn:
        raise AlertError("the VOEvent has no ivorn")
    if len(ivorn) > MAX_IVORN_CHARACTERS or not ivorn.lower().startswith("ivo:") or not ivorn.isprintable():
        raise AlertError(f"ivorn {ivorn[:100]!r} is no identifier ivo://authority/stream#event")
    role = (root.get("role") or "observation").strip().lower()
    if role not in _ROLES:
        raise AlertError(f"role {role[:40]!r} is none of {', '.join(sorted(_ROLES))}: no event")
    sections = {local_name(section): section for section in reversed(root)}
    coords = source_coords(sections.get("WhereWhen"))
    return VOEvent(
        ivorn=ivorn,
        role=role,  # type: ignore[arg-type]
        date=parse_iso(text(child(sections.get("Who"), "Date"))),
        params=read_params(sections.get("What")) if params is None else params,
        system=coords.system,
        isotime=coords.isotime,
        offset=coords.offset,
        ra=coords.ra,
        dec=coords.dec,
        error=coords.error,
        where=text(child(sections.get("WhereWhen"), "Description")),
        importance=_attribute(sections.get("Why"), "importance"),
        probability=_attribute(child(sections.get("Why"), "Inference"), "probability"),
        citations=_citations(sections.get("Citations")),
    )


def interpret(event: VOEvent, row: Stream | None = None) -> Alert:
    """Interpret the document by the row of its stream: that of its ivorn, unless another is given.

    Raises:
        AlertError: it is a message of the transport (alive, kill), no alert.
    """
    row = row or streams.of_ivorn(event.ivorn)
    params = _Params(event.params)
    notice = _notice_type(params)
    kind = _kind(event, row, params, notice)
    position, pointing = _position(event, row, params)
    error, containment = _error(event, row, params, notice)
    far = params.first(row.far)
    time = _time(event, row, params)
    return Alert(
        stream=row.name,
        id=event.ivorn,
        ivorn=event.ivorn,
        role=_role(event, row, params, notice),
        kind=kind,
        event=_event(event, row, params, notice),
        notice_type=notice,
        time=time,
        sent=event.date,
        ra=position[0] if position else None,
        dec=position[1] if position else None,
        pointing=pointing and position is not None,
        error_radius=error if position else None,
        containment=containment if position and error is not None else None,
        skymap=_skymap(params, row),
        importance=_importance(event, row, params),
        far=values.hertz(far.value, row.far_unit or far.unit) if far else None,
        significant=_flag(params.get(row.significant)) if row.significant else None,
        known_source=notice in row.known_types or params.marked(row.known) or params.matches(row.known_values),
        classification=_classification(event.params, row)
        or (measurements.gbm_classes(params.get) if params.names else {}),
        instruments=measurements.words(params.text(row.instruments)),
        group=params.text(row.group)[:100],
        pipeline=params.text(row.pipeline)[:100],
        search=params.text(row.search)[:100],
        measured=measurements.of_params(params.names, params.get),
        citations=event.citations,
        names=(event_keys.by_day(row, time),) if row.event_by_day and time is not None else (),
        related=_related(row, params) if row.related or row.others else (),
    )


class _Params:
    """The Params of What, found by the names that the streams' table uses."""

    def __init__(self, params: tuple[Param, ...]) -> None:
        self._by_name: dict[str, Param] = {}
        self._true: set[str] = set()
        for each in params:  # of several with one name the first one counts
            name = each.name
            self._by_name.setdefault(f"{each.group}/{name}" if each.group else name, each)
            self._by_name.setdefault("*/" + name, each)
            if len(each.value) <= _LONGEST_TRUE and each.value.lower() in values.TRUE:
                self._true.add(name.lower())

    @property
    def names(self) -> Set[str]:
        """The names by which there is a Param."""
        return self._by_name.keys()

    def get(self, name: str) -> Param | None:
        return self._by_name.get(name)

    def first(self, names: tuple[str, ...]) -> Param | None:
        if not self._by_name.keys().isdisjoint(names):
            for name in names:
                param = self._by_name.get(name)
                if param is not None and param.value:
                    return param
        return None

    def text(self, names: tuple[str, ...]) -> str:
        param = self.first(names)
        return param.value if param else ""

    def all(self, names: tuple[str, ...]) -> list[str]:
        """Return the values of all Params of these names."""
        return [self._by_name[name].value for name in names if name in self._by_name]

    def marked(self, names: Set[str]) -> bool:
        return any(name in names for name in self._true)

    def matches(self, marks: tuple[tuple[str, str], ...]) -> bool:
        for name, expression in marks if self._by_name else ():
            param = self._by_name.get(name)
            if param and streams.pattern(expression).fullmatch(param.value[:200]):
                return True
        return False


def _attribute(element: Any | None, name: str) -> float | None:
    """Read a probability or importance, 0 to 1."""
    return values.fraction((element.get(name) or "").strip()) if element is not None else None


def _citations(section: Any | None) -> tuple[tuple[str, str], ...]:
    """Read the citations as (ivorn, cite); an empty EventIVORN (CRTS sends them) cites nothing."""
    if section is None:
        return ()
    found = []
    for element in section:
        ivorn = text(element)
        if local_name(element) == "EventIVORN" and ivorn:
            cite = (element.get("cite") or "followup").strip().lower()
            found.append((ivorn[:MAX_IVORN_CHARACTERS], _CITES.get(cite, "followup")))
    return tuple(found[:1000])


def _notice_type(params: _Params) -> str:
    """Return GCN's name for Packet_Type; else what the stream itself calls the notice.

    Raises:
        AlertError: a message of the transport.
    """
    packet_type = params.get(PACKET_TYPE)
    if packet_type is None:
        word = params.first(ALERT_TYPES)
        return word.value[:100] if word else ""
    number = int(packet_type.value) if packet_type.value.isdecimal() and len(packet_type.value) < 6 else -1
    if number in TRANSPORT:
        raise AlertError(f"Packet_Type {number} ({TRANSPORT[number]}) is a message of the transport, no alert")
    return NOTICES.get(number) or f"Packet_Type {packet_type.value[:40]}"


def _role(event: VOEvent, row: Stream, params: _Params, notice: str) -> Role:
    """Return the role, or ``test`` where anything says so: a test sent as an observation must move nothing."""
    if event.role == "utility":
        return "utility"
    test = (
        params.marked(row.test) or params.matches(row.test_values) or marks.says_test(notice, *params.all(row.saying))
    )
    return "test" if test else event.role


def _kind(event: VOEvent, row: Stream, params: _Params, notice: str) -> Kind:
    said = params.all(row.saying)
    if params.marked(row.retraction) or marks.says_retraction(notice, *said):
        return "retraction"
    if any(cite == "retraction" for _, cite in event.citations):
        return "retraction"
    if row.retraction_probability and event.probability == 0:
        return "retraction"
    if row.revision:
        counter = params.get(row.revision[0])
        count = values.number(counter.value) if counter else None
        if count is not None and count > row.revision[1]:
            return "update"
    return "update" if event.citations or any(word.lower() == "update" for word in said) else "initial"


def _importance(event: VOEvent, row: Stream, params: _Params) -> float | None:
    param = params.first(row.importance)
    own = values.fraction(param.value) if param else None
    return event.importance if own is None else own


def _event(event: VOEvent, row: Stream, params: _Params, notice: str) -> str:
    """Return the event by the stream's own identifier, else by the ivorn, else by what is cited, else by itself."""
    key = _named_event(event, row, params)
    if notice in row.counterpart_types:
        return event_keys.counterpart(key, params.text(row.counterpart_numbers), event.ivorn)
    return key


def _named_event(event: VOEvent, row: Stream, params: _Params) -> str:
    for names in row.event:
        if params.get(names[0]) is None:
            continue
        found = [params.get(name) for name in names]
        if None in found:
            continue
        identifier = "_".join(param.value for param in found if param is not None)
        if len(identifier) >= row.event_shortest:
            key = event_keys.event_key(row, identifier)
            if key:
                return key
    own = event_keys.event_of_ivorn(event.ivorn)
    if own != event.ivorn or not event.citations:
        return own
    return event_keys.event_of_ivorn(event.citations[0][0])


def _related(row: Stream, params: _Params) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for whose, identifier in row.related:
        mission, number = params.get(whose), params.get(identifier)
        if mission and number:
            found += event_keys.reference(mission.value, number.value)
    for identifier, mission_name in row.others:
        if number := params.get(identifier):
            found += event_keys.reference(mission_name, number.value)
    return found


def _position(event: VOEvent, row: Stream, params: _Params) -> tuple[tuple[float, float] | None, bool]:
    """Return the position, and whether it is only where something pointed."""
    text_name, number_name = COORDS_NAMES
    word = params.get(text_name)
    match = _COORDS_TYPE.search(event.where[:1000]) if word is None else None
    number = params.get(number_name) if word is None and match is None else None
    kind = (
        word.value if word else match[1] if match else _COORDS_TYPES.get(number.value, "") if number else ""
    ).lower()
    if kind.startswith(("unavailable", "inappropriate")) or (event.error or 0) >= values.WHOLE_SKY:
        return None, False
    return values.position(event.ra, event.dec), kind.startswith("pointing") and not row.pointing_is_source


def _error(event: VOEvent, row: Stream, params: _Params, notice: str) -> tuple[float | None, float | None]:
    error = values.radius(event.error)
    if error is not None:
        return error, row.containments.get(notice, row.containment)
    for name, degrees, containment in row.errors:
        param = params.get(name)
        size = values.number(param.value) if param else None
        error = values.radius(size * degrees) if size is not None else None
        if error is not None:
            return error, containment
    return None, None


def _time(event: VOEvent, row: Stream, params: _Params) -> datetime | None:
    """Read ISOTime in its time scale; where that is no date, the truncated Julian day if it is near Who/Date."""
    moment = parse_iso(event.isotime, _scale(event.system))
    if moment is not None and event.offset:
        return moment + timedelta(seconds=event.offset) if abs(event.offset) < MAX_OFFSET_SECONDS else None
    if moment is not None or not event.isotime or event.date is None:
        return moment
    for day, seconds in row.clocks:
        tjd, sod = params.get(day), params.get(seconds)
        if tjd and sod:
            moment = from_tjd(values.number(tjd.value), values.number(sod.value))
            if moment is not None and abs(moment - event.date) <= _TJD_TOLERANCE:
                return moment
    return None


@lru_cache(maxsize=64)
def _scale(system: str) -> str:
    """Return the time scale that a coordinate system's id names, UTC where it names none."""
    return next((word for word in system.split("-") if word in {"TDB", "TT", "TCB", "TAI", "GPS"}), "UTC")


def _skymap(params: _Params, row: Stream) -> str | None:
    named, found = params.first(row.skymap), params.first(row.maps)
    url = named.value if named else found.value if found and _FITS.search(found.value) else ""
    return url if url.startswith(("http://", "https://")) and len(url) < 2000 else None


def _flag(param: Param | None) -> bool | None:
    return param.value.lower() in values.TRUE if param else None


def _classification(params: tuple[Param, ...], row: Stream) -> dict[str, float]:
    found = {}
    if not row.classes:
        return {}
    for param in params:
        if param.group in row.classes and (probability := values.fraction(param.value)) is not None:
            found[param.name[:100]] = probability
    return found
