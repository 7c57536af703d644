"""Is the observatory well? Checks that people, pytest, Nagios, Prometheus and load balancers run alike.

    from pyros.health import HealthCheck

    class DomeRoom(HealthCheck):
        level = "warning"

        def test_heater_answers(self) -> None:
            "The heater's web page answers."
            self.assert_http_response("http://192.168.1.20/status", contains="ready")

in a file ``site_health.py`` beside the configuration is a check of one's own (docs/health.md). Plain Python, blocking,
for any thread; no Twisted, no Django. The checks look through `pyros.views`, and ask agents over TCP.
"""

from __future__ import annotations

from pyros.health.check import HealthCheck, warning
from pyros.health.observatory import Observatory

__all__ = ["HealthCheck", "Observatory", "warning"]
