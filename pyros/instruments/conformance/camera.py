"""What a `Camera` must do."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

import numpy as np

from pyros.instruments.conformance._check import UNSUPPORTED, Check, Context, NotSupported, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import Camera, CameraState, Image

_CLOCK_ERROR_SECONDS = 5.0  # seconds by which the camera's computer may be early or late


async def _answers(camera: Camera, context: Context) -> None:
    await named(camera, context, camera.state)
    state = await camera.state()
    expect(state in get_args(CameraState), f"its state is {state!r}")
    shape = await camera.geometry()
    expect(shape.width > 0 and shape.height > 0 and 1 <= shape.bits <= 64, f"its geometry is {shape}")
    expect(shape.arcsec_per_pixel > 0 and math.isfinite(shape.arcsec_per_pixel), f"its geometry is {shape}")


async def _check_image(camera: Camera, image: Image, seconds: float) -> None:
    shape = await camera.geometry()
    expect(image.pixels.dtype == np.uint16, f"its pixels are {image.pixels.dtype}, not uint16")
    wanted = (shape.height, shape.width)
    expect(image.pixels.shape == wanted, f"the image has the shape {image.pixels.shape}, the geometry says {wanted}")
    expect(image.seconds == seconds, f"the image says {image.seconds} s, not {seconds}")
    expect(image.arcsec_per_pixel > 0, f"a pixel has {image.arcsec_per_pixel} arcsec")


async def _exposes(camera: Camera, context: Context) -> None:
    begin = context.clock.time()
    exposure = UnderWay(context, partial(camera.expose, context.exposure, "", "check"))
    image: Image = await exposure.end()
    expect(len(exposure.estimates) == 1, "it never said that the shutter is open")
    await _check_image(camera, image, context.exposure)
    late = context.clock.time() + _CLOCK_ERROR_SECONDS
    expect(
        begin - _CLOCK_ERROR_SECONDS <= image.started <= late,
        f"the shutter opened {image.started - begin:.1f} s after the command",
    )
    await context.until(camera.state, "idle", "ready")
    await _check_image(camera, await camera.expose(context.exposure), context.exposure)


async def _shortest(camera: Camera, context: Context) -> None:
    first = await camera.expose(context.exposure)
    second = await camera.expose(context.exposure)
    expect(second.started > first.started, "a second image began no later than the first")
    expect(not np.array_equal(first.pixels, second.pixels), "two exposures gave the very same image")


async def _busy(camera: Camera, context: Context) -> None:
    exposure = UnderWay(context, partial(camera.expose, context.long_exposure, "", "long"))
    await exposure.begun()
    expect(await camera.state() == "exposing", f"its state is {await camera.state()} in the middle of an exposure")
    await refused(camera.expose(context.exposure), "BUSY", what="a second exposure in the middle of one")
    expect(not exposure.outcome, "the refused exposure ended the one under way")
    await camera.abort()
    await exposure.aborted("the aborted exposure")


async def _aborts(camera: Camera, context: Context) -> None:
    exposure = UnderWay(context, partial(camera.expose, context.long_exposure, "", "aborted"))
    await exposure.begun()
    await camera.abort()
    await exposure.aborted("the aborted exposure")
    await context.until(camera.state, "idle", "ready")
    await _check_image(camera, await camera.expose(context.exposure, "", "afterwards"), context.exposure)


async def _nothing_to_abort(camera: Camera, context: Context) -> None:
    await camera.expose(context.exposure)
    await camera.abort()
    await context.until(camera.state, "idle", "ready")


async def _filters(camera: Camera, context: Context) -> None:
    filters = await camera.filters()
    if not filters:
        await refused(camera.expose(context.exposure, "r"), "VALUE", *UNSUPPORTED, what="a filter where there are none")
        raise NotSupported("the camera has no wheel of its own")
    expect(len(set(filters)) == len(filters) and all(filters), f"its filters are {filters}")
    for each in filters:
        image = await camera.expose(context.exposure, each)
        expect(image.filter == each, f"an image taken through {each!r} says {image.filter!r}")


async def _no_such_filter(camera: Camera, context: Context) -> None:
    await refused(camera.expose(context.exposure, "no such filter"), "VALUE", *UNSUPPORTED, what="an unknown filter")
    await context.until(camera.state, "idle", "ready")


async def _dark(camera: Camera, context: Context) -> None:
    image = await camera.expose(context.exposure, "", "dark", None, dark=True)
    await _check_image(camera, image, context.exposure)


async def _bins(camera: Camera, context: Context) -> None:
    most = await camera.max_binning()
    if most < 2:
        await refused(
            camera.expose(context.exposure, binning=2), "VALUE", *UNSUPPORTED, what="a binning that it hasn't"
        )
        raise NotSupported("the camera cannot bin")
    whole = await camera.expose(context.exposure)
    if whole.binning > 1:
        raise NotSupported("the address says how the camera bins")
    image, shape = await camera.expose(context.exposure, binning=2), await camera.geometry()
    wanted = (shape.height // 2, shape.width // 2)
    expect(image.pixels.shape == wanted, f"binned by 2 the image has the shape {image.pixels.shape}, not {wanted}")
    expect(image.binning == 2, f"binned by 2 the image says {image.binning}")
    scale = image.arcsec_per_pixel / whole.arcsec_per_pixel
    expect(abs(scale - 2) < 0.01, f"binned by 2 a pixel is {scale:.2f} times as large")
    await _check_image(camera, await camera.expose(context.exposure), context.exposure)
    await refused(camera.expose(context.exposure, binning=most + 1), "VALUE", what="more binning than it has")


async def _cools(camera: Camera, context: Context) -> None:
    before = await camera.cooling()
    for number in (before.temperature, before.target, before.power):
        expect(number is None or math.isfinite(number), f"its cooling is {before}")
    if before.temperature is None:
        raise NotSupported("the camera does not tell its temperature")
    wanted = before.target if before.target is not None else float(round(before.temperature))
    await camera.cool(wanted)
    after = await camera.cooling()
    expect(after.target is None or abs(after.target - wanted) < 0.5, f"told to cool to {wanted}, it says {after}")
    if before.target is None:
        await camera.cool(None)


async def tidy(camera: Camera, before: None) -> None:
    """Abort an exposure."""
    await camera.abort()


CHECKS = (
    Check("tells its name, its state and its geometry", _answers),
    Check("exposes, and the image has the geometry's shape in 16-bit pixels", _exposes),
    Check("every exposure gives an image of its own", _shortest),
    Check("an exposure in the middle of one is refused with BUSY, and spoils nothing", _busy),
    Check("abort ends an exposure with CommandAborted, and the camera is usable again", _aborts),
    Check("abort with nothing to abort does nothing", _nothing_to_abort),
    Check("exposes through each filter of its own wheel", _filters),
    Check("an unknown filter is refused", _no_such_filter),
    Check("takes a dark with the shutter closed", _dark),
    Check("bins one exposure where it is asked to, and the next is whole again", _bins),
    Check("tells its temperature, and takes one to cool to", _cools),
    disconnecting(lambda camera: camera.state()),
)
