"""The choice between real stars and synthetic ones."""

from __future__ import annotations

from typing import Literal, Protocol

from pyros.stars import gaia, synthetic
from pyros.stars.field import Stars, joined

Choice = Literal["gaia", "synthetic", "auto"]
CHOICES: tuple[Choice, ...] = ("gaia", "synthetic", "auto")


class Catalogue(Protocol):
    """Something that knows stars."""

    name: str

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        """At least all known stars of a circle, ICRS degrees; some beyond it may be among them."""
        ...


class SyntheticStars:
    """No star is real: see `synthetic`."""

    name = "synthetic"

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        return synthetic.stars_near(ra, dec, radius)


class GaiaStars:
    """Real stars to magnitude 10, and synthetic ones beyond, down to 18: a field without faint stars is no field."""

    name = "gaia"

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        """Raises CatalogueError when the package isn't there."""
        faint = synthetic.stars_near(ra, dec, radius)
        return joined([gaia.stars_near(ra, dec, radius), faint.chosen(faint.magnitude > gaia.FAINTEST)])


def catalogue(choice: Choice = "auto") -> Catalogue:
    """The stars of that name; ``auto`` takes the real ones where they are installed.

    Raises CatalogueError for ``gaia`` without the package.
    """
    if choice == "synthetic" or (choice == "auto" and not gaia.installed()):
        return SyntheticStars()
    stars = GaiaStars()
    stars.near(0.0, 0.0, 0.01)  # read now: a mistake is told at the start, not in the night
    return stars
