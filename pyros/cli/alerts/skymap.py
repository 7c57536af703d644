"""``pyros alerts skymap``: what a sky map says, and the telescope's fields that cover it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pyros.alerts import form_of
from pyros.alerts.skymaps import (
    FieldOfView,
    GalaxyCatalogue,
    RankedGalaxy,
    SkyMap,
    Tile,
    make_tiles,
    rank_galaxies,
    read_skymap,
)
from pyros.alerts.skymaps.embedded import embedded_skymap
from pyros.alerts.skymaps.tiles import Mask
from pyros.areas.visible import visible_in_night
from pyros.cli.common import JsonOption, out, plain_table, show
from pyros.clock import system_time
from pyros.errors import AlertError, PyrosError
from pyros.planning.night_sky import night_of
from pyros.site import Site

_FIELD = re.compile(r"(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?")


def skymap(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A sky map (FITS, also gzipped), or the JSON or Avro alert that has it."),
    ],
    field: Annotated[
        str,
        typer.Option(metavar="WxH", help="The telescope's field in degrees: show the fields to observe, best first."),
    ] = "",
    overlap: Annotated[float, typer.Option(help="Degrees that neighbouring fields share.")] = 0.0,
    share: Annotated[float, typer.Option(min=0.01, max=1.0, help="Stop at this share of what can be observed.")] = 0.9,
    galaxies: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Galaxies, as pyros alerts galaxies makes them: show the most probable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show at most so many fields or galaxies.")] = 20,
    site: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The site.yaml of an observatory: only what it sees in a night counts."),
    ] = None,
    night: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="The night at or after this time (UTC) instead of the next one.",
        ),
    ] = None,
    altitude: Annotated[float, typer.Option(min=0.0, max=89.0, help="Degrees that count as up, with --site.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Show what a sky map says: areas, distance, what can be seen tonight, and the fields that cover it.

    Multi-order and flat HEALPix maps of LIGO/Virgo/KAGRA, Fermi GBM and
    IceCube are read.

    Examples:
      pyros alerts skymap bayestar.multiorder.fits
      pyros alerts skymap S241125n.json --field 2x2 --site observatory/site.yaml
      pyros alerts skymap S241125n.json --galaxies galaxies.npy
      pyros alerts skymap map.fits.gz --field 1.5x1 --overlap 0.1 --share 0.5 --limit 1000 --json
    """
    try:
        chosen = read_skymap(_map_of(file))
        size = _size(field, overlap) if field else None
        visible = _visible(Site.load(site), night, altitude) if site else None
        tiles = make_tiles(chosen, size, share=share, limit=limit, observable=visible) if size else []
        catalogue = GalaxyCatalogue(galaxies) if galaxies else None
        ranked = rank_galaxies(chosen, catalogue, share=share, limit=limit, observable=visible) if catalogue else []
    except AlertError as error:
        raise PyrosError(f"{file}: {error}") from None
    found = facts(chosen)
    if visible is not None:
        found["observable"] = float(chosen.probability[visible(*chosen.centres)].sum())
    if as_json:
        more = {"tiles": [tile._asdict() for tile in tiles], "galaxies": [galaxy._asdict() for galaxy in ranked]}
        out.file.write(json.dumps(found | more) + "\n")
        return
    for line in _lines(found):
        out.print(line)
    if size:
        show(_table_of_tiles(tiles))
    if catalogue:
        show(_table_of_galaxies(ranked))


def facts(chosen: SkyMap) -> dict[str, Any]:
    """Return what a map says, for programs: areas in square degrees, positions in ICRS degrees, distances in Mpc."""
    ra, dec = chosen.most_probable
    return {
        "cells": len(chosen.cell), "area50": chosen.area(0.5), "area90": chosen.area(0.9), "ra": ra, "dec": dec,
        "distance": chosen.distance and chosen.distance[0], "distance_error": chosen.distance and chosen.distance[1],
    }  # fmt: skip


def _map_of(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise PyrosError(f"{file}: cannot be read: {error.strerror}") from None
    if data.startswith((b"SIMPLE", b"\x1f\x8b")):
        return data
    form_of(data)  # or it says what it is not
    packed = embedded_skymap(data)
    if packed is None:
        raise AlertError("an alert without a sky map in it")
    return packed


def _size(text: str, overlap: float) -> FieldOfView:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no field; give degrees as 2x1.5", param_hint="--field")
    size = FieldOfView(float(match[1]), float(match[2] or match[1]), overlap)
    size.check()
    return size


def _visible(site: Site, night: datetime | None, altitude: float) -> Mask:
    """Return which positions stand high enough, above the site's horizon, at some time of the night."""
    when = datetime.fromtimestamp(system_time(), UTC) if night is None else night.replace(tzinfo=UTC)
    dark = night_of(site, when)
    mask = visible_in_night(site, dark[0].timestamp(), altitude) if dark is not None else None
    if mask is None:
        raise PyrosError(f"{site.name}: no night by its twilight of {site.twilight:g} degrees about {when:%Y-%m-%d}")
    return mask


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"50 % of the probability in {found['area50']:.1f} square degrees, 90 % in {found['area90']:.1f}",
        f"most probable at RA {found['ra']:.3f}, Dec {found['dec']:+.3f} degrees",
    ]
    if found["distance"]:
        lines.append(f"at {found['distance']:.0f} +- {found['distance_error']:.0f} Mpc")
    if "observable" in found:
        lines.append(f"{found['observable']:.1%} of it can be observed in the night")
    return lines


def _table_of_tiles(tiles: list[Tile]) -> Table:
    headings = ("", "ra", "dec", "in it", "together")
    table = plain_table(*headings, right=headings)
    together = 0.0
    for number, tile in enumerate(tiles, 1):
        together += tile.added
        table.add_row(str(number), f"{tile.ra:.3f}", f"{tile.dec:+.3f}", f"{tile.probability:.2%}", f"{together:.2%}")
    return table


def _table_of_galaxies(ranked: list[RankedGalaxy]) -> Table:
    numbers = ("ra", "dec", "Mpc", "probability")
    table = plain_table("galaxy", *numbers, right=numbers)
    for galaxy in ranked:
        table.add_row(
            galaxy.name, f"{galaxy.ra:.4f}", f"{galaxy.dec:+.4f}", f"{galaxy.distance:.0f}", f"{galaxy.probability:.3%}"
        )
    return table
