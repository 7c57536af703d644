"""How fast images are found: lists, filters and cones of an index of a million, and its page 1,000 beside page 1.

    python bench/images.py            the figures of docs/images.md
    python bench/images.py --quick    20,000 images

The images are invented: 2,000 fields that are observed again and again, 300 a night. Each search is one page of 50,
five times; the first time its part of the file may have to come from the disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench._common import BenchReport, arguments
from pyros.imagery.index import ImageIndex, ImageIndexReader, ImageQuery
from pyros.imagery.sia2 import answer
from tests.imagery.many_images import many_images

TIMES = 5


def main() -> None:
    parser = arguments(__doc__ or "")
    given = parser.parse_args()
    report = BenchReport("images", given.json)
    count = 20_000 if given.quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        path = Path(folder) / "images.sqlite"
        report.doing(f"making an index of {count} images")
        index = ImageIndex(path)
        index.add(many_images(count))
        index.close()
        reader = ImageIndexReader(path)
        try:
            searches(reader, report, path)
        finally:
            reader.close()
    report.ends()


def searches(reader: ImageIndexReader, report: BenchReport, path: Path) -> None:
    """Measure each search."""
    page = reader.find(ImageQuery())
    newest = page.images[0].record
    at = (newest.ra or 0.0, newest.dec or 0.0)
    for _ in range(998):
        if not page.next:
            break
        page = reader.find(ImageQuery(after=page.next))
    kinds: dict[str, ImageQuery] = {
        "the newest": ImageQuery(),
        "page 1,000, or the last one": ImageQuery(after=page.next),
        "a filter": ImageQuery(filter="Ha"),
        "a night and a filter": ImageQuery(night="n00010", filter="r"),
        "an event": ImageQuery(event="GRB 10"),
        "a kind that there is none of": ImageQuery(type="DARK"),
        "a field": ImageQuery(cone=(*at, 0.1)),
        "5 degrees": ImageQuery(cone=(*at, 5.0)),
        "10 degrees and a filter": ImageQuery(cone=(*at, 10.0), filter="Ha"),
        "10 degrees, nothing fits": ImageQuery(cone=(*at, 10.0), type="DARK"),
        "60 degrees": ImageQuery(cone=(*at, 60.0)),
    }
    rows = [measured(report, name, lambda query=query: len(reader.find(query).images)) for name, query in kinds.items()]  # type: ignore[misc]
    asked = {"POS": [f"CIRCLE {at[0]} {at[1]} 0.1"], "MAXREC": ["50"]}
    rows.append(measured(report, "SIA2, 50 rows of a field",
                         lambda: len(answer(reader, asked, base="https://x/", collection="x")[1])))  # fmt: skip
    size = path.stat().st_size / 1e6
    report.table(f"{reader.count()} images, {size:.0f} MB", ("search", "least ms", "most ms"), rows)


def measured(report: BenchReport, name: str, search: Callable[[], int]) -> tuple[str, str, str]:
    """Run a search some times; returns its row."""
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        search()
        times.append(1000 * (time.perf_counter() - began))
    report.figures(name, least_ms=min(times), most_ms=max(times))
    return name, f"{min(times):.1f}", f"{max(times):.1f}"


if __name__ == "__main__":
    main()
