"""A camera that exposes, reads out, and keeps its last image.

What it sees depends on where its telescope points, which filter is in the beam, how far the focuser is from focus and
whether the dome is open at the moment the shutter opens; a telescope that moves during the exposure does not trail its
stars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.clock import Clock
from pyros.reactor import Reactor
from pyros.simulators.camera.cooler import Cooler
from pyros.simulators.camera.neighbours import (
    ask_brightest,
    ask_cloud,
    ask_cover,
    ask_defocus,
    ask_dome,
    ask_filter,
    ask_lamp,
    ask_position,
)
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import SiteCoordinates, Sky
from pyros.simulators.device import Arguments, Refused, SimulatedDevice, number, one_of
from pyros.simulators.grammar import DeviceAnswer, busy, ok
from pyros.workers import Worker

_LONGEST = 86400.0
_BITS = 16
_GAINS = (0.01, 1000.0)
_NORMAL = "Normal"
_MOST_TRANSIENTS = 1000
_DRAW_SECONDS = 600.0


class SimulatedCamera(SimulatedDevice):
    """States: idle, exposing, reading, ready (an image waits; the next exposure may begin)."""

    log = Logger()

    def __init__(
        self,
        settings: CameraSettings,
        site: SiteCoordinates | None,
        reactor: Reactor,
        clock: Clock,
        emit: Callable[[DeviceAnswer], None],
    ) -> None:
        super().__init__(settings, clock, emit)
        from pyros.simulators.camera import scene  # noqa: PLC0415  (numpy, which the other devices do without)

        self.state = "idle"
        self._scene = scene.Scene(settings, site)
        self.draw = scene.draw
        """What draws an image; run by the worker."""
        self._drawing = scene.Drawing
        self._site = site
        self._worker = Worker(reactor, clock, self.log, "camera simulator's", [scene.__name__])
        self._reactor = reactor
        self._settings = settings
        self._filter = next(iter(settings.filters))
        self._exposures = 0
        self._running: Deferred[None] | None = None
        self._tag: str | None = None
        self._image: bytes | None = None
        self._image_size = (settings.width, settings.height)
        self._gain = settings.gain
        self._modes = {_NORMAL: settings} | {
            name: msgspec.structs.replace(settings, readout=mode.readout, read_noise=mode.read_noise)
            for name, mode in settings.readout_modes.items()
        }
        """What the description says, by the readout mode."""
        self._mode = _NORMAL
        self._cooler = Cooler(self.device_clock, settings.temperature, settings.ambient, settings.cooling_rate)
        started = clock.time()
        self._transients = [
            Transient(Sky(each.ra, each.dec), each.magnitude, started + each.begin, each.slope, each.after)
            for each in settings.transients
        ]
        geometry = (settings.width, settings.height, _BITS, f"{settings.arcsec_per_pixel:g}")
        self.properties |= {
            "geometry": lambda: ok(*geometry),
            "temperature": lambda: ok(f"{round(self._cooler.temperature(), 2):g}"),
            "cooling": self._get_cooling,
            "gain": lambda: ok(f"{self._gain:g}"),
            "max_binning": lambda: ok(settings.max_binning),
            "image": self._get_image,
        }
        self.settable |= {"cooler": self._set_cooler, "gain": self._set_gain}
        if settings.readout_modes:
            self.properties |= {
                "readout_modes": lambda: ok(*self._modes), "readout_mode": lambda: ok(self._mode)
            }  # fmt: skip
            self.settable |= {"readout_mode": self._set_readout_mode}
        if not settings.filter_wheel:  # else the wheel is a device of its own
            self.properties |= {"filters": lambda: ok(*settings.filters), "filter": lambda: ok(self._filter)}
            self.settable |= {"filter": self._set_filter}
        self.actions |= {"expose": self._do_expose, "abort": self._do_abort, "transient": self._do_transient}

    @property
    def busy(self) -> bool:
        return self.state in ("exposing", "reading")

    def stop(self) -> Deferred[None]:
        if self._running:
            self._running.cancel()
        super().stop()
        return self._worker.stop()

    def _get_image(self) -> DeviceAnswer:
        if self._image is None:
            raise Refused("STATE", "there is no image yet; DO expose seconds=... first")
        size = len(self._image)
        return DeviceAnswer(ok(*self._image_size, _BITS, block=size).line, self._image)

    def _set_readout_mode(self, values: tuple[str, ...]) -> DeviceAnswer:
        wanted = one_of("readout_mode", values, list(self._modes))
        self._refuse_if_busy()
        self._mode = wanted
        return ok()

    def _set_gain(self, values: tuple[str, ...]) -> DeviceAnswer:
        wanted = number("gain", " ".join(values), *_GAINS)
        self._refuse_if_busy()
        self._gain = wanted
        return ok()

    def _set_filter(self, values: tuple[str, ...]) -> DeviceAnswer:
        wanted = one_of("filter", values, list(self._settings.filters))
        self._refuse_if_busy()
        self._filter = wanted
        return ok()

    def _get_cooling(self) -> DeviceAnswer:
        target = None if self._cooler.off else f"{self._cooler.wanted:g}"
        power = f"{self._cooler.power(self._settings.cooling_range):.0f}"
        return ok(temperature=f"{round(self._cooler.temperature(), 2):g}", target=target, power=power)

    def _set_cooler(self, values: tuple[str, ...]) -> DeviceAnswer:
        if values == ("off",):
            self._cooler.switch_off()
        else:
            warmest = self._settings.ambient
            least = warmest - self._settings.cooling_range
            self._cooler.cool_to(number("cooler", " ".join(values), least, warmest))
        self.later("cooling", self._cooler.seconds_left(), self._cooled)
        return ok()

    def _cooled(self) -> None:
        self.event("cooling_finished", temperature=f"{self._cooler.temperature():g}")

    def _do_transient(self, arguments: Arguments) -> DeviceAnswer:
        transient = Transient(
            Sky(arguments.number("ra", 0, 360) % 360, arguments.number("dec", -90, 90)),
            arguments.number("magnitude", -5, 30),
            arguments.number_or("time", self.clock.time(), 0, 1e11),
            arguments.number_or("slope", 1.0, 0, 10),
            arguments.number_or("after", 60.0, 1e-3, 1e9),
        )
        arguments.end()
        if len(self._transients) >= _MOST_TRANSIENTS:
            raise Refused("LIMIT", f"there are {_MOST_TRANSIENTS} transients already")
        self._transients.append(transient)
        return ok()

    def _do_expose(self, arguments: Arguments) -> DeviceAnswer:
        seconds = arguments.number("seconds", 0, _LONGEST)
        dark = arguments.flag("dark")
        binning = self._binning(arguments.number_or("binning", 1, 1, self._settings.max_binning))
        tag = arguments.tag()
        arguments.end()
        self._refuse_if_busy()
        self._tag = tag
        self._exposures += 1
        self._worker.warm_up()
        self._running = Deferred.fromCoroutine(self._expose(seconds, dark, tag, self._exposures, binning))
        self._running.addErrback(self._failed, tag)
        return busy(self.real(seconds + self._modes[self._mode].readout))

    def _do_abort(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        if self.busy and self._running:
            self._running.cancel()
            self._rest()
            self.event("exposure_aborted", tag=self._tag)
        return ok()

    def _binning(self, wanted: float) -> int:
        least = min(self._settings.width, self._settings.height)
        if wanted != int(wanted) or wanted > least:
            raise Refused("VALUE", f"binning must be a whole number, at most {least}, not {wanted:g}")
        return int(wanted)

    async def _expose(self, seconds: float, dark: bool, tag: str | None, count: int, binning: int) -> None:
        """One exposure from shutter to image; cancelling its Deferred stops it wherever it is."""
        waiting: list[Deferred[Any]] = []

        def ask(address: str, question: Callable[[Any, Clock, str], Deferred[Any]]) -> Deferred[Any] | None:
            if dark or not address:
                return None
            waiting.append(question(self._reactor, self.clock, address))
            return waiting[-1]

        def wait(seconds: float) -> Deferred[None]:
            waiting.append(self._wait(seconds))
            return waiting[-1]

        is_ = self._modes[self._mode]
        opened, temperature, gain = self.clock.time(), self._cooler.temperature(), self._gain
        pointing, wheel = ask(is_.telescope, ask_position), ask(is_.filter_wheel, ask_filter)
        focuser, dome = ask(is_.focuser, ask_defocus), ask(is_.dome, ask_dome)
        weather, cover = ask(is_.weather, ask_cloud), ask(is_.cover, ask_cover)
        lamp, brightest = ask(is_.cover, ask_lamp), ask(is_.cover, ask_brightest)
        filter = self._filter
        try:
            self.state = "exposing"
            self.event("exposure_started", tag=tag)
            await wait(seconds)
            self.state = "reading"
            self.event("exposure_finished", tag=tag)
            readout = wait(is_.readout)
            moment = self._scene.moment(
                opened=opened,
                seconds=seconds,
                temperature=temperature,
                pointing=(await pointing) if pointing else None,
                filter=(await wheel) if wheel else filter,
                blur=((await focuser) if focuser else None) or 0.0,
                lamp=_share(await lamp, await brightest)
                if cover and lamp and brightest and await cover == "closed"
                else None,
                cloud=((await weather) if weather else None) or 0.0,
                closed=dome is not None and await dome == "closed",
                transients=tuple(self._transients),
                binning=binning,
                gain=gain,
            )
            drawing = self._drawing(is_, self._site, moment, (is_.seed, count))
            image = await self._worker.run(self.draw, drawing, seconds=_DRAW_SECONDS)
            await readout
        except GeneratorExit:  # nobody waits for the image any more, nor has it anything to wait for
            waiting.clear()
            raise
        finally:
            for each in waiting:  # cancelling one that is over does nothing
                each.addErrback(_forget_cancelled)
                each.cancel()
        self._image, self._image_size = image, (is_.width // binning, is_.height // binning)
        self._rest()
        self.event("image_ready", tag=tag)

    def _failed(self, failure: Failure, tag: str | None) -> None:
        if isinstance(failure.value, CancelledError):
            return
        self.log.failure("the image could not be made", failure)
        self._rest()
        self.event("exposure_failed", tag=tag, reason="the image could not be made; the simulator's log says why")

    def _rest(self) -> None:
        self.state = "idle" if self._image is None else "ready"

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise Refused("BUSY", f"the camera is {self.state}; wait, or DO abort")

    def _wait(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires after so many of the device's seconds."""
        timer = self.device_clock.call_later(seconds, lambda: waiting.callback(None))
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        return waiting


def _share(lamp: float | None, brightest: float | None) -> float:
    return (lamp or 0.0) / brightest if brightest else 0.0


def _forget_cancelled(failure: Failure) -> Failure | None:
    return None if isinstance(failure.value, CancelledError) else failure
