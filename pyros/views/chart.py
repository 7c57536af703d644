"""Finding charts: the stars around an event's position, as far as the analyzer's catalogue knows them."""

from __future__ import annotations

import msgspec
import numpy as np

from pyros.angles import Floats
from pyros.config import Config
from pyros.errors import CatalogueError
from pyros.views.event import event
from pyros.views.observed import Observed

_LEAST, _MOST, _USUAL = 0.05, 1.0, 0.1
"""Half widths of a chart, degrees: at least, at most, and where nobody says how certain the position is."""
_AROUND = 1.3
_MAX_STARS = 400


class ChartStar(msgspec.Struct, frozen=True):
    """A star, in the plane that touches the sky in the chart's centre."""

    east: float
    """Degrees from the centre."""
    north: float
    """Degrees from the centre."""
    magnitude: float
    """Its magnitude."""


class FindingChart(msgspec.Struct, frozen=True, kw_only=True):
    """What is around an event's position."""

    name: str
    """The event's."""
    ra: float
    """Of the centre, ICRS degrees."""
    dec: float
    """Of the centre, ICRS degrees."""
    half_width: float
    """From the centre to each edge, degrees."""
    error_radius: float | None = None
    """Of the position, degrees; None where nobody says."""
    stars: tuple[ChartStar, ...] = ()
    """The brightest 400, the brightest first."""
    found: tuple[ChartStar, ...] = ()
    """Where a new source was measured, the last one in each filter."""
    catalogue: str = ""
    """Whose stars they are; '' for none."""
    problem: str = ""
    """Why there are no stars."""


def finding_chart(observed: Observed, key: str) -> FindingChart | None:
    """Return the chart of an event by its name; None where there is none, or it has no position.

    The catalogue is read at the first call, which takes some seconds for a large one.
    """
    detail = event(observed, key)
    if detail is None or detail.event.ra is None or detail.event.dec is None:
        return None
    ra, dec, error = detail.event.ra, detail.event.dec, detail.event.error_radius
    half = _USUAL if error is None else max(_LEAST, min(_MOST, _AROUND * error))
    newest = {each.filter: each for each in detail.curve}
    found = [ChartStar(*_place(each.ra, each.dec, ra, dec), each.magnitude) for each in newest.values()]
    chart = FindingChart(name=detail.event.name, ra=ra, dec=dec, half_width=half, error_radius=error,
                         found=tuple(found))  # fmt: skip
    try:
        name = catalogue_of(observed.config)
        stars = _stars(name, ra, dec, half) if name else ()
    except CatalogueError as error_:
        return msgspec.structs.replace(chart, problem=str(error_))
    problem = "" if name else "no stars: pip install 'pyros-observatory[stars]', or option_catalogue of the analyzer"
    return msgspec.structs.replace(chart, stars=stars, catalogue=name, problem=problem)


def catalogue_of(config: Config) -> str:
    """Return the name of the analyzer's catalogue, as `pyros.stars.named_catalogue` takes it; '' for none."""
    from pyros.stars import gaia  # noqa: PLC0415

    section = config.agents.get("analyzer")
    name = section.options.get("catalogue", "auto") if section is not None else "auto"
    if name == "auto":
        return "simulated" if config.simulators else "gaia" if gaia.installed() else ""
    return name if name in ("gaia", "simulated", "synthetic") else str(config.path.parent / name)


def _stars(name: str, ra: float, dec: float, half: float) -> tuple[ChartStar, ...]:
    from pyros.stars import named_catalogue  # noqa: PLC0415  few processes need stars

    around = named_catalogue(name).near(ra, dec, 1.5 * half).within(ra, dec, 1.5 * half)
    east, north = _projected(around.ra, around.dec, ra, dec)
    inside = (np.abs(east) < half) & (np.abs(north) < half)
    brightest = np.argsort(around.magnitude[inside])[:_MAX_STARS]
    return tuple(
        ChartStar(*map(float, each))
        for each in zip(east[inside][brightest], north[inside][brightest], around.magnitude[inside][brightest],
                        strict=True)
    )  # fmt: skip


def _place(ra: float, dec: float, ra0: float, dec0: float) -> tuple[float, float]:
    east, north = _projected(np.array([ra]), np.array([dec]), ra0, dec0)
    return float(east[0]), float(north[0])


def _projected(ra: Floats, dec: Floats, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Project onto the plane that touches the sky at (ra0, dec0): degrees to the east and to the north.

    Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3 (TAN); for places less than a right angle away.
    """
    turn, height, height0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    towards = np.sin(height) * np.sin(height0) + np.cos(height) * np.cos(height0) * np.cos(turn)
    east = np.cos(height) * np.sin(turn) / towards
    north = (np.sin(height) * np.cos(height0) - np.cos(height) * np.sin(height0) * np.cos(turn)) / towards
    return np.degrees(east), np.degrees(north)
