"""Positions of named targets from SIMBAD (CDS, Strasbourg), by its TAP service: one question over HTTP.

The table ``basic`` has ICRS degrees at epoch J2000 and proper motions in milliarcseconds a year; ``ident`` compares an
identifier in the form that SIMBAD itself gives it, so that ``m31`` finds ``M  31``
(https://simbad.cds.unistra.fr/simbad/tap/tapsearch.html). The position is moved to the year that is asked for:
Barnard's star has gone 4 arcminutes since 2000. Blocks the thread; no Twisted.
"""

from __future__ import annotations

import math
import urllib.parse

import msgspec

from pyros.errors import PlanningError
from pyros.outgoing import get
from pyros.planning.intake.names import NamedPosition
from pyros.prepared import prepared

URL = "https://simbad.cds.unistra.fr/simbad/sim-tap/sync"
LARGEST_ANSWER = 100_000
"""Bytes; an answer has a few hundred."""
_LONGEST_NAME = 200
_MAS_PER_DEGREE = 3_600_000.0
_QUERY = (
    "SELECT TOP 1 main_id, ra, dec, pmra, pmdec FROM basic JOIN ident ON ident.oidref = basic.oid WHERE id = '{name}'"
)


class _Answer(msgspec.Struct):
    """What TAP answers as JSON: of the table, its rows."""

    data: list[tuple[str, float | None, float | None, float | None, float | None]]


def resolve(name: str, year: float = 2000.0, *, url: str = URL, seconds: float = 10.0) -> NamedPosition | None:
    """Return where a target is in a (Julian) year, None when SIMBAD does not know it.

    ``seconds`` bounds each wait for the server, and the reading of its answer as a whole. Raises PlanningError, one
    line, when SIMBAD cannot be asked or answers something else.
    """
    if len(name) > _LONGEST_NAME or not name.isprintable() or not name.strip():
        raise PlanningError(f"{name[:40]!r}: not a name that SIMBAD could know")
    host = urllib.parse.urlsplit(url).netloc
    query = _QUERY.format(name=name.strip().replace("'", "''"))
    asked = urllib.parse.urlencode({"request": "doQuery", "lang": "adql", "format": "json", "query": query})
    try:
        content = get(f"{url}?{asked}", seconds=seconds, largest=LARGEST_ANSWER, headers={"Accept": "application/json"})
    except OSError as error:
        raise PlanningError(f"SIMBAD at {host} {error}") from None
    try:
        rows = msgspec.json.decode(content, type=prepared(_Answer)).data
    except msgspec.DecodeError:
        raise PlanningError(f"SIMBAD at {host} answers something that is not its table") from None
    if not rows:
        return None
    main_id, ra, dec, pmra, pmdec = rows[0]
    if ra is None or dec is None or not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise PlanningError(f"SIMBAD knows {main_id}, but not where it is")
    dec_then = max(-90.0, min(90.0, dec + (pmdec or 0.0) / _MAS_PER_DEGREE * (year - 2000.0)))
    cosine = max(math.cos(math.radians(dec)), 1e-6)  # pmra is along the parallel, times cos dec
    ra_then = (ra + (pmra or 0.0) / _MAS_PER_DEGREE / cosine * (year - 2000.0)) % 360.0
    return NamedPosition(" ".join(main_id.split()), ra_then, dec_then, "SIMBAD")
