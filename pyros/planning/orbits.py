"""Where a moving body is: its orbit around the Sun by the two-body problem, seen from the site.

Kepler's equation in universal variables, from perihelion, which holds for ellipses, parabolas and hyperbolas alike:
Curtis, Orbital Mechanics for Engineering Students (3rd ed. 2014), section 3.7, equations 3.49 (here with no radial
velocity, since it begins at perihelion), 3.52, 3.53 (Stumpff's functions) and 3.69 (Lagrange's coefficients). Light
time and the site's parallax are taken in, perturbations by planets are not: within weeks of the elements' epoch that
is arcseconds to arcminutes, more for what comes close to the Earth. Elements of the same month are what to give.

The axes of the orbit, P and Q, are those of Meeus, Astronomical Algorithms (2nd ed. 1998), chapter 33, for the ecliptic
of J2000; the frame's bias against ICRS, 0.02 arcseconds, is left out. Plain Python, callable from any thread.
"""

from __future__ import annotations

import math
from datetime import datetime

import erfa
import numpy as np
from numpy.typing import NDArray

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD, mjd_of_unix
from pyros.errors import PlanningError
from pyros.messages import Orbit
from pyros.planning.visibility import _observer, _unix
from pyros.site import Site

GAUSS = 0.01720209895
"""Gaussian gravitational constant: the Sun's attraction in au, days and solar masses (IAU 1976)."""
LIGHT_DAYS_PER_AU = 499.004784 / SECONDS_PER_DAY
_OBLIQUITY = math.radians(84381.448 / 3600)
"""Of the ecliptic at J2000 (IAU 1976), by which orbits are published."""
_MAX_ROUNDS = 100


def place_of(site: Site, orbit: Orbit, when: datetime) -> tuple[float, float]:
    """Return a body's astrometric place from the site, ICRS degrees: right ascension and declination.

    Raises PlanningError where the orbit cannot be computed.
    """
    days_unix = (_unix(when) + TT_MINUS_UTC) / SECONDS_PER_DAY
    earth, _barycentric, _status = erfa.ufunc.epv00(UNIX_EPOCH_JD, days_unix)
    observer = np.asarray(earth["p"]) + _observer(site, when)
    moment, delay = mjd_of_unix(_unix(when) + TT_MINUS_UTC), 0.0
    for _ in range(3):  # the second round moves even a near asteroid by a milliarcsecond
        direction = heliocentric(orbit, moment - delay) - observer
        delay = float(np.linalg.norm(direction)) * LIGHT_DAYS_PER_AU
    x, y, z = direction
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def heliocentric(orbit: Orbit, mjd: float) -> NDArray[np.float64]:
    """Return where a body is at a modified Julian date (TT): from the Sun, au, along the axes of the equator of J2000.

    Raises PlanningError where the orbit cannot be computed.
    """
    q, e = orbit.perihelion_distance, orbit.eccentricity
    alpha = (1 - e) / q  # 1 / a: positive for an ellipse, 0 for a parabola
    days = mjd - orbit.perihelion
    if alpha > 0:
        period = 2 * math.pi / (GAUSS * alpha**1.5)
        days = math.remainder(days, period)
    chi = _universal_anomaly(q, alpha, days)
    c, s = _stumpff(alpha * chi * chi)
    f = 1 - chi * chi / q * c
    g = days - chi**3 * s / GAUSS
    p, across = _axes(orbit)
    return f * q * p + g * GAUSS * math.sqrt((1 + e) / q) * across


def _universal_anomaly(q: float, alpha: float, days: float) -> float:
    """Solve Kepler's equation by Newton's method, kept between bounds; the time grows with the anomaly."""
    wanted = GAUSS * abs(days)

    def residual(chi: float) -> tuple[float, float]:
        c, s = _stumpff(alpha * chi * chi)
        distance = q + (1 - alpha * q) * chi * chi * c  # its derivative: the distance from the Sun, which is never 0
        return (1 - alpha * q) * chi**3 * s + q * chi - wanted, distance

    low, high = 0.0, wanted / q  # the body never comes nearer than q
    if alpha > 0:
        high = min(high, 3.1416 / math.sqrt(alpha))  # half a period away
    elif alpha < 0:
        root = math.sqrt(-alpha)
        high = min(high, math.asinh(wanted * root / q) / root)  # e sinh H - H is at least (e - 1) sinh H
    chi = high
    for _ in range(_MAX_ROUNDS):
        value, slope = residual(chi)
        if value > 0:
            high = chi
        else:
            low = chi
        step = value / slope
        chi -= step
        if not low <= chi <= high:
            chi = (low + high) / 2
        if abs(step) < 1e-12 * max(1.0, chi):
            return math.copysign(chi, days)
    raise PlanningError(f"the orbit of perihelion {q} au and eccentricity {1 - alpha * q} cannot be computed")


def _stumpff(z: float) -> tuple[float, float]:
    """Return Stumpff's functions C(z) and S(z)."""
    if abs(z) < 1e-3:  # the series, where the others lose digits
        return 1 / 2 - z / 24 + z * z / 720 - z**3 / 40320, 1 / 6 - z / 120 + z * z / 5040 - z**3 / 362880
    root = math.sqrt(abs(z))
    if z > 0:
        return (1 - math.cos(root)) / z, (root - math.sin(root)) / root**3
    return (math.cosh(root) - 1) / root**2, (math.sinh(root) - root) / root**3


def _axes(orbit: Orbit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors to perihelion and, across it, to where the body goes then, along the equator's axes."""
    w, n, i = (math.radians(each) for each in (orbit.argument, orbit.node, orbit.inclination))
    p = np.array([
        math.cos(w) * math.cos(n) - math.sin(w) * math.sin(n) * math.cos(i),
        math.cos(w) * math.sin(n) + math.sin(w) * math.cos(n) * math.cos(i),
        math.sin(w) * math.sin(i),
    ])  # fmt: skip
    q = np.array([
        -math.sin(w) * math.cos(n) - math.cos(w) * math.sin(n) * math.cos(i),
        -math.sin(w) * math.sin(n) + math.cos(w) * math.cos(n) * math.cos(i),
        math.cos(w) * math.sin(i),
    ])  # fmt: skip
    cosine, sine = math.cos(_OBLIQUITY), math.sin(_OBLIQUITY)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return turn @ p, turn @ q
