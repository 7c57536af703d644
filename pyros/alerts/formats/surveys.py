"""Alerts of optical surveys as their brokers write them in JSON, to `Alert`: Rubin's, ZTF's, ANTARES's and TNS's.

Rubin's alerts (https://sdm-schemas.lsst.io) have ``diaSource`` and ``diaObject``, ZTF's
(https://github.com/ZwickyTransientFacility/ztf-avro-alert) ``candidate``; what a broker passes on often has the same
names at the top. Each is a detection of an object, which is the event: there are no updates, nothing is taken back.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.formats import measurements, values
from pyros.alerts.formats.times import parse_iso


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of packet; a dot leads into an object."""

    marks: frozenset[str]
    """Fields by which it is known."""
    name: str = ""
    """Its stream; without one, what the packet calls the survey, or the letters with which an object's name begins."""
    detection: tuple[str, ...]
    """What tells a detection from others of its object; the first that there is."""
    objects: tuple[str, ...]
    places: tuple[str, ...]
    """Where RA and Dec may stand; the first that there is."""
    axes: tuple[str, str] = ("ra", "dec")
    time: str
    """A (modified) Julian day, in the place."""
    known: tuple[str, ...] = ()
    """What names the known object of the Solar System that the detection belongs to, or says that there is one."""
    distance: str = ""
    """The arcseconds to the nearest such object; negative for none."""
    injected: str = ""
    """What says that the detection is of a star that was put into the image to test how it is found."""
    scale: str = "UTC"


SURVEYS = (
    Survey(
        marks=frozenset({"diaSourceId", "diaSource"}),
        name="lsst",
        detection=("diaSourceId",),
        objects=("diaObject.diaObjectId", "diaSource.diaObjectId", "ssObject.ssObjectId", "diaSource.ssObjectId"),
        places=("diaSource",),
        time="midpointMjdTai",
        scale="TAI",
        known=("diaSource.ssObjectId", "pred.is_sso"),
        injected="diaSource.pixelFlags_injected",
    ),
    Survey(  # what a filter of Lasair selected (https://lasair.readthedocs.io): the object, at its mean position
        marks=frozenset({"diaObjectId", "ra", "decl"}),
        name="lsst",
        detection=("diaSourceId", "lastDiaSourceMjdTai", "UTC"),
        objects=("diaObjectId",),
        places=("",),
        axes=("ra", "decl"),
        time="lastDiaSourceMjdTai",
        scale="TAI",
    ),
    Survey(
        marks=frozenset({"objectId", "ramean", "decmean"}),
        detection=("candid", "jdmax", "UTC"),
        objects=("objectId",),
        places=("",),
        axes=("ramean", "decmean"),
        time="jdmax",
    ),
    Survey(
        marks=frozenset({"objectId", "candid"}),
        detection=("candid",),
        objects=("objectId",),
        places=("candidate", ""),
        time="jd",
        distance="candidate.ssdistnr",
    ),
    Survey(  # ALeRCE's classifier of light curves: classes of an object, without its place
        marks=frozenset({"oid", "lc_classification"}),
        detection=("candid",),
        objects=("oid",),
        places=("",),
        time="mjd",
    ),
)


NAMES = frozenset({"lsst", "ztf", "tns", "antares_broker"})
"""Streams of surveys."""
_NEAR = 5.0
"""Arcseconds within which a detection is of the known object of the Solar System (Fink's "asteroid catcher")."""
_CLASSES = (
    *("classification", "classifications", "probabilities", "classificationScores"),
    "lc_classification.probabilities",
)
_SCORES = {
    "rf_snia_vs_nonia": "early SN Ia",
    "snn_snia_vs_nonia": "SN Ia",
    "snn_sn_vs_all": "SN",
    "clf.earlySNIa_score": "early SN Ia",
    "clf.snnSnVsOthers_score": "SN",
    "slsn_score": "SLSN",
    "rf_kn_vs_nonkn": "kilonova",
    "mulens": "microlensing",
    "microlensing": "microlensing",
}
"""Fink's scores (https://fink-broker.readthedocs.io, "Science modules") and what they are probabilities of; those of
Rubin's alerts stand within ``clf``."""
CLASS_FIELDS = (*_CLASSES, *_SCORES)
"""Fields that say of what class a broker takes the object for."""


_TNS = frozenset({"objname", "discoverydate"})
_TNS_PREFIX = re.compile(r"(?:AT|SN|TDE)[ _]?(?=\d{4})")
"""What stands before an object's name changes when it is classified."""
_NAMED_BY = {"ZTF": "ztf", "Gaia": "gaia", "ASASSN-": "asassn"}
"""How the names of objects of other streams begin, as TNS lists them."""
_ANTARES = frozenset({"ra", "dec", "properties", "tags"})
_ANTARES_NAMES = (
    ("ztf", "survey.ztf.id"),
    ("ztf", "ztf_object_id"),
    ("lsst", "survey.lsst.dia_object_id"),
    ("lsst", "survey.lsst.ss_object_id"),
)
_ANTARES_KNOWN = ("survey.ztf.ssnamenr", "ztf_ssnamenr", "survey.lsst.ss_object_id")


def in_words_of_ztf(notice: dict[str, Any]) -> dict[str, Any]:
    """Write an object of TNS, or a locus of ANTARES, with the fields of ZTF's packets; return others as they are.

    https://www.wis-tns.org/content/tns-getting-started; https://nsf-noirlab.gitlab.io/csdc/antares/client. The event is
    the survey's object, whichever broker tells of it.
    """
    if notice.keys() >= _TNS:
        place = {"ra": notice.get("radeg", notice.get("ra")), "dec": notice.get("decdeg", notice.get("dec"))}
        return {
            "survey": "tns",
            "objectId": _TNS_PREFIX.sub("", _text(notice["objname"])),
            "candid": None,
            "candidate": {**place, "jd": notice["discoverydate"], "mag": notice.get("discoverymag")},
            "classification": _at(notice, "object_type.name"),
            "internal_names": notice.get("internal_names"),
        }
    inner = notice.get("attributes")
    locus = {"id": notice.get("id"), **inner} if isinstance(inner, dict) else notice
    found = locus.get("properties")
    if not isinstance(found, dict) or not locus.keys() >= _ANTARES:
        return notice
    names = ((survey, _text(_only(_at(found, path)))) for survey, path in _ANTARES_NAMES)
    known = any(_text(_only(_at(found, path))) not in {"", "null"} for path in _ANTARES_KNOWN)
    own = _text(locus.get("locus_id")) or _text(locus.get("id"))
    survey, name = next((each for each in names if each[1]), ("antares_broker", own))
    return {
        "survey": survey,
        "objectId": name,
        "candid": found.get("newest_alert_id"),
        "candidate": {
            "ra": locus["ra"],
            "dec": locus["dec"],
            "jd": found.get("newest_alert_observation_time"),
            "mag": found.get("newest_alert_magnitude"),
            "ssdistnr": 0.0 if known else None,
        },
    }


def of_notice(notice: dict[str, Any]) -> Survey | None:
    """Return the survey whose shape a notice has, if any."""
    return next((survey for survey in SURVEYS if survey.marks <= notice.keys()), None)


def parse_detection(notice: dict[str, Any], survey: Survey) -> Alert:
    """Make the alert of one detection of an object."""
    found = next((text for path in survey.objects if (text := _text(_at(notice, path)))), "")
    detection = next((text for path in survey.detection if (text := _text(_at(notice, path)))), "") or _digest(notice)
    letters = found.rstrip("0123456789abcdefghijklmnopqrstuvwxyz")
    stream = survey.name or _text(notice.get("survey")).lower() or letters.lower() or "survey"
    places = (notice if path == "" else _at(notice, path) for path in survey.places)
    place = next((each for each in places if isinstance(each, dict)), {})
    axes = [place.get(axis) for axis in survey.axes]
    target = values.position(values.axis(axes[0], "ra"), values.axis(axes[1], "dec"))
    return Alert(
        stream=stream,
        id=f"{stream}.alert:{found}:{detection}",
        role="test" if survey.injected and _at(notice, survey.injected) is True else "observation",
        event=f"{stream}:{found or detection}",
        notice_type=f"{stream}.alert",
        time=parse_iso(_text(place.get(survey.time)), survey.scale),
        ra=target[0] if target else None,
        dec=target[1] if target else None,
        known_source=any(bool(_at(notice, path)) for path in survey.known) or _is_near(notice, survey),
        classification=_classes(notice),
        measured=measurements.of_candidate(place) or measurements.of_candidate(notice),
        related=_related(notice),
    )


def _digest(notice: dict[str, Any]) -> str:
    """Return what tells a packet from others of its object where nothing numbers its detection."""
    return hashlib.sha1(msgspec.json.encode(notice, order="sorted")).hexdigest()[:8]


def _is_near(notice: dict[str, Any], survey: Survey) -> bool:
    """Tell whether a known object of the Solar System stands where the detection is."""
    distance = values.number(_at(notice, survey.distance)) if survey.distance else None
    return distance is not None and 0 <= distance < _NEAR


def _classes(notice: dict[str, Any]) -> dict[str, float]:
    """Read the broker's classes: probabilities by name, one name alone (Lasair's Sherlock), or Fink's scores."""
    found: dict[str, float] = {}
    for field in _CLASSES:
        content = _at(notice, field)
        if isinstance(content, str) and content.strip():
            found[content.strip()[:100]] = 1.0
        for name, value in list(content.items())[:100] if isinstance(content, dict) else ():
            if (probability := values.fraction(value)) is not None:
                found[str(name)[:100]] = probability
    for field, name in _SCORES.items():
        if (probability := values.fraction(_at(notice, field))) is not None:
            found[name] = probability
    return found


def _related(notice: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys of other streams' objects that TNS says are the same."""
    names = (name.strip() for name in _text(notice.get("internal_names")).split(","))
    found = ((stream, name) for name in names for begin, stream in _NAMED_BY.items() if name.startswith(begin))
    return tuple(f"{stream}:{name}" for stream, name in found)


def _only(value: object) -> object:
    """Return the first of a list, or what is not a list."""
    return (value[0] if value else None) if isinstance(value, list) else value


def _at(notice: dict[str, Any], path: str) -> Any:
    """Return what stands at a path, or None."""
    value: Any = notice
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """Return a string or number that isn't 0 (Rubin's "no object") as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == 0:
        return ""
    return str(value).strip()[:200]
