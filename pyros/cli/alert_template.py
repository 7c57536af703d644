"""An alert whose time and place are filled in: a burst that the observatory can see now."""

from __future__ import annotations

import uuid
from datetime import timedelta
from string import Template

from pyros.config import Config

_ALERT_DELAY = timedelta(seconds=60)
"""How long such an alert took to get here: a burst that is younger than an exposure is long has no time to name."""


def is_template(packet: bytes) -> bool:
    """Whether time and position of this alert have to be filled in."""
    return b"$ivorn" in packet


def filled(template: bytes, config: Config) -> bytes:
    """Return the alert with a new ivorn, the time by the observatory's clock, and a position that its site can see now.

    Raises ConfigError where the observatory has no site, PlanningError for a bad one.
    """
    from pyros.observatory import clock_for  # noqa: PLC0415
    from pyros.planning import Site  # noqa: PLC0415  astropy's tables take a moment
    from pyros.planning.visibility import place_overhead  # noqa: PLC0415

    now = clock_for(config, None).now()  # the running observatory has noted its shift in the data folder
    ra, dec = place_overhead(Site.load(config.required("site", "an alert made from a template")), now)
    name = f"burst-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    values = {
        "ivorn": f"ivo://pyros.observatory/demo#{name}",
        "time": f"{now - _ALERT_DELAY:%Y-%m-%dT%H:%M:%S}",
        "ra": f"{ra:.5f}",
        "dec": f"{dec:.5f}",
    }
    return Template(template.decode("utf-8", "replace")).safe_substitute(values).encode()
