"""A look at an image: a PNG in which the target is marked. No Twisted here: any thread may call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.visualization import ZScaleInterval
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

MARK = (255, 176, 0)
TEXT = (235, 235, 235)
SOFTENING = 0.1
"""Where asinh turns from linear to logarithmic, as a fraction of the brightest level shown (Lupton et al. 1999)."""


def write_preview(
    fits_path: Path | str, png_path: Path | str, ra: float | None = None, dec: float | None = None, size: int = 800
) -> Path:
    """Draw an image, north up as its header says, with a ring around an ICRS position in degrees.

    ``size`` is the longer side in pixels. Without a position, or with one outside of the image, no ring is drawn.
    Raises OSError for a file that cannot be read or written.
    """
    with fits.open(fits_path) as units:
        header = units[0].header
        pixels = np.asarray(units[0].data, dtype=np.float32)
    height, width = pixels.shape
    factor = size / max(height, width)
    picture = Picture.fromarray(stretch(pixels)[::-1])  # a picture's first row is its top
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = Picture.Resampling.BOX if factor < 1 else Picture.Resampling.BICUBIC
    picture = picture.resize(shape, how).convert("RGB")
    draw = ImageDraw.Draw(picture)
    if ra is not None and dec is not None:
        found = target_pixel(header, ra, dec)
        if found is not None and -0.5 <= found[0] < width - 0.5 and -0.5 <= found[1] < height - 0.5:
            _mark(draw, (found[0] + 0.5) * factor, (height - found[1] - 0.5) * factor, size)
    _compass(draw, header, shape)
    _label(picture, draw, header)
    png_path = Path(png_path)
    picture.save(png_path, "PNG")
    return png_path


def stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels: black at the zscale limit of the sky, then an asinh curve up to the brightest stars."""
    low, high = ZScaleInterval(n_samples=2000).get_limits(pixels)
    white = max(float(np.percentile(pixels, 99.9)), high, low + 1.0)
    fraction = np.clip((pixels - low) / (white - low), 0, 1)
    soft = max(SOFTENING, (high - low) / (white - low) / 2)
    return np.asarray(255 * np.arcsinh(fraction / soft) / np.arcsinh(1 / soft), dtype=np.uint8)


def target_pixel(header: Any, ra: float, dec: float) -> tuple[float, float] | None:
    """Where a position is, counted from 0 at the centre of the lower left pixel; None if it has no place there."""
    x, y = WCS(header, fix=False).all_world2pix([[ra, dec]], 0)[0]
    return (float(x), float(y)) if np.isfinite(x) and np.isfinite(y) else None


def _mark(draw: ImageDraw.ImageDraw, x: float, y: float, size: int) -> None:
    radius, tick = 0.03 * size, 0.02 * size
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK, width=2)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        end = radius + tick
        draw.line((x + dx * radius, y + dy * radius, x + dx * end, y + dy * end), fill=MARK, width=2)


def _compass(draw: ImageDraw.ImageDraw, header: Any, shape: tuple[int, int]) -> None:
    """North and east, as far as the header's matrix knows them."""
    east = np.array([header.get("CD1_1", 0.0), header.get("CD1_2", 0.0)])
    north = np.array([header.get("CD2_1", 0.0), header.get("CD2_2", 0.0)])
    arm = 0.06 * max(shape)
    corner = np.array([shape[0] - 0.6 * arm, shape[1] - 0.6 * arm])
    font = _font(shape)
    for direction, letter in ((north, "N"), (east, "E")):
        length = float(np.hypot(*direction))
        if length > 0:
            tip = corner + arm * direction / length * np.array([1, -1])
            draw.line((*corner, *tip), fill=TEXT, width=2)
            draw.text(tuple(tip + (tip - corner) * 0.2), letter, fill=TEXT, font=font, anchor="mm")


def _label(picture: Picture.Image, draw: ImageDraw.ImageDraw, header: Any) -> None:
    size = "" if "CD2_2" not in header else f"   {_angle(header['NAXIS1'] * abs(header['CD2_2']))} wide"
    lines = [
        str(header.get("OBJECT", "")),
        f"{header.get('FILTER', '')}   {header.get('EXPTIME', 0):g} s{size}",
        f"{header.get('DATE-OBS', '')[:19]} UTC",
    ]
    font = _font(picture.size)
    margin = 0.015 * max(picture.size)
    box = draw.multiline_textbbox((margin, margin), "\n".join(lines), font=font)
    shade = Picture.new("RGB", (int(box[2] + margin), int(box[3] + margin)), (0, 0, 0))
    picture.paste(Picture.blend(picture.crop((0, 0, *shade.size)), shade, 0.6), (0, 0))
    draw.multiline_text((margin, margin), "\n".join(lines), fill=TEXT, font=font)


def _angle(degrees: float) -> str:
    return f"{degrees * 60:.1f}'" if degrees < 1 else f"{degrees:.2f}°"


def _font(shape: tuple[int, int]) -> Any:
    return ImageFont.load_default(size=max(10, 0.024 * max(shape)))
