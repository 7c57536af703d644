"""The weather station and what is made of it. Bad weather is no fault; not knowing the weather is one."""

from __future__ import annotations

from pyros.health.check import HealthCheck, warning
from pyros.instruments.plausible import impossible

_STATION = "weather"


class WeatherCheck(HealthCheck):
    """The weather station's readings."""

    group = "weather"
    each = "weather"
    tags = ("weather",)

    def setUp(self) -> None:
        if _STATION not in self.observatory.config.agents:
            self.skipTest("there is no weather station")

    def test_fresh(self) -> None:
        """The last reading is young enough to count."""
        if not self.observatory.is_up("monitoring"):
            self.skipTest("monitoring does not run: nobody hears the station")
        told = self.observatory.monitoring.telemetry.get(_STATION)
        # What monitoring keeps in its journal is up to 40 s behind what it has heard (fleeting messages).
        most = self.observatory.config.limits.max_silence + 60
        self.assert_fresh(told.time if told is not None else None, most, "the last reading of the weather")

    def test_plausible(self) -> None:
        """Every value is one that can be."""
        reading = self.observatory.monitoring.last
        if reading is None:
            self.skipTest("there is no reading")
        if problem := impossible(reading):
            self.fail(f"the weather station is out of order: {problem}")

    def test_varying(self) -> None:
        """No sensor says the same for ever."""
        broken = self.observatory.monitoring.broken.get("frozen")
        if broken is not None:
            self.fail(broken.reason)


class SafetyCheck(HealthCheck):
    """What monitoring makes of all it hears."""

    group = "safety"
    each = "monitoring"
    tags = ("safety",)

    def setUp(self) -> None:
        if "monitoring" not in self.observatory.config.agents:
            self.skipTest("there is no monitoring")

    def test_known(self) -> None:
        """Monitoring knows whether it is safe."""
        if not self.observatory.is_up("monitoring"):
            self.skipTest("monitoring does not run")
        safety = self.observatory.night.safety
        if safety.safe is None:
            self.fail(safety.text)

    def test_released(self) -> None:
        """It was not unsafe so often that a person must release it."""
        if self.observatory.monitoring.shut:
            self.fail("unsafe too often in this night: shut until a person releases it (pyros release)")

    @warning
    def test_mains(self) -> None:
        """The observatory is on mains."""
        power = self.observatory.monitoring.power
        if power is None:
            self.skipTest("no UPS is heard")
        if not power.reading.on_mains:
            self.fail(f"on battery, {power.reading.charge:.0f} % left" if power.reading.charge else "on battery")
