"""Build what tests and benches feed to PYROS: VOEvents, spoiled certificates, and an in-memory connection."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.planning.visibility import sun, sun_altitude
from pyros.reactor import Reactor
from pyros.site import Site

_VOEVENT = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="{role}" ivorn="{ivorn}">
<Who><AuthorIVORN>{author}</AuthorIVORN><Date>{date}</Date></Who>
<What>{params}<Description>{text}</Description></What>
{where}{citations}</voe:VOEvent>
"""
_WHERE = """<WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation>
<AstroCoordSystem id="{system}"/><AstroCoords coord_system_id="{system}">
<Time unit="s"><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time>
<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.6f}</C1><C2>{dec:.6f}</C2></Value2>
<Error2Radius>{error}</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
"""
IVORN = "ivo://pyros.test/stream#one"
TIME = "2026-01-02T03:04:05"


def voevent(
    ivorn: str = IVORN, *, role: str = "observation", author: str = "ivo://pyros.test", date: str = TIME,
    time: str = "", ra: float | None = 10.0, dec: float = 20.0, error: float = 0.1, system: str = "UTC-ICRS-GEO",
    where: str = "", params: str = "", text: str = "a burst", citations: Iterable[tuple[str, str]] = (),
) -> bytes:  # fmt: skip
    """Write a VOEvent 2.0 that its schema accepts.

    ``date`` is the packet's, ``time`` the event's (``date`` if not given); ``ra``, ``dec`` and ``error`` are degrees
    (``ra=None``: no position), or ``where`` is XML for WhereWhen; ``params`` is XML for What; each citation is
    (cite, ivorn).
    """
    if where:
        where = f"<WhereWhen>{where}</WhereWhen>"
    elif ra is not None:
        where = _WHERE.format(system=system, time=time or date, ra=ra, dec=dec, error=error)
    cited = "".join(f'<EventIVORN cite="{cite}">{of}</EventIVORN>' for cite, of in citations)
    return _VOEVENT.format(
        ivorn=ivorn, role=role, author=author, date=date, params=params, text=text, where=where,
        citations=f"<Citations>{cited}</Citations>" if cited else "",
    ).encode()  # fmt: skip


def spoil_certificate(folder: Path, name: str, how: str, now: datetime) -> None:
    """Give an agent a certificate that is of another authority (strange), over (ended), or another agent's; or none."""
    from pyros.authority import make_authority, make_certificate  # an extra's, which benches don't need

    own = folder / f"{name}.pem"
    if how == "none":
        own.unlink()
    elif how == "strange":
        make_authority(folder / "strange", "strangers", now)
        own.write_bytes(make_certificate(folder / "strange", name, now).read_bytes())
    elif how == "ended":
        make_certificate(folder, name, now - timedelta(days=4 * 365))
    else:
        own.write_bytes((folder / f"{how}.pem").read_bytes())


@implementer(Reactor)
class InlineReactor(MemoryReactorClock):
    """Virtual time, recorded connections, and a thread pool that runs inline."""

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, on_result: Any, function: Any, *args: Any, **kwargs: Any) -> None:
        try:
            fine, result = True, function(*args, **kwargs)
        except Exception:
            make: Any = Failure  # Twisted's carry no types
            fine, result = False, make()
        on_result(fine, result)

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:  # noqa: A002  Twisted's name
        callable(*args, **kwargs)

    def callInThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:  # noqa: A002  Twisted's name
        callable(*args, **kwargs)

    def suggestThreadPoolSize(self, size: int) -> None:
        """There are no threads."""


class MemoryLine(StringTransport):
    """An in-memory connection that remembers whether it was cut off."""

    aborting = False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborting = self.disconnecting = True


def polar_site(begin: datetime, end: datetime) -> dict[str, Any]:
    """Return where it is day just from ``begin`` to ``end``: the Sun is as high at both, and higher only between.

    It stands where the Sun rises to 4 degrees below the horizon at most. Near the equinoxes that is nowhere.
    """
    declination = sun(begin)[1]
    latitude = math.copysign(94.0 - abs(declination), -declination)
    site = Site(name="polar", latitude=latitude, longitude=0.0, elevation=100.0)

    def east(longitude: float) -> float:
        there = replace(site, longitude=longitude)
        return sun_altitude(there, end) - sun_altitude(there, begin)

    middle_of_day = begin + (end - begin) / 2
    noon = -15.0 * (middle_of_day.hour + middle_of_day.minute / 60 - 12)
    low, high = noon - 15.0, noon + 15.0
    for _ in range(60):  # further east the Sun is later in its day: the end is lower than the beginning
        middle = (low + high) / 2
        low, high = (middle, high) if east(middle) > 0 else (low, middle)
    longitude = (low + high) / 2
    longitude = (longitude + 180.0) % 360.0 - 180.0
    there = replace(site, longitude=longitude)
    return {
        "name": "polar",
        "latitude": latitude,
        "longitude": longitude,
        "elevation": 100.0,
        "twilight": sun_altitude(there, begin),
    }
