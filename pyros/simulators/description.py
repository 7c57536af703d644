"""The YAML file that describes one simulated device, read once into frozen values.

Every mistake in a file is reported at once, each with file, key and what would be right. Units stand with the keys.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pyros.errors import SimulatorError
from pyros.files import read_yaml
from pyros.simulators.celestial import Site
from pyros.simulators.decoding import decode, short
from pyros.simulators.devices.dome import DomeSettings
from pyros.simulators.devices.filter_wheel import FilterWheelSettings
from pyros.simulators.devices.focuser import FocuserSettings
from pyros.simulators.devices.generic_settings import GenericSettings
from pyros.simulators.devices.safety import SafetySettings
from pyros.simulators.devices.switch import SwitchSettings
from pyros.simulators.devices.weather import WeatherSettings
from pyros.simulators.endpoints import client_endpoint, server_endpoint
from pyros.simulators.mount.settings import TelescopeSettings
from pyros.simulators.settings import (
    Adu,
    Altitude,
    Degrees,
    NotNegative,
    Pixels,
    Positive,
    Seconds,
    Settings,
    Strict,
    Temperature,
    Text,
    Word,
    fault_problem,
)

_MAX_FIELD = 5.0  # degrees; a wider field holds more stars than are drawn in a moment
_NEIGHBOURS = ("telescope", "filter_wheel", "focuser", "dome")
_REQUIRED = ("listen", "telescope")


class TransientSettings(Strict, frozen=True, kw_only=True):
    """A source that flares up ``begin`` seconds after the camera is switched on, has ``magnitude`` at ``after`` seconds
    later, and fades as time^-slope."""

    ra: Degrees
    dec: Altitude
    magnitude: Annotated[float, Meta(ge=-5, le=30, description="a magnitude, -5 to 30")]
    begin: NotNegative = 0.0
    after: Positive = 60.0
    slope: Annotated[float, Meta(ge=0, le=10, description="a number, 0 to 10")] = 1.0


_Address = Annotated[str, Meta(description="an address such as tcp:127.0.0.1:6014, or nothing")]


class CameraSettings(Settings, frozen=True, kw_only=True):
    """A CCD camera behind a telescope: geometry, electronics, and the sky it sees."""

    kind = "camera"
    can_have = frozenset({"no_image", "frozen"})

    width: Pixels
    height: Pixels
    arcsec_per_pixel: Annotated[float, Meta(gt=0, le=600, description="arcseconds per pixel, above 0, at most 600")]
    readout: Seconds
    filters: Annotated[
        dict[Word, Annotated[float, Meta(gt=0, le=1)]],
        Meta(min_length=1, max_length=20, description="each filter's name and its throughput, such as {g: 0.7, r: 1}"),
    ]
    telescope: Annotated[str, Meta(description="the telescope's address such as tcp:127.0.0.1:6010")]
    gain: Annotated[float, Meta(gt=0, le=1000, description="electrons per ADU, above 0, at most 1000")] = 1.0
    read_noise: Annotated[float, Meta(ge=0, le=10_000, description="electrons, 0 to 10000")] = 8.0
    bias: Adu = 1000
    saturation: Adu = 65535
    dark_current: Annotated[float, Meta(ge=0, le=1e6, description="electrons per second and pixel, 0 or more")] = 0.0
    sky_background: Annotated[float, Meta(ge=0, le=1e6, description="ADU per second and pixel, 0 or more")] = 2.0
    seeing: Annotated[
        float, Meta(gt=0, le=600, description="arcseconds, full width at half maximum, above 0, at most 600")
    ] = 2.0
    zero_point: Annotated[
        float, Meta(ge=0, le=40, description="the magnitude that gives one electron per second, 0 to 40")
    ] = 22.0
    temperature: Annotated[float, Meta(ge=-270, le=60, description="degrees Celsius of the chip, -270 to 60")] = -20.0

    # The detector's flaws; all are absent unless the file names them.
    bias_columns: Annotated[float, Meta(ge=0, le=1000, description="ADU of one standard deviation, 0 to 1000")] = 0.0
    dark_doubling: Annotated[float, Meta(gt=0, le=50, description="degrees Celsius, above 0, at most 50")] = 6.0
    hot_pixels: Annotated[float, Meta(ge=0, le=0.1, description="the fraction of all pixels, 0 to 0.1")] = 0.0
    hot_current: Annotated[float, Meta(ge=0, le=1e6, description="electrons per second, 0 or more")] = 50.0
    vignetting: Annotated[float, Meta(ge=0, le=0.9, description="the fraction lost in the corners, 0 to 0.9")] = 0.0
    pixel_response: Annotated[float, Meta(ge=0, le=0.2, description="a fraction, one standard deviation, 0 to 0.2")] = (
        0.0
    )
    full_well: Annotated[float, Meta(gt=0, le=1e9, description="electrons, above 0")] | None = None
    cosmic_rays: Annotated[float, Meta(ge=0, le=100_000, description="per minute on the whole chip, 0 to 100000")] = 0.0
    ambient: Temperature = 15.0
    cooling_rate: Annotated[float, Meta(gt=0, le=100, description="degrees per second, above 0, at most 100")] = 0.5
    cooling_range: Annotated[float, Meta(gt=0, le=300, description="degrees below ambient, above 0")] = 60.0

    # The sky; with a site there is air above the telescope, and a Moon.
    stars: Annotated[
        Literal["gaia", "synthetic", "auto"],
        Meta(description="gaia (real ones, to magnitude 10), synthetic, or auto (gaia where it is installed)"),
    ] = "auto"
    rotation: Degrees = 0.0
    site: Annotated[str, Meta(description="the site's YAML file, relative to this one, or nothing")] = ""
    dark_sky: Annotated[float, Meta(ge=10, le=25, description="magnitudes per square arcsecond, 10 to 25")] = 21.6
    extinction: Annotated[float, Meta(ge=0, le=2, description="magnitudes per airmass, 0 to 2")] = 0.15
    transients: Annotated[
        tuple[TransientSettings, ...],
        Meta(max_length=1000, description="a list such as [{ra: 150, dec: 2, magnitude: 14, slope: 1.2}]"),
    ] = ()

    # Devices in the beam, where they have simulators of their own.
    filter_wheel: _Address = ""
    focuser: _Address = ""
    dome: _Address = ""


_DEVICES: dict[str, type[Settings]] = {
    settings.kind: settings
    for settings in (
        TelescopeSettings,
        CameraSettings,
        FilterWheelSettings,
        FocuserSettings,
        DomeSettings,
        WeatherSettings,
        SafetySettings,
        SwitchSettings,
        GenericSettings,
    )
}


class _SiteFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a telescope needs of the site's file; other keys are other readers' business."""

    name: Text
    latitude: Annotated[float, Meta(ge=-90, le=90, description="degrees north, -90 to 90")]
    longitude: Annotated[float, Meta(ge=-180, le=360, description="degrees east, -180 to 360")]
    elevation: Annotated[float, Meta(ge=-500, le=9000, description="metres, -500 to 9000")]


@dataclasses.dataclass(frozen=True)
class Description:
    """One simulated device: its file, what the file says, and where it stands (telescopes)."""

    file: Path
    settings: Settings
    site: Site | None = None

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
        second = getattr(self.settings, "lx200", "")
        return {"listen": self.listen} | ({"lx200": second} if second else {})

    @property
    def speed(self) -> float:
        return self.settings.speed

    def changed(self, **settings: Any) -> Description:
        """A copy with other settings, unchecked: another port, another speed."""
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


def _load_site(path: Path, named_by: str) -> Site:
    if not path.is_file():
        raise SimulatorError(f"{named_by}: there is no file {path}; name the site's YAML file, relative to this one")
    site, problems = decode(_mapping(path), _SiteFile)
    if site is None:
        raise SimulatorError("\n".join(f"{named_by}: {path}: {problem}" for problem in problems))
    return Site(site.latitude, site.longitude)


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
        ("lx200", server_endpoint, "a server endpoint such as tcp:6020:interface=127.0.0.1, or nothing"),
        *((key, client_endpoint, "an address such as tcp:127.0.0.1:6010") for key in _NEIGHBOURS),
    ):
        if key in fields.__struct_fields__ and isinstance(text := data.get(key), str) and (text or key in _REQUIRED):
            try:
                check(None, text)
            except ValueError:
                problems.append(f"{key}: must be {right}, not {short(text)}")
    return problems


def _contradictions(settings: Settings) -> list[str]:
    """What is wrong although every key by itself has the right type."""
    problems = settings.contradictions()
    for fault in settings.faults:
        if problem := fault_problem(fault, type(settings)):
            problems.append(f"faults: {problem}")
    if isinstance(settings, CameraSettings):
        if max(settings.width, settings.height) * settings.arcsec_per_pixel > _MAX_FIELD * 3600:
            problems.append(f"arcsec_per_pixel: the field is wider than {_MAX_FIELD:g} degrees; use a smaller scale")
        if settings.saturation <= settings.bias:
            problems.append(f"saturation: must be above the bias of {settings.bias} ADU, not {settings.saturation}")
    return problems
