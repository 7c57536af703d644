"""The index as the Virtual Observatory asks for it: Simple Image Access 2.0, with ObsCore's columns in a VOTable.

Plain functions: the parameters of a request in, the answer's bytes out. SIA 2.0 (IVOA Recommendation 2015-12-23),
ObsCore 1.1 (2017-05-09), DALI 1.1 (2017-05-17). ``access_url`` has its utype and UCD, since pyvo's `getdataurl` finds
it by these. Parameters that SIA2 knows and images here don't have (POL, SPECRP, TIMERES ...) select nothing, as
the standard says of a value that is unknown; a parameter that it doesn't know is ignored, as DALI says.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pyros.angles import mjd_of_unix, unix_of_mjd
from pyros.imagery.index import MAX_LIMIT, FoundImage, ImageIndexReader, ImageQuery
from pyros.printable import printable

CONTENT_TYPE = "application/x-votable+xml"
_BEYOND = math.inf
_NO_SUCH = ("POL", "SPECRP", "TIMERES")
_TYPES = ("image",)
COLUMNS: tuple[tuple[str, str, str, str, str], ...] = (
    ("dataproduct_type", "char", "", "meta.code.class", "ObsDataset.dataProductType"),
    ("calib_level", "int", "", "meta.code;obs.calib", "ObsDataset.calibLevel"),
    ("obs_collection", "char", "", "meta.id", "DataID.collection"),
    ("obs_id", "char", "", "meta.id", "DataID.observationID"),
    ("obs_publisher_did", "char", "", "meta.ref.ivoid", "Curation.publisherDID"),
    ("access_url", "char", "", "meta.ref.url", "Access.reference"),
    ("access_format", "char", "", "meta.code.mime", "Access.format"),
    ("access_estsize", "long", "kbyte", "phys.size;meta.file", "Access.size"),
    ("target_name", "char", "", "meta.id;src", "Target.name"),
    ("s_ra", "double", "deg", "pos.eq.ra", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1"),
    ("s_dec", "double", "deg", "pos.eq.dec", "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2"),
    ("s_fov", "double", "deg", "phys.angSize;instr.fov", "Char.SpatialAxis.Coverage.Bounds.Extent.diameter"),
    ("s_region", "char", "", "pos.outline;obs.field", "Char.SpatialAxis.Coverage.Support.Area"),
    ("s_resolution", "double", "arcsec", "pos.angResolution", "Char.SpatialAxis.Resolution.Refval.value"),
    ("s_xel1", "long", "", "meta.number", "Char.SpatialAxis.numBins1"),
    ("s_xel2", "long", "", "meta.number", "Char.SpatialAxis.numBins2"),
    ("t_min", "double", "d", "time.start;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StartTime"),
    ("t_max", "double", "d", "time.end;obs.exposure", "Char.TimeAxis.Coverage.Bounds.Limits.StopTime"),
    ("t_exptime", "double", "s", "time.duration;obs.exposure", "Char.TimeAxis.Coverage.Support.Extent"),
    ("t_resolution", "double", "s", "time.resolution", "Char.TimeAxis.Resolution.Refval.value"),
    ("t_xel", "long", "", "meta.number", "Char.TimeAxis.numBins"),
    ("em_min", "double", "m", "em.wl;stat.min", "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit"),
    ("em_max", "double", "m", "em.wl;stat.max", "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit"),
    ("em_res_power", "double", "", "spect.resolution", "Char.SpectralAxis.Resolution.ResolPower.refVal"),
    ("em_xel", "long", "", "meta.number", "Char.SpectralAxis.numBins"),
    ("o_ucd", "char", "", "meta.ucd", "Char.ObservableAxis.ucd"),
    ("pol_states", "char", "", "meta.code;phys.polarization", "Char.PolarizationAxis.stateList"),
    ("pol_xel", "long", "", "meta.number", "Char.PolarizationAxis.numBins"),
    ("facility_name", "char", "", "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name"),
    ("instrument_name", "char", "", "meta.id;instr", "Provenance.ObsConfig.Instrument.name"),
    ("filter", "char", "", "meta.id;instr.filter", ""),
)
"""Name, datatype, unit, UCD and utype of each column: ObsCore's mandatory ones, and the filter's name."""

BANDS = {
    "U": (3.0e-7, 4.2e-7), "B": (3.6e-7, 5.6e-7), "V": (4.7e-7, 7.0e-7), "R": (5.5e-7, 9.0e-7), "I": (7.0e-7, 9.2e-7),
    "u": (3.0e-7, 4.0e-7), "g": (3.8e-7, 5.5e-7), "r": (5.4e-7, 7.0e-7), "i": (6.7e-7, 8.4e-7), "z": (8.0e-7, 1.1e-6),
    "Ha": (6.53e-7, 6.60e-7), "L": (3.9e-7, 7.0e-7),
}  # fmt: skip
"""Wavelengths in metres of filters by their common names, to a tenth: Bessell 1990, PASP 102, 1181; Fukugita et al.
1996, AJ 111, 1748."""
MAX_PAGES = 20
"""Pages of `MAX_LIMIT` images that are looked at for one position; beyond, the answer says that there may be more."""


class SiaQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was understood. Of each list one must fit; an empty one is no condition."""

    positions: tuple[tuple[float, float, float], ...] = ()
    """Cones, ICRS degrees."""
    times: tuple[tuple[float, float], ...] = ()
    """Spans that the exposure must touch, Unix seconds."""
    bands: tuple[tuple[float, float], ...] = ()
    """Spans of wavelength that the filter must touch, metres."""
    exposures: tuple[tuple[float, float], ...] = ()
    """Spans of exposure time, seconds."""
    fields: tuple[tuple[float, float], ...] = ()
    """Spans of the field's diameter, degrees."""
    resolutions: tuple[tuple[float, float], ...] = ()
    """Spans of the stars' FWHM, arcseconds."""
    words: Mapping[str, tuple[str, ...]] = {}
    """Of FACILITY, INSTRUMENT, COLLECTION, TARGET, ID, CALIB, DPTYPE and FORMAT, those that were given."""
    nothing: bool = False
    """Whether it asks for what no image here has."""
    maxrec: int = MAX_LIMIT
    """How many rows at most."""


def read_query(parameters: Mapping[str, Sequence[str]]) -> SiaQuery:
    """Understand the parameters of a request, each with its values; names are taken in whatever case.

    Raises ValueError saying which of them is wrong and what would be right.
    """
    given: dict[str, list[str]] = {}
    for name, values in ((name, values) for name, values in parameters.items() if values):
        given.setdefault(name.upper(), []).extend(values)
    version = given.get("RESPONSEFORMAT", [CONTENT_TYPE])
    if not any("votable" in each for each in version):
        raise ValueError(f"RESPONSEFORMAT: {version[0][:40]!r} is not {CONTENT_TYPE}")
    maxrec = given.get("MAXREC", [str(MAX_LIMIT)])[0]
    if not maxrec.isascii() or not maxrec.isdigit() or len(maxrec) > 9:
        raise ValueError(f"MAXREC: {maxrec[:40]!r} is not a whole number")
    named = ("FACILITY", "INSTRUMENT", "COLLECTION", "TARGET", "ID", "CALIB", "DPTYPE", "FORMAT")
    spans = {name: tuple(_span(name, each) for each in given.get(name, ()))
             for name in ("TIME", "BAND", "EXPTIME", "FOV", "SPATRES")}  # fmt: skip
    return SiaQuery(
        positions=tuple(_position(each) for each in given.get("POS", ())),
        times=tuple((_unix(low), _unix(high)) for low, high in spans["TIME"]),
        bands=spans["BAND"], exposures=spans["EXPTIME"], fields=spans["FOV"], resolutions=spans["SPATRES"],
        words={name: tuple(given[name]) for name in named if name in given},
        nothing=any(name in given for name in _NO_SUCH),
        maxrec=min(int(maxrec), MAX_LIMIT),
    )  # fmt: skip


def answer(
    reader: ImageIndexReader, parameters: Mapping[str, Sequence[str]], *, base: str, collection: str
) -> tuple[int, bytes]:
    """Answer a request: HTTP status, and a VOTable, which also tells what was wrong with one (DALI 1.1, 4.2).

    ``base`` is where an image is downloaded: its number follows. ``collection`` is the observatory's name. Raises
    JournalError when the index cannot be read. Takes tens of milliseconds; any thread.
    """
    try:
        query = read_query(parameters)
    except ValueError as error:
        return 400, votable([], base, collection, problem=f"UsageFault: {error}")
    rows, more = search(reader, query, collection)
    return 200, votable(rows, base, collection, overflow=more)


def search(reader: ImageIndexReader, query: SiaQuery, collection: str) -> tuple[list[FoundImage], bool]:
    """Return the images that fit, and whether there are more than were asked for."""
    found: dict[int, FoundImage] = {}
    words = query.words
    elsewhere = (
        query.nothing
        or ("COLLECTION" in words and collection not in words["COLLECTION"])
        or ("DPTYPE" in words and not set(words["DPTYPE"]) & set(_TYPES))
        or ("CALIB" in words and "1" not in words["CALIB"])
        or ("FORMAT" in words and not any("fits" in each.lower() for each in words["FORMAT"]))
    )
    if elsewhere:
        return [], False
    targets, more = words.get("TARGET", ()), False
    since = min((low for low, _ in query.times), default=-_BEYOND) - 86_400.0  # an exposure that had begun before
    until = max((high for _, high in query.times), default=_BEYOND)
    for cone in query.positions or (None,):
        after = ""
        for _ in range(MAX_PAGES):
            page = reader.find(ImageQuery(
                cone=cone, type="LIGHT", object=targets[0] if len(targets) == 1 else "", limit=MAX_LIMIT, after=after,
                since=since if since > -_BEYOND else None,
                until=math.nextafter(until, _BEYOND) if until < _BEYOND else None,
            ))  # fmt: skip
            found |= {each.number: each for each in page.images if _fits(each, query, collection)}
            if not (after := page.next) or len(found) > query.maxrec:
                break
        more = more or bool(after)
    rows = sorted(found.values(), key=lambda each: (-each.record.started, -each.number))
    return rows[: query.maxrec], more or len(rows) > query.maxrec


def votable(
    images: Sequence[FoundImage], base: str, collection: str, *, overflow: bool = False, problem: str = ""
) -> bytes:
    """Return a VOTable 1.4 of the images, by astropy."""
    from astropy.io.votable import tree, writeto  # noqa: PLC0415  half a second, and few processes need it

    document = tree.VOTableFile()
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    status = "ERROR" if problem else "OK"
    info = tree.Info(name="QUERY_STATUS", value=status)
    info.content = printable(problem) or None
    resource.infos.append(info)
    resource.infos.append(tree.Info(name="standardID", value="ivo://ivoa.net/std/SIA#query-2.0"))
    table = tree.TableElement(document)
    resource.tables.append(table)
    table.fields.extend(
        tree.Field(
            document, name=name, ID=name, datatype=kind, arraysize="*" if kind == "char" else None, unit=unit or None,
            ucd=ucd, utype=f"obscore:{utype}" if utype else None,
        )
        for name, kind, unit, ucd, utype in COLUMNS
    )  # fmt: skip
    table.create_arrays(len(images))
    for row, image in enumerate(images):
        values = obscore(image, base, collection)
        table.array[row] = tuple(_masked(values[name], kind) for name, kind, *_ in COLUMNS)
        table.array.mask[row] = tuple(values[name] is None for name, *_ in COLUMNS)
    if overflow:
        table.infos.append(tree.Info(name="QUERY_STATUS", value="OVERFLOW"))
    stream = io.BytesIO()
    writeto(document, stream)
    return stream.getvalue()


def obscore(image: FoundImage, base: str, collection: str) -> dict[str, Any]:
    """Return ObsCore's values of an image by their columns; None for what is not known."""
    it = image.record
    band = BANDS.get(it.filter)
    seconds = it.seconds or 0.0
    region = " ".join(f"{ra:.6f} {dec:.6f}" for ra, dec in it.corners)
    return {
        "dataproduct_type": "image", "calib_level": 1, "obs_collection": collection,
        "obs_id": it.observation or str(image.number),
        "obs_publisher_did": f"{base}{image.number}", "access_url": f"{base}{image.number}",
        "access_format": "image/fits", "access_estsize": max(1, round(it.size / 1000)), "target_name": it.object,
        "s_ra": it.ra, "s_dec": it.dec, "s_fov": None if it.radius is None else 2 * it.radius,
        "s_region": f"POLYGON ICRS {region}" if region else None, "s_resolution": it.fwhm,
        "s_xel1": it.width, "s_xel2": it.height, "t_min": mjd_of_unix(it.started),
        "t_max": mjd_of_unix(it.started + seconds), "t_exptime": it.seconds, "t_resolution": it.seconds, "t_xel": 1,
        "em_min": band[0] if band else None, "em_max": band[1] if band else None, "em_res_power": None, "em_xel": 1,
        "o_ucd": "phot.count", "pol_states": None, "pol_xel": 0, "facility_name": it.telescope or collection,
        "instrument_name": it.instrument, "filter": it.filter,
    }  # fmt: skip


def _fits(image: FoundImage, query: SiaQuery, collection: str) -> bool:
    it, words = image.record, query.words
    seconds = it.seconds or 0.0
    band = BANDS.get(it.filter)
    named = {"FACILITY": it.telescope or collection, "INSTRUMENT": it.instrument, "TARGET": it.object}
    return (
        _touches(query.times, it.started, it.started + seconds)
        and _touches(query.bands, *(band or (math.nan, math.nan)))
        and _touches(query.exposures, seconds, seconds)
        and _touches(query.fields, *(2 * (it.radius or math.nan),) * 2)
        and _touches(query.resolutions, *(it.fwhm or math.nan,) * 2)
        and all(value in words[name] for name, value in named.items() if name in words)
        and ("ID" not in words or any(each.rpartition("/")[2] == str(image.number) for each in words["ID"]))
    )


def _touches(spans: Sequence[tuple[float, float]], low: float, high: float) -> bool:
    """Return whether one of the spans touches another; a value that isn't known (NaN) touches none."""
    return not spans or any(low <= last and high >= first for first, last in spans)


def _position(text: str) -> tuple[float, float, float]:
    """Read POS as a cone: CIRCLE is one; RANGE and POLYGON are answered by the cone around them."""
    kind, *rest = text.split() or [""]
    numbers = _numbers("POS", rest)
    match kind.upper(), len(numbers):
        case "CIRCLE", 3:
            ra, dec, radius = numbers
        case "RANGE", 4:
            low, high, south, north = (max(-360.0, min(360.0, each)) for each in numbers)
            south, north = max(-90.0, south), min(90.0, north)
            if low > high or south > north:
                raise ValueError(f"POS: {text[:60]!r} is no range: the smaller number comes first")
            ra, dec = ((low + high) / 2 % 360.0, (south + north) / 2)
            radius = min(180.0, math.hypot((high - low) / 2, (north - south) / 2))
        case "POLYGON", count if count >= 6 and count % 2 == 0:
            ra, dec, radius = _around(list(zip(numbers[::2], numbers[1::2], strict=True)))
        case _:
            raise ValueError(f"POS: {text[:60]!r} is not like CIRCLE 83.6 22.0 0.5, RANGE or POLYGON (ICRS degrees)")
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 <= radius <= 180):
        raise ValueError(f"POS: {text[:60]!r} is not on the sky (ICRS degrees)")
    return ra, dec, radius


def _around(corners: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the cone around a polygon: its corners' mean direction, and the farthest of them."""
    from pyros.angles import separation  # noqa: PLC0415

    if any(not (0 <= ra <= 360 and -90 <= dec <= 90) for ra, dec in corners):
        raise ValueError("POS: a corner of the POLYGON is not on the sky (ICRS degrees)")
    angles = [(math.radians(ra), math.radians(dec)) for ra, dec in corners]
    x = sum(math.cos(dec) * math.cos(ra) for ra, dec in angles)
    y = sum(math.cos(dec) * math.sin(ra) for ra, dec in angles)
    z = sum(math.sin(dec) for _, dec in angles)
    ra, dec = math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))
    return ra, dec, max(separation(ra, dec, *corner) for corner in corners)


def _span(name: str, text: str) -> tuple[float, float]:
    """Read ``low high``, or one value that is both; -Inf and +Inf are open ends (DALI 1.1, 3.3.2)."""
    numbers = [{"-inf": -_BEYOND, "+inf": _BEYOND, "inf": _BEYOND}.get(each.lower()) for each in text.split()]
    values = [_numbers(name, [word])[0] if number is None else number
              for number, word in zip(numbers, text.split(), strict=True)]  # fmt: skip
    if len(values) == 1:
        values *= 2
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError(f"{name}: {text[:60]!r} is not one number, or a smaller and a greater one")
    return values[0], values[1]


def _numbers(name: str, words: Sequence[str]) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(each) for each in numbers):
        raise ValueError(f"{name}: {' '.join(words)[:60]!r} has something that is no number")
    return numbers


def _unix(mjd: float) -> float:
    return unix_of_mjd(mjd) if math.isfinite(mjd) else mjd


def _masked(value: Any, kind: str) -> Any:
    if value is not None:
        return value
    return "" if kind == "char" else math.nan if kind == "double" else 0
