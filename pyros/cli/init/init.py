"""``pyros init``: an observatory of one's own, in a folder."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.alerts.rules import templates
from pyros.cli.check import check
from pyros.cli.common import out, program, short, user_name
from pyros.cli.init import units
from pyros.cli.init.plan import GCN_SECRET, PLAIN, PRIVATE, RULES, ObservatoryPlan, files, ivo_of
from pyros.cli.init.questions import Questions
from pyros.cli.instruments.discover import indi_server
from pyros.config import FILE_NAME, Config
from pyros.errors import PyrosError
from pyros.keys import make_key
from pyros.permissions import protect

_FOLDER, _PRIVATE_FOLDER = 0o750, 0o700
_SECRET_BYTES = 10_000


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to put it in; it may exist.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The observatory's name; by default the folder's.")] = "",
    latitude: Annotated[
        float | None, typer.Option(metavar="DEG", help="Latitude, degrees north.", show_default=False)
    ] = None,
    longitude: Annotated[
        float | None, typer.Option(metavar="DEG", help="Longitude, degrees east.", show_default=False)
    ] = None,
    elevation: Annotated[
        float | None, typer.Option(metavar="M", help="Metres above the sea.", show_default=False)
    ] = None,
    indi: Annotated[
        list[str] | None,
        typer.Option("--indi", metavar="HOST[:PORT]", help="Ask this INDI server; without it the one here, if any."),
    ] = None,
    alpaca: Annotated[bool, typer.Option(help="Ask the network for Alpaca devices, by UDP.")] = True,
    alpaca_port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="The UDP port of Alpaca's discovery.")
    ] = 32227,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long to listen for devices.")
    ] = 2.0,
    simulators: Annotated[bool, typer.Option("--simulators", help="Look for no devices: simulate all.")] = False,
    simulate: Annotated[
        list[str] | None, typer.Option("--simulate", metavar="KIND", help="Simulate this one beside real devices.")
    ] = None,
    without: Annotated[
        str, typer.Option(metavar="WORDS", help="What the weather station doesn't measure: humidity,cloud.")
    ] = "",
    night: Annotated[
        bool | None,
        typer.Option(
            help="Have its night begin now, whatever the hour; done anyway where all is simulated.", show_default=False
        ),
    ] = None,
    rules: Annotated[
        str, typer.Option(metavar="KIND", help="Begin with the alert rules of pyros rules template KIND.")
    ] = "",
    remote: Annotated[
        list[str] | None, typer.Option("--remote", metavar="HOST[:PORT]", help="Subscribe to this VOEvent broker.")
    ] = None,
    gcn_id: Annotated[str, typer.Option(metavar="ID", help="The client id of your account at GCN's Kafka.")] = "",
    gcn_secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file with its secret; - reads it from standard input.", show_default=False
        ),
    ] = None,
    ivo: Annotated[
        str, typer.Option(metavar="IVO", help="Its name among brokers: ivo://authority/name.", show_default=False)
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take what stands in brackets for what no option says.")
    ] = False,
) -> None:
    """Make an observatory of your own: configuration, site, rules, key, secrets, in a folder.

    Asks on a terminal for what no option says. Devices are looked for: INDI
    servers' and Alpaca's; where there are none, all are simulated. Nothing that
    exists is overwritten. At the end it is checked, as pyros check does.

    Examples:
      pyros init my-observatory
      pyros init my-observatory --yes
      pyros init south --latitude -29.26 --longitude -70.73 --elevation 2400 --indi 192.168.1.20 --yes
    """
    top = folder.absolute()
    _refuse(top, [Path(FILE_NAME)])
    questions = Questions(asking=not yes and sys.stdin.isatty())
    if rules and rules not in templates.KINDS:
        raise PyrosError(f"--rules {rules}: there is no such template; there are: {', '.join(templates.KINDS)}")
    name = name or questions.word("The observatory's name", top.name)
    servers = [indi_server(word) for word in indi or []]
    devices = {} if simulators else questions.devices(servers, alpaca_port if alpaca else None, seconds)
    told = questions.look(devices)
    if "weather" in devices:
        devices["weather"] = questions.measuring(devices["weather"], without, told.missing)
    for kind, device in devices.items():
        out.print(f"{kind.replace('_', ' ')}: {device.name} ({device.driver}, {device.address})")
    if not devices:
        out.print("no devices were looked for" if simulators else "no device answered", "all are simulated", sep=": ")
    simulated = questions.simulated(devices, simulate or [])
    place = questions.place(
        {"latitude": latitude, "longitude": longitude, "elevation": elevation}, simulated=not devices
    )
    remotes = tuple(remote or questions.word("VOEvent brokers to subscribe to, host:port", "none").split())
    gcn_id = gcn_id or questions.word("Client id of an account at GCN (gcn.nasa.gov)", "none")
    gcn_id = "" if gcn_id == "none" else gcn_id
    plan = ObservatoryPlan(
        name=name, place=place, ivo=ivo or ivo_of(name), devices=devices, simulated=simulated, rules=rules,
        filters=told.filters,
        remotes=() if remotes == ("none",) else remotes, gcn_id=gcn_id,
        gcn_secret=_secret(questions, gcn_secret) if gcn_id else "",
        night=not devices if night is None else night,
    )  # fmt: skip
    file = _write(top, plan)
    out.print()
    check(file)
    here = short(top)
    out.print(f"\nThen send it a burst: pyros alert {shlex.quote(f'{here}/observatory/demo-alert.xml')}"
              f" --config {shlex.quote(str(file))}")  # fmt: skip


def _refuse(top: Path, names: list[Path]) -> None:
    """Raise PyrosError naming the files that are there already: nothing is overwritten."""
    try:
        there = [str(top / each) for each in names if os.path.lexists(top / each)]
    except OSError as error:
        raise PyrosError(f"{top}: {error.strerror}; name another folder") from None
    if there:
        raise PyrosError(f"{', '.join(there)}: exists already, and nothing is overwritten; name another folder")


def _secret(questions: Questions, file: Path | None) -> str:
    """Return GCN's secret from a file, or as it is typed; raises PyrosError."""
    if file is None and questions.asking:
        return questions.secret("Its secret")
    if file is None:
        raise PyrosError("--gcn-id needs --gcn-secret FILE: the secret itself is for no command line")
    try:
        text = sys.stdin.read(_SECRET_BYTES) if str(file) == "-" else file.read_text(encoding="utf-8")[:_SECRET_BYTES]
    except (OSError, UnicodeDecodeError) as error:
        raise PyrosError(f"{file}: the secret cannot be read: {error}") from None
    if len(text.split()) != 1:
        raise PyrosError(f"{file}: holds no secret, which is one word")
    return text


def _write(top: Path, plan: ObservatoryPlan) -> Path:
    """Write the files of an observatory into its folder, and return its configuration's; raises PyrosError."""
    wanted, other_filters = files(plan)
    _refuse(top, [*wanted, Path(units.FOLDER)])
    try:
        for path, (text, mode) in wanted.items():
            _write_new(top / path, text, mode, private=path == Path(GCN_SECRET))
        config = configuration.load(top / FILE_NAME)
        for name, text in _units(config).items():
            _write_new(top / units.FOLDER / name, text, PLAIN)
    except OSError as error:
        raise PyrosError(f"{error.filename or top}: cannot be written: {error.strerror}; name another folder") from None
    protect(config.data, config.path)
    make_key(config.key_file)
    key = short(config.key_file)
    out.print(f"{len(wanted)} files and units for systemd are in {short(top)}; its key is {key}:"
              " who can read that may command")  # fmt: skip
    if other_filters:
        are = ", ".join(f"{name} is {there}" for name, there in other_filters.items())
        out.print(f"the wheel has other filters than the alert rules: in {short(top / RULES)} {are}")
    if plan.gcn_id and find_spec("confluent_kafka") is None:
        out.print("alerts from GCN's Kafka need: pip install 'pyros-observatory[kafka]'")
    return config.path


def _write_new(file: Path, text: str, mode: int, private: bool = False) -> None:
    """Write a file that is not there yet, and the folders above it."""
    for parent in reversed(file.parents):
        if not parent.is_dir():
            parent.mkdir()
            parent.chmod(_PRIVATE_FOLDER if private and parent == file.parent else _FOLDER)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    file.chmod(mode)


def _units(config: Config) -> dict[str, str]:
    where = {
        "folder": str(config.path.parent), "data": str(config.data), "config": str(config.path),
        "user": user_name(str(os.getuid())), "python": sys.executable, "twistd": program("twistd"),
    }  # fmt: skip
    parts = [part for part in ("broker", "guardian", "console") if getattr(config, part) is not None]
    return units.units(where, config.name, config.agents, parts, simulated=bool(config.simulators))
