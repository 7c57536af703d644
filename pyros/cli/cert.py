"""``pyros cert``: the certificates with which agents on different computers speak to each other."""

from __future__ import annotations

from typing import Annotated

import typer
from twisted.internet.task import Clock

from pyros import certificates
from pyros import config as configuration
from pyros.authority import AUTHORITY, AUTHORITY_KEY, make_authority, make_certificate
from pyros.cli.common import ConfigOption, out, short
from pyros.clock import RealClock
from pyros.config import Config
from pyros.errors import ConfigError, PyrosError
from pyros.sender.certificates import names


def cert(
    agents: Annotated[
        list[str] | None,
        typer.Argument(metavar="[AGENT]...", help="For whom: names of agents, broker, or program.", show_default=False),
    ] = None,
    authority: Annotated[bool, typer.Option("--ca", help="Make the observatory's own authority first.")] = False,
    all_names: Annotated[bool, typer.Option("--all", help="Make one for every name that has none.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Replace also certificates that are still valid.")] = False,
    config: ConfigOption = None,
) -> None:
    """Make certificates, in the folder that the key tls in [observatory] names.

    Each agent that speaks with another computer needs AGENT.pem and ca.pem on
    its own computer; programs such as this command use program.pem. Keep ca.key
    where certificates are made, and nowhere else. A certificate holds three
    years; pyros check tells a month before one ends, and a new one counts
    without a restart.

    Examples:
      pyros cert --ca --all
      pyros cert telescope
    """
    loaded = configuration.load(config)
    folder = loaded.certificates
    if folder is None:
        raise ConfigError([f"{loaded.path}: [observatory] tls: missing; name a folder for certificates, such as tls"])
    if not (agents or authority or all_names):
        raise PyrosError("name agents, or give --ca or --all; pyros cert --help shows how")
    now = RealClock(Clock()).now()
    wanted = _wanted(loaded, agents or [], all_names)
    if authority:
        out.print(f"authority: {short(make_authority(folder, loaded.name, now))}; keep {AUTHORITY_KEY} to yourself")
    for name in wanted:
        path = folder / f"{name}.pem"
        if path.exists() and not again:
            (there,) = certificates.read(str(path), path, first=True)
            if not there.warning(now):
                if name in (agents or []):
                    raise PyrosError(f"{path} holds until {there.ends:%Y-%m-%d}; --again replaces it")
                continue
        out.print(f"{name}: {short(make_certificate(folder, name, now))}")
    if wanted:
        out.print(f"Each computer needs {AUTHORITY} and the files of what runs there, readable by its owner alone.")


def _wanted(config: Config, agents: list[str], all_names: bool) -> list[str]:
    known = names(config)
    for name in agents:
        if name not in known:
            raise PyrosError(f"{config.path}: nothing is called {name!r}; there are: {', '.join(known)}")
    return list(dict.fromkeys([*agents, *known])) if all_names else agents
