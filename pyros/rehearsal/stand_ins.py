"""What a rehearsal does in place of the workers' jobs.

Images are neither drawn nor written, a disk may be full, and a report would be about nights of the observatory itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyros.instruments.fits import write_pixels
from pyros.nights.report import write_report
from pyros.simulators.camera.scene import draw as draw_pixels


def stand_in(function: Any, *, images: bool, full_disk: bool) -> Any:
    """Return what is done for a worker's job: a full disk takes no image, and without ``images`` none is made."""
    if function is write_pixels and full_disk:
        return _no_space
    if function is write_report:
        return _report_nothing
    if not images:
        return {write_pixels: _write_nothing, draw_pixels: _draw_nothing}.get(function, function)
    return function


def _no_space(*_: Any) -> str:
    raise OSError(28, "No space left on device")


def _report_nothing(job: tuple[str, str, str]) -> list[str]:
    return [f"{job[1]}.md"]


def _write_nothing(job: Any, _: Any) -> str:
    return str(job.path)


def _draw_nothing(drawing: Any) -> bytes:
    settings = drawing.settings
    return np.zeros((settings.height, settings.width), np.uint16).tobytes()
