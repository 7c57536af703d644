"""The choice between real stars and synthetic ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, TextIO

import numpy as np

from pyros.errors import CatalogueError
from pyros.stars import gaia, synthetic
from pyros.stars.field import Stars, joined

Choice = Literal["gaia", "synthetic", "auto"]
_LONGEST_HEAD = 1000


class Catalogue(Protocol):
    """A source of stars."""

    name: str
    faintest: float
    """The magnitude to which it is complete: what is fainter may be a star that it doesn't know."""

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        """Return all known stars of a circle, ICRS degrees, and perhaps some beyond it."""
        ...


class SyntheticStars:
    """Stars of which none is real: see `synthetic`."""

    name = "synthetic"
    faintest = synthetic.FAINTEST

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        return synthetic.stars_near(ra, dec, radius)


class GaiaStars:
    """Real stars to magnitude 10, and synthetic ones beyond, down to 18: a field without faint stars is no field."""

    name = "gaia"
    faintest = synthetic.FAINTEST

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        """Return the stars near a position; raises CatalogueError when the package isn't there."""
        faint = synthetic.stars_near(ra, dec, radius)
        return joined([gaia.stars_near(ra, dec, radius), faint.chosen(faint.magnitude > gaia.FAINTEST)])


class RealStars:
    """Real stars only, to magnitude 10: a real telescope's catalogue where there is no better one."""

    name = "gaia"
    faintest = gaia.FAINTEST

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        """Return the stars near a position; raises CatalogueError when the package isn't there."""
        return gaia.stars_near(ra, dec, radius)


class FileStars:
    """The stars of a CSV file: a line ``ra,dec,magnitude`` at its top, then ICRS degrees and magnitudes."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises CatalogueError naming it."""
        self.name = path.name
        try:
            with path.open(encoding="utf-8") as file:
                self._check_head(path, file)
                lines = file.readlines()
            if not any(line.strip() for line in lines):
                raise CatalogueError(f"{path}: has no stars")
            table = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
        except OSError as error:
            raise CatalogueError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise CatalogueError(f"{path}: {' '.join(str(error).split())}") from None
        if table.shape[1:] != (3,) or not np.isfinite(table).all():
            raise CatalogueError(f"{path}: each line must have three numbers: ra,dec,magnitude")
        table = table[np.argsort(table[:, 1], kind="stable")]
        self._stars = Stars(*np.ascontiguousarray(table.T))
        self.faintest = float(np.percentile(self._stars.magnitude, 90))

    @classmethod
    def check(cls, path: Path) -> None:
        """Raise CatalogueError where there is no such file, or it doesn't begin as it must; its stars are not read."""
        try:
            with path.open(encoding="utf-8") as file:
                cls._check_head(path, file)
        except OSError as error:
            raise CatalogueError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise CatalogueError(f"{path}: {' '.join(str(error).split())}") from None

    @staticmethod
    def _check_head(path: Path, file: TextIO) -> None:
        head = file.readline(_LONGEST_HEAD).replace(" ", "").strip().lower()
        if head != "ra,dec,magnitude":
            raise CatalogueError(f"{path}: its first line must be ra,dec,magnitude")

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        begin, end = np.searchsorted(self._stars.dec, (dec - radius, dec + radius))
        return self._stars.chosen(slice(begin, end)).within(ra, dec, radius)


def catalogue(choice: Choice = "auto") -> Catalogue:
    """Make the catalogue of that name; ``auto`` takes the real stars where they are installed.

    Raises CatalogueError for ``gaia`` without the package.
    """
    if choice == "synthetic" or (choice == "auto" and not gaia.installed()):
        return SyntheticStars()
    stars = GaiaStars()
    stars.near(0.0, 0.0, 0.01)  # read now: a mistake is told at the start, not in the night
    return stars


@lru_cache(maxsize=2)
def named_catalogue(name: str) -> Catalogue:
    """Make the catalogue ``gaia``, ``simulated``, ``synthetic``, or of a file. Raises CatalogueError."""
    match name:
        case "gaia":
            return RealStars()
        case "simulated":
            return catalogue("auto")
        case "synthetic":
            return SyntheticStars()
    return FileStars(Path(name))
