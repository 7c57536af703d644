"""A request as its form has it, and back: what a form doesn't show stays as it was asked for."""

from __future__ import annotations

from datetime import UTC, datetime

from pyros.messages import Exposures, Observation
from pyros.planning.intake.validation import FAR_SECONDS

FIELDS = ("target", "ra", "dec", "exposures", "priority", "min_altitude", "from", "until", "comment")
"""The form's fields, named as the keys of `pyros.planning.intake`."""


def may_be_changed(request: Observation) -> bool:
    """Whether people change it: what an alert asks for is its rule's, which would change it back."""
    return not request.alert and request.probability is None


def given_of(request: Observation) -> dict[str, str]:
    """Return the form's fields for a request; those that it has no room for (many windows, an orbit) are left out."""
    given = {
        "target": request.target, "exposures": exposures_text(request.exposures), "priority": str(request.priority),
        "min_altitude": f"{request.min_altitude:.10g}", "comment": request.reason,
    }  # fmt: skip
    if request.orbit is None:
        given |= {"ra": f"{request.ra:.12g}", "dec": f"{request.dec:.12g}"}
    if len(request.windows) <= 1:
        given |= {"from": "", "until": ""}
    for window in request.windows if len(request.windows) == 1 else ():
        given["from"] = _instant(window.begin)
        given["until"] = _instant(window.end) if window.end - window.begin < FAR_SECONDS - 1 else ""
    return given


def exposures_text(exposures: tuple[Exposures, ...]) -> str:
    """Return exposures as people type them: ``r:60x3; i:30x2,gain=100``."""
    return "; ".join(_exposure(each) for each in exposures)


def _exposure(it: Exposures) -> str:
    text = f"{it.filter}:{it.seconds:.10g}x{it.count}"
    if it.gain is not None:
        text += f",gain={it.gain:.10g}"
    if it.binning != 1:
        text += f",binning={it.binning}"
    if it.dither:
        text += f",dither={it.dither:.10g}"
    return text + (f",readout_mode={it.readout_mode}" if it.readout_mode else "")


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
