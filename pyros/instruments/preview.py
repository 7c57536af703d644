"""A look at an image: a PNG in which the target is marked. No Twisted here: any thread may call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.visualization import ZScaleInterval
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from pyros.instruments.fits import ImageFile, read_image

MARK_COLOUR = (255, 176, 0)
TEXT_COLOUR = (235, 235, 235)
SOFTENING = 0.1
"""Where asinh turns from linear to logarithmic, as a fraction of the brightest level shown (Lupton et al. 1999)."""
_MIN_ZSCALE_PIXELS = 100  # pixels; with fewer of them zscale has nothing to fit
_MIN_LABELLED_PIXELS = 100  # pixels of a picture's shorter side, below which words would cover it
_UNSMOOTHED = Picture.Resampling.NEAREST
_COMPRESS_LEVEL = 3  # noise packs no better at the usual 6, which takes 2.6 times as long


def write_preview(
    fits_path: Path | str, png_path: Path | str, ra: float | None = None, dec: float | None = None, size: int = 800
) -> Path:
    """Draw an image, north up as its header says, with a ring around an ICRS position in degrees.

    ``size`` is the longer side in pixels. Without a position, or with one outside of the image, no ring is drawn.
    Raises ImageError for a file that is no image, OSError for one that cannot be written.
    """
    return draw_preview(read_image(fits_path), png_path, ra, dec, size)


def draw_preview(
    image: ImageFile, png_path: Path | str, ra: float | None = None, dec: float | None = None, size: int = 800
) -> Path:
    """`write_preview` of an image that has been read."""
    pixels, header = image.pixels, image.header
    height, width = pixels.shape
    factor = size / max(height, width)
    picture = Picture.fromarray(stretch(pixels)[::-1])  # a picture's first row is its top
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = Picture.Resampling.BOX if factor < 1 else Picture.Resampling.BICUBIC if factor < 4 else _UNSMOOTHED
    picture = picture.resize(shape, how).convert("RGB")
    draw = ImageDraw.Draw(picture)
    if ra is not None and dec is not None:
        found = target_pixel(header, ra, dec)
        if found is not None and -0.5 <= found[0] < width - 0.5 and -0.5 <= found[1] < height - 0.5:
            _mark(draw, (found[0] + 0.5) * factor, (height - found[1] - 0.5) * factor, size)
    if min(shape) >= _MIN_LABELLED_PIXELS:
        _compass(draw, header, shape)
        _label(picture, draw, header)
    png_path = Path(png_path)
    picture.save(png_path, "PNG", compress_level=_COMPRESS_LEVEL)
    return png_path


def stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels: black at the zscale limit of the sky, then an asinh curve up to the brightest stars.

    Pixels without a value (NaN, infinities) are black; an image of one level only is grey.
    """
    known = np.isfinite(pixels)
    sample = pixels[known]
    if sample.size == 0:
        return np.zeros(pixels.shape, dtype=np.uint8)
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        return np.where(known, 128, 0).astype(np.uint8)
    if sample.size >= _MIN_ZSCALE_PIXELS:
        low, high = ZScaleInterval(n_samples=2000).get_limits(pixels if known.all() else sample)
    white = max(float(np.percentile(sample, 99.9)), high)
    if not white > low:
        white = float(sample.max())
    fraction = np.clip((np.where(known, pixels, low) - low) / (white - low), 0, 1)
    soft = min(1.0, max(SOFTENING, (high - low) / (white - low) / 2))
    return np.asarray(255 * np.arcsinh(fraction / soft) / np.arcsinh(1 / soft), dtype=np.uint8)


def world(header: Any) -> WCS | None:
    """Return the world coordinates of an image's two axes; None when its header has none that make sense."""
    try:
        found = WCS(header, fix=False, naxis=2)
        return found if found.has_celestial else None
    except Exception:  # wcslib has a dozen errors of its own, and each means the same here
        return None


def target_pixel(header: Any, ra: float, dec: float) -> tuple[float, float] | None:
    """Where a position is, counted from 0 at the centre of the lower left pixel; None if it has no place there."""
    coordinates = world(header)
    if coordinates is None:
        return None
    try:
        x, y = coordinates.all_world2pix([[ra, dec]], 0)[0]
    except Exception:  # distortions without an inverse there
        return None
    return (float(x), float(y)) if np.isfinite(x) and np.isfinite(y) else None


def _mark(draw: ImageDraw.ImageDraw, x: float, y: float, size: int) -> None:
    radius, tick = 0.03 * size, 0.02 * size
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK_COLOUR, width=2)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        end = radius + tick
        draw.line((x + dx * radius, y + dy * radius, x + dx * end, y + dy * end), fill=MARK_COLOUR, width=2)


def _compass(draw: ImageDraw.ImageDraw, header: Any, shape: tuple[int, int]) -> None:
    """North and east, as far as the header's matrix knows them."""
    coordinates = world(header)
    if coordinates is None:
        return
    try:  # pixels that a step to the east and one to the north take
        east, north = np.linalg.inv(coordinates.pixel_scale_matrix).T
    except np.linalg.LinAlgError:
        return
    arm = 0.06 * max(shape)
    corner = np.array([shape[0] - 0.6 * arm, shape[1] - 0.6 * arm])
    font = _font(shape)
    for direction, letter in ((north, "N"), (east, "E")):
        length = float(np.hypot(*direction))
        if 0 < length < np.inf:
            tip = corner + arm * direction / length * np.array([1, -1])
            draw.line((*corner, *tip), fill=TEXT_COLOUR, width=2)
            draw.text(tuple(tip + (tip - corner) * 0.2), letter, fill=TEXT_COLOUR, font=font, anchor="mm")


def _label(picture: Picture.Image, draw: ImageDraw.ImageDraw, header: Any) -> None:
    lines = [line for line in (_text(header, "OBJECT"), _exposure(header), _date(header)) if line]
    if not lines:
        return
    font = _font(picture.size)
    margin = 0.015 * max(picture.size)
    box = draw.multiline_textbbox((margin, margin), "\n".join(lines), font=font)
    shade = Picture.new("RGB", (int(box[2] + margin), int(box[3] + margin)), (0, 0, 0))
    picture.paste(Picture.blend(picture.crop((0, 0, *shade.size)), shade, 0.6), (0, 0))
    draw.multiline_text((margin, margin), "\n".join(lines), fill=TEXT_COLOUR, font=font)


def _text(header: Any, keyword: str) -> str:
    value = header.get(keyword)
    return value.strip() if isinstance(value, str) else ""


def _exposure(header: Any) -> str:
    """Filter, seconds and width, as far as the header tells them."""
    seconds = header.get("EXPTIME", header.get("EXPOSURE"))
    coordinates = world(header)
    wide = ""
    if coordinates is not None:
        wide = f"{_angle(header['NAXIS1'] * float(np.hypot(*coordinates.pixel_scale_matrix[:, 0])))} wide"
    timed = f"{seconds:g} s" if isinstance(seconds, int | float) else ""
    return "   ".join(part for part in (_text(header, "FILTER"), timed, wide) if part)


def _date(header: Any) -> str:
    date = _text(header, "DATE-OBS")[:19]
    return f"{date} UTC" if date else ""


def _angle(degrees: float) -> str:
    return f"{degrees * 60:.1f}'" if degrees < 1 else f"{degrees:.2f}°"


def _font(shape: tuple[int, int]) -> Any:
    return ImageFont.load_default(size=max(10, 0.024 * max(shape)))
