"""``pyros publish``: tell the broker's subscribers of a source that somebody has found."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros.alerts import followup
from pyros.alerts.formats import event_keys
from pyros.alerts.formats.times import parse_iso
from pyros.cli.common import LONGEST_WAIT, ConfigOption, looking, out
from pyros.clock import Deadline
from pyros.config import BrokerConfig, Config
from pyros.errors import PyrosError
from pyros.messages import SOURCE_FOUND, SourceFound
from pyros.observatory import clock_for
from pyros.sender import Sender
from pyros.views.sources import published
from pyros.views.timeline import LOOK_EVERY


def position(text: str) -> tuple[float, float]:
    """``RA DEC`` in ICRS degrees."""
    words = text.replace(",", " ").split()
    try:
        ra, dec = (float(word) for word in words)
    except ValueError:
        ra = dec = float("nan")
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise typer.BadParameter(f"{text!r}: must be RA and Dec in degrees, such as '83.6331 22.0145'")
    return ra, dec


def instant(text: str) -> datetime:
    """Read an ISO 8601 time, UTC."""
    found = parse_iso(text)
    if found is None:
        raise typer.BadParameter(f"{text!r}: must be a UTC time, such as 2026-03-20T23:30:00")
    return found


def publish(
    alert: Annotated[str, typer.Argument(metavar="IVORN", help="The alert that is followed up.")],
    at: Annotated[
        Any,
        typer.Option(
            "--position",
            parser=position,
            metavar="'RA DEC'",
            help="Where it was found: right ascension and declination, ICRS degrees.",
        ),
    ],
    magnitude: Annotated[float, typer.Option("--magnitude", min=-30, max=40, metavar="MAG", help="Its magnitude.")],
    filter_: Annotated[str, typer.Option("--filter", metavar="NAME", help="The filter of the magnitude.")],
    magnitude_error: Annotated[
        float | None,
        typer.Option("--magnitude-error", min=0, metavar="MAG", help="Standard deviation.", show_default=False),
    ] = None,
    error_radius: Annotated[
        float | None,
        typer.Option("--error-radius", min=1e-9, metavar="DEGREES", help="Of the position.", show_default=False),
    ] = None,
    time: Annotated[
        Any, typer.Option("--time", parser=instant, metavar="TIME", help="Of the image; now if left out (UTC).")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait.")
    ] = 10.0,
    config: ConfigOption = None,
) -> None:
    """Publish a detection by hand: the alert manager writes the VOEvent, the broker sends it to its subscribers.

    It cites the alert as what it follows up. Prints its ivorn when the broker
    keeps it.

    Examples:
      pyros publish ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1017711-600
        --position '83.6331 22.0145' --magnitude 17.3 --magnitude-error 0.1 --filter r
    """
    loaded = configuration.load(config)
    broker = _publishing(loaded)
    begin = followup.beginning(broker.ivo, followup.BY_HAND)
    when = time or clock_for(loaded, None).now()
    found = SourceFound(
        observation=followup.BY_HAND, alert=alert, event=event_keys.event_of_ivorn(alert), ra=at[0], dec=at[1],
        magnitude=magnitude, magnitude_error=magnitude_error, filter=filter_, time=when.timestamp(),
        error_radius=error_radius,
    )  # fmt: skip
    with looking(loaded) as observed:
        before = published(observed, begin)
        Sender.send_to("alert_manager", SOURCE_FOUND, found, config=loaded, timeout=timeout)
        deadline = Deadline(timeout)
        while not (new := [ivorn for ivorn in published(observed, begin) if ivorn not in before]):
            if not deadline.left():
                raise PyrosError(
                    f"the alert manager has it, but not the broker within {timeout:g} s; it gets it when it is up"
                )
            deadline.pause(LOOK_EVERY)
    for ivorn in new:
        out.print(f"{ivorn} is kept by the broker")


def _publishing(config: Config) -> BrokerConfig:
    if config.broker is None or not config.broker.publish:
        raise PyrosError(f"{config.path}: [broker] publish: this observatory doesn't publish; publish = yes lets it")
    return config.broker
