"""The devices are reached, say what they do, and do what they are told."""

from __future__ import annotations

from pyros.health.check import HealthCheck, warning
from pyros.views.devices import DeviceView

_SILENT_SECONDS = 180.0
_DEGREES = 3.0
_FOCUS_LATE = 2.0
_NIGHT = ("observing", "ready", "opening", "focusing")


class DevicesCheck(HealthCheck):
    """All instruments."""

    group = "devices"
    tags = ("devices",)

    def test_connected(self) -> None:
        """Every agent that runs reaches its device."""
        lost = [
            f"{device.name} ({device.link or device.address})" for device in self._up() if device.connected is False
        ]
        if lost:
            self.fail(f"not connected: {', '.join(lost)}")

    @warning
    def test_telling(self) -> None:
        """Every connected device has told what it does within three minutes."""
        now = self.observatory.now
        stations = [section.name for section in self.observatory.config.agents.values() if section.kind == "weather"]
        silent = [
            f"{device.name} for {now - device.said:.0f} s"
            for device in self._up()
            if device.name not in stations  # whose own check is stricter
            and device.connected
            and device.said is not None
            and now - device.said > _SILENT_SECONDS
        ]
        if silent:
            self.fail(f"nothing heard of: {', '.join(silent)}")

    @warning
    def test_errors(self) -> None:
        """No device says that it is in an error."""
        bad = [f"{device.name}: {device.last_failure or device.state}" for device in self._up() if device.state in _BAD]
        if bad:
            self.fail("; ".join(bad))

    def _up(self) -> list[DeviceView]:
        return [device for device in self.observatory.devices if device.up is not False]


_BAD = ("error", "fault")


class CameraCheck(HealthCheck):
    """The camera's detector."""

    group = "camera"
    each = "camera"
    level = "warning"
    tags = ("devices", "images")

    def test_temperature(self) -> None:
        """A detector that is cooled is as cold as it was told, or has the power to become so."""
        section = self.observatory.config.agents.get("camera")
        name = section.name if section is not None else ""
        values = next((device.values for device in self.observatory.devices if device.name == name), {})
        temperature, target, power = (values.get(key) for key in ("temperature", "target", "power"))
        if not isinstance(temperature, int | float) or not isinstance(target, int | float):
            self.skipTest("nothing is cooled")
        full = not isinstance(power, int | float) or power >= 95
        if temperature - target > _DEGREES and full:
            at = f" at {power:.0f} % of its power" if isinstance(power, int | float) else ""
            self.fail(f"the detector has {temperature:.1f} °C{at}, {target:.1f} °C were ordered")


class FocusCheck(HealthCheck):
    """The focus of the night."""

    group = "focus"
    each = "majordome"
    level = "warning"
    tags = ("devices", "images")

    def test_recent(self) -> None:
        """It was looked for not much longer ago than the majordome is told to."""
        section = self.observatory.config.agents.get("majordome")
        every = section.options.get("focus", "") if section is not None else ""
        if "focuser" not in self.observatory.config.agents or not every:
            self.skipTest("no focus is looked for")
        majordome = self.observatory.majordome
        if majordome.state not in _NIGHT or not majordome.focused:
            self.skipTest("it is no night with a focus")
        try:
            hours = float(every)
        except ValueError:
            self.skipTest(f"option_focus: {every!r} is no number")
        self.assert_fresh(majordome.focused, hours * _FOCUS_LATE * 3600, "the focus")
