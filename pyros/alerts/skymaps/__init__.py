"""Alerts that are an area: HEALPix sky maps read, measured, and cut into telescope fields."""

from __future__ import annotations

from pyros.alerts.skymaps.circle import circle_map
from pyros.alerts.skymaps.galaxies import Galaxy, GalaxyCatalogue, RankedGalaxy, rank_galaxies, write_catalogue
from pyros.alerts.skymaps.place import place_of
from pyros.alerts.skymaps.reading import read_skymap
from pyros.alerts.skymaps.skymap import SkyMap
from pyros.alerts.skymaps.tiles import FieldOfView, Tile, make_tiles

__all__ = [
    "FieldOfView",
    "Galaxy",
    "GalaxyCatalogue",
    "RankedGalaxy",
    "SkyMap",
    "Tile",
    "circle_map",
    "make_tiles",
    "place_of",
    "rank_galaxies",
    "read_skymap",
    "write_catalogue",
]
