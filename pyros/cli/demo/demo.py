"""``pyros demo``: a burst, followed up by a simulated observatory, in a minute."""

from __future__ import annotations

import configparser
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

import pyros
from pyros import alerts
from pyros import config as configuration
from pyros.broker.packet import known_by
from pyros.cli import alert_template
from pyros.cli.alert import LINGER, read_alert
from pyros.cli.common import LONGEST_WAIT, looking, out, program, short, show, signals_as_ctrl_c
from pyros.cli.console.app import own_name
from pyros.cli.demo.observatory import ObservatoryProcess
from pyros.cli.demo.waves import OPTIONS, RETRACTED_WAVE, WAVE, follow_wave
from pyros.cli.ports import check_free, listening
from pyros.cli.timeline import AlertTimeline
from pyros.clock import Deadline, system_time
from pyros.config import FILE_NAME, Config
from pyros.console.links import entry_link
from pyros.console.roles import Role
from pyros.errors import AlertError, PyrosError
from pyros.health.asking import broker_of
from pyros.printable import last_line
from pyros.sender import reachable
from pyros.simulators import load as load_simulator
from pyros.views.night import state
from pyros.views.timeline import LOOK_EVERY, Follower
from pyros.views.timeline_steps import Ended, ImageOnDisk, Planned, SourceDetected

_START_SECONDS = 90.0
_WEATHER_SECONDS = 30.0
_SEND_SECONDS = 60.0
_PREVIEW_SECONDS = 5.0
_ANALYSIS_SECONDS = 90.0
_FLARE_SECONDS = 20.0
_LINK_SECONDS = 86400.0
_CONSOLE_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 1.0
_BURST = {"magnitude": 14.0, "after": 60.0, "slope": 1.2}
"""What the demo's burst looks like: its magnitude so many seconds after it, and the index of its power law."""
_BURST_OFFSET_ARCSEC = 15.0  # from the alert's position, which is known to 108


def demo(
    alert: Annotated[
        Path | None,
        typer.Option(
            "--alert",
            "-a",
            metavar="FILE",
            help="A VOEvent to send instead of the demo's burst; gw for a gravitational wave's sky map, gw-retracted.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Where to put everything; by default a new var/demo-..."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to follow the alert.")
    ] = 180.0,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The observatory to use instead of the demo's."),
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Leave it all running afterwards, until Ctrl-C.")] = False,
) -> None:
    """See a simulated burst followed up: starts a whole observatory, sends it an alert, shows what happens, stops it.

    The observatory's night is now, whatever the hour, and the burst stands
    where its telescope can see it. The exit code is 0 only if an image was
    taken of the alert's position.

    Examples:
      pyros demo
      pyros demo --alert my_burst.xml
      pyros demo --alert gw            (a sky map, observed field by field, and updated)
      pyros demo --alert gw-retracted  (one that is taken back in the middle)
      pyros demo --stay     (to look at the console's pages for longer)
    """
    with signals_as_ctrl_c():
        source = configuration.load(config or configuration.demo_file())
        broker_of(source)
        check_free(listening(source, [load_simulator(path) for path in source.simulators]))
        wave = str(alert) if str(alert) in (WAVE, RETRACTED_WAVE) and not Path(str(alert)).exists() else ""
        template = (None if wave else alert) or source.path.parent / "observatory" / "demo-alert.xml"
        if not is_template(template):
            read_alert(template)  # a mistake in it is told before anything starts
        folder = new_folder(source, data)
        observatory = own_config(source, folder, OPTIONS if wave else None)
        with ObservatoryProcess(observatory, folder / "observatory.log") as process:
            _start(process)
            if wave:
                follow_wave(process, wave, timeout, _sendvo)
                if stay:
                    _stay(process)
                return
            packet = fill(template, observatory, folder)
            burst = is_template(template) and flare(observatory, packet)
            _follow(process, packet, timeout, burst)
            if stay:
                _stay(process)


# What the demo runs ------------------------------------------------------------------------------------------------


def new_folder(source: Config, given: Path | None) -> Path:
    """Make the demo's folder: a new one, or the one given, which must be empty; raises PyrosError."""
    if given is None:
        packaged = source.path.is_relative_to(Path(pyros.__file__).parent)
        under = Path("var").absolute() if packaged else source.data
        given = under / f"demo-{datetime.fromtimestamp(system_time(), UTC):%Y%m%d-%H%M%S}"
    folder = given.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise PyrosError(f"{folder}: is not empty, and the demo begins with nothing; name another with --data")
    except OSError as error:
        raise PyrosError(f"{folder}: cannot be made: {error.strerror}; name another with --data") from None
    return folder


def own_config(source: Config, folder: Path, options: Mapping[str, str] | None = None) -> Config:
    """Write the same configuration into the demo's folder, with its data there: no other observatory's are touched.

    The files that it names by relative paths are reached through links, so that nothing else in it has to change but
    ``options`` of the alert manager.
    """
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    parser.read(source.path, encoding="utf-8")
    parser["observatory"]["data"] = "."
    if options and "alert_manager" in parser:
        parser["alert_manager"].update(options)
    targets = () if source.targets == configuration.NOWHERE else (source.targets,)
    fixture = () if source.console is None or source.console.fixture is None else (source.console.fixture,)
    for named in (source.site, source.alert_rules, *targets, *fixture, *source.simulators):
        if not named.is_relative_to(source.path.parent):
            continue  # named by an absolute path
        first = named.relative_to(source.path.parent).parts[0]
        if first == "..":
            raise PyrosError(f"{source.path}: {named} must be beside it or below, or an absolute path, for a demo")
        if not (folder / first).is_symlink():
            (folder / first).symlink_to(source.path.parent / first)
    file = folder / FILE_NAME
    with file.open("w", encoding="utf-8") as stream:
        stream.write(f"; Written by pyros demo from {source.path}\n")
        parser.write(stream)
    return configuration.load(file)


class DemoPacket(NamedTuple):
    """A VOEvent in a file, ready to be sent."""

    file: Path
    ivorn: str
    target: tuple[float, float] | None
    """Where the source is: ICRS degrees; None where the packet doesn't say."""


def is_template(file: Path) -> bool:
    """Whether time and position of this alert have to be filled in; raises PyrosError for a file that isn't there."""
    try:
        return alert_template.is_template(file.read_bytes())
    except OSError as error:
        raise PyrosError(f"{file}: cannot be read: {error.strerror}; name a VOEvent with --alert") from None


def fill(template: Path, config: Config, folder: Path) -> DemoPacket:
    """Write the alert to send: the file as it is, or, where it is a template, with a new ivorn, time and position.

    The position is one that the site can see now, by the observatory's clock.
    """
    file = folder / "alert.xml"
    packet, ivorn = read_alert(template, config)
    file.write_bytes(packet)
    try:
        return DemoPacket(file, ivorn, alerts.parse(packet).target)
    except AlertError:  # the observatory will say so too, and we shall see
        return DemoPacket(file, ivorn, None)


# The parts of the show ---------------------------------------------------------------------------------------------


def _start(process: ObservatoryProcess) -> None:
    """Wait until the observatory is up and knows that the weather is fine."""
    config = process.config
    out.print(f"The observatory {config.name!r} starts; everything it writes is in {short(config.data)}")
    with out.status("waiting for the agents") if out.is_terminal else nullcontext() as status:

        def progress(up: int, total: int) -> None:
            if status is not None:
                status.update(f"waiting for the agents: {up} of {total} answer")

        process.wait_until_up(_START_SECONDS, progress)
        if status is not None:
            status.update("waiting for the weather station")
        _wait_for_weather(process)
    out.print(f"{len(config.agents)} agents, the broker and {len(config.simulators)} simulated devices are up")
    if link := console_link(config):
        out.print(f"console  {link}")


def _wait_for_weather(process: ObservatoryProcess) -> None:
    """Nothing opens before the first *Weather safe*; without one in time the follow-up will tell."""
    if not {"weather", "monitoring", "majordome"} <= set(process.config.agents):
        return
    deadline = Deadline(_WEATHER_SECONDS)
    with looking(process.config) as observed:
        while deadline.left() and not state(observed).safety.safe:
            process.check()
            deadline.pause(LOOK_EVERY)


def console_link(config: Config) -> str:
    """Return a link into the console that runs with the observatory, when it answers; '' for none."""
    section, deadline = config.console, Deadline(_CONSOLE_SECONDS)
    if section is None or not section.run or find_spec("django") is None:
        return ""
    while deadline.left():
        with suppress(OSError), socket.create_connection((reachable(section.ip), section.port), _LOOK_EVERY_SECONDS):
            break
        deadline.pause(LOOK_EVERY)
    return entry_link(config, own_name(), Role.ADMIN, _LINK_SECONDS)


def _stay(process: ObservatoryProcess) -> None:
    """Wait for Ctrl-C, or for an end of the observatory, which raises PyrosError."""
    out.print("It all runs on until Ctrl-C.")
    while True:
        Deadline(_LOOK_EVERY_SECONDS).pause(_LOOK_EVERY_SECONDS)
        process.check()


def flare(config: Config, packet: DemoPacket) -> bool:
    """Tell the simulated camera of the burst, so that there is something to be found; False without such a camera.

    Raises PyrosError when it doesn't answer.
    """
    cameras = [each for each in map(load_simulator, config.simulators) if each.device == "camera"]
    camera = config.agents.get("camera")
    if not cameras or packet.target is None or camera is None or camera.driver != "native":
        return False
    host, port = camera.address.removeprefix("tcp:").rsplit(":", 1)
    ra, dec = packet.target
    time = alerts.parse(packet.file.read_bytes()).time
    values = {"ra": f"{ra:.6f}", "dec": f"{dec + _BURST_OFFSET_ARCSEC / 3600:.6f}", **_BURST}
    if time is not None:
        values["time"] = f"{time.timestamp():.3f}"
    line = " ".join(["DO transient", *(f"{name}={value}" for name, value in values.items())])
    try:
        with socket.create_connection((host, int(port)), _FLARE_SECONDS) as connection:
            connection.sendall(f"{line}\n".encode())
            with connection.makefile("r", encoding="utf-8") as answers:
                answer = next((each for each in answers if not each.startswith("EVT")), "")
    except OSError as error:
        raise PyrosError(f"the simulated camera at {camera.address} doesn't answer: {error}") from None
    if not answer.startswith("OK"):
        raise PyrosError(f"the simulated camera at {camera.address} answered {answer.strip()!r} to {line!r}")
    return True


def _follow(process: ObservatoryProcess, packet: DemoPacket, timeout: float, burst: bool) -> None:
    """Send the alert and show what happens; raises PyrosError when it is no success, saying why."""
    config = process.config
    with looking(config) as observed:
        follower = Follower(observed, packet.ivorn, known_by)
        with AlertTimeline(out) as timeline:
            _sendvo(config, packet.file)
            end = timeline.watch(follower, timeout, patient=False)
            if config.publishes and isinstance(end, Ended) and end.how == "finished":
                timeline.linger(follower, LINGER[end.how])
            if burst and "analyzer" in config.agents and isinstance(end, Ended) and end.how == "finished":
                timeline.linger_for_sources(follower, _ANALYSIS_SECONDS)
        process.check()
    images = [Path(step.path) for step in timeline.steps if isinstance(step, ImageOnDisk)]
    out.print()
    if images:
        show(timeline.times())
        out.print()
    good = [_shown(number, path, packet.target) for number, path in enumerate(images, 1)]
    found = [step for step in timeline.steps if isinstance(step, SourceDetected)]
    for curve in sorted(config.data.glob("lightcurves/*.png")):
        out.print(f"light curve  {short(curve)}")
    judge(end, good, timeout)
    if burst and found:
        out.print(f"The burst was found in {len(found)} images, and kept as it fades.")
    out.print("An image was taken of the alert's position.", style="green" if out.is_terminal else "")


def judge(end: Ended | Planned | None, good: list[bool], timeout: float) -> None:
    """Return if the alert was followed up; raise PyrosError saying why it was not.

    ``end`` is how the follow-up ended, and ``good`` tells of each image whether it shows the alert's position.
    """
    if end is None:
        raise PyrosError(f"no end within {timeout:g} s; give it longer with --timeout")
    if isinstance(end, Planned):
        raise PyrosError(f"not observed, for it cannot be now: {end.reason}")
    if end.how != "finished":
        raise PyrosError(f"{'not completely' if any(good) else 'not'} observed: {end.how}: {end.reason}")
    if not any(good):
        raise PyrosError("no image shows the alert's position")


def _shown(number: int, path: Path, target: tuple[float, float] | None) -> bool:
    """Print where an image is, and for the first one a preview; True when it shows the alert's position."""
    from pyros.cli.demo.images import off_centre, preview  # noqa: PLC0415  astropy takes a moment

    if target is None:
        return False
    distance = off_centre(path, *target)
    where = "not of the alert's position" if distance is None else f'the target is {distance:.0f}" from its centre'
    out.print(f"image {number}  {short(path)}  ({where})")
    if number == 1:
        out.print(f"preview  {short(preview(path, *target, _PREVIEW_SECONDS))}")
    return distance is not None


def _sendvo(config: Config, file: Path) -> None:
    """Publish a VOEvent with Comet's own program. Raises PyrosError with what it said when it failed."""
    broker = broker_of(config)
    arguments = [f"--host={reachable(broker.ip)}", f"--port={broker.receiver_port}", "-f", short(file)]
    out.print(f"\n$ comet-sendvo {shlex.join(arguments)}")
    try:
        done = subprocess.run(
            [sys.executable, program("comet-sendvo"), *arguments],
            capture_output=True, timeout=_SEND_SECONDS, check=False, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PyrosError(f"comet-sendvo did not end within {_SEND_SECONDS:g} s") from None
    if done.returncode:
        raise PyrosError(f"comet-sendvo failed: {_what_it_said(done.stdout + done.stderr)}")


def _what_it_said(log: str) -> str:
    """Return the line of comet-sendvo's log that tells why it failed."""
    lines = [line for line in log.splitlines() if "VOEventSender" in line or "Connection" in line or "Error" in line]
    return last_line("\n".join(lines)) or last_line(log) or "it said nothing"
