"""The UPS in a rehearsed night: on battery for a minute the dome closes, and opens after the quiet time of mains."""

from __future__ import annotations

from collections.abc import Callable

from tests.observatory.conftest import QUIET, Night


def test_a_power_cut_closes_the_dome_and_its_end_opens_it(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(optional=("ups",))
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet("pyros.test/long#1"))
    night.until(lambda: night.state("camera") == "exposing")

    ups = night.connect(night.simulators["ups"].port, b"SET mains 0\n")
    night.until(lambda: b"OK" in ups.answer)
    begun = night.now
    night.until(lambda: night.state("dome") == "closed", 120)
    assert 60 <= night.now - begun <= 90, "its word is asked every 10 s, and counts after a minute"
    assert night.said("on battery for 6")

    ups = night.connect(night.simulators["ups"].port, b"SET mains 1\n")
    begun = night.now
    night.until(lambda: night.state("dome") == "open", 600)
    assert night.now - begun >= QUIET["option_safe_after"]
