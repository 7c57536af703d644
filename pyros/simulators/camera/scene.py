"""One exposure from the sky to pixels: what `sky`, `moonlight`, `transients` and `detector` know, put together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from twisted.logger import Logger

from pyros.simulators.camera import moonlight, twilight
from pyros.simulators.camera.detector import Detector, Electronics
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.camera.sky import Optics, View, electrons
from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import SiteCoordinates, Sky
from pyros.simulators.smooth_noise import SmoothNoise
from pyros.stars import Stars, catalogue
from pyros.stars.field import joined

_CLOUDS_PASS = 1.0
"""Standard deviation of what passes before the telescope, for a sky that is half covered: a quarter of its clouds."""


@dataclass(frozen=True)
class ShutterOpening:
    """What the shutter opens on, and when: seconds since 1970-01-01 UTC, arcseconds of blur (FWHM).

    Without a pointing, or with the dome closed, no light comes in.
    """

    opened: float
    seconds: float
    temperature: float
    pointing: Sky | None
    throughput: float
    blur: float = 0.0
    transients: tuple[Transient, ...] = ()
    seeing: float = 1.0
    """How many times the usual seeing there is."""
    clouds: float = 0.0
    """Magnitudes that clouds take from the stars."""
    lamp: float | None = None
    """Share of its full light that the lamp of a closed cover gives; None where no cover is closed."""
    binning: int = 1
    """Pixels in each direction that are read as one."""
    gain: float | None = None
    """Electrons per ADU; None for the description's."""


class Scene:
    """A camera's sky and detector. Raises CatalogueError for real stars that aren't installed."""

    log = Logger()

    def __init__(self, settings: CameraSettings, site: SiteCoordinates | None = None) -> None:
        self.optics = Optics(**{name: getattr(settings, name) for name in Optics.__dataclass_fields__})
        self.detector = Detector(
            Electronics(**{name: getattr(settings, name) for name in Electronics.__dataclass_fields__})
        )
        self.stars = catalogue(settings.stars)
        self._settings = settings
        self._site = site
        self._wavering = SmoothNoise(settings.seed, "seeing", settings.seeing_change)
        self._passing = SmoothNoise(settings.seed, "clouds", _CLOUDS_PASS)

    def moment(
        self, *, opened: float, seconds: float, temperature: float, pointing: Sky | None, filter: str | None,
        blur: float = 0.0, closed: bool = False, cloud: float = 0.0, lamp: float | None = None,
        transients: tuple[Transient, ...] = (), binning: int = 1, gain: float | None = None,
    ) -> ShutterOpening:  # fmt: skip
        """Take what the devices around have answered; a filter of unknown throughput lets everything through."""
        throughput = 1.0
        if filter is not None:
            if filter not in self._settings.filters:
                self.log.warn("filter {filter!r} has no throughput here: it counts as clear", filter=filter)
            throughput = self._settings.filters.get(filter, 1.0)
        middle = opened + seconds / 2
        seeing = math.exp(self._wavering.at(middle))
        # What covers a part of the sky is at times before the telescope and at times not.
        covered = max(0.0, cloud + cloud * (1 - cloud) * self._passing.at(middle))
        clouds = self._settings.cloud_extinction * min(1.0, covered)
        where = None if closed else pointing
        return ShutterOpening(
            opened, seconds, temperature, where, throughput, blur, transients, seeing, clouds, lamp, binning, gain
        )

    def image(self, moment: ShutterOpening, seed: tuple[int, ...]) -> bytes:
        """Return the pixels as the grammar sends them; in any thread. The same arguments give the same image."""
        light = None
        if moment.lamp is not None:
            rate = self._settings.lamp_light * self._settings.gain * moment.lamp * moment.throughput
            light = np.full((self.optics.height, self.optics.width), rate * moment.seconds, dtype=np.float32)
        elif moment.pointing is not None:
            optics = replace(self.optics, seeing=self.optics.seeing * moment.seeing)
            light = electrons(optics, self._view(moment.pointing, moment), moment.seconds)
        return self.detector.read(light, moment.seconds, moment.temperature, seed, moment.binning, moment.gain)

    def _view(self, pointing: Sky, moment: ShutterOpening) -> View:
        is_ = self._settings
        stars = self.stars.near(pointing.ra, pointing.dec, self.optics.radius)
        background, dimming = is_.sky_background * is_.gain, 0.0
        if self._site is not None:
            middle = moment.opened + moment.seconds / 2
            background *= moonlight.sky_factor(self._site, pointing, middle, is_.dark_sky, is_.extinction)
            background += is_.sky_background * is_.gain * twilight.sky_factor(self._site, middle, is_.dark_sky)
            dimming = moonlight.dimming(self._site.ground(pointing, middle), is_.extinction)
        stars = joined([stars, _flaring(moment)])
        return View(pointing, stars, background, moment.throughput, dimming + moment.clouds, moment.blur)


@dataclass(frozen=True)
class Drawing:
    """One exposure, as a worker is told of it: the camera, its site, the moment, and the seed of its noise."""

    settings: CameraSettings
    site: SiteCoordinates | None
    moment: ShutterOpening
    seed: tuple[int, ...]


_scenes: dict[bytes, Scene] = {}
"""The cameras whose images were drawn last: a detector's patterns take longer than an image."""
_MAX_SCENES = 4


def draw(drawing: Drawing) -> bytes:
    """Draw an exposure, as `Scene.image` does; a job for a worker. Any one thread at a time."""
    key = msgspec.msgpack.encode((drawing.settings, drawing.site))
    scene = _scenes.pop(key, None) or Scene(drawing.settings, drawing.site)
    _scenes[key] = scene
    if len(_scenes) > _MAX_SCENES:
        del _scenes[next(iter(_scenes))]
    return scene.image(drawing.moment, drawing.seed)


def _flaring(moment: ShutterOpening) -> Stars:
    """Return the transients that are there during the exposure."""
    closed = moment.opened + moment.seconds
    there = [(each, each.mean_magnitude(moment.opened, closed)) for each in moment.transients]
    rows = [(each.position.ra, each.position.dec, m) for each, m in there if m is not None and math.isfinite(m)]
    ra, dec, magnitude = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Stars(ra, dec, magnitude)
