"""Our own VOEvents: what the observatory did about an alert, for everybody who subscribes to its broker.

VOEvent 2.0 (IVOA Recommendation 2011-07-11): who says so (section 3.2), what (3.3: Params with UCDs, a Table of the
images), where and when (3.4), and the event that is followed up, cited as ``followup`` (3.7). The position of a report
is where the telescope pointed, which the Param ``Coords_String`` says as GCN's notices do; only that of a detection is
a source's. Plain functions, for any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from lxml import etree

from pyros.alerts.alert import Role
from pyros.alerts.formats.event_keys import received_ivorn
from pyros.messages import FollowUp, SourceFound, TakenImage

STREAM = "/followup#"
"""What follows the observatory's identifier in the ivorns of its own follow-ups: so they are known again."""
BY_HAND = "by-hand"
"""The observation of a detection that somebody publishes: an event's retraction doesn't hold it back."""
MAX_IMAGES = 200
"""Images that are listed one by one; VTP carries 99,999 bytes."""

_VOEVENT = "http://www.ivoa.net/xml/VOEvent/v2.0"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SYSTEM = "UTC-ICRS-TOPO"
_CONCEPTS = {
    "started": "The observatory has begun to observe this position.",
    "finished": "The observatory has observed this position.",
    "stopped": "The observatory has stopped observing this position.",
}


class Author(msgspec.Struct, frozen=True):
    """The author of follow-ups: the broker's identifier, the observatory's name and place (degrees, metres)."""

    ivo: str
    """The broker's identifier."""
    observatory: str
    """The observatory's name."""
    latitude: float
    """Geodetic latitude on WGS 84, degrees."""
    longitude: float
    """Longitude, degrees, east positive."""
    elevation: float
    """Metres above the ellipsoid."""


class Cited(msgspec.Struct, frozen=True):
    """The alert that is followed up: the packet's identifier, and its event's."""

    alert: str
    """The packet's identifier."""
    event: str
    """Name of the event."""


def is_own(identifier: str, ivo: str) -> bool:
    """Tell whether an ivorn is one of our own follow-ups, whatever its letters' case (IVOA Identifiers 2.0)."""
    return identifier.lower().startswith((ivo + STREAM).lower())


def beginning(ivo: str, observation: str) -> str:
    """Return how the ivorns begin of what is published about an observation."""
    words = re.sub(r"[^A-Za-z0-9.+-]+", "-", observation).strip("-")[:100]
    return f"{ivo}{STREAM}{words}/"


def new_ivorn(ivo: str, observation: str, what: str, now: datetime, count: int) -> str:
    """Make an ivorn that was never used before, of the moment and a number that the author's journal counts."""
    return f"{beginning(ivo, observation)}{what}-{now:%Y%m%dT%H%M%S}-{count}"


def report(
    author: Author, ivorn: str, role: Role, now: datetime, said: FollowUp, covered: float | None = None
) -> bytes:
    """Write the VOEvent of an observation that started, finished or was stopped, with its images so far.

    Of a field of a sky map ``covered`` is the probability of the map that was observed so far, 0 to 1.
    """
    request = said.request
    root, what = _begin(author, ivorn, role, now, Cited(request.alert, request.event))
    _param(what, "Observation_Status", said.what, ucd="meta.code.status")
    _param(what, "Observation", request.id, ucd="meta.id")
    _param(what, "Coords_String", "pointing_direction")
    if said.reason:
        _param(what, "Reason", said.reason[:500])
    if request.probability is not None:
        _param(what, "Field_Probability", request.probability, ucd="stat.probability")
    if covered is not None:
        _param(what, "Covered_Probability", round(covered, 6), ucd="stat.probability")
    if said.what == "started":
        planned = sum(each.count for each in request.exposures)
        seconds = sum(each.count * each.seconds for each in request.exposures)
        filters = dict.fromkeys(each.filter for each in request.exposures)
        _param(what, "Planned_Exposures", planned, ucd="meta.number")
        _param(what, "Planned_Exposure_Time", seconds, unit="s", ucd="time.duration;obs.exposure")
        _param(what, "Filters", " ".join(filters), ucd="instr.filter")
    else:
        _images(what, said.images)
    etree.SubElement(what, "Description").text = _CONCEPTS[said.what]
    _where(root, author, said.time, request.ra, request.dec, 0.0)
    _end(root, author, request.event, request.alert)
    return _bytes(root)


def detection(author: Author, ivorn: str, role: Role, now: datetime, found: SourceFound) -> bytes:
    """Write the VOEvent of a source that may be the alert's."""
    root, what = _begin(author, ivorn, role, now, Cited(found.alert, found.event))
    _param(what, "Observation_Status", "detection", ucd="meta.code.status")
    _param(what, "Observation", found.observation, ucd="meta.id")
    _param(what, "Coords_String", "source_object")
    group = etree.SubElement(what, "Group", name="Photometry", type="magnitude")
    _param(group, "Magnitude", found.magnitude, unit="mag", ucd="phot.mag;em.opt")
    if found.magnitude_error is not None:
        _param(group, "Magnitude_Error", found.magnitude_error, unit="mag", ucd="stat.error;phot.mag")
    _param(group, "Filter", found.filter, ucd="instr.filter")
    _param(group, "Time", _iso(found.time), ucd="time.epoch")
    if found.telescope:
        _param(what, "Telescope", found.telescope, ucd="instr.tel")
    if found.path:
        _param(what, "Image", found.path.rpartition("/")[2], ucd="meta.file")
    etree.SubElement(what, "Description").text = "A source was found that may be the one of the alert."
    _where(root, author, found.time, found.ra, found.dec, found.error_radius or 0.0)
    _end(root, author, found.event, found.alert)
    return _bytes(root)


def light_curve(author: Author, ivorn: str, role: Role, now: datetime, found: Sequence[SourceFound]) -> bytes:
    """Write the VOEvent of a source's measurements, one at least, in order of time; its position is the last one's."""
    last = found[-1]
    root, what = _begin(author, ivorn, role, now, Cited(last.alert, last.event))
    _param(what, "Observation_Status", "photometry", ucd="meta.code.status")
    _param(what, "Observation", last.observation, ucd="meta.id")
    _param(what, "Coords_String", "source_object")
    table = etree.SubElement(what, "Table", name="Photometry")
    etree.SubElement(table, "Description").text = "The source in each image; the time is the middle of the exposure."
    _field(table, "Time", "time.epoch")
    _field(table, "Filter", "instr.filter")
    _field(table, "Magnitude", "phot.mag;em.opt", unit="mag", type_="float")
    _field(table, "Magnitude_Error", "stat.error;phot.mag", unit="mag", type_="float")
    named = any(each.telescope for each in found)
    if named:
        _field(table, "Telescope", "instr.tel")
    data = etree.SubElement(table, "Data")
    for each in found:
        error = "" if each.magnitude_error is None else _number(each.magnitude_error)
        row = (_iso(each.time), each.filter, _number(each.magnitude), error)
        _row(data, (*row, each.telescope) if named else row)
    etree.SubElement(what, "Description").text = "The light curve of a source that may be the one of the alert."
    _where(root, author, last.time, last.ra, last.dec, last.error_radius or 0.0)
    _end(root, author, last.event, last.alert)
    return _bytes(root)


def _begin(
    author: Author, ivorn: str, role: Role, now: datetime, cited: Cited
) -> tuple[etree._Element, etree._Element]:
    root = etree.Element(f"{{{_VOEVENT}}}VOEvent", nsmap={"voe": _VOEVENT, "xsi": _XSI}, ivorn=ivorn, role=role)
    root.set("version", "2.0")
    root.set(f"{{{_XSI}}}schemaLocation", f"{_VOEVENT} http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd")
    who = etree.SubElement(root, "Who")
    etree.SubElement(who, "AuthorIVORN").text = author.ivo
    etree.SubElement(who, "Date").text = f"{now:%Y-%m-%dT%H:%M:%S}"
    etree.SubElement(etree.SubElement(who, "Author"), "shortName").text = _clean(author.observatory)
    what = etree.SubElement(root, "What")
    _param(what, "Followed_Event", cited.event, ucd="meta.id")
    _param(what, "Followed_Alert", cited.alert, ucd="meta.id")
    return root, what


def _images(what: etree._Element, images: tuple[TakenImage, ...]) -> None:
    """Write how many images there are, how long through each filter, and a table of them."""
    _param(what, "Images", len(images), ucd="meta.number")
    for name in dict.fromkeys(each.filter for each in images):
        group = etree.SubElement(what, "Group", name=f"Filter_{_clean(name)}", type="exposure")
        mine = [each for each in images if each.filter == name]
        _param(group, "Filter", name, ucd="instr.filter")
        _param(group, "Exposures", len(mine), ucd="meta.number")
        _param(group, "Exposure_Time", sum(each.seconds for each in mine), unit="s", ucd="time.duration;obs.exposure")
        _param(group, "First_Start", _iso(min(each.started for each in mine)), ucd="time.start;obs.exposure")
        _param(group, "Last_End", _iso(max(each.started + each.seconds for each in mine)), ucd="time.end;obs.exposure")
    if images:
        table = etree.SubElement(what, "Table", name="Images")
        etree.SubElement(table, "Description").text = f"The images, {min(len(images), MAX_IMAGES)} of {len(images)}."
        _field(table, "Start", "time.start;obs.exposure")
        _field(table, "Exposure_Time", "time.duration;obs.exposure", unit="s", type_="float")
        _field(table, "Filter", "instr.filter")
        _field(table, "File", "meta.file")
        data = etree.SubElement(table, "Data")
        for each in images[:MAX_IMAGES]:
            row = (_iso(each.started), _number(each.seconds), each.filter, each.path.rpartition("/")[2])
            _row(data, row)


def _row(data: etree._Element, cells: Iterable[str]) -> None:
    row = etree.SubElement(data, "TR")
    for cell in cells:
        etree.SubElement(row, "TD").text = _clean(cell)


def _field(table: etree._Element, name: str, ucd: str, *, unit: str = "", type_: str = "string") -> None:
    field = etree.SubElement(table, "Field", name=name, ucd=ucd, dataType=type_)
    if unit:
        field.set("unit", unit)


def _where(root: etree._Element, author: Author, when: float, ra: float, dec: float, error: float) -> None:
    location = etree.SubElement(etree.SubElement(root, "WhereWhen"), "ObsDataLocation")
    place = etree.SubElement(location, "ObservatoryLocation", id=_clean(author.observatory))
    etree.SubElement(place, "AstroCoordSystem", id="UTC-GEOD-TOPO")
    coords = etree.SubElement(place, "AstroCoords", coord_system_id="UTC-GEOD-TOPO")
    site = etree.SubElement(coords, "Position3D", unit="deg-deg-m")
    for number, name in enumerate(("Longitude", "Latitude", "Elevation"), 1):
        etree.SubElement(site, f"Name{number}").text = name
    value = etree.SubElement(site, "Value3")
    for number, size in enumerate((author.longitude, author.latitude, author.elevation), 1):
        etree.SubElement(value, f"C{number}").text = _number(size)
    observation = etree.SubElement(location, "ObservationLocation")
    etree.SubElement(observation, "AstroCoordSystem", id=_SYSTEM)
    coords = etree.SubElement(observation, "AstroCoords", coord_system_id=_SYSTEM)
    instant = etree.SubElement(etree.SubElement(coords, "Time", unit="s"), "TimeInstant")
    etree.SubElement(instant, "ISOTime").text = _iso(when)
    position = etree.SubElement(coords, "Position2D", unit="deg")
    etree.SubElement(position, "Name1").text = "RA"
    etree.SubElement(position, "Name2").text = "Dec"
    value = etree.SubElement(position, "Value2")
    etree.SubElement(value, "C1").text = f"{ra:.7f}"
    etree.SubElement(value, "C2").text = f"{dec:.7f}"
    etree.SubElement(position, "Error2Radius").text = _number(error)


def _end(root: etree._Element, author: Author, event: str, alert: str) -> None:
    """Write Why and Citations; a JSON notice, which has no ivorn, is cited by one that we give it (decision 0031)."""
    etree.SubElement(etree.SubElement(root, "Why"), "Name").text = _clean(event)
    if not alert:
        return
    citations = etree.SubElement(root, "Citations")
    if alert.lower().startswith("ivo:"):
        etree.SubElement(citations, "EventIVORN", cite="followup").text = _clean(alert)
        return
    etree.SubElement(citations, "EventIVORN", cite="followup").text = received_ivorn(author.ivo, alert)
    text = f"The packet cited has no ivorn of its own; the author received it as {alert[:500]}"
    etree.SubElement(citations, "Description").text = _clean(text)


def _param(parent: etree._Element, name: str, value: str | float, *, ucd: str = "", unit: str = "") -> None:
    type_ = "string" if isinstance(value, str) else "int" if isinstance(value, int) else "float"
    text = _clean(value) if isinstance(value, str) else _number(value)
    param = etree.SubElement(parent, "Param", name=name, value=text, dataType=type_)
    if unit:
        param.set("unit", unit)
    if ucd:
        param.set("ucd", ucd)


def _number(value: float) -> str:
    return f"{value:.10g}"


def _iso(when: float) -> str:
    """Format Unix seconds as UTC to the millisecond; VOEvent writes no zone."""
    return datetime.fromtimestamp(round(when, 3), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def _clean(text: str) -> str:
    """Make others' text, such as file names and reasons, one that XML can hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _bytes(root: etree._Element) -> bytes:
    result: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return result
