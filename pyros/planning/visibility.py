"""What is up: where targets and the Sun stand in the site's sky.

The astronomy is SOFA's, through pyerfa: ICRS to observed place with `atco13` (precession-nutation IAU 2006/2000A,
aberration, light deflection, Earth rotation), without refraction, for a fixed star of no parallax. UT1-UTC comes from
the IERS table that astropy brings along, and is taken as 0 outside of it (at most 0.9 s, 14 arcseconds); polar motion
(under 0.5 arcseconds) is left out. Nothing is downloaded. The table is read directly, in 30 ms; astropy takes 700.

pyerfa's plain functions are called (``erfa.ufunc``): they return SOFA's status, where the others give warnings for
every date some years ahead. Plain Python, callable from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import astropy_iers_data  # type: ignore[import-untyped]
import erfa
import numpy as np
from numpy.typing import NDArray

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD, mjd_of_unix, separation, wrapped
from pyros.errors import PlanningError
from pyros.site import Site

DEGREES_PER_DAY = 360 * 1.00273781191135448
"""How far the Earth turns under the stars in a day of UT1 (IERS Conventions 2010, equation 5.15)."""
_EARTH_STEP = 600.0  # seconds
_TURNS_MORE_PER_DAY = 0.00273781191135448
_TURNS_1970 = (UNIX_EPOCH_JD % 1.0 + 0.7790572732640 + _TURNS_MORE_PER_DAY * (UNIX_EPOCH_JD - 2451545.0)) % 1.0
"""The Earth's turns at the beginning of 1970 (era00)."""


@cache
def ut1_minus_utc_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read modified Julian dates and UT1-UTC in seconds from finals2000A.all (columns 8 to 15 and 59 to 68)."""
    days, seconds = [], []
    with open(astropy_iers_data.IERS_A_FILE, encoding="ascii") as file:
        for line in file:
            if line[58:68].strip():
                days.append(float(line[7:15]))
                seconds.append(float(line[58:68]))
    return np.array(days), np.array(seconds)


def ut1_minus_utc(when: datetime) -> float:
    """Interpolate UT1-UTC in seconds; 0 outside the table (before 1973, or about a year ahead)."""
    day = mjd_of_unix(_unix(when))
    begin, before, daily = _ut1_minus_utc_on(math.floor(day))
    return before + daily * (day - begin)


@lru_cache(maxsize=16)
def _ut1_minus_utc_on(day: int) -> tuple[float, float, float]:
    """Return from which day (of the table, which has every midnight) on UT1-UTC has which seconds, and more a day."""
    days, seconds = ut1_minus_utc_table()
    if not days[0] <= day < days[-1]:
        return day, 0.0, 0.0
    index = int(np.searchsorted(days, day, "right"))
    before, after = float(seconds[index - 1]), float(seconds[index])
    after -= round(after - before)  # a leap second between the two days
    return float(days[index - 1]), before, (after - before) / float(days[index] - days[index - 1])


def _unix(when: datetime) -> float:
    if when.tzinfo is None:
        raise PlanningError(f"{when.isoformat()}: a time without a time zone; times are UTC")
    return when.timestamp()


def _place_and_time(site: Site, when: datetime) -> tuple[Any, ...]:
    """Return what SOFA's apco13 and atoc13 ask of the observer: Julian date (UTC), UT1-UTC, place, polar motion, air.

    Without pressure there is no refraction.
    """
    return (
        UNIX_EPOCH_JD, _unix(when) / SECONDS_PER_DAY, ut1_minus_utc(when),
        math.radians(site.longitude), math.radians(site.latitude), site.elevation,
        0.0, 0.0, 0.0, 0.0, 0.0, 0.55,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _earth_at(site: Site, when: datetime) -> Any:
    """Compute how the site moves and turns (SOFA apco13): the slowest part, the same for all positions."""
    astrom, _, status = erfa.ufunc.apco13(*_place_and_time(site, when))
    if status < 0:
        raise PlanningError(f"{when.isoformat()}: a date that cannot be computed")
    return astrom


@lru_cache(maxsize=16)
def _earth(site: Site, when: datetime) -> Any:
    """Turn the Earth by its rotation alone (SOFA aper13) from the nearest of the moments for which all is computed.

    Those are ten minutes apart. What else moves is below 0.02 arcseconds in five: the site's own aberration turns by
    1.3 degrees, that of the Earth's way changes by 0.001 arcseconds.
    """
    ut1 = ut1_minus_utc(when)
    seconds = _unix(when)
    near = _earth_at(site, datetime.fromtimestamp(round(seconds / _EARTH_STEP) * _EARTH_STEP, UTC))
    return erfa.ufunc.aper13(UNIX_EPOCH_JD, (seconds + ut1) / SECONDS_PER_DAY, near)


def _zenith(site: Site, ra: Any, dec: Any, when: datetime) -> tuple[Any, Any, Any, Any]:
    """Return azimuth, zenith distance, hour angle and observed declination, all in radians; numbers or arrays.

    SOFA's atco13 in its parts (apco13, atciq, atioq), so that the Earth is computed once for all positions.
    """
    astrom = _earth(site, when)
    intermediate = erfa.ufunc.atciq(ra, dec, 0.0, 0.0, 0.0, 0.0, astrom)
    azimuth, zenith, hour_angle, declination, _ = erfa.ufunc.atioq(*intermediate, astrom)
    return azimuth, zenith, hour_angle, declination


def _observe(site: Site, ra: float, dec: float, when: datetime) -> tuple[float, float, float, float]:
    """Return altitude, azimuth, hour angle and observed declination in degrees."""
    azimuth, zenith, hour_angle, declination = _zenith(site, math.radians(ra), math.radians(dec), when)
    return 90.0 - math.degrees(zenith), math.degrees(azimuth), math.degrees(hour_angle), math.degrees(declination)


def altitude_azimuth(site: Site, ra: float, dec: float, when: datetime) -> tuple[float, float]:
    """Return altitude and azimuth (from north through east) of an ICRS position, all in degrees, without refraction.

    Raises PlanningError for a position or a time that makes no sense.
    """
    if not (math.isfinite(ra) and -90 <= dec <= 90):
        raise PlanningError(f"ra {ra}, dec {dec}: not a position; dec must be from -90 to 90 degrees")
    return _observe(site, ra, dec, when)[:2]


@lru_cache(maxsize=16)
def _pole_and_velocity(site: Site, near: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return SOFA's matrix from GCRS to the intermediate system, and the site's velocity in units of light's.

    ``near`` is one of the moments (Unix seconds) for which all is computed.
    """
    astrom = _earth_at(site, datetime.fromtimestamp(near, UTC))
    return tuple(astrom["bpn"].ravel().tolist()), tuple(astrom["v"].tolist())


@lru_cache(maxsize=16)
def _zenith_and_velocity(site: Site, when: datetime) -> tuple[float, ...]:
    """Return where the zenith is among the directions of SOFA's GCRS, and the site's velocity in units of light's.

    In plain Python, for a call of erfa costs more than all of it: the Earth rotation angle is SOFA's `era00`.
    """
    seconds = _unix(when)
    (xx, xy, xz, yx, yy, yz, zx, zy, zz), velocity = _pole_and_velocity(
        site, round(seconds / _EARTH_STEP) * _EARTH_STEP
    )
    days = (seconds + ut1_minus_utc(when)) / SECONDS_PER_DAY  # of UT1, since 1970; its whole days turn the Earth, too
    turns = days % 1.0 + _TURNS_1970 + _TURNS_MORE_PER_DAY * days
    ra = math.radians(360.0 * (turns % 1.0) + site.longitude)
    dec = math.radians(site.latitude)
    x, y, z = math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)
    return x * xx + y * yx + z * zx, x * xy + y * yy + z * zy, x * xz + y * yz + z * zz, *velocity


def altitude_in_brief(site: Site, ra: float, dec: float, when: datetime) -> float:
    """Return the altitude of an ICRS position, all in degrees, without refraction; ``when`` is a moment asked of often.

    Aberration is taken to first order and the Sun's bending of light left out: within 0.001 degrees of
    `altitude_azimuth`, in a tenth of the time.
    """
    up_x, up_y, up_z, v_x, v_y, v_z = _zenith_and_velocity(site, when)
    ra, dec = math.radians(ra), math.radians(dec)
    x, y, z = math.cos(dec) * math.cos(ra) + v_x, math.cos(dec) * math.sin(ra) + v_y, math.sin(dec) + v_z
    sine = (x * up_x + y * up_y + z * up_z) / math.sqrt(x * x + y * y + z * z)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def hour_angle(site: Site, ra: float, dec: float, when: datetime) -> float:
    """Return the hour angle of an ICRS position, degrees from -180 to 180, west positive."""
    return wrapped(_observe(site, ra, dec, when)[2])


def altitudes_azimuths(
    site: Site, positions: Sequence[tuple[float, float]], when: datetime
) -> list[tuple[float, float]]:
    """Return altitude and azimuth in degrees of many ICRS positions (ra, dec) at once: `altitude_azimuth` of each."""
    if not positions:
        return []
    ra, dec = np.radians(np.asarray(positions, dtype=np.float64)).T
    azimuth, zenith, _, _ = _zenith(site, ra, dec, when)
    return list(zip((90.0 - np.degrees(zenith)).tolist(), np.degrees(azimuth).tolist(), strict=True))


def airmass(altitude: float) -> float:
    """Return the airmass at an altitude in degrees above the horizon.

    Pickering (2002), DIO 12, 1, page 20; good to the horizon.

    Raises PlanningError for an altitude below 0.
    """
    if not 0 <= altitude <= 90:
        raise PlanningError(f"altitude {altitude:.1f}: airmass is for 0 to 90 degrees")
    return float(1 / math.sin(math.radians(altitude + 244 / (165 + 47 * altitude**1.1))))


def sun(when: datetime) -> tuple[float, float]:
    """Return the Sun's geometric ICRS direction in degrees: opposite to the Earth's heliocentric place (SOFA epv00)."""
    return _direction(*_sun_place(_unix(when)))


def sun_in_brief(when: datetime) -> tuple[float, float]:
    """Return `sun` within 0.00001 degrees, from its places at the whole hours before and after: epv00 is slow."""
    hours = _unix(when) / 3600.0
    hour = math.floor(hours)
    part = hours - hour
    before, after = _sun_place_of_hour(hour), _sun_place_of_hour(hour + 1)
    return _direction(*(one + part * (other - one) for one, other in zip(before, after, strict=True)))


def _sun_place(seconds: float) -> tuple[float, float, float]:
    """Return the Sun's place from the Earth at a moment (Unix seconds), ICRS, astronomical units."""
    days = (seconds + TT_MINUS_UTC) / SECONDS_PER_DAY
    heliocentric, _barycentric, _status = erfa.ufunc.epv00(UNIX_EPOCH_JD, days)
    x, y, z = -heliocentric["p"]
    return float(x), float(y), float(z)


@lru_cache(maxsize=16)
def _sun_place_of_hour(hour: int) -> tuple[float, float, float]:
    return _sun_place(hour * 3600.0)


def _direction(x: float, y: float, z: float) -> tuple[float, float]:
    """Return the right ascension and declination of a vector, degrees."""
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def sun_altitude(site: Site, when: datetime) -> float:
    """Return the altitude of the Sun's centre in degrees at the whole second before ``when``, without refraction.

    That is at most 0.006 degrees off (`altitude_in_brief`). Each agent that an alert passes asks for it within
    milliseconds: it is computed once.
    """
    return _sun_altitude_of_second(site, whole_second(when))


@lru_cache(maxsize=16)
def _sun_altitude_of_second(site: Site, second: datetime) -> float:
    return altitude_in_brief(site, *sun_in_brief(second), second)


def whole_second(when: datetime) -> datetime:
    """Return the whole second before a moment: the moment itself where it is one."""
    return when.replace(microsecond=0) if when.microsecond else when


@lru_cache(maxsize=16)
def moon(site: Site, when: datetime) -> tuple[float, float]:
    """Return the Moon's direction from the site, ICRS degrees: right ascension and declination.

    Its geocentric place is SOFA's `moon98` (Meeus, Astronomical Algorithms, 2nd ed. 1998, chapter 47, in GCRS; good to
    0.004 degrees), less the site's own place: the Moon's parallax is up to a degree. Aberration (0.006 degrees) is left
    out.
    """
    days = (_unix(when) + TT_MINUS_UTC) / SECONDS_PER_DAY
    geocentric = erfa.ufunc.moon98(UNIX_EPOCH_JD, days)["p"]
    x, y, z = geocentric - _observer(site, when)
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def _observer(site: Site, when: datetime) -> NDArray[np.float64]:
    """Return the site's geocentric place in GCRS, astronomical units: its barycentric place less the Earth's."""
    _heliocentric, barycentric, _status = erfa.ufunc.epv00(
        UNIX_EPOCH_JD, (_unix(when) + TT_MINUS_UTC) / SECONDS_PER_DAY
    )
    place: NDArray[np.float64] = np.asarray(_earth_at(site, when)["eb"]) - np.asarray(barycentric["p"])
    return place


def moon_separation(site: Site, ra: float, dec: float, when: datetime) -> float:
    """Return the degrees between an ICRS position in degrees and the Moon, as seen from the site."""
    return separation(ra, dec, *moon(site, when))


@lru_cache(maxsize=16)
def moon_light(site: Site, when: datetime) -> float:
    """Return the illuminated fraction of the Moon's disc, good to a hundredth; 0 while it is below the horizon."""
    place = moon(site, when)
    if altitude_azimuth(site, *place, when)[0] < 0:
        return 0.0
    return (1 - math.cos(math.radians(separation(*sun(when), *place)))) / 2


def is_night(site: Site, when: datetime) -> bool:
    """Tell whether the Sun stands below the site's twilight."""
    return sun_altitude(site, when) < site.twilight


def next_night(site: Site, when: datetime) -> datetime:
    """Return the next local solar midnight after ``when``: the Sun at its lowest (within 24 hours).

    In a polar summer even that is no night; `is_night` tells.
    """
    midnight = when
    for _ in range(3):  # the Sun itself moves a degree a day
        hour_angle = _observe(site, *sun(midnight), midnight)[2]
        ahead = (180.0 - hour_angle) % 360.0 if midnight is when else wrapped(180.0 - hour_angle)
        midnight += timedelta(days=ahead / 360.0)
    return midnight


def up_until(site: Site, ra: float, dec: float, when: datetime, min_altitude: float) -> datetime | None:
    """Tell when an ICRS position sinks below ``min_altitude`` degrees, to a second; ``when`` itself if it isn't up.

    None if it never sinks below it. By day or by night: the Sun is not asked.
    """
    altitude, _, hour_angle, declination = _observe(site, ra, dec, when)
    if altitude < min_altitude:
        return when
    phi, delta = math.radians(site.latitude), math.radians(declination)
    cosine = (math.sin(math.radians(min_altitude)) - math.sin(phi) * math.sin(delta)) / (
        math.cos(phi) * math.cos(delta)
    )
    if cosine <= -1:
        return None
    setting = math.degrees(math.acos(min(1.0, cosine)))
    return when + timedelta(days=max(0.0, setting - hour_angle) / DEGREES_PER_DAY)


def observable_after(
    site: Site, ra: float, dec: float, when: datetime, min_altitude: float, within: float
) -> float | None:
    """Return the seconds until a position can be observed, 0 for now; None if not ``within`` so many, a day at most.

    It must stand at ``min_altitude`` degrees and the Sun below the site's twilight. What is to come is looked at
    every ten minutes, by the hour angles of now: the Sun's declination, which moves by 0.4 degrees in a day, is taken
    as it is.
    """
    altitude, _, hour_angle, declination = _observe(site, ra, dec, when)
    sun_height, _, sun_hour_angle, sun_declination = _observe(site, *sun(when), when)
    if altitude >= min_altitude and sun_height < site.twilight:
        return 0.0
    seconds = np.arange(600.0, min(within, SECONDS_PER_DAY) + 1, 600.0)
    turned = seconds / SECONDS_PER_DAY
    heights = _heights(site, hour_angle + turned * DEGREES_PER_DAY, declination)
    suns = _heights(site, sun_hour_angle + turned * 360.0, sun_declination)
    good = np.flatnonzero((heights >= min_altitude) & (suns < site.twilight))
    return float(seconds[good[0]]) if good.size else None


def _heights(site: Site, hour_angle: NDArray[np.float64], declination: float) -> NDArray[np.float64]:
    """Return altitudes in degrees at hour angles in degrees."""
    phi, delta = math.radians(site.latitude), math.radians(declination)
    sines = math.sin(phi) * math.sin(delta) + math.cos(phi) * math.cos(delta) * np.cos(np.radians(hour_angle))
    return np.degrees(np.arcsin(np.clip(sines, -1.0, 1.0)))


def place_overhead(site: Site, when: datetime, altitude: float = 65.0, azimuth: float = 90.0) -> tuple[float, float]:
    """Return the ICRS position (ra, dec in degrees) that stands at this altitude and azimuth (SOFA atoc13).

    The default is well up, due east: it still rises to the meridian, and stays far from the celestial pole at any
    latitude an observatory has.
    """
    ra, dec, status = erfa.ufunc.atoc13(
        b"A", math.radians(azimuth), math.radians(90.0 - altitude), *_place_and_time(site, when)
    )
    if status < 0:
        raise PlanningError(f"{when.isoformat()}: a date that cannot be computed")
    return float(np.degrees(ra)) % 360, float(np.degrees(dec))


def warm_up() -> None:
    """Load the tables, so that the first alert does not wait 50 ms for them."""
    sun_altitude(Site("nowhere", 0.0, 0.0, 0.0), datetime(2026, 1, 1, tzinfo=UTC))
