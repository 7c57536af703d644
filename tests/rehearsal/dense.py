"""The dense night: an alert every three minutes, and three times as much that goes wrong; and a whole one."""

from __future__ import annotations

from pyros import config
from pyros.rehearsal.plan import NightPlan

DENSE = NightPlan(str(config.demo_file()), "2026-03-20", 1, hours=1.2, alerts=200)
WHOLE = NightPlan(str(config.demo_file()), "2026-03-20", 1, "light", alerts=4)
"""From dusk to dawn, with a tenth of a heavy night's faults, and little to observe."""
