"""The camera's agent: exposes, and puts the image on disk with all that is known about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure as TwistedFailure

from pyros import instruments, messages
from pyros.agents._cooling import COOLING_LOOK, COOLING_LOOKED, COOLING_OVERDUE, CoolingState, DetectorCooling
from pyros.agents._filters import FiltersAgent
from pyros.agents.agent import Agent
from pyros.agents.instrument import STALE_ORDER_SECONDS, Command, InstrumentState, asked_ahead
from pyros.agents.options import AgentOption, OptionTable
from pyros.calibration import cooling, levels, starsizes
from pyros.calibration.cooling import Ramp
from pyros.calibration.levels import measure_level
from pyros.calibration.starsizes import SizeJob, measure_sizes
from pyros.errors import ConnectionLost, DeviceFailed, NoAnswer, WorkerError
from pyros.files import disk_problem
from pyros.hold import Hold
from pyros.instruments import fits
from pyros.instruments.fits import ImageFacts, WriteJob, write_job, write_pixels
from pyros.messages import (
    Cool,
    Expose,
    ExposureFinished,
    ExposureStarted,
    Failure,
    ImageTaken,
    Level,
    Message,
    StarSizes,
)
from pyros.planning import Site
from pyros.planning.night_log import night_name
from pyros.planning.visibility import airmass, altitude_azimuth
from pyros.prepared import prepared
from pyros.quantities import number, positive, yes_or_no
from pyros.reactor import Reactor
from pyros.workers import Worker

_WRITE_SECONDS = 120.0
_WRITE_ATTEMPTS = 2
_MEASURE_SECONDS = 60.0
_ROTATION = AgentOption("rotation", number(-360.0, 360.0), 0.0)
_NAME = AgentOption("name", str, "")
_SATURATION = AgentOption("saturation", positive, 60_000.0)
_COMPRESS = AgentOption("compress", yes_or_no, False)
_LAST_WRITE_SECONDS = 2.0
"""How long the agent's end waits for an image that is being written."""


class CameraState(InstrumentState):
    """What the camera's agent remembers."""

    coolings: int = 0
    """Counts the orders to cool."""
    cooling: CoolingState | None = None
    """The detector's way to a temperature, while it is under way."""
    aborted: Command | None = None
    """The last exposure that was aborted: its image may be on its way to the disk all the same."""


class CameraAgent(FiltersAgent):
    """Takes *Expose*, *Abort* and *Cool*.

    With a filter wheel of its own in the observatory, its agent has put the filter into the beam before *Expose* comes,
    and the camera itself is asked for none. ``option_rotation`` is the position angle of the images' upper side,
    degrees from north through east; ``option_compress = yes`` packs the images' tiles;
    from ``option_saturation`` (ADU) on a pixel is not believed where stars are measured. ``option_name`` here and in
    the telescope's section are what the images call the two (INSTRUME, TELESCOP).
    """

    needs = ("site",)
    LEFT = "the exposure goes on"

    OPTIONS: ClassVar[OptionTable] = (*FiltersAgent.OPTIONS, _ROTATION, _NAME, _SATURATION, _COMPRESS)
    state: CameraState
    device: instruments.Camera

    def __init__(self) -> None:
        super().__init__(Agent.CAMERA)
        self._detector = DetectorCooling(self)
        self._max_binning: int | None = None
        """The most pixels in each direction that the camera reads as one; None while that isn't known."""
        self._readout_modes: tuple[str, ...] | None = None
        """The names of its readout modes; None while they aren't known."""
        self.actions_by_message |= {
            messages.EXPOSE: self.expose,
            messages.ABORT: self.abort,
            messages.COOL: self.cool,
            COOLING_LOOK: self._detector.look,
            COOLING_LOOKED: self._detector.looked,
            COOLING_OVERDUE: self._detector.overdue,
        }

    @property
    def has_filters(self) -> bool:
        return self.FILTER_WHEEL not in self.config.agents

    def attach(self, reactor: Reactor) -> None:
        self._worker = Worker(
            reactor, self.clock, self.log, "camera's", [fits.__name__, levels.__name__, starsizes.__name__]
        )
        super().attach(reactor)

    def detach(self) -> Deferred[None]:
        ends: list[Deferred[Any]] = [self._worker.stop(_LAST_WRITE_SECONDS), maybeDeferred(super().detach)]
        return DeferredList(ends, fireOnOneErrback=True, consumeErrors=True).addCallback(lambda _: None)

    def work(self) -> None:
        self.site = Site.load(self.config.site)
        self.rotation = self.option(*_ROTATION)
        self.telescope = self.config.telescope_name
        self.instrument = self.option(*_NAME)
        self.saturation = self.option(*_SATURATION)
        self.compress = self.option(*_COMPRESS)
        self._detector.restarted()
        super().work()

    def expose(self, message: Message) -> None:
        """Expose once. While another exposure runs the device refuses."""
        expose: Expose = message.payload
        if reason := self.too_old(message, STALE_ORDER_SECONDS):
            self.refuse(message, messages.EXPOSURE_FAILED, reason, lost=True)
            return
        if reason := self.reason_held(message) or disk_problem(self.config.images, self.config.limits.disk_images):
            self.refuse(message, messages.EXPOSURE_FAILED, f"not exposed: {reason}")
            return
        filter = "" if self.FILTER_WHEEL in self.config.agents else expose.filter

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            tag = f"{expose.observation}-{expose.number}"
            dark = expose.image_type in ("BIAS", "DARK")
            seconds = 0.0 if expose.image_type == "BIAS" else expose.seconds  # 0: the shortest that the camera can
            self._worker.warm_up()
            return (
                self._configured(expose)
                .addCallback(
                    lambda _: self.device.expose(
                        seconds, "" if dark else filter, tag, started, dark=dark, binning=expose.binning
                    )
                )
                .addErrback(self._give_up)
                .addCallback(self._keep, expose)
            )

        self.command(messages.EXPOSE, expose, run, order=message)

    def _configured(self, expose: Expose) -> Deferred[None]:
        """In the reactor's thread: set what an exposure asks of the camera beside its time; fires when it is set."""
        if expose.gain is None and not expose.readout_mode:
            return succeed(None)
        return self.device.configure(expose.gain, expose.readout_mode)

    def figures(self) -> dict[str, Any]:
        """Tell what can be asked of the camera in a request, too."""
        return super().figures() | {
            "can_set": list(self.device.can_set), "max_binning": self._max_binning,
            "readout_modes": self._readout_modes and list(self._readout_modes),
        }  # fmt: skip

    def cool(self, message: Message) -> None:
        """Bring the detector to a temperature, whatever the camera is doing; a newer order supersedes an older one."""
        ramp = self._detector.begin(message)

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._cool(ramp))

        self.command(message.name, message.payload, run, order=message, aside=True)
        self._detector.commanded(self.state.number)

    async def _cool(self, ramp: Ramp) -> dict[str, Any]:
        """In the reactor's thread: give the camera the first set point."""
        temperature = None if ramp.rate is None else (await self.device.cooling()).temperature
        set_point = cooling.first(ramp, temperature)
        await self.device.cool(set_point)
        return {"set_point": set_point}

    def abort(self, message: Message) -> None:
        """Throw the exposure of that observation away."""
        command = self.state.command
        if command is not None and message.payload.observation in ("", command.payload["observation"]):
            self._throw_away()

    def _throw_away(self) -> None:
        """Abort the exposure under way; after a second word to do so the first one's is remembered still."""
        self.state.aborted, self.state.command = self.state.command or self.state.aborted, None
        self.aborting(self.device.abort)

    def stopped(self, number: int) -> Command | None:
        """Return an aborted exposure whose image was being written: it is on the disk, and not taken again."""
        aborted = self.state.aborted
        return aborted if aborted is not None and aborted.number == number else None

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        """Abort an exposure of the automation; with ``stop`` any."""
        if stop or self.for_automation(messages.EXPOSE) is not None:
            self.stop_at_once(self.device.abort)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self.for_automation(messages.EXPOSE) is not None:
            self.state.interrupted = None
            self._throw_away()

    def make_safe(self, reason: str) -> Deferred[None]:
        """Abort an exposure: its image would be fetched by nobody."""
        return Deferred.fromCoroutine(self._abort_at_end())

    async def _abort_at_end(self) -> None:
        if await self.device.state() == "exposing":
            self.log.info("aborting the exposure ...")
            await self.device.abort()

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Abort an exposure whose image nobody fetches: it must not keep the camera from the next one."""
        if state in ("exposing", "reading"):
            self.log.warn("the camera is {state}, and no agent asked for it: the exposure is aborted", state=state)
            self.aborting(self.device.abort)
        if interrupted is not None:
            reason = "the camera's agent was restarted in the middle"
            self.failed(interrupted, Failure(observation=interrupted.payload["observation"], reason=reason))

    def on_connection(self, connected: bool) -> None:
        self._max_binning = self._readout_modes = None

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        with asked_ahead(self.device.cooling()) as asked:
            state = await self.device.state()
            if self._max_binning is None:
                with suppress(DeviceFailed, NoAnswer):  # it is asked again
                    self._readout_modes = await self.device.readout_modes()
                    self._max_binning = await self.device.max_binning()
            cooling = await asked
        return state, {"temperature": cooling.temperature, "target": cooling.target, "power": cooling.power}

    def started(self, command: Command, seconds: float) -> None:
        if command.name != messages.EXPOSE:
            return
        expose = self._expose(command)
        self.answer(
            command,
            messages.EXPOSURE_STARTED,
            ExposureStarted(
                observation=expose.observation, number=expose.number, of=expose.of, filter=expose.filter,
                seconds=expose.seconds,
            ),
        )  # fmt: skip

    def done(self, command: Command, result: dict[str, Any]) -> None:
        if command.name == messages.COOL:
            self.answer(command, messages.COOLING_SET, msgspec.convert(command.payload, prepared(Cool)))
            self._detector.given(command.number, result["set_point"])
            return
        expose = self._expose(command)
        self.answer(
            command,
            messages.EXPOSURE_FINISHED,
            ExposureFinished(
                observation=expose.observation, number=expose.number, filter=expose.filter, path=result["path"],
                started=result.get("started"), seconds=result.get("seconds"), temperature=result.get("temperature"),
                level=msgspec.convert(result.get("level"), prepared(Level | None)),
                sizes=msgspec.convert(result.get("sizes"), prepared(StarSizes | None)),
            ),
        )  # fmt: skip
        if expose.image_type != "LIGHT" or not expose.keep:
            return
        self.send_if_there(
            self.ANALYZER,
            messages.IMAGE_TAKEN,
            ImageTaken(observation=expose.observation, path=result["path"], **expose.target_fields()),
        )

    def failed(self, command: Command, failure: Failure) -> None:
        if command.name == messages.COOL:
            self._detector.not_given(command.number, failure)
        else:
            self.answer(command, messages.EXPOSURE_FAILED, failure)

    @staticmethod
    def _expose(command: Command) -> Expose:
        return msgspec.convert(command.payload, prepared(Expose))

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _give_up(self, failure: TwistedFailure) -> TwistedFailure:
        """Abort the exposure after contact was lost, so that the camera accepts the next one."""
        if failure.check(NoAnswer, ConnectionLost):
            self.device.abort().addErrback(
                lambda why: self.log.warn("the exposure could not be aborted: {reason}", reason=why.getErrorMessage())
            )
        return failure

    def _keep(self, image: instruments.Image, expose: Expose) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._write(image, expose))

    async def _write(self, image: instruments.Image, expose: Expose) -> dict[str, Any]:
        """Have a worker put the image on disk. It is not thrown away for a worker that dies, twice even."""
        path, facts = self._describe(image, expose)
        job, pixels = write_job(path, replace(image, filter=self._filter(image, expose)), facts, compress=self.compress)
        measured = await self._measure_image(expose, job, pixels) if expose.measure else None
        keep = expose.keep and (expose.keep_levels is None or _is_between(measured, expose.keep_levels))
        written = await self._written(job, pixels) if keep else ""
        return {
            "path": written, "started": image.started, "seconds": image.seconds, "temperature": image.temperature,
            expose.measure or "level": measured and msgspec.to_builtins(measured),
        }  # fmt: skip

    async def _written(self, job: WriteJob, pixels: memoryview) -> str:
        for _ in range(_WRITE_ATTEMPTS):
            try:
                return await self._worker.run(write_pixels, job, pixels, seconds=_WRITE_SECONDS)
            except WorkerError as error:
                self.log.warn("{path} is written once more: {reason}", path=job.path, reason=error)
        pool = self.reactor.getThreadPool()
        written: str = await deferToThreadPool(self.reactor, pool, write_pixels, job, pixels)  # type: ignore[func-returns-value,unused-ignore]
        return written

    async def _measure_image(self, expose: Expose, job: WriteJob, pixels: memoryview) -> Level | StarSizes | None:
        """Have a worker measure the image; None, and a line in the log, where that fails."""
        name = f"{expose.observation}-{expose.number}"
        try:
            if expose.measure == "level":
                return await self._worker.run(measure_level, name, pixels, seconds=_MEASURE_SECONDS)
            size = SizeJob(*job.shape, self.saturation)
            return await self._worker.run(measure_sizes, size, pixels, seconds=_MEASURE_SECONDS)
        except (WorkerError, ValueError) as error:
            self.log.warn("{name} was not measured: {reason}", name=name, reason=error)
            return None

    def _filter(self, image: instruments.Image, expose: Expose) -> str:
        """Name the image's filter; a camera doesn't know what a separate wheel turns in front of it."""
        return expose.filter if self.FILTER_WHEEL in self.config.agents else image.filter

    def _describe(self, image: instruments.Image, expose: Expose) -> tuple[Path, ImageFacts]:
        """Where the image goes, and what its header tells beside what the camera knows."""
        middle = datetime.fromtimestamp(image.started + image.seconds / 2, UTC)
        altitude, _ = altitude_azimuth(self.site, expose.pointing_ra, expose.pointing_dec, middle)
        facts = ImageFacts(
            object=expose.target or expose.image_type.lower(),
            ra=expose.pointing_ra,
            dec=expose.pointing_dec,
            target_ra=expose.ra,
            target_dec=expose.dec,
            observation=expose.observation,
            number=expose.number,
            of=expose.of,
            image_type=expose.image_type,
            alert=expose.alert,
            event=expose.event,
            rotation=self.rotation,
            airmass=airmass(altitude) if altitude > 0 else None,
            observatory=self.config.name,
            telescope=self.telescope,
            instrument=self.instrument or self.device.name,
            latitude=self.site.latitude,
            longitude=self.site.longitude,
            elevation=self.site.elevation,
        )
        folder = self.config.images / night_name(self.site, image.started)
        begin = f"{datetime.fromtimestamp(image.started, UTC):%H%M%S}"
        name = f"{expose.observation}_{begin}_{expose.number:03d}_{expose.filter or expose.image_type}.fits"
        unit = self.section.unit.replace(" ", "_")
        return folder / (f"{unit}_{name}" if unit else name), facts


def _is_between(measured: Level | StarSizes | None, levels: tuple[float, float]) -> bool:
    return isinstance(measured, Level) and levels[0] <= measured.median <= levels[1]
