"""The stars: where they are, and how bright. What a camera simulator draws and what the analyzer measures against.

This is data, not a codec: both sides know the same stars as both know the same Earth, while projection, image and
measurement are written once in ``simulators`` and again, with other libraries, in ``analysis`` (decision 0020).
No Twisted here; any thread may call it.
"""

from pyros.stars.catalogue import Catalogue, FileStars, GaiaStars, RealStars, SyntheticStars, catalogue, named_catalogue
from pyros.stars.field import Stars

__all__ = [
    "Catalogue",
    "FileStars",
    "GaiaStars",
    "RealStars",
    "Stars",
    "SyntheticStars",
    "catalogue",
    "named_catalogue",
]
