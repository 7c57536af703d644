"""Make indexes of many invented images, for tests and benches: fields that are observed again and again."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from pyros.alerts.archive import healpix
from pyros.imagery.record import ImageRecord

FILTERS = ("g", "r", "i", "Ha")
FIRST = 1_600_000_000.0


def many_images(count: int, fields: int = 2000, seed: int = 5) -> Iterator[ImageRecord]:
    """Yield images of random fields of half a degree, 300 a night, the oldest first."""
    draw = random.Random(seed)
    places = [(draw.uniform(0, 360), math.degrees(math.asin(draw.uniform(-1, 1)))) for _ in range(fields)]
    cells = [healpix.cell(*place) for place in places]
    for number in range(count):
        field = draw.randrange(fields)
        ra, dec = places[field]
        night = number // 300
        started = FIRST + 86_400.0 * night + 100.0 * (number % 300)
        yield ImageRecord(
            path=f"/images/{night}/{number}.fits", night=f"n{night:05}", started=started, seconds=60.0,
            filter=FILTERS[number % 4], object=f"field {field}", observation=f"obs-{night}-{field}",
            event=f"GRB {field}" if field % 10 == 0 else "", width=2048, height=2048, ra=ra, dec=dec, radius=0.35,
            corners=((ra, dec),) * 4, cell=cells[field], fwhm=2.5, size=8_000_000, modified=started,
        )  # fmt: skip
