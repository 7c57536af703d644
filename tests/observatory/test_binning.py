"""Binned exposures and gains in a rehearsed night: the images say how they were read, and the next is whole again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astropy.io import fits

from pyros import messages
from pyros.messages import Expose
from tests.observatory.conftest import Automation, Night

ENDS = (messages.EXPOSURE_FINISHED, messages.EXPOSURE_FAILED)


def test_an_exposure_is_binned_and_the_next_is_whole(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    automation = Automation(night)
    headers, asked = [], list[dict[str, Any]](({"binning": 2, "gain": 3.0}, {}))
    for number, settings in enumerate(asked, 1):
        expose = Expose(
            observation="bins", number=number, of=2, filter="r", seconds=0.0, image_type="BIAS", ra=0.0, dec=0.0,
            pointing_ra=0.0, pointing_dec=0.0, **settings,
        )  # fmt: skip
        automation.tell("camera", messages.EXPOSE, expose, ENDS)
        name, end = automation.end()
        assert name == messages.EXPOSURE_FINISHED, end
        headers.append(fits.getheader(night.folder / end.path))
    words = ("NAXIS1", "NAXIS2", "XBINNING", "YBINNING", "GAIN")
    assert [[header[word] for word in words] for header in headers] == [[32, 32, 2, 2, 3.0], [64, 64, 1, 1, 3.0]]
    automation.tell("camera", messages.EXPOSE, Expose(
        observation="bins", number=3, of=3, filter="r", seconds=0.0, image_type="BIAS", ra=0.0, dec=0.0,
        pointing_ra=0.0, pointing_dec=0.0, binning=9,
    ), ENDS)  # fmt: skip
    name, end = automation.end()
    assert (name, "binning" in end.reason) == (messages.EXPOSURE_FAILED, True)
