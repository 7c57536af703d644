"""``pyros demo --alert gw``: a gravitational wave's sky map, followed up field by field.

The notices are VOEvents as comet-sendvo sends them, with the addresses of maps that a web server of the demo's own has.
"""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from pyros.alerts.events import StoredEvent
from pyros.cli.alerts.coverage import find_event, write_picture
from pyros.cli.common import out, short
from pyros.cli.demo.observatory import ObservatoryProcess
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import JournalError, PyrosError

WAVE, RETRACTED_WAVE = "gw", "gw-retracted"
"""What ``--alert`` calls them: with an update, and with a retraction."""
OPTIONS = {"option_field": "4", "option_overlap": "0.2", "option_most": "6", "option_share": "0.8"}
"""Of the demo's alert manager: as if its telescope had a wide field."""
_LEVEL = 6
_LOOK_EVERY = 0.3
_BEFORE_UPDATE = 2
"""Fields that are observed before the update, or the retraction, comes."""
_QUIET_SECONDS = 12.0
"""How long nothing more must be observed after a retraction."""
_NOTICE = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="observation" ivorn="{ivorn}">
  <Who><AuthorIVORN>ivo://pyros.observatory/demo</AuthorIVORN><Date>{date}</Date></Who>
  <What>{skymap}<Description>A gravitational wave of the demo: {what}.</Description></What>
  {citations}
</voe:VOEvent>
"""

Send = Callable[[Config, Path], None]


def follow_wave(process: ObservatoryProcess, kind: str, timeout: float, send: Send) -> None:
    """Send a wave's notices, show which fields are observed, and draw what was covered.

    Raises PyrosError where it was not followed up as it should have been.
    """
    from pyros.observatory import clock_for  # noqa: PLC0415
    from pyros.planning import Site  # noqa: PLC0415  astropy's tables take a moment
    from pyros.planning.visibility import place_overhead  # noqa: PLC0415

    config = process.config
    now = clock_for(config, None).now()
    ra, dec = place_overhead(Site.load(config.required("site", "a wave's map")), now)
    folder = config.path.parent / "wave"
    folder.mkdir()
    name = f"ivo://pyros.observatory/demo#wave-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    with _served(folder) as url:
        (folder / "first.fits").write_bytes(drawn_wave(ra, dec, 9.0, 3.0))
        first = f"{name}-1"
        send(config, notice(folder, "first", first, now - timedelta(seconds=60), f"{url}/first.fits"))
        watch = _Watch(process, first, Deadline(timeout))
        watch.until(lambda seen, _: seen >= _BEFORE_UPDATE, f"{_BEFORE_UPDATE} fields are observed")
        if kind == RETRACTED_WAVE:
            send(config, notice(folder, "retraction", f"{name}-2", now, cites=("retraction", first)))
            watch.until(lambda _, wanted: wanted == 0, "nothing is wanted any more")
            seen = watch.seen
            watch.linger(_QUIET_SECONDS)
            if watch.seen > seen + 1:  # one may have ended at that moment
                raise PyrosError("fields were observed after the retraction")
            out.print("retracted    nothing more is observed")
        else:
            (folder / "second.fits").write_bytes(drawn_wave(ra + 3.0, dec, 6.0, 2.0))
            second = notice(folder, "second", f"{name}-2", now, f"{url}/second.fits", ("followup", first))
            send(config, second)
            watch.until(lambda _, wanted: watch.maps > 1 and wanted == 0, "all of its fields are observed")
    picture = config.path.parent / "coverage.png"
    covered = write_picture(config, watch.event(), picture)
    out.print(f"\nobserved     {covered:.1%} of the probability in {watch.seen} fields")
    out.print(f"picture      {short(picture)}")
    out.print("The map was followed up.", style="green" if out.is_terminal else "")


def drawn_wave(ra: float, dec: float, along: float, across: float) -> bytes:
    """Draw a multi-order map: an ellipse about a place, standard deviations in degrees, tilted by 40 degrees."""
    from astropy.io import fits  # noqa: PLC0415  slow to load
    from astropy_healpix import core  # noqa: PLC0415

    cells = np.arange(12 * 4**_LEVEL)
    lon, lat = (each.deg for each in core.healpix_to_lonlat(cells, 2**_LEVEL, order="nested"))
    east = ((lon - ra + 180.0) % 360.0 - 180.0) * math.cos(math.radians(dec))
    north, tilt = lat - dec, math.radians(40.0)
    one, other = east * math.cos(tilt) + north * math.sin(tilt), north * math.cos(tilt) - east * math.sin(tilt)
    density = np.exp(-0.5 * (one / along) ** 2 - 0.5 * (other / across) ** 2)
    density /= density.sum() * math.pi / 3 / 4**_LEVEL
    table = fits.BinTableHDU.from_columns([
        fits.Column("UNIQ", "K", array=core.level_ipix_to_uniq(_LEVEL, cells)),
        fits.Column("PROBDENSITY", "D", array=density),
    ])  # fmt: skip
    table.header["ORDERING"] = "NUNIQ"
    stream = io.BytesIO()
    table.writeto(stream)
    return stream.getvalue()


def notice(
    folder: Path, what: str, ivorn: str, date: datetime, url: str = "", cites: tuple[str, str] | None = None
) -> Path:
    """Write a notice into the folder: with the address of a map, or citing another notice."""
    file = folder / f"{what}.xml"
    skymap = f'<Param name="skymap_fits" value="{url}"/>' if url else ""
    citations = f'<Citations><EventIVORN cite="{cites[0]}">{cites[1]}</EventIVORN></Citations>' if cites else ""
    file.write_text(
        _NOTICE.format(ivorn=ivorn, date=f"{date:%Y-%m-%dT%H:%M:%S}", skymap=skymap, what=what, citations=citations)
    )
    return file


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder's files on this computer alone; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Watch:
    """Looks into the alert manager's journal, and shows what becomes of the map."""

    def __init__(self, process: ObservatoryProcess, packet: str, deadline: Deadline) -> None:
        self.seen = self.maps = 0
        self._process, self._packet, self._deadline = process, packet, deadline
        self._map = ""

    def event(self) -> StoredEvent:
        """Return the event as it stands."""
        return find_event(self._process.config, self._packet)

    def until(self, done: Callable[[int, int], bool], what: str) -> None:
        """Show what happens until ``done(observed, wanted)``; raises PyrosError when that takes too long."""
        while not done(self.seen, self._look()):
            self._process.check()
            if not self._deadline.left():
                raise PyrosError(f"it did not come to it in time that {what}; give it longer with --timeout")
            self._deadline.pause(_LOOK_EVERY)

    def linger(self, seconds: float) -> None:
        """Show what happens for so long."""
        deadline = Deadline(seconds)
        while deadline.left():
            self._look()
            deadline.pause(_LOOK_EVERY)

    def _look(self) -> int:
        """Show what is new; return how many fields are wanted."""
        tiling = None
        with suppress(PyrosError, JournalError):  # it is not there yet
            tiling = self.event().followed.tiling
        if tiling is None:
            return -1
        if tiling.targets and tiling.read != self._map and tiling.covered is not None:  # else they are the old map's
            self._map = tiling.read
            self.maps += 1
            facts = self.event().followed.map
            size = f", 90 % in {facts.area90:.0f} square degrees" if facts is not None and facts.area90 else ""
            kept = f"; {tiling.covered:.1%} of it was observed already" if tiling.observed else ""
            out.print(f"map {self.maps}        {len(tiling.targets)} fields{size}{kept}")
        for each in tiling.observed[self.seen :]:
            self.seen += 1
            sofar = f"; {tiling.covered:.1%} of the probability so far" if tiling.covered is not None else ""
            out.print(f"field {self.seen:<7}ra {each.ra:.2f}°, dec {each.dec:+.2f}°, {each.images} images{sofar}")
        done = {each.key for each in tiling.observed}
        return len([each for each in tiling.targets if each.key not in done]) if tiling.file else -1
