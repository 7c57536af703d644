"""``pyros report``: how a night went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyros.cli.common import ConfigOption, UnitOption, evening, load_units, observatory_clock, out
from pyros.config import Config
from pyros.nights.render import as_markdown
from pyros.nights.report import folder_of, gather, newest_night, write_report
from pyros.planning import Site


def report(
    night: Annotated[
        str,
        typer.Argument(
            help="The date of the night's evening: 2026-11-29. The last one by default.", show_default=False
        ),
    ] = "",
    write: Annotated[bool, typer.Option("--write", help="Write it into the data folder, as each morning.")] = False,
    unit: UnitOption = "",
    config: ConfigOption = None,
) -> None:
    """Tell how a night went: what was planned and done, where the hours went, images, alerts, what to look at.

    Of several telescopes each has its report, or --unit names the one to tell of.
    It is gathered from the journals, whether the observatory runs or not. Each
    morning it is written into the data folder, as Markdown and, with a picture
    of the altitudes, as HTML.

    Examples:
      pyros report
      pyros report 2026-11-29
      pyros report 2026-11-29 --write
    """  # fmt: skip
    loaded = load_units(config, unit)
    for each in [loaded.seen_from(name) for name in loaded.telescopes] or [loaded]:
        _report(each, night, write)


def _report(loaded: Config, night: str, write: bool) -> None:
    if not night:
        night = newest_night(Site.load(loaded.required("site", "pyros report")), observatory_clock(loaded).time())
    night = evening(night).isoformat()
    if write:
        for file in write_report((str(loaded.path), night, loaded.unit)):
            out.print(file, soft_wrap=True)
        return
    out.print(as_markdown(gather(loaded, night)), markup=False, highlight=False, soft_wrap=True)
    page: Path = folder_of(loaded) / f"{night}.html"
    if page.exists():
        out.print(f"With a picture: {page}", soft_wrap=True)
