"""The YAML file that describes one simulated device, read once into frozen values.

Every mistake in a file is reported at once, each with file, key and what would be right. Units stand with the keys.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from pyros import site as site_file
from pyros.errors import ConfigError, SimulatorError
from pyros.files import read_yaml
from pyros.kinds import KINDS
from pyros.kinds import load as load_class
from pyros.simulators.celestial import SiteCoordinates
from pyros.simulators.decoding import decode, short
from pyros.simulators.devices.generic_settings import GenericSettings
from pyros.simulators.endpoints import client_endpoint, server_endpoint
from pyros.simulators.settings import Settings, fault_problem

SECOND_LANGUAGES = {"lx200": 6020, "phd2": 4400}
"""The keys of second ports, and the ports that they usually have."""
_NEIGHBOURS = ("telescope", "filter_wheel", "focuser", "dome")
_REQUIRED = ("listen", "telescope")


_DEVICES: dict[str, type[Settings]] = {kind.name: load_class(kind.simulator_settings) for kind in KINDS.values()} | {
    GenericSettings.kind: GenericSettings
}


@dataclasses.dataclass(frozen=True)
class Description:
    """One simulated device: its file, what the file says, and where it stands (telescopes)."""

    file: Path
    settings: Settings
    site: SiteCoordinates | None = None

    @property
    def device(self) -> str:
        return self.settings.device

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def listen(self) -> str:
        return self.settings.listen

    @property
    def endpoints(self) -> dict[str, str]:
        """Everywhere it listens, by the key that says so."""
        return {"listen": self.listen} | self.second

    @property
    def second(self) -> dict[str, str]:
        """Where it speaks another language, by that language's key; nothing for most."""
        told = {key: getattr(self.settings, key, "") for key in SECOND_LANGUAGES}
        return {key: address for key, address in told.items() if address}

    @property
    def speed(self) -> float:
        return self.settings.speed

    def changed(self, **settings: Any) -> Description:
        """Return a copy with other settings, unchecked: another port, another speed."""
        return dataclasses.replace(self, settings=msgspec.structs.replace(self.settings, **settings))


def load(path: Path) -> Description:
    """Read a device's YAML file, and the site's that it names.

    Raises SimulatorError: a line for every mistake, with file, key and what would be right.
    """
    data = _mapping(path)
    kinds = ", ".join(_DEVICES)
    if (kind := data.get("device")) not in _DEVICES:
        said = f", not {kind!r}" if "device" in data else ""
        raise SimulatorError(f"{path}: device: must be one of {kinds}{said}")
    settings, problems = decode(data, _DEVICES[kind])
    problems += _endpoint_problems(data, _DEVICES[kind])
    site = None
    if settings is not None:
        problems += _contradictions(settings)
    if isinstance(where := data.get("site"), str) and where and "site" in _DEVICES[kind].__struct_fields__:
        try:
            site = _load_site(path.parent / where, f"{path}: site")
        except SimulatorError as problem:
            problems.append(str(problem))
    if settings is None or problems:
        raise SimulatorError("\n".join(p if p.startswith(str(path)) else f"{path}: {p}" for p in problems))
    return Description(path, settings, site)


def _load_site(path: Path, named_by: str) -> SiteCoordinates:
    if not path.is_file():
        raise SimulatorError(f"{named_by}: there is no file {path}; name the site's YAML file, relative to this one")
    try:
        site = site_file.Site.load(path)
    except ConfigError as error:
        raise SimulatorError("\n".join(f"{named_by}: {problem}" for problem in error.problems)) from None
    return SiteCoordinates(site.latitude, site.longitude)


def _mapping(path: Path) -> dict[Any, Any]:
    try:
        data = read_yaml(path)
    except ValueError as problem:
        raise SimulatorError(f"{path}: {problem}") from None
    if not isinstance(data, dict):
        raise SimulatorError(f"{path}: must hold keys and values, such as 'device: telescope'")
    return data


def _endpoint_problems(data: dict[Any, Any], fields: type[Settings]) -> list[str]:
    problems = []
    for key, check, right in (
        ("listen", server_endpoint, "a server endpoint such as tcp:6010:interface=127.0.0.1"),
        *(
            (key, server_endpoint, f"a server endpoint such as tcp:{port}:interface=127.0.0.1, or nothing")
            for key, port in SECOND_LANGUAGES.items()
        ),
        *((key, client_endpoint, "an address such as tcp:127.0.0.1:6010") for key in _NEIGHBOURS),
    ):
        if key in fields.__struct_fields__ and isinstance(text := data.get(key), str) and (text or key in _REQUIRED):
            try:
                check(None, text)
            except ValueError:
                problems.append(f"{key}: must be {right}, not {short(text)}")
    return problems


def _contradictions(settings: Settings) -> list[str]:
    """Return what is wrong although every key by itself has the right type."""
    problems = settings.contradictions()
    for fault in settings.faults:
        if problem := fault_problem(fault, type(settings)):
            problems.append(f"faults: {problem}")
    return problems
