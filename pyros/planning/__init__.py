"""Where and when: the site, what can be seen from it, and tonight's plan. Plain Python, callable from any thread."""

from __future__ import annotations

from pyros.planning.plan import make_plan
from pyros.planning.sky import SiteSky, SitesSky
from pyros.site import Site

__all__ = ["Site", "SiteSky", "SitesSky", "make_plan"]
