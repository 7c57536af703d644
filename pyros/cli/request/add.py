"""``pyros request add``: one request, by options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, out, user_name
from pyros.cli.request.common import CheckOption, RequestDesk, SimbadOption, TimeoutOption
from pyros.planning.intake.draft import Draft, Drafts, exposures

_WORDS = {
    "position": "--position", "ra": "--ra", "dec": "--dec", "exposures": "--expose", "priority": "--priority",
    "min_altitude": "--min-altitude", "max_airmass": "--max-airmass", "moon_distance": "--moon-distance",
    "moon_illumination": "--moon-illumination", "sun_altitude": "--sun-altitude", "from": "--from",
    "until": "--until", "cadence": "--every", "cadence every": "--every", "cadence tolerance": "--tolerance",
    "cadence start": "--start", "cadence count": "--times", "owner": "--owner", "proposal": "--proposal",
    "telescope": "--telescope", "comment": "--comment", "id": "--id", "target": "TARGET",
}  # fmt: skip


def add(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The target's name; without --ra and --dec it is looked up.")
    ],
    expose: Annotated[
        list[str],
        typer.Option(
            "--expose",
            "-e",
            metavar="FILTER:SECONDSxCOUNT",
            help="FILTER:SECONDSxCOUNT; once for each filter, in their order.",
        ),
    ],
    ra: Annotated[
        str | None, typer.Option(metavar="RA", help="Right ascension, ICRS: 05h35m17s, 5:35:17, or degrees.")
    ] = None,
    dec: Annotated[
        str | None, typer.Option(metavar="DEC", help="Declination, ICRS: -05d23m28s, -5:23:28, or degrees.")
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(metavar="N", help="With ten more, a minute of it is worth twice as much; 0 by default."),
    ] = None,
    min_altitude: Annotated[
        str | None, typer.Option(metavar="DEGREES", help="Lowest altitude, degrees; 10 by default.")
    ] = None,
    max_airmass: Annotated[str | None, typer.Option(metavar="N", help="Greatest airmass.")] = None,
    moon_distance: Annotated[
        str | None, typer.Option(metavar="DEGREES", help="Least distance from the Moon, degrees.")
    ] = None,
    moon_illumination: Annotated[
        str | None, typer.Option(metavar="0..1", help="Greatest lit share of the Moon while it is up, 0 to 1.")
    ] = None,
    sun_altitude: Annotated[
        str | None, typer.Option(metavar="DEGREES", help="Highest altitude of the Sun, degrees, such as -18.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Earliest begin (UTC).")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Latest end (UTC).")] = None,
    every: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Repeat it after so long: 3 d, 12 h, 40 min.")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(metavar="SPAN", help="With --every: how much earlier or later each may be.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --every: when the first is due (UTC); now by default.")
    ] = None,
    times: Annotated[
        str | None, typer.Option(metavar="N", help="With --every: how many; without end by default.")
    ] = None,
    interruptible: Annotated[
        bool, typer.Option("--interruptible/--not-interruptible", help="Whether a higher priority may interrupt it.")
    ] = True,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Who wants it; you by default.")] = None,
    proposal: Annotated[str | None, typer.Option(metavar="NAME", help="The proposal it belongs to.")] = None,
    telescope: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Of several telescopes, the one that is to make it; or a site.")
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it is wanted.")] = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id; made of its name by default.")] = None,
    simbad: SimbadOption = False,
    check: CheckOption = False,
    timeout: TimeoutOption = 10.0,
    config: ConfigOption = None,
) -> None:
    """Ask for an observation; tells when it is up next, and returns when the scheduler has committed it.

    A name is looked for in the observatory's own file of names (targets in the
    configuration), then at SIMBAD. A file of requests: pyros request import.

    Examples:
      pyros request add "M 31" --expose L:120x20 --expose R:60x5 --priority 10
      pyros request add "RX And" --ra 01:04:35.5 --dec +41:17:58 -e V:60 --every "1 d" --times 30
      pyros request add M13 -e R:30x10,gain=100,binning=2 --min-altitude 40 --check
    """
    given: dict[str, Any] = {
        "id": id_, "target": target, "ra": ra, "dec": dec, "priority": priority, "min_altitude": min_altitude,
        "max_airmass": max_airmass, "moon_distance": moon_distance, "moon_illumination": moon_illumination,
        "sun_altitude": sun_altitude, "from": from_, "until": until, "interruptible": interruptible, "owner": owner,
        "proposal": proposal, "telescope": telescope, "comment": comment,
    }  # fmt: skip
    values = {key: value for key, value in given.items() if value is not None}
    cadence = {"every": every, "tolerance": tolerance, "start": start, "count": times}
    if any(each is not None for each in cadence.values()):
        values["cadence"] = {key: value for key, value in cadence.items() if value is not None}
    try:
        values["exposures"] = [each for word in expose for each in exposures(word)]
    except ValueError as error:
        raise typer.BadParameter(f"--expose: {error}") from None
    draft = Draft(target, values, _WORDS)
    desk = RequestDesk(configuration.load(config), timeout, simbad)
    (request,) = desk.review(Drafts([draft]), user_name())
    coming = desk.coming(request)
    if not check:
        desk.send([request])
    desk.tell(request, coming)
    if check:
        out.print("checked only: nothing was sent")
