"""What packets measured beside position and time: one table of where each kind of packet keeps it.

A value of 0 or below means "not measured" in all of them (Swift's Rate_Signif 0.00 of an image trigger, GBM's
Burst_Signif 0.00), except for magnitudes and hardness. Names are the field's own; `UNITS` says in what they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Set
from typing import Any

from pyros.alerts.formats import values

UNITS = {
    "signalness": "",
    "snr": "sigma",
    "image_snr": "sigma",
    "rate_snr": "sigma",
    "duration": "s",
    "timescale": "s",
    "hardness": "",
    "magnitude": "mag",
    "real_bogus": "",
    "dispersion": "pc/cm3",
}
"""Everything that is measured, with its unit."""

PARAMS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("signalness", 1.0, ("signalness", "Signalness")),
    ("image_snr", 1.0, ("Image_Signif",)),
    ("rate_snr", 1.0, ("Rate_Signif",)),
    (
        "snr",
        1.0,
        (
            *("Trig_Signif", "Data_Signif", "Burst_Signif", "Det_Signif", "TRIGGER_SIGNIF", "SIGNIFICANCE"),
            *("grb_signif", "Signif", "*/SNR", "*/snr"),
        ),
    ),
    ("duration", 1.0, ("Duration", "Trans_Duration", "BURST_DUR")),
    ("timescale", 1.0, ("Trig_Timescale", "Trig_Dur", "TRIGGER_DUR", "Data_Timescale", "Integ_Time", "*/Timescale")),
    ("hardness", 1.0, ("Hardness_Ratio",)),
    ("magnitude", 0.01, ("Burst_Mag",)),  # UVOT's is in hundredths, though it is labelled mag
    ("magnitude", 1.0, ("*/AlertMag", "alert-magnitude/averagemag", "*/mag_v", "*/magnitude", "Current_Mag")),
    ("dispersion", 1.0, ("event parameters/dm", "*/dm")),
)
"""(what, factor to its unit, Params of a VOEvent, the first that there is before the others)."""
_MOST_LIKELY = (("Most_Likely_Index", "Most_Likely_Prob"), ("Sec_Most_Likely_Index", "Sec_Most_Likely_Prob"))
"""The Params of GBM's two most likely classes, and of how probable they are."""
_PARAM_NAMES = frozenset(name for _, _, names in PARAMS for name in names)
ASKED_PARAMS = _PARAM_NAMES | {name for names in _MOST_LIKELY for name in names}
"""The Params of a VOEvent that are asked for here."""

FIELDS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("signalness", 1.0, ("signalness",)),
    ("image_snr", 1.0, ("image_snr",)),
    ("rate_snr", 1.0, ("rate_snr",)),
    ("snr", 1.0, ("snr", "net_snr", "sigma")),
    ("duration", 1.0, ("t90", "duration")),
    ("duration", 1e-3, ("event_duration",)),  # DSA-110's is in ms
    ("timescale", 1.0, ("rate_duration", "image_duration", "detection_timescale")),
    ("hardness", 1.0, ("hardness_ratio",)),
    ("magnitude", 1.0, ("magnitude", "mag")),
    ("dispersion", 1.0, ("dm",)),
)
"""(what, factor to its unit, fields of GCN's unified schema and of igwn.gwalert). A duration may have its unit beside
it, ``detection_timescale_units``."""

CANDIDATE: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("magnitude", 1.0, ("magpsf", "mag", "gmag", "rmag")),
    ("real_bogus", 1.0, ("reliability", "drb", "rb")),
    ("snr", 1.0, ("snr",)),
)
"""(what, factor to its unit, fields of a survey's detection)."""

GBM_CLASSES = {
    0: "ERROR",
    1: "UNRELOCH",
    2: "LOCLPAR",
    3: "BELOWHZ",
    4: "GRB",
    5: "SGR",
    6: "TRANSNT",
    7: "DISTPAR",
    8: "SFL",
    9: "CYGX1",
    10: "SGR1806",
    11: "GROJ422",
    19: "TGF",
}
"""GBM's classes by their index, in the words of its trigger files (Fermi GBM Science Data Products, CLASS)."""

_GBM_IN_WORDS = {
    "unreliable_location": "UNRELOCH",
    "local_particles": "LOCLPAR",
    "below_horizon": "BELOWHZ",
    "generic_sgr": "SGR",
    "generic_transient": "TRANSNT",
    "distant_particles": "DISTPAR",
    "solar_flare": "SFL",
    **dict.fromkeys(("cyg_x1", "cyg_x_1"), "CYGX1"),
    "sgr_1806_20": "SGR1806",
    "groj_0422_32": "GROJ422",
}
"""The same classes as GCN's JSON (``BELOW_HORIZON``) and text (``Below horizon``) write them out."""
_SIGNED = frozenset({"magnitude", "hardness"})
_SPANS = frozenset({"duration", "timescale"})
"""What packets give in a unit of their own: milliseconds, days, an orbit."""
_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""


def of_params(there: Set[str], get: Callable[[str], Any | None]) -> dict[str, float]:
    """Read a VOEvent's measurements.

    Args:
        there: the names by which it has a Param, as `streams` writes names.
        get: returns a Param by such a name, or None.
    """
    found: dict[str, float] = {}
    if there.isdisjoint(_PARAM_NAMES):
        return found
    for what, factor, names in PARAMS:
        if what not in found:
            _first(found, what, ((each.value, each.unit) for name in names if (each := get(name))), factor)
    return found


def of_notice(notice: dict[str, Any], *, signalness: bool = False) -> dict[str, float]:
    """Read the measurements of a notice in JSON; with ``signalness`` its p_astro is that (GCN's page on IceCube)."""
    found = _of_fields(notice, FIELDS)
    if signalness and (probability := values.fraction(notice.get("p_astro"))) is not None:
        found.setdefault("signalness", probability)
    return found


def of_photometry(data: object, target: dict[str, Any]) -> dict[str, float]:
    """Read the target's newest magnitude among the photometry that BOOM sends along; limits are none."""
    rows = data.get("photometry") if isinstance(data, dict) else None
    own = [
        each
        for each in (rows[:10_000] if isinstance(rows, list) else ())
        if isinstance(each, dict) and each.get("event_name") == target.get("event_name") and each.get("mag") is not None
    ]
    return _of_fields(max(own, key=lambda each: str(each.get("observation_start"))), FIELDS) if own else {}


def of_candidate(candidate: dict[str, Any]) -> dict[str, float]:
    """Read the measurements of a survey's detection; Rubin gives a flux in nJy."""
    found = _of_fields(candidate, CANDIDATE)
    flux = values.number(candidate.get("psfFlux"))
    if "magnitude" not in found and flux is not None and flux > 0:
        found["magnitude"] = round(_ZERO_POINT - 2.5 * math.log10(flux), 3)
    return found


def gbm_classes(get: Callable[[str], Any | None]) -> dict[str, float]:
    """Read the two most likely classes that GBM gives, whose probabilities are in percent."""
    found: dict[str, float] = {}
    for names in _MOST_LIKELY:
        index, percent = map(get, names)
        if index is None or percent is None or not index.value.isdecimal() or len(index.value) > 3:
            continue
        probability = values.number(percent.value)
        if probability is not None and 0 < probability <= 100:
            found.setdefault(GBM_CLASSES.get(int(index.value), f"class {index.value}"), probability / 100)
    return found


def gbm_class(written: str) -> str:
    """Return the name in `GBM_CLASSES` of a class that is written out; another one as it is."""
    return _GBM_IN_WORDS.get(re.sub(r"[^a-z0-9]+", "_", written.lower()).strip("_"), written)


def words(value: object) -> tuple[str, ...]:
    """Read the names of instruments: a list of them, or ``H1,L1,V1``."""
    if not value:
        return ()
    parts = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else []
    return tuple(
        dict.fromkeys(part.strip()[:50] for part in parts[:50] if isinstance(part, str) and not values.is_nothing(part))
    )


def _of_fields(source: dict[str, Any], table: Iterable[tuple[str, float, tuple[str, ...]]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for what, factor, names in table:
        if what not in found:
            _first(
                found, what, ((source[name], source.get(f"{name}_units")) for name in names if name in source), factor
            )
    return found


def _first(found: dict[str, float], what: str, candidates: Iterable[tuple[object, object]], factor: float) -> None:
    """Take the first of the values, each with its unit, that says something."""
    for candidate, unit in candidates:
        value = values.number(candidate)
        size = values.span(unit) if what in _SPANS and isinstance(unit, str) else 1.0
        if value is not None and size is not None and (value > 0 or (what in _SIGNED and value != 0)):
            found[what] = round(value * size * factor, 6)
            return
