"""The analyzer: what every image shows. A preview, sources, the true pointing, magnitudes, and what is new.

An image waits in the state until its analysis is kept: after a restart it is analysed again, and its lines in the light
curve are replaced. One image after the other, in a worker process, so that no alert waits for it; a worker that dies or
hangs costs the image that it had, whose report says so.
"""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import ClassVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.analysis import images
from pyros.analysis.images import (
    Analysis,
    AnalysisJob,
    AnalysisSettings,
    analyse_image,
    check_catalogue,
    read_catalogue,
)
from pyros.errors import AgentError, CatalogueError, PyrosError
from pyros.imagery.filling import IndexJob, index_image
from pyros.imagery.index import index_file
from pyros.messages import ImageAnalysed, ImageTaken, Message, PointingMeasured, SourceFound
from pyros.quantities import positive
from pyros.reactor import Reactor
from pyros.stars import gaia
from pyros.workers import Worker

ANALYSIS_ENDED = "Analysis ended"
_MOST_WAITING = 1000
_CATALOGUE = AgentOption("catalogue", str, "auto")
_MASTERS = AgentOption("masters", str, "")
_SATURATION = AgentOption("saturation", positive, 60_000.0)
_SOLVER = AgentOption("solver", str, "solve-field")
_SECONDS = AgentOption("seconds", positive, 300.0)
_SOLVER_SECONDS = AgentOption("solver_seconds", positive, 60.0)
_INDEX_SECONDS = 60.0


class AnalysisEnded(messages.Payload, frozen=True):
    """The analyzer to itself: what came out of an image."""

    report: ImageAnalysed
    found: SourceFound | None = None


messages.register(ANALYSIS_ENDED, AnalysisEnded, guarded=True)


class AnalyzerState(msgspec.Struct):
    """How many images there were, and those whose analysis hasn't ended."""

    images: int = 0
    """How many there were."""
    waiting: list[ImageTaken] = []
    """Those whose analysis hasn't ended, the oldest first."""


class AnalyzerAgent(Agent):
    """Takes *Image taken*; says *Image analysed*, *Pointing measured* and *Source found*.

    Its options: ``catalogue`` (auto, gaia, simulated, synthetic, or a CSV file), ``masters`` (their folder),
    ``saturation`` (ADU), ``solver`` (a program that speaks as solve-field does, or none), ``solver_seconds``, and
    ``seconds``, within which an image must be analysed, the solver's time not counted.
    """

    OPTIONS: ClassVar[OptionTable] = (_CATALOGUE, _MASTERS, _SATURATION, _SOLVER, _SOLVER_SECONDS, _SECONDS)
    state: AnalyzerState

    def __init__(self) -> None:
        super().__init__(Agent.ANALYZER)
        self.actions_by_message |= {
            messages.IMAGE_TAKEN: self.image_taken,
            ANALYSIS_ENDED: self.analysis_ended,
        }
        self._queue: deque[ImageTaken] = deque()
        self._running: Deferred[None] | None = None

    def attach(self, reactor: Reactor) -> None:
        self._detached = False
        self._worker = Worker(reactor, self.clock, self.log, "analyzer's", [images.__name__])

    def detach(self) -> Deferred[None]:
        """Stop; the image under analysis is analysed again after the next start."""
        self._detached = True
        self._queue.clear()
        stopped = self._worker.stop()
        if self._running is not None:
            self._running.cancel()
        return stopped

    def work(self) -> None:
        """Read the options; what waited when this agent stopped is analysed now."""
        folder = self.config.path.parent
        masters = self.option(*_MASTERS)
        solver = self.option(*_SOLVER)
        solver_seconds = self.option(*_SOLVER_SECONDS)
        self._seconds = self.option(*_SECONDS) + 2 * solver_seconds
        self.settings = AnalysisSettings(
            catalogue=self._catalogue(self.option(*_CATALOGUE), folder),
            masters=str(folder / masters if masters else self.config.data / "masters"),
            lightcurves=str(self.config.data / "lightcurves"),
            saturation=self.option(*_SATURATION),
            solver="" if self._worker.inline else shutil.which(solver) or "",
            solver_seconds=solver_seconds,
        )
        if self.settings.catalogue not in ("", "simulated", "synthetic"):
            self.after_commit(self._read_catalogue)
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
        for agent in (self.MONITORING, self.OBSERVATION_MANAGER, self.MAJORDOME):
            self.send_if_there(agent, messages.IMAGE_ANALYSED, report)
        if report.east is not None and report.north is not None:
            pointing = PointingMeasured(observation=report.observation, east=report.east, north=report.north)
            self.send_if_there(self.TELESCOPE, messages.POINTING_MEASURED, pointing)
        if ended.found is not None:
            self.send_if_there(self.ALERT_MANAGER, messages.SOURCE_FOUND, ended.found)

    def _catalogue(self, name: str, folder: Path) -> str:
        """Resolve the catalogue's name: ``auto`` is the simulators' sky where there are simulators, else real stars.

        Raises AgentError for one that isn't there.
        """
        if name == "auto":
            name = "simulated" if self.config.simulators else "gaia" if gaia.installed() else ""
        elif name not in ("gaia", "simulated", "synthetic"):
            name = str(folder / name)
        try:
            check_catalogue(name)
        except CatalogueError as error:
            raise AgentError(f"{self.config.path}: [{self.section.name}] option_catalogue: {error}") from None
        return name

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _read_catalogue(self) -> None:
        """Read the file of stars now, so that a mistake in it is told once, not with every image of the night."""
        reading = self._worker.run(read_catalogue, self.settings.catalogue, seconds=self._seconds)

        def failed(failure: Failure) -> None:
            if not self._detached:
                self.log.error(
                    "no stars to compare images with: {reason}; mend option_catalogue and start the analyzer again",
                    reason=failure.getErrorMessage(),
                )

        reading.addErrback(failed)

    def _take(self, image: ImageTaken) -> None:
        self._queue.append(image)
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._work_off())
            self._running.addErrback(self._stopped)

    async def _work_off(self) -> None:
        while self._queue:
            image = self._queue.popleft()
            try:
                analysis = await self._worker.run(
                    analyse_image, AnalysisJob(image, self.settings), seconds=self._seconds
                )
            except (PyrosError, OSError) as error:
                if self._detached:
                    return  # it waits in the state
                analysis = Analysis(ImageAnalysed(image.observation, image.path, problem=str(error)))
            for warning in analysis.warnings:
                self.log.warn("{warning}", warning=warning)
            if analysis.report.problem:
                self.log.warn("{path}: {problem}", path=image.path, problem=analysis.report.problem)
            self.post_to_self(ANALYSIS_ENDED, AnalysisEnded(analysis.report, analysis.found))
            await self._index(analysis.report)
        self._running = None

    async def _index(self, report: ImageAnalysed) -> None:
        """Put the image into the index; what fails there, `pyros images index` makes good."""
        site = str(self.config.site) if self.config.site.is_file() else ""
        job = IndexJob(report, str(index_file(self.config)), site)
        try:
            await self._worker.run(index_image, job, seconds=_INDEX_SECONDS)
        except (PyrosError, OSError) as error:
            if not self._detached:
                self.log.warn("{path} is not in the index of images: {why}", path=report.path, why=error)

    def _stopped(self, failure: Failure) -> None:
        self._running = None
        if not failure.check(CancelledError):
            self.log.failure("an analysis failed in an unexpected way", failure)
            if self._queue:
                self._take(self._queue.popleft())
