"""Positions of streams that nobody has seen yet, in the ways that the standard leaves open."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from pyros.alerts import parse
from tests.builders import voevent

WHERE = """<ObsDataLocation>
<ObservatoryLocation><AstroCoords coord_system_id="UTC-GEOD-TOPO"><Position3D unit="deg-deg-m"><Value3><C1>1</C1>
<C2>2</C2><C3>3</C3></Value3></Position3D></AstroCoords></ObservatoryLocation>
<ObservationLocation><AstroCoords coord_system_id="{system}">{position}</AstroCoords></ObservationLocation>
</ObsDataLocation>"""
NAMED = '<AstroCoords coord_system_id="">'
PAIR = "<Value2><C1>{}</C1><C2>{}</C2></Value2>"
RADIUS = "<Error2Radius>0.1</Error2Radius>"


def packet(system: str, position: str, old: str = "", new: str = "") -> bytes:
    """Write a VOEvent with that position or time in coordinates of that system; ``new`` stands where ``old`` would."""
    where = WHERE.format(system=system, position=position)
    assert old in where
    return voevent(where=where.replace(old, new) if old else where)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (f'<Position2D unit="deg">{PAIR.format(10.5, -3)}{RADIUS}</Position2D>', (10.5, -3.0, 0.1)),
        (f'<Position2D unit="degrees">{PAIR.format(10.5, -3)}</Position2D>', (10.5, -3.0, None)),
        (f"<Position2D>{PAIR.format(10.5, -3)}{RADIUS}</Position2D>", (10.5, -3.0, 0.1)),
        (
            f"<Position2D><Name1>DE</Name1><Name2>RA</Name2>{PAIR.format(-3, 10.5)}{RADIUS}</Position2D>",
            (10.5, -3.0, 0.1),
        ),
        (
            f"<Position2D><Name1>RA</Name1><Name2>Dec</Name2>{PAIR.format(10.5, -3)}{RADIUS}</Position2D>",
            (10.5, -3.0, 0.1),
        ),
        (
            f'<Position2D unit="rad">{PAIR.format(0.5, -0.25)}<Error2Radius>0.001</Error2Radius></Position2D>',
            (math.degrees(0.5), math.degrees(-0.25), math.degrees(0.001)),
        ),
        ("<Position2D><Value2>10.5 -3</Value2><Error2Radius unit='arcmin'>6</Error2Radius></Position2D>",
         (10.5, -3.0, 0.1)),
        ("<Position2D><Value2>10.5 -3</Value2><Error2Radius unit='arcseconds'>360</Error2Radius></Position2D>",
         (10.5, -3.0, 0.1)),
        ("<Position2D unit='rad'><Value2>0.5 -0.25</Value2><Error2Radius unit='deg'>0.1</Error2Radius></Position2D>",
         (math.degrees(0.5), math.degrees(-0.25), 0.1)),
        ("<Position2D><Value2>10.5 -3</Value2><Error2Radius unit='deg^2'>0.1</Error2Radius></Position2D>",
         (10.5, -3.0, None)),
        (f"<Position2D unit='deg deg'>{PAIR.format(10.5, -3)}</Position2D>", (10.5, -3.0, None)),
        (f"<Position2D unit='arcsec'>{PAIR.format(10.5, -3)}</Position2D>", (None, None, None)),
        (f"<Position2D unit='deg^2'>{PAIR.format(10.5, -3)}</Position2D>", (None, None, None)),
        (f"<Position2D unit='h-deg'>{PAIR.format(10.5, -3)}</Position2D>", (157.5, -3.0, None)),
        ("<Position2D><Value2><C1 pos_unit='h'>10.5</C1><C2 pos_unit='deg'>-3</C2></Value2></Position2D>",
         (None, None, None)),
        ("<Position2D><Value2 unit='rad'><C1>0.5</C1><C2>-0.25</C2></Value2></Position2D>",
         (math.degrees(0.5), math.degrees(-0.25), None)),
        (f"<Position2D>{PAIR.format(10.5, -3)}<Error2Radius>nan</Error2Radius></Position2D>", (10.5, -3.0, None)),
        (f"<Position2D>{PAIR.format(10.5, -3)}<Error2Radius>1e9</Error2Radius></Position2D>", (None, None, None)),
        (f"<Position2D>{PAIR.format(-10.5, -3)}{RADIUS}</Position2D>", (None, None, None)),
        (f"<Position2D>{PAIR.format(360, -3)}{RADIUS}</Position2D>", (0.0, -3.0, 0.1)),
        (f"<Position2D>{PAIR.format(10.5, -3)}<Error2><C1>0.1</C1><C2>0.2</C2></Error2></Position2D>",
         (10.5, -3.0, 0.2)),
        ("<Position3D unit='deg-deg-Mpc'><Value3><C1>10.5</C1><C2>-3</C2><C3>40</C3></Value3></Position3D>",
         (10.5, -3.0, None)),
        (f'<Position2D unit="hour">{PAIR.format(10.5, -3)}{RADIUS}</Position2D>', (None, None, None)),
        (f"<Position2D>{PAIR.format('00:42:00', '-03:00:00')}{RADIUS}</Position2D>", (10.5, -3.0, 0.1)),
        (f"<Position2D unit='deg-deg'>{PAIR.format('0h42m', '-0d30m')}{RADIUS}</Position2D>", (10.5, -0.5, 0.1)),
        (f"<Position2D unit='hms-dms'>{PAIR.format('00 42 00', '-03 00 00')}{RADIUS}</Position2D>", (10.5, -3.0, 0.1)),
        (f"<Position2D unit='h:m:s'>{PAIR.format(0.7, -3)}{RADIUS}</Position2D>", (None, None, None)),
        ("<Position2D><Value2>00:42:00 -03:00:00</Value2></Position2D>", (10.5, -3.0, None)),
        ("<Position2D><Value2>00 42 00 -03 00 00</Value2></Position2D>", (10.5, -3.0, None)),
        (f"<Position2D>{PAIR.format('00:61:00', '-03:00:00')}{RADIUS}</Position2D>", (None, None, None)),
        ("<Position2D><Value2><C1>10.5</C1></Value2></Position2D>", (None, None, None)),
        ("<Position2D><Value2>10.5 -3 7</Value2></Position2D>", (None, None, None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("system", ["UTC-ICRS-GEO", "UTC-FK5-TOPO", ""])
def test_positions(system: str, position: str, expected: tuple[float | None, ...]) -> None:
    alert = parse(packet(system, position))
    assert (alert.ra, alert.dec, alert.error_radius) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("names", [("GLON", "GLAT"), ("Long", "Lat"), ("Az", "Alt"), ("RA", "RA"), ("Dec", "Dec")])
def test_other_axes_are_not_taken_for_right_ascension(names: tuple[str, str]) -> None:
    named = f"<Position2D><Name1>{names[0]}</Name1><Name2>{names[1]}</Name2>{PAIR.format(10.5, -3)}</Position2D>"
    assert parse(packet("UTC-ICRS-GEO", named)).target is None


@pytest.mark.parametrize(("beside", "target"), [("UTC-ICRS-GEO", (10.5, -3.0)), ("UTC-HPC-TOPO", None)])
def test_a_system_that_stands_beside_the_coordinates(beside: str, target: tuple[float, float] | None) -> None:
    position = f'<Position2D unit="deg">{PAIR.format(10.5, -3)}{RADIUS}</Position2D>'
    other = packet("", position, NAMED, f'<AstroCoordSystem id="{beside}"/><AstroCoords>')
    assert parse(other).target == target


DESCRIBED = """<AstroCoordSystem id="here"><TimeFrame><TimeScale>{scale}</TimeScale></TimeFrame><SpaceFrame>
<SpaceRefFrame>{frame}</SpaceRefFrame></SpaceFrame></AstroCoordSystem><AstroCoords coord_system_id="here">"""


@pytest.mark.parametrize("frame", ["ICRS", "FK5", "GALACTIC"])
def test_a_system_that_is_described_instead_of_named(frame: str) -> None:
    """VOEvent 2.1."""
    begin = "<Time><TimeInterval><ISOTimeStart>2026-03-01T06:00:37</ISOTimeStart></TimeInterval></Time>"
    position = f"<Position2D>{PAIR.format(10.5, -3)}</Position2D>"
    described = packet("", begin + position, NAMED, DESCRIBED.format(scale="TAI", frame=frame))
    alert = parse(described.replace(b"v2.0", b"v2.1"))
    assert alert.target == (None if frame == "GALACTIC" else (10.5, -3.0))
    assert alert.time == datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "position",
    [
        "<Position2D><Value2><C1 pos_unit='deg'>10.5</C1><C2 pos_unit='deg'>-3</C2></Value2>"
        "<Error2><C1 pos_unit='arcmin'>6</C1><C2 pos_unit='arcsec'>36</C2></Error2></Position2D>",
        "<Position2D><Value2><C1>10.5</C1><C2>-3</C2></Value2>"
        "<Error2Radius pos_unit='arcmin'>6</Error2Radius></Position2D>",
        "<Position3D><Value3><C1>10.5</C1><C2>-3</C2><C3 pos_unit='Mpc'>40</C3></Value3>"
        "<Error3><C1>0.1</C1><C2>0.01</C2><C3 pos_unit='Mpc'>9</C3></Error3></Position3D>",
    ],
)
def test_units_of_each_number(position: str) -> None:
    """VOEvent 2.1."""
    alert = parse(packet("UTC-ICRS-GEO", position))
    assert alert.target == (10.5, -3.0)
    assert alert.error_radius == pytest.approx(0.1)


@pytest.mark.parametrize("system", ["UTC-GAL-GEO", "UTC-FK4-GEO", "UTC-ECLIPTIC-GEO", "FK5-B1950"])
def test_other_systems_are_not_taken_for_right_ascension(system: str) -> None:
    position = f'<Position2D unit="deg">{PAIR.format(10.5, -3)}{RADIUS}</Position2D>'
    assert parse(packet(system, position)).target is None


@pytest.mark.parametrize(
    ("time", "second"),
    [
        ("<ISOTime>2026-03-01T06:00:00</ISOTime>", 0),
        ("<MJDTime>61100.25</MJDTime>", 0),
        ("<JDTime>2461100.75</JDTime>", 0),
        ("<ISOTime></ISOTime><JDTime>2461100.75</JDTime>", 0),
        ("<ISOTime>2026-03-01T05:59:60</ISOTime>", 0),
        ("<ISOTime>2026-03-01T07:00:00+01:00</ISOTime>", 0),
        ("<MJDTime>-1</MJDTime>", None),
        ("<ISOTime>2026-03-01T05:59:00</ISOTime><TimeOffset>60</TimeOffset>", 0),
        ("<ISOTime>2026-03-01T06:00:37</ISOTime><TimeScale>TAI</TimeScale>", 0),
        ("<ISOTime>2026-03-01T06:00:00</ISOTime><TimeOffset>1e30</TimeOffset>", None),
    ],
)
def test_times(time: str, second: int | None) -> None:
    position = f"<Time><TimeInstant>{time}</TimeInstant></Time>"
    alert = parse(packet("UTC-ICRS-GEO", position))
    assert alert.time == (datetime(2026, 3, 1, 6, 0, second, tzinfo=UTC) if second is not None else None)
