"""What any stream said about one event, normalised."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Role = Literal["observation", "prediction", "utility", "test"]
Kind = Literal["initial", "update", "retraction"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One packet of any stream, understood. Immutable; may be shared between threads.

    A field is None where the packet says nothing, or says "unknown" in its stream's own words (0/0, -1, 360 ...).
    ``ra`` and ``dec`` are the position that the packet gives, and ``pointing`` tells whose: a few notices give the
    direction of a spacecraft instead of the source. Whoever wants to point must use `target`.
    """

    stream: str
    """The mission or project (``swift``, ``fermi``, ``lvc`` ...), lower case; for an unknown one its author."""
    id: str
    """What tells this packet from every other one: its ivorn, or topic + event + record."""
    ivorn: str | None = None
    """IVORN of a VOEvent; None for what is none."""
    role: Role = "observation"
    """What the packet means, not only what it says: a test event sent as an observation is ``test`` here."""
    kind: Kind = "initial"
    """Whether it begins an event, updates it or takes it back."""
    event: str
    """The identity key of the event: ``stream:identifier``, the same in all packets about it, retractions included."""
    notice_type: str = ""
    """GCN's name of the notice (``SWIFT_BAT_GRB_POS_ACK``), or the stream's own word (``UPDATE``)."""
    time: datetime | None = None
    """When it happened in the sky (not when it was sent), aware, UTC."""
    sent: datetime | None = None
    """When its author wrote the packet, aware, UTC."""
    ra: float | None = None
    """ICRS degrees, 0 <= ra < 360. FK5 J2000 is taken as ICRS: they differ by less than 0.1 arcsecond."""
    dec: float | None = None
    """Declination, ICRS degrees."""
    pointing: bool = False
    """True where ra, dec is where a spacecraft looked, not where the source is."""
    error_radius: float | None = None
    """Degrees, > 0; the semi-major axis of an ellipse."""
    containment: float | None = None
    """The probability that the source is within ``error_radius``, 0 to 1."""
    skymap: str | None = None
    """URL of a HEALPix FITS file, ``embedded`` if the packet carries it, or None."""
    importance: float | None = None
    """The author's own, 0 to 1, where one is given."""
    far: float | None = None
    """False-alarm rate, Hz."""
    significant: bool | None = None
    """What the author's own threshold says, where there is one (gravitational waves)."""
    known_source: bool = False
    """True where the author recognised a catalogued source."""
    classification: dict[str, float] = {}
    """The author's probabilities by class (``BNS``, ``Terrestrial``, ``HasNS`` ...)."""
    instruments: tuple[str, ...] = ()
    """The instruments or detectors that the author names (``H1``, ``L1``, ``WXT``)."""
    group: str = ""
    """The kind of search behind a gravitational wave (``CBC``, ``Burst``)."""
    pipeline: str = ""
    """The author's pipeline (``gstlal``, ``orca_HE``)."""
    search: str = ""
    """The pipeline's search (``AllSky``, ``BBH``, ``SSM``)."""
    measured: dict[str, float] = {}
    """What else was measured, by `measurements.UNITS`: signal-to-noise ratios, durations, magnitudes ..."""
    citations: tuple[tuple[str, str], ...] = ()
    """(ivorn, ``followup`` | ``supersedes`` | ``retraction``) in the packet's order."""
    names: tuple[str, ...] = ()
    """Other identity keys of the event: its author numbers it more than once (trigger number, burst's name ...)."""
    related: tuple[str, ...] = ()
    """Identity keys, or ivorns, of other missions that the packet says are the same event."""

    @property
    def target(self) -> tuple[float, float] | None:
        """(ra, dec) of the source in ICRS degrees, or None where the packet doesn't say where the source is."""
        if self.ra is None or self.dec is None or self.pointing:
            return None
        return self.ra, self.dec

    @property
    def actionable(self) -> bool:
        """Whether the alert may ever move a telescope: it is no test, no utility, no retraction."""
        return self.role in {"observation", "prediction"} and self.kind != "retraction"
