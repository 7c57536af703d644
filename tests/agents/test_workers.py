"""The analyzer's and the camera's worker processes: the same results as inline, and what one costs that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twisted.internet import threads
from twisted.logger import Logger

from pyros import messages
from pyros.agents.analyzer import AnalyzerAgent
from pyros.analysis.images import Analysis, AnalysisJob, AnalysisSettings, analyse_image
from pyros.clock import RealClock
from pyros.instruments.fits import ImageFacts, write_job, write_pixels
from pyros.instruments.interfaces import Image
from pyros.messages import ImageTaken
from pyros.simulators import load
from pyros.simulators.camera.scene import Drawing, ShutterOpening, draw
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import Sky
from pyros.workers import Worker
from tests.conftest import AgentsObservatory, reactor_in_a_thread, wait_until

blockingCallFromThread: Any = threads.blockingCallFromThread
DEMO = Path(__file__).parents[2] / "observatory" / "simulators"
WHERE = Sky(150.2, 40.1)
BEGUN = 1.77e9


def drawing(stars: str = "synthetic") -> Drawing:
    """Build an exposure of a field with a burst in it."""
    changed = {"width": 320, "height": 300, "seeing": 4.0, "stars": stars, "cosmic_rays": 0}
    settings = load(DEMO / "camera.yaml").changed(**changed).settings
    assert isinstance(settings, CameraSettings)
    burst = Transient(Sky(WHERE.ra, WHERE.dec + 0.01), 13.0, BEGUN - 60)
    return Drawing(settings, None, ShutterOpening(BEGUN, 20, -20, WHERE, 1.0, 0.0, (burst,)), (1,))


def image(pixels: bytes) -> Image:
    settings = drawing().settings
    return Image(
        np.frombuffer(pixels, np.uint16).reshape(300, 320), BEGUN, 20.0, "r", -20.0, 1.5, settings.arcsec_per_pixel
    )


def analysis_job(path: str, folder: Path) -> AnalysisJob:
    taken = ImageTaken(
        observation="o", path=path, ra=WHERE.ra, dec=WHERE.dec, alert="a", event="e", event_time=BEGUN - 60
    )
    return AnalysisJob(taken, AnalysisSettings("synthetic", str(folder), str(folder / "curves"), 60_000.0))


Runs = Callable[..., Any]


@pytest.fixture
def run() -> Iterator[Runs]:
    """Run a job in a worker."""
    with reactor_in_a_thread() as reactor:
        worker = Worker(reactor, RealClock(reactor), Logger("worker"), "test")

        def run(function: Callable[..., Any], *arguments: Any) -> Any:
            return blockingCallFromThread(reactor, lambda: worker.run(function, *arguments, seconds=600))

        yield run
        blockingCallFromThread(reactor, worker.stop)


def test_a_worker_does_what_would_be_done_inline(run: Runs, tmp_path: Path) -> None:
    """From the photons to the light curve: every byte."""
    results = []
    for name, do in (("inline", lambda function, *arguments: function(*arguments)), ("worker", run)):
        folder = tmp_path / name / "same"
        folder.mkdir(parents=True)
        pixels = do(draw, drawing())
        job, block = write_job(folder / "a.fits", image(pixels), ImageFacts("x", *WHERE, "o"), compress=False)
        assert do(write_pixels, job, block) == str(folder / "a.fits")
        analysis = do(analyse_image, analysis_job(job.path, folder))
        assert isinstance(analysis, Analysis)
        assert analysis.found is not None, "the burst"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        assert [path.name for path in files] == ["a.fits", "a.png", "e.csv", "e.png"]
        results.append((pixels, repr(analysis).replace(str(folder), ""), [path.read_bytes() for path in files]))
    assert results[0] == results[1]


@pytest.fixture
def field(tmp_path: Path) -> str:
    """Return the path of an image that fits no catalogue but its own."""
    job, block = write_job(tmp_path / "field.fits", image(draw(drawing())), ImageFacts("x", 20.0, -30.0, "o"),
                           compress=False)  # fmt: skip
    return write_pixels(job, block)


def solver(folder: Path) -> tuple[str, Path]:
    """Write a plate solver that never ends, and the file in which each one notes its number."""
    program, mark = folder / "solver", folder / "pids"
    program.write_text(f"#!/bin/sh\necho $$ >> {mark}\nexec sleep 600\n")
    program.chmod(0o755)
    return str(program), mark


def ended(place: AgentsObservatory) -> list[Any]:
    """Return what the analyzer has found out about images, oldest first."""
    return [payload["report"] for name, payload, _ in place.received("analyzer") if name == "Analysis ended"]


Running = Callable[..., None]
Makes = Callable[..., AgentsObservatory]


def begin(observatory: Makes, running: Running, folder: Path, **options: str) -> tuple[AgentsObservatory, Any, Path]:
    """Start an analyzer whose solver never ends."""
    program, mark = solver(folder)
    keys = {"app": "pyros.agents.analyzer", "option_catalogue": "synthetic", "option_solver": program}
    place = observatory(analyzer=keys | {f"option_{key}": value for key, value in options.items()})
    agent = AnalyzerAgent()
    running(place, agent)
    return place, agent, mark


def parent_of(pid: str) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pids(mark: Path) -> list[str]:
    return mark.read_text().split() if mark.exists() else []


def test_a_worker_that_is_killed_costs_one_analysis(
    observatory: Makes, running: Running, field: str, tmp_path: Path
) -> None:
    place, agent, mark = begin(observatory, running, tmp_path)
    for path in (field, str(tmp_path / "absent.fits")):
        agent.post_to_self(messages.IMAGE_TAKEN, ImageTaken(observation="o", path=path, ra=20.0, dec=-30.0))
    first = wait_until(lambda: pids(mark), what="the solver")[0]
    os.kill(parent_of(first), signal.SIGKILL)
    wait_until(lambda: len(ended(place)) == 2, what="both images' ends")
    lost, other = ended(place)
    assert lost["path"] == field
    assert "killed by signal 9" in lost["problem"]
    assert "absent.fits: cannot be read" in other["problem"], "the next worker has looked"
    assert place.status("analyzer") is not None
    assert place.state("analyzer")["waiting"] == []
    wait_until(lambda: not Path(f"/proc/{first}").exists(), what="the end of the solver")


def test_a_worker_that_hangs_costs_one_analysis(
    observatory: Makes, running: Running, field: str, tmp_path: Path
) -> None:
    place, agent, _ = begin(observatory, running, tmp_path, seconds="0.01", solver_seconds="0.01")
    agent.post_to_self(messages.IMAGE_TAKEN, ImageTaken(observation="o", path=field, ra=20.0, dec=-30.0))
    wait_until(lambda: ended(place), what="the image's end")
    assert "no answer within 0.03 s, it is killed" in ended(place)[0]["problem"]


def test_an_analyzer_that_ends_leaves_no_process_and_forgets_no_image(
    observatory: Makes, running: Running, field: str, tmp_path: Path
) -> None:
    place, agent, mark = begin(observatory, running, tmp_path)
    agent.post_to_self(messages.IMAGE_TAKEN, ImageTaken(observation="o", path=field, ra=20.0, dec=-30.0))
    first = wait_until(lambda: pids(mark), what="the solver")[0]
    worker = parent_of(first)
    agent.stop(60)
    wait_until(lambda: not Path(f"/proc/{first}").exists(), what="the end of the solver")
    assert not Path(f"/proc/{worker}").exists()
    assert [each["path"] for each in place.state("analyzer")["waiting"]] == [field]
    assert ended(place) == []
