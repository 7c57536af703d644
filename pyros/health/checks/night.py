"""The night runs: nobody holds it, no alarm stands, the majordome is not in a fault, the site is right."""

from __future__ import annotations

from pyros.errors import PyrosError
from pyros.health.check import HealthCheck, warning
from pyros.planning.earth import check_table
from pyros.site import Site as PlaceOnEarth

_HOLD_HOURS = 1.0


class NightCheck(HealthCheck):
    """What the majordome does."""

    group = "night"
    each = "majordome"
    tags = ("night",)

    def test_fault(self) -> None:
        """The dome obeys."""
        if self.observatory.majordome.state == "fault":
            self.fail(f"the majordome is in a fault: {self.observatory.night.text}")

    @warning
    def test_hold(self) -> None:
        """Nobody has held the observatory for more than an hour."""
        hold = self.observatory.night.hold
        if hold is None:
            return
        hours = (self.observatory.now - hold.when) / 3600
        if hours > _HOLD_HOURS:
            self.fail(f"{hold}, for {hours:.0f} h; pyros release ends it")

    def test_alarms(self) -> None:
        """No alarm stands."""
        alarms = self.observatory.night.alarms
        if alarms:
            self.fail("; ".join(f"{alarm.source}: {alarm.text}" for alarm in alarms))


class SiteCheck(HealthCheck):
    """Where the observatory stands."""

    group = "site"
    each = "telescope"
    level = "warning"
    tags = ("night",)

    def test_horizon(self) -> None:
        """A telescope that tracks looks above the site's horizon."""
        site, telescope = _site(self), self.observatory.night.telescope
        if not site.horizon:
            self.skipTest("the site names no horizon")
        if telescope is None or telescope.state != "tracking":
            self.skipTest("the telescope does not track")
        least = site.horizon_at(telescope.azimuth)
        if telescope.altitude < least:
            self.fail(f"it looks at {telescope.altitude:.1f}°, where the horizon is at {least:.1f}°")

    def test_horizon_named(self) -> None:
        """The site of a real dome says what stands around it."""
        config = self.observatory.config
        if "dome" not in config.agents or config.simulated:
            self.skipTest("there is no real dome")
        if not _site(self).horizon:
            self.fail(f"{config.site}: horizon: missing; targets behind trees and walls are planned")


class EarthCheck(HealthCheck):
    """The table of the Earth's rotation (IERS)."""

    group = "earth"
    level = "warning"
    tags = ("clock",)
    timeout = 30.0

    def test_table(self) -> None:
        """It reaches two months ahead."""
        try:
            check_table(self.observatory.now)
        except PyrosError as error:
            self.fail(str(error))


def _site(check: HealthCheck) -> PlaceOnEarth:
    site = check.observatory.observed.site
    if site is None:
        check.skipTest("no site is named")
    return site
