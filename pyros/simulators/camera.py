"""A camera that exposes, reads out, and keeps its last image. What it sees depends on where its telescope points
at the moment the shutter opens; a telescope that moves during the exposure does not trail its stars.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.clock import Clock
from pyros.simulators.celestial import Sky
from pyros.simulators.description import CameraSettings
from pyros.simulators.device import Arguments, Device, Refused, one_of
from pyros.simulators.grammar import Answer, busy, ok
from pyros.simulators.pointing import ask_position

_LONGEST = 86400.0
_BITS = 16


class Camera(Device):
    """States: idle, exposing, reading, ready (an image waits; the next exposure may begin)."""

    log = Logger()

    def __init__(self, settings: CameraSettings, reactor: Any, clock: Clock, emit: Callable[[Answer], None]) -> None:
        super().__init__(settings, clock, emit)
        from pyros.simulators import sky  # noqa: PLC0415  (numpy, which the other devices do without)

        self.state = "idle"
        self._render = sky.render
        self._optics = sky.Optics(
            **{name: getattr(settings, name) for name in sky.Optics.__dataclass_fields__},
        )
        self._reactor = reactor
        self._settings = settings
        self._filter = next(iter(settings.filters))
        self._exposures = 0
        self._running: Deferred[None] | None = None
        self._tag: str | None = None
        self._image: bytes | None = None
        geometry = (settings.width, settings.height, _BITS, f"{settings.arcsec_per_pixel:g}")
        self.properties |= {
            "geometry": lambda: ok(*geometry),
            "filters": lambda: ok(*settings.filters),
            "filter": lambda: ok(self._filter),
            "temperature": lambda: ok(f"{settings.temperature:g}"),
            "gain": lambda: ok(f"{settings.gain:g}"),
            "image": self._get_image,
        }
        self.settable |= {"filter": self._set_filter}
        self.actions |= {"expose": self._do_expose, "abort": self._do_abort}

    @property
    def busy(self) -> bool:
        return self.state in ("exposing", "reading")

    def stop(self) -> None:
        if self._running:
            self._running.cancel()
        super().stop()

    def _get_image(self) -> Answer:
        if self._image is None:
            raise Refused("STATE", "there is no image yet; DO expose seconds=... first")
        size = len(self._image)
        return Answer(ok(self._settings.width, self._settings.height, _BITS, block=size).line, self._image)

    def _set_filter(self, values: tuple[str, ...]) -> Answer:
        wanted = one_of("filter", values, list(self._settings.filters))
        self._refuse_if_busy()
        self._filter = wanted
        return ok()

    def _do_expose(self, arguments: Arguments) -> Answer:
        seconds = arguments.number("seconds", 0, _LONGEST)
        tag = arguments.tag()
        arguments.end()
        self._refuse_if_busy()
        self._tag = tag
        self._exposures += 1
        self._running = Deferred.fromCoroutine(self._expose(seconds, tag, self._exposures))
        self._running.addErrback(self._failed, tag)
        return busy(self.real(seconds + self._settings.readout))

    def _do_abort(self, arguments: Arguments) -> Answer:
        arguments.end()
        if self.busy and self._running:
            self._running.cancel()
            self._rest()
            self.event("exposure_aborted", tag=self._tag)
        return ok()

    async def _expose(self, seconds: float, tag: str | None, count: int) -> None:
        """One exposure from shutter to image; cancelling its Deferred stops it wherever it is."""
        throughput = self._settings.filters[self._filter]
        pointing = ask_position(self._reactor, self.clock, self._settings.telescope)
        readout: Deferred[None] | None = None
        try:
            self.state = "exposing"
            self.event("exposure_started", tag=tag)
            await self._wait(seconds)
            self.state = "reading"
            self.event("exposure_finished", tag=tag)
            readout = self._wait(self._settings.readout)
            seed = (self._settings.seed, count)
            image = await self._in_thread(self._pixels, await pointing, seconds, throughput, seed)
            await readout
        finally:
            for waiting in (pointing, readout):
                if waiting is not None:  # cancelling one that is over does nothing
                    waiting.addErrback(_forget_cancelled)
                    waiting.cancel()
        self._image = image
        self._rest()
        self.event("image_ready", tag=tag)

    def _pixels(self, pointing: Sky | None, seconds: float, throughput: float, seed: tuple[int, ...]) -> bytes:
        return self._render(self._optics, pointing, seconds, throughput, seed).tobytes()

    def _failed(self, failure: Failure, tag: str | None) -> None:
        if isinstance(failure.value, CancelledError):
            return
        self.log.failure("The image could not be made.", failure)
        self._rest()
        self.event("exposure_failed", tag=tag, reason="the image could not be made; the simulator's log says why")

    def _rest(self) -> None:
        self.state = "idle" if self._image is None else "ready"

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise Refused("BUSY", f"the camera is {self.state}; wait, or DO abort")

    def _wait(self, seconds: float) -> Deferred[None]:
        """Fires after so many of the device's seconds."""
        timer = self.pace.call_later(seconds, lambda: waiting.callback(None))
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        return waiting

    def _in_thread(self, function: Callable[..., bytes], *arguments: Any) -> Coroutine[Any, Any, bytes]:
        """The result of a call in the reactor's thread pool, so that the reactor goes on answering."""
        waiting = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)
        return cast("Coroutine[Any, Any, bytes]", waiting)


def _forget_cancelled(failure: Failure) -> Failure | None:
    return None if isinstance(failure.value, CancelledError) else failure
