"""The site's own checks, for `pyros doctor`, pytest, Nagios and the console: see docs/health.md.

Each class is a test case; the first line of a method's docstring is what people read when it is well.
"""

from __future__ import annotations

from pyros.health import HealthCheck, warning


class Computer(HealthCheck):
    """The computer that the observatory runs on."""

    level = "warning"  # what a failure means: critical or warning
    timeout = 5  # seconds; what takes longer fails, and holds nobody up
    tags = ("site",)  # pyros doctor --tag site

    @warning
    def test_room_for_images(self) -> None:
        """There is room for a week of images."""
        self.assert_free(self.observatory.config.data, 20)

    # def test_router(self) -> None:
    #     """The router of the dome answers."""
    #     self.assert_ping("192.168.1.1")
