"""What a simulated camera's YAML file says."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

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
    Word,
)

_MAX_FIELD = 5.0  # degrees; a wider field holds more stars than are drawn in a moment


class TransientSettings(Strict, frozen=True, kw_only=True):
    """A source that flares up and fades.

    It begins ``begin`` seconds after the camera is switched on, has ``magnitude`` at ``after`` seconds later, and fades
    as time^-slope.
    """

    ra: Degrees
    """Right ascension, ICRS degrees."""
    dec: Altitude
    """Declination, ICRS degrees."""
    magnitude: Annotated[float, Meta(ge=-5, le=30, description="a magnitude, -5 to 30")]
    """Magnitude at ``after`` seconds from the beginning."""
    begin: NotNegative = 0.0
    """When it flares up, seconds after the camera is switched on."""
    after: Positive = 60.0
    """Seconds after the beginning at which it has its ``magnitude``."""
    slope: Annotated[float, Meta(ge=0, le=10, description="a number, 0 to 10")] = 1.0
    """Exponent of its fading, as time^-slope."""


_Address = Annotated[str, Meta(description="an address such as tcp:127.0.0.1:6014, or nothing")]


class ReadoutModeSettings(Strict, frozen=True, kw_only=True):
    """A way to read the image out."""

    readout: Seconds
    """Time to read the image out, seconds."""
    read_noise: Annotated[float, Meta(ge=0, le=10_000, description="electrons, 0 to 10000")]
    """Electrons of one standard deviation."""


class CameraSettings(Settings, frozen=True, kw_only=True):
    """A CCD camera behind a telescope: geometry, electronics, and the sky it sees."""

    kind = "camera"
    can_have = frozenset({"no_image", "frozen"})

    width: Pixels
    """Pixels."""
    height: Pixels
    """Pixels."""
    arcsec_per_pixel: Annotated[float, Meta(gt=0, le=600, description="arcseconds per pixel, above 0, at most 600")]
    """Side of a pixel on the sky, arcseconds."""
    readout: Seconds
    """Time to read the image out, seconds."""
    filters: Annotated[
        dict[Word, Annotated[float, Meta(gt=0, le=1)]],
        Meta(min_length=1, max_length=20, description="each filter's name and its throughput, such as {g: 0.7, r: 1}"),
    ]
    """Throughput of each filter, 0 to 1, by its name."""
    telescope: Annotated[str, Meta(description="the telescope's address such as tcp:127.0.0.1:6010")]
    """Address of the simulated telescope, which tells where the camera looks."""
    gain: Annotated[float, Meta(gt=0, le=1000, description="electrons per ADU, above 0, at most 1000")] = 1.0
    """Electrons per ADU."""
    max_binning: Annotated[int, Meta(ge=1, le=16, description="pixels in each direction, 1 to 16")] = 4
    """Most pixels in each direction that are read as one."""
    read_noise: Annotated[float, Meta(ge=0, le=10_000, description="electrons, 0 to 10000")] = 8.0
    """Electrons of one standard deviation."""
    readout_modes: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=64)], ReadoutModeSettings],
        Meta(max_length=20, description="names with readout and read_noise: {Fast: {readout: 1, read_noise: 15}}"),
    ] = {}  # noqa: RUF012  msgspec copies it
    """Other ways to read the image out, by their names; Normal is that of the camera's own keys."""
    bias: Adu = 1000
    """ADU."""
    saturation: Adu = 65535
    """Greatest value of a pixel, ADU."""
    dark_current: Annotated[float, Meta(ge=0, le=1e6, description="electrons per second and pixel, 0 or more")] = 0.0
    """Electrons per second and pixel, at ``temperature``."""
    sky_background: Annotated[float, Meta(ge=0, le=1e6, description="ADU per second and pixel, 0 or more")] = 2.0
    """ADU per second and pixel, of a sky without the Moon."""
    seeing: Annotated[
        float, Meta(gt=0, le=600, description="arcseconds, full width at half maximum, above 0, at most 600")
    ] = 2.0
    """Full width at half maximum, arcseconds."""
    zero_point: Annotated[
        float, Meta(ge=0, le=40, description="the magnitude that gives one electron per second, 0 to 40")
    ] = 22.0
    """Magnitude that gives one electron per second."""
    temperature: Annotated[float, Meta(ge=-270, le=60, description="degrees Celsius of the chip, -270 to 60")] = -20.0
    """The chip's when the camera is switched on, degrees Celsius."""

    # The detector's flaws; all are absent unless the file names them.
    bias_columns: Annotated[float, Meta(ge=0, le=1000, description="ADU of one standard deviation, 0 to 1000")] = 0.0
    """Standard deviation of the columns' bias, ADU."""
    dark_doubling: Annotated[float, Meta(gt=0, le=50, description="degrees Celsius, above 0, at most 50")] = 6.0
    """Degrees Celsius by which the dark current doubles."""
    hot_pixels: Annotated[float, Meta(ge=0, le=0.1, description="the fraction of all pixels, 0 to 0.1")] = 0.0
    """Fraction of the pixels that are hot, 0 to 0.1."""
    hot_current: Annotated[float, Meta(ge=0, le=1e6, description="electrons per second, 0 or more")] = 50.0
    """Mean dark current of a hot pixel, electrons per second."""
    vignetting: Annotated[float, Meta(ge=0, le=0.9, description="the fraction lost in the corners, 0 to 0.9")] = 0.0
    """Fraction of the light lost in the corners, 0 to 0.9."""
    pixel_response: Annotated[float, Meta(ge=0, le=0.2, description="a fraction, one standard deviation, 0 to 0.2")] = (
        0.0
    )
    """Standard deviation of the pixels' sensitivity, a fraction."""
    full_well: Annotated[float, Meta(gt=0, le=1e9, description="electrons, above 0")] | None = None
    """Electrons that a pixel can hold; None without a limit."""
    cosmic_rays: Annotated[float, Meta(ge=0, le=100_000, description="per minute on the whole chip, 0 to 100000")] = 0.0
    """Hits per minute on the whole chip."""
    ambient: Temperature = 15.0
    """Degrees Celsius around the camera."""
    cooling_rate: Annotated[float, Meta(gt=0, le=100, description="degrees per second, above 0, at most 100")] = 0.5
    """Degrees Celsius per second."""
    cooling_range: Annotated[float, Meta(gt=0, le=300, description="degrees below ambient, above 0")] = 60.0
    """Degrees Celsius below ``ambient`` that the cooler reaches."""

    # The sky; with a site there is air above the telescope, and a Moon.
    stars: Annotated[
        Literal["gaia", "synthetic", "auto"],
        Meta(description="gaia (real ones, to magnitude 10), synthetic, or auto (gaia where it is installed)"),
    ] = "auto"
    """Where the stars come from: ``gaia``, ``synthetic``, or ``auto``."""
    rotation: Degrees = 0.0
    """Position angle of the camera on the sky, degrees."""
    site: Annotated[str, Meta(description="the site's YAML file, relative to this one, or nothing")] = ""
    """The site's YAML file, relative to this one; '' for no air and no Moon."""
    dark_sky: Annotated[float, Meta(ge=10, le=25, description="magnitudes per square arcsecond, 10 to 25")] = 21.6
    """Brightness of the moonless sky, magnitudes per square arcsecond."""
    extinction: Annotated[float, Meta(ge=0, le=2, description="magnitudes per airmass, 0 to 2")] = 0.15
    """Magnitudes per airmass."""
    seeing_change: Annotated[
        float, Meta(ge=0, le=0.5, description="a fraction of the seeing, one standard deviation, 0 to 0.5")
    ] = 0.0
    """By how much the seeing wavers in minutes to half hours; on average it stays as it is."""
    cloud_extinction: Annotated[
        float, Meta(ge=0, le=20, description="magnitudes that an overcast sky takes from the stars, 0 to 20")
    ] = 6.0
    """What a wholly covered sky takes from the stars, where the weather station tells how much of it is."""
    transients: Annotated[
        tuple[TransientSettings, ...],
        Meta(max_length=1000, description="a list such as [{ra: 150, dec: 2, magnitude: 14, slope: 1.2}]"),
    ] = ()
    """Sources that flare up."""

    # Devices in the beam, where they have simulators of their own.
    filter_wheel: _Address = ""
    """Address of the simulated filter wheel; '' for the camera's own."""
    focuser: _Address = ""
    """Address of the simulated focuser; '' for a camera that is always in focus."""
    dome: _Address = ""
    """Address of the simulated dome; '' for none in the beam."""
    cover: _Address = ""
    """The cover in front of the telescope, and its lamp."""
    lamp_light: Annotated[float, Meta(ge=0, le=1e6, description="ADU per second and pixel, 0 or more")] = 2000.0
    """Of the cover's lamp at full brightness, at throughput 1."""
    weather: _Address = ""
    """The weather station that tells how cloudy the images are."""

    def contradictions(self) -> list[str]:
        problems = []
        if max(self.width, self.height) * self.arcsec_per_pixel > _MAX_FIELD * 3600:
            problems.append(f"arcsec_per_pixel: the field is wider than {_MAX_FIELD:g} degrees; use a smaller scale")
        if self.saturation <= self.bias:
            problems.append(f"saturation: must be above the bias of {self.bias} ADU, not {self.saturation}")
        return problems
