"""``pyros alert``: publish a VOEvent to the observatory's broker, and see what happens to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pyros import alerts
from pyros import config as configuration
from pyros.broker.packet import identify, known_by, parse
from pyros.broker.vtp.author import send_event
from pyros.broker.vtp.protocol import MAX_LENGTH
from pyros.cli.alert_template import filled, is_template
from pyros.cli.common import LONGEST_WAIT, ConfigOption, complain, looking, out
from pyros.cli.timeline import AlertTimeline
from pyros.config import Config
from pyros.errors import AgentUnreachable, AlertError, PyrosError
from pyros.health.asking import broker_of, of_agent
from pyros.sender import reachable
from pyros.views.timeline import Follower
from pyros.views.timeline_steps import Ended

LINGER = {"finished": 20.0, "withdrawn": 3.0}
"""Seconds, by how an alert ended, in which its last VOEvent may still come: of one withdrawn before it began none
does."""


def alert(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A VOEvent or a JSON notice; - reads it from standard input.", show_default=False
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show what happens to it, or don't.")] = True,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to follow it.")
    ] = 3600.0,
    config: ConfigOption = None,
) -> None:
    """Publish an alert to the broker and follow it: decision, slew, images, until its end or Ctrl-C.

    Where the observatory publishes, also what it tells others about it; where it
    has several telescopes, what each does.

    The exit code is 0 when its observation has finished
    (with --no-follow: when the broker keeps it).

    Examples:
      pyros alert burst.xml
      pyros alert burst.xml --no-follow
      pyros alert observatory/demo-alert.xml   (a burst that can be seen now)
      curl https://example.org/notice.json | pyros alert -
    """
    loaded = configuration.load(config)
    broker = broker_of(loaded)
    packet, ivorn = read_alert(file, loaded)
    if len(packet) > MAX_LENGTH:
        folder = f"put it into {broker.folder}" if broker.folder else f"{loaded.path}: [broker] folder names one for it"
        raise PyrosError(f"{file}: {len(packet)} bytes, and VTP carries {MAX_LENGTH}; files may be larger: {folder}")
    with looking(loaded) as observed:
        follower = Follower(observed, ivorn, known_by, known_by(packet))
        try:
            send_event(reachable(broker.ip), broker.receiver_port, packet)
        except AgentUnreachable as error:
            raise PyrosError(f"{error}; start the observatory first: pyros run --config {loaded.path}") from None
        out.print(f"{ivorn} is kept by the broker")
        if not follow:
            return
        _tell_who_is_missing(loaded)
        with AlertTimeline(out) as timeline:
            end = timeline.watch(follower, timeout)
            if loaded.publishes and isinstance(end, Ended) and end.how in LINGER:
                timeline.linger(follower, LINGER[end.how])
    if end is None:
        complain(f"no end within {timeout:g} s: the observatory goes on with it; pyros status shows how it is doing")
    raise typer.Exit(0 if isinstance(end, Ended) and end.how == "finished" else 1)


def read_alert(file: Path, config: Config | None = None) -> tuple[bytes, str]:
    """Return an alert's bytes and its ivorn, or the name that its JSON gives it; raises PyrosError naming the file.

    A template, whose time and place are missing, is filled in for the observatory of ``config``.
    """
    try:
        packet = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        if config is not None and is_template(packet):
            packet = filled(packet, config)
        return packet, identify(parse(packet)) if alerts.form_of(packet) == "voevent" else alerts.parse(packet).id
    except OSError as error:
        raise PyrosError(f"{file}: cannot be read: {error.strerror}") from None
    except AlertError as error:
        raise PyrosError(f"{file}: {error}") from None


def _tell_who_is_missing(config: Config) -> None:
    manager = config.agents.get("alert_manager")
    if manager is not None and not of_agent(manager, 1.0)["up"]:
        out.print("alert_manager is not running: the broker hands the event over when it is")
