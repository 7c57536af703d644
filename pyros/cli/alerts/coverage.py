"""``pyros alerts coverage``: what was observed of an event's sky map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros.alerts.events import StoredEvent
from pyros.alerts.skymaps import SkyMap, read_skymap
from pyros.alerts.skymaps.coverage import moc_of, probability_in, write_moc
from pyros.alerts.tiling import MapTarget, ObservedField, Tiling
from pyros.areas.work import MAPS_FOLDER
from pyros.cli.common import ConfigOption, JsonOption, looking, out, short
from pyros.clock import system_time
from pyros.config import Config
from pyros.errors import AlertError, PyrosError
from pyros.files import atomic_write
from pyros.printable import instant
from pyros.views.events import stored_event


def coverage(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's name, or one of its packets.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the map and the fields: a PNG file.")
    ] = None,
    moc: Annotated[
        Path | None,
        typer.Option("--moc", metavar="FILE", help="Write what was observed as a multi-order coverage: a FITS file."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show which part of an event's sky map was observed: fields, probability, a picture, a MOC for others.

    Examples:
      pyros alerts coverage lvc:S241125n
      pyros alerts coverage lvc:S241125n --picture coverage.png --moc coverage.fits
    """
    loaded = configuration.load(config)
    stored = find_event(loaded, event)
    tiling = stored.followed.tiling
    if tiling is None or not tiling.file:
        raise PyrosError(f"{stored.name}: none of its sky maps was read; pyros alerts explain {event} says why")
    skymap = _map_of(loaded, tiling)
    covered = probability_in(skymap, tiling.observed)
    done = {each.key for each in tiling.observed}
    left = [each for each in tiling.targets if each.key not in done]
    level, _ = moc_of(tiling.observed)
    area = float((41252.961 / 12 / 4.0**level).sum())
    retracted = not tiling.read
    told: dict[str, Any] = {
        "event": stored.name, "retracted": retracted, "probability": covered, "area": area,
        "fields": len(tiling.observed), "wanted": len(left), "map": str(loaded.data / MAPS_FOLDER / tiling.file),
    }  # fmt: skip
    words = f"{covered:.1%} of the probability in {_fields(len(tiling.observed))}, {area:.1f} square degrees"
    if picture is not None:
        write_picture(loaded, stored, picture)
    if moc is not None:
        with atomic_write(moc) as partial:
            partial.write_bytes(
                write_moc(tiling.observed, system_time(), [f"{stored.name}: observed by {loaded.name}"])
            )
    if as_json:
        fields = [{"ra": e.ra, "dec": e.dec, "width": e.width, "height": e.height, "ended": e.ended, "images": e.images}
                  for e in tiling.observed]  # fmt: skip
        out.file.write(json.dumps({**told, "observed": fields}) + "\n")
        return
    out.print(f"{stored.name}{': retracted' if retracted else ''}")
    for each in tiling.observed:
        out.print(f"  {instant(each.ended)}  ra {each.ra:.3f}, dec {each.dec:+.3f}, {each.images} images")
    out.print(f"observed     {words}")
    out.print(f"still wanted {_fields(len(left))}")
    for file in (picture, moc):
        if file is not None:
            out.print(f"written      {short(file)}")


def write_picture(config: Config, stored: StoredEvent, picture: Path) -> float:
    """Draw an event's map with what was observed of it and what is wanted; return the probability observed, 0 to 1.

    Raises PyrosError where the map cannot be read.
    """
    from pyros.areas.picture import draw_coverage  # noqa: PLC0415

    tiling = stored.followed.tiling
    if tiling is None or not tiling.file:
        raise PyrosError(f"{stored.name}: none of its sky maps was read; pyros alerts explain {stored.name} says why")
    skymap = _map_of(config, tiling)
    covered = probability_in(skymap, tiling.observed)
    done = {each.key for each in tiling.observed}
    left = [_planned(each, tiling.observed, config) for each in tiling.targets if each.key not in done]
    title = f"{stored.name}{'' if tiling.read else ', retracted'}"
    words = f"observed: {covered:.1%} of the probability in {_fields(len(tiling.observed))}; {len(left)} wanted"
    draw_coverage(picture, skymap, tiling.observed, left, title, words)
    return covered


def find_event(config: Config, event: str) -> StoredEvent:
    """Return the event of that name, or the one that has a packet of that name; raises PyrosError where none has."""
    with looking(config) as observed:
        found = stored_event(observed, event)
        if found is None:
            observed.require("alert_manager")
            raise PyrosError(f"{event}: the alert manager knows no such event; pyros alerts list shows some")
    return found


def _map_of(config: Config, tiling: Tiling) -> SkyMap:
    path = config.data / MAPS_FOLDER / tiling.file
    try:
        return read_skymap(path.read_bytes())
    except OSError as error:
        raise PyrosError(f"{path}: cannot be read: {error.strerror}") from None
    except AlertError as error:
        raise PyrosError(f"{path}: {error}") from None


def _planned(target: MapTarget, observed: tuple[ObservedField, ...], config: Config) -> ObservedField:
    """Return a field that is wanted, as large as the others."""
    if observed:
        width, height = observed[-1].width, observed[-1].height
    else:
        words = config.agents["alert_manager"].options.get("field", "1").partition("x")
        width, height = float(words[0]), float(words[2] or words[0])
    return ObservedField(target.key, target.ra, target.dec, width, height, 0.0)


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"
