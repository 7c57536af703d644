"""All that is done with an image that was taken: the analyzer's job, which a worker process runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pyros.analysis import lightcurve
from pyros.analysis.curve import draw_curve
from pyros.analysis.lightcurve import Point
from pyros.analysis.masters import Masters
from pyros.analysis.pipeline import Measured, SearchArea, detect, measure, scale_of
from pyros.analysis.solving import solve
from pyros.angles import unix_of_mjd
from pyros.errors import CatalogueError
from pyros.instruments.preview import write_preview
from pyros.messages import ImageAnalysed, ImageTaken, SourceFound
from pyros.stars import FileStars, gaia, named_catalogue


class AnalysisSettings(msgspec.Struct, frozen=True):
    """The analyzer's settings, the same for all images."""

    catalogue: str
    """As `named_catalogue` takes it; "" for none."""
    masters: str
    """The folder of the master frames."""
    lightcurves: str
    """The folder of the light curves."""
    saturation: float
    """ADU from which on a pixel is not believed."""
    solver: str = ""
    """The path of the plate solver; "" for none."""
    solver_seconds: float = 60.0
    """Seconds that the solver may take."""


class AnalysisJob(msgspec.Struct, frozen=True):
    """One image."""

    image: ImageTaken
    """The image that was taken."""
    settings: AnalysisSettings
    """The analyzer's settings."""


class Analysis(msgspec.Struct, frozen=True):
    """The result of an analysis: what is told, and for the log what went wrong beside it."""

    report: ImageAnalysed
    """What is told of the image."""
    found: SourceFound | None = None
    """A source that may be the alert's; None without one."""
    warnings: list[str] = []
    """What went wrong beside it, for the log."""


def analyse_image(job: AnalysisJob) -> Analysis:
    """Draw the preview, measure the image, keep what is new in its light curve.

    Raises ImageError or CatalogueError, which name the file, and OSError. Any one thread at a time.
    """
    image, settings = job.image, job.settings
    path = Path(image.path)
    warnings = []
    try:
        write_preview(path, path.with_suffix(".png"), image.ra, image.dec)
    except OSError as error:
        warnings.append(f"no preview of {path}: {error}")
    detected = detect(path, _masters(Path(settings.masters)), settings.saturation)
    stars = named_catalogue(settings.catalogue) if settings.catalogue else None
    target = SearchArea(image.ra, image.dec, image.error_radius) if image.alert else None
    measured = measure(detected, stars, target, None)
    if measured.matched is None and settings.solver:
        solution, why = solve(settings.solver, detected, settings.solver_seconds)
        if solution is not None:
            measured = measure(detected, stars, target, solution)
        else:
            warnings.append(f"{settings.solver} found no solution for {path}: {why}")
    if measured.new:
        _keep(image, measured, Path(settings.lightcurves))
    return Analysis(_report(image, measured), _source(image, measured), warnings)


def check_catalogue(name: str) -> None:
    """Raise CatalogueError for a catalogue that isn't there, without reading its stars, which may take seconds."""
    if name == "gaia" and not gaia.installed():
        raise CatalogueError(gaia.NOT_INSTALLED)
    if name not in ("", "gaia", "simulated", "synthetic"):
        FileStars.check(Path(name))


def read_catalogue(name: str) -> None:
    """Read the stars now, so that a mistake in their file is told before an image needs them: a job for a worker.

    Raises CatalogueError.
    """
    named_catalogue(name).near(0.0, 0.0, 0.01)


_cached_masters: tuple[object, Masters] = (None, Masters())


def _masters(folder: Path) -> Masters:
    """Return the masters, which are read again only when their folder has changed."""
    global _cached_masters  # noqa: PLW0603  a worker's memory
    files = sorted(folder.glob("*.fits")) if folder.is_dir() else []
    stamp = [(file, file.stat().st_mtime_ns) for file in files]
    if stamp != _cached_masters[0]:
        _cached_masters = (stamp, Masters.load(folder))
    return _cached_masters[1]


def _keep(image: ImageTaken, measured: Measured, folder: Path) -> None:
    """Put what is new into the light curve of the event, and draw that."""
    detected = measured.detected
    event = image.event or image.observation
    file = folder / f"{lightcurve.file_name(event)}.csv"
    time = unix_of_mjd(detected.middle)
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
    """Report the brightest new source as the one that the alert is about."""
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
        time=unix_of_mjd(measured.detected.middle),
        path=image.path,
        telescope=str(measured.detected.header.get("TELESCOP", "")),
        error_radius=max(measured.matched.rms, 0.5) / 3600,
    )
