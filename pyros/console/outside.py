"""Services elsewhere that may know an event: where each is looked at, how it is asked, and what it answers.

SIMBAD (CDS) by its TAP service; the Transient Name Server by its API, with the bot's key of an account there
(https://www.wis-tns.org/content/tns-getting-started); GCN's circulars by the list that their search page has. Plain
functions that block for a few seconds at most; `pyros.console.elsewhere` calls them in threads.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from pyros import outgoing
from pyros.planning.intake import simbad
from pyros.prepared import prepared
from pyros.printable import printable

SECONDS = 10.0
LARGEST_ANSWER = 1 << 20
MOST = 20
_LEAST_RADIUS, _GREATEST_RADIUS = 5.0, 300.0
"""Arcseconds: a position that is less certain has too many neighbours for their list to say something."""
_BURST = re.compile(r"GRB[ _]?(\d{6}[A-Z]?)")
_WAVE = re.compile(r"[MT]?S\d{6}[a-z]+")
_CIRCULAR = re.compile(r'<a\b[^>]*\bhref="/circulars/(\d{1,9})\b[^"]*"[^>]*>([^<]{1,500})</a>')
_TNS = "https://www.wis-tns.org"
_GCN = "https://gcn.nasa.gov/circulars"
_CDS = "https://simbad.cds.unistra.fr/simbad"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about."""

    names: tuple[str, ...] = ()
    """The event's keys."""
    ra: float | None = None
    """ICRS degrees; None without a position."""
    dec: float | None = None
    """ICRS degrees."""
    error_radius: float | None = None
    """Degrees; None where nobody says."""
    time: float | None = None
    """When it happened, or came: Unix seconds."""

    @property
    def radius(self) -> float:
        """Within how many arcseconds neighbours are looked for."""
        return min(_GREATEST_RADIUS, max(_LEAST_RADIUS, 3600.0 * (self.error_radius or 0.0)))

    @property
    def circulars_name(self) -> str:
        """What circulars call it, as far as that can be told: ``S230914ak``, ``GRB 261128A``, ``GRB 261128``; or ''."""
        for name in self.names:
            if wave := _WAVE.search(name):
                return wave[0]
            if burst := _BURST.search(name):
                return f"GRB {burst[1]}"
        if self.time is None:
            return ""
        day = f"{datetime.fromtimestamp(self.time, UTC):%y%m%d}"
        return f"IceCube-{day}" if any(name.lower().startswith("icecube") for name in self.names) else f"GRB {day}"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a service knows."""

    name: str
    """Its name, or a circular's number."""
    text: str = ""
    """What it is."""
    url: str = ""
    """Where it is shown."""
    distance: float | None = None
    """From the event's position, arcseconds."""


class Means(msgspec.Struct, frozen=True):
    """What asking needs, of the configuration."""

    simbad: str = ""
    """The URL of another TAP service; '' for SIMBAD's own."""
    tns: str = ""
    """The bot's number, name and key at TNS, with blanks between; '' for none."""


class OutsideService(msgspec.Struct, frozen=True):
    """One service."""

    name: str
    """In the configuration."""
    title: str
    """For people."""
    link: Callable[[About], str]
    """Where it shows what it knows of the event; '' where it cannot."""
    ask: Callable[[About, Means], tuple[Known, ...]]
    """What it knows. Raises OSError whose text is for people."""


def _simbad_link(about: About) -> str:
    if about.ra is None or about.dec is None:
        return ""
    asked = {"Coord": f"{about.ra:.6f} {about.dec:+.6f}", "Radius": f"{about.radius:.0f}", "Radius.unit": "arcsec"}
    return f"{_CDS}/sim-coo?{urlencode(asked)}"


def _ask_simbad(about: About, means: Means) -> tuple[Known, ...]:
    if about.ra is None or about.dec is None:
        return ()
    here = f"POINT('ICRS', {about.ra:.7f}, {about.dec:.7f})"
    query = (
        f"SELECT TOP {MOST} main_id, otype, DISTANCE(POINT('ICRS', ra, dec), {here}) AS away FROM basic WHERE"
        f" CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {about.ra:.7f}, {about.dec:.7f}, {about.radius / 3600:.6f}))"
        " = 1 ORDER BY away"
    )
    asked = urlencode({"request": "doQuery", "lang": "adql", "format": "json", "query": query})
    content = _get(f"{means.simbad or simbad.URL}?{asked}", public=not means.simbad)
    rows = _decoded(content, _TapTable).data
    return tuple(
        Known(name=" ".join(name.split()), text=kind or "", distance=3600.0 * away,
              url=f"{_CDS}/sim-id?{urlencode({'Ident': name})}")
        for name, kind, away in rows[:MOST]
    )  # fmt: skip


def _tns_link(about: About) -> str:
    if about.ra is None or about.dec is None:
        return ""
    asked = {"ra": f"{about.ra:.6f}", "decl": f"{about.dec:+.6f}", "radius": f"{about.radius:.0f}",
             "coords_unit": "arcsec"}  # fmt: skip
    return f"{_TNS}/search?{urlencode(asked)}"


def _ask_tns(about: About, means: Means) -> tuple[Known, ...]:
    if about.ra is None or about.dec is None:
        return ()
    number, name, key = means.tns.split()
    marker = msgspec.json.encode({"tns_id": number, "type": "bot", "name": name}).decode()
    data = {"ra": f"{about.ra:.7f}", "dec": f"{about.dec:.7f}", "radius": f"{about.radius:.1f}", "units": "arcsec"}
    body = urlencode({"api_key": key, "data": msgspec.json.encode(data).decode()}).encode()
    content = _get(f"{_TNS}/api/get/search", body=body, headers={"User-Agent": f"tns_marker{marker}"})
    found: Any = _decoded(content, _TnsAnswer).data
    rows = msgspec.convert(
        found["reply"] if isinstance(found, dict) and "reply" in found else found, prepared(list[_TnsObject])
    )
    return tuple(Known(name=f"{each.prefix} {each.objname}".strip(), url=f"{_TNS}/object/{each.objname}")
                 for each in rows[:MOST])  # fmt: skip


def _gcn_link(about: About) -> str:
    return f"{_GCN}?{urlencode({'query': about.circulars_name})}" if about.circulars_name else ""


def _ask_gcn(about: About, means: Means) -> tuple[Known, ...]:
    link = _gcn_link(about)
    if not link:
        return ()
    page = _get(f"{link}&limit={MOST}").decode("utf-8", "replace")
    found = dict(_CIRCULAR.findall(page))
    return tuple(Known(name=f"GCN {number}", text=printable(html.unescape(subject)), url=f"{_GCN}/{number}")
                 for number, subject in list(found.items())[:MOST])  # fmt: skip


SERVICES = (
    OutsideService("simbad", "SIMBAD", _simbad_link, _ask_simbad),
    OutsideService("tns", "Transient Name Server", _tns_link, _ask_tns),
    OutsideService("gcn", "GCN Circulars", _gcn_link, _ask_gcn),
)


class _TapTable(msgspec.Struct):
    """What TAP answers as JSON."""

    data: list[tuple[str, str | None, float]]


class _TnsObject(msgspec.Struct):
    """What TNS tells of an object."""

    objname: str
    prefix: str = ""


class _TnsAnswer(msgspec.Struct):
    """What TNS answers; the objects are in ``data``, or, as it was before, in ``reply`` of it."""

    data: Any


def _get(url: str, *, public: bool = True, **how: Any) -> bytes:
    return outgoing.get(url, seconds=SECONDS, largest=LARGEST_ANSWER, public=public, **how)


def _decoded(content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=prepared(kind))
    except msgspec.DecodeError:
        raise OSError("answers something that is not its table") from None


def asked_of(about: About, service: OutsideService) -> str:
    """Return what tells one question from another, for a file's name."""
    if service.name == "gcn" or about.ra is None or about.dec is None:
        return f"{service.name} {about.circulars_name}"
    if not (math.isfinite(about.ra) and math.isfinite(about.dec)):
        return service.name
    return f"{service.name} {about.ra:.4f} {about.dec:+.4f} {about.radius:.0f}"
