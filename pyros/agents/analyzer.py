"""The analyzer: what every image shows. A preview, sources, the true pointing, magnitudes, and what is new.

An image waits in the state until its analysis is kept: after a restart it is analysed again, and its lines in the light
curve are replaced. One image after the other, in a thread of the pool; a plate solver is a process of its own.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents._astrometry import can_solve, solve
from pyros.agents.base import Agent
from pyros.analysis import lightcurve
from pyros.analysis.curve import draw_curve
from pyros.analysis.lightcurve import Point
from pyros.analysis.masters import Masters
from pyros.analysis.pipeline import Detected, Measured, Target, detect, measure, scale_of
from pyros.errors import AgentError, CatalogueError, PyrosError
from pyros.instruments.preview import write_preview
from pyros.messages import ImageAnalysed, ImageTaken, Message, PointingMeasured, SourceFound
from pyros.stars import Catalogue, FileStars, RealStars, SyntheticStars, catalogue, gaia

ANALYSIS_ENDED = "Analysis ended"
_MOST_WAITING = 1000
_SATURATION = 60_000.0
_SOLVER_SECONDS = 60.0


class AnalysisEnded(messages.Payload, frozen=True):
    """The analyzer to itself: what came out of an image."""

    report: ImageAnalysed
    found: SourceFound | None = None


messages.register(ANALYSIS_ENDED, AnalysisEnded)


class AnalyzerState(msgspec.Struct):
    """How many images there were, and those whose analysis hasn't ended."""

    images: int = 0
    waiting: list[ImageTaken] = []


class AnalyzerAgent(Agent):
    """Takes *Image taken*; says *Image analysed*, *Pointing measured* and *Source found*.

    Its options: ``catalogue`` (auto, gaia, simulated, synthetic, or a CSV file), ``masters`` (their folder),
    ``saturation`` (ADU), ``solver`` (a program that speaks as solve-field does, or none) and ``solver_seconds``.
    """

    state: AnalyzerState

    def __init__(self) -> None:
        super().__init__(Agent.ANALYZER)
        self.actions_by_message |= {
            messages.IMAGE_TAKEN: self.image_taken,
            ANALYSIS_ENDED: self.analysis_ended,
        }
        self._queue: deque[ImageTaken] = deque()
        self._running: Deferred[None] | None = None
        self._masters: tuple[object, Masters] = (None, Masters())

    def attach(self, reactor: Any) -> None:
        self._reactor = reactor

    def detach(self) -> None:
        self._queue.clear()
        if self._running is not None:
            self._running.cancel()

    def work(self) -> None:
        """Read the options; what waited when this agent stopped is analysed now."""
        folder = self.config.path.parent
        self._catalogue = self._chosen(self.option("catalogue", str, "auto"), folder)
        given = self.option("masters", str, "")
        self._masters_folder = folder / given if given else self.config.data / "masters"
        self._saturation = self.option("saturation", float, _SATURATION)
        self._solver = can_solve(self._reactor, self.option("solver", str, "solve-field"))
        self._solver_seconds = self.option("solver_seconds", float, _SOLVER_SECONDS)
        for image in self.state.waiting:
            self.after_commit(self._take, image)

    def image_taken(self, message: Message) -> None:
        image: ImageTaken = message.payload
        self.state.images += 1
        if any(each.path == image.path for each in self.state.waiting):
            return
        if len(self.state.waiting) >= _MOST_WAITING:
            self.log.error("{path} is not analysed: {count} images wait", path=image.path, count=_MOST_WAITING)
            return
        self.state.waiting.append(image)
        self.after_commit(self._take, image)

    def analysis_ended(self, message: Message) -> None:
        """Tell what came out; an end that was told before a restart means nothing any more."""
        ended: AnalysisEnded = message.payload
        report = ended.report
        left = [each for each in self.state.waiting if each.path != report.path]
        if len(left) == len(self.state.waiting):
            return
        self.state.waiting = left
        self.send_if_there(self.MONITORING, messages.IMAGE_ANALYSED, report)
        if report.east is not None and report.north is not None:
            pointing = PointingMeasured(observation=report.observation, east=report.east, north=report.north)
            self.send_if_there(self.TELESCOPE, messages.POINTING_MEASURED, pointing)
        if ended.found is not None:
            self.send_if_there(self.ALERT_MANAGER, messages.SOURCE_FOUND, ended.found)

    def _chosen(self, name: str, folder: Path) -> Catalogue | None:
        """The catalogue of that name; ``auto`` is the simulators' sky where there are simulators, else real stars."""
        try:
            match name:
                case "auto":
                    if self.config.simulators:
                        return catalogue("auto")
                    return RealStars() if gaia.installed() else None
                case "gaia":
                    stars = RealStars()
                    stars.near(0.0, 0.0, 0.01)
                    return stars
                case "simulated":
                    return catalogue("auto")
                case "synthetic":
                    return SyntheticStars()
            return FileStars(folder / name)
        except CatalogueError as error:
            raise AgentError(f"{self.config.path}: [{self.section.name}] option_catalogue: {error}") from None

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _take(self, image: ImageTaken) -> None:
        self._queue.append(image)
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._work_off())
            self._running.addErrback(self._stopped)

    async def _work_off(self) -> None:
        while self._queue:
            image = self._queue.popleft()
            try:
                ended = await self._analyse(image)
            except (PyrosError, OSError) as error:
                ended = AnalysisEnded(ImageAnalysed(image.observation, image.path, problem=str(error)))
            if ended.report.problem:
                self.log.warn("{path}: {problem}", path=image.path, problem=ended.report.problem)
            self.tell_self(ANALYSIS_ENDED, ended)
        self._running = None

    def _stopped(self, failure: Failure) -> None:
        self._running = None
        if not failure.check(CancelledError):
            self.log.failure("an analysis failed in an unexpected way", failure)
            if self._queue:
                self._take(self._queue.popleft())

    async def _analyse(self, image: ImageTaken) -> AnalysisEnded:
        path = Path(image.path)
        try:
            await self._in_thread(write_preview, path, path.with_suffix(".png"), image.ra, image.dec)
        except OSError as error:
            self.log.error("no preview of {path}: {error}", path=path, error=error)
        detected: Detected = await self._in_thread(self._detect, path)
        target = Target(image.ra, image.dec, image.error_radius) if image.alert else None
        measured: Measured = await self._in_thread(measure, detected, self._catalogue, target, None)
        if measured.matched is None and self._solver is not None:
            found = await solve(self._reactor, self.clock, self._solver, detected, self._solver_seconds)
            if found is not None:
                measured = await self._in_thread(measure, detected, self._catalogue, target, found)
        if measured.new:
            await self._in_thread(self._keep, image, measured)
        return AnalysisEnded(_report(image, measured), _source(image, measured))

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    # In a thread of the pool -------------------------------------------------------------------------------------

    def _detect(self, path: Path) -> Detected:
        """The masters are read again only when their folder has changed."""
        files = sorted(self._masters_folder.glob("*.fits")) if self._masters_folder.is_dir() else []
        stamp = [(file, file.stat().st_mtime_ns) for file in files]
        if stamp != self._masters[0]:
            self._masters = (stamp, Masters.load(self._masters_folder))
        return detect(path, self._masters[1], self._saturation)

    def _keep(self, image: ImageTaken, measured: Measured) -> None:
        """Into the light curve of the event, and its picture."""
        detected = measured.detected
        event = image.event or image.observation
        file = self.config.data / "lightcurves" / f"{lightcurve.file_name(event)}.csv"
        time = _unix(detected.middle)
        points = [
            Point(
                source="",
                utc=f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%S}",
                mjd=detected.middle,
                after=None if image.event_time is None else time - image.event_time,
                filter=str(detected.header.get("FILTER", "")),
                seconds=detected.seconds,
                magnitude=new.magnitude,
                error=new.error,
                ra=new.ra,
                dec=new.dec,
                observation=image.observation,
                image=Path(image.path).name,
            )
            for new in measured.new
        ]
        draw_curve(file.with_suffix(".png"), event, lightcurve.add(file, Path(image.path).name, points))


def _report(image: ImageTaken, measured: Measured) -> ImageAnalysed:
    detected, zero, pointing = measured.detected, measured.zero, measured.pointing
    scale = scale_of(detected)
    return ImageAnalysed(
        observation=image.observation,
        path=image.path,
        sources=len(detected.found.sources),
        matched=0 if measured.matched is None else len(measured.matched.sources),
        fwhm=None if scale is None else detected.found.fwhm * scale,
        zero_point=zero.magnitude if zero else None,
        zero_point_error=zero.error if zero else None,
        ra=pointing.ra if pointing else None,
        dec=pointing.dec if pointing else None,
        east=pointing.east if pointing else None,
        north=pointing.north if pointing else None,
        new=len(measured.new),
        calibrated=detected.calibrated,
        problem=measured.problem,
    )


def _source(image: ImageTaken, measured: Measured) -> SourceFound | None:
    """The brightest new source, as the one that the alert is about."""
    if not measured.new or measured.matched is None:
        return None
    new = measured.new[0]
    return SourceFound(
        observation=image.observation,
        alert=image.alert,
        event=image.event,
        ra=new.ra,
        dec=new.dec,
        magnitude=new.magnitude,
        magnitude_error=new.error,
        filter=str(measured.detected.header.get("FILTER", "")),
        time=_unix(measured.detected.middle),
        path=image.path,
        error_radius=max(measured.matched.rms, 0.5) / 3600,
    )


def _unix(mjd: float) -> float:
    return (mjd - 40587) * 86400
