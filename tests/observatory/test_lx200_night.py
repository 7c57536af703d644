"""The demo's follow-up on a mount that speaks LX200: only its driver and address lines are changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.celestial import Sky, separation
from tests.observatory.conftest import Night


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    return rehearsal(
        devices={"telescope": {"lx200": "tcp:6020:interface=127.0.0.1", "mount": "german", "flip": "always"}},
        options={"telescope": {"driver": "lx200", "address": "tcp:127.0.0.1:6020"}},
    )


def test_a_burst_is_followed_up_through_lx200(night: Night) -> None:
    night.run(5)
    burst = night.place(65, 100)
    night.publish(night.packet("pyros.test/first#1", burst))
    night.until(lambda: len(night.images()) == 1)
    telescope = night.simulators["telescope"]
    device: Any = telescope.device
    assert device.state == "tracking"
    assert separation(device.pointing(), Sky(*burst)) * 3600 < 45  # 4 of noise on each axis, and the steps
    night.until(lambda: night.state("dome") == "closed")
    assert night.objects() == 3 * ["ivo://pyros.test/first#1"]
    assert telescope.second is not None
    assert "MS" in telescope.second.commands
    assert not any(line.startswith("DO") for _, line in telescope.requests), "nobody spoke its other language to it"
    night.until(lambda: telescope.device.state == "parked")


def test_a_mount_whose_cable_is_pulled_in_mid_slew_is_sent_again(night: Night) -> None:
    night.run(5)
    night.publish(night.packet("pyros.test/first#1", night.place(65, 100)))
    telescope = night.simulators["telescope"]
    assert telescope.second is not None
    night.until(lambda: telescope.device.state == "slewing")
    for client in list(telescope.second.clients):
        client.transport.abortConnection()
    night.until(lambda: len(night.images()) == 3)
    night.until(lambda: night.state("dome") == "closed")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ('no_answer request="DO slew" for=60', "telescope at tcp:127.0.0.1:6020: no answer to :MS# within 5 s"),
        ('refuse request="DO slew" code=LIMIT for=30', "LIMIT: a fault makes it refuse"),
        ("stuck for=400", "PYROS LX200: slew: no end within 300 s"),
    ],
)
def test_a_fault_of_such_a_mount_is_told_and_the_night_goes_on(night: Night, fault: str, reason: str) -> None:
    night.run(5)
    night.fault("telescope", fault)
    night.publish(night.packet("pyros.test/first#1", night.place(65, 100)))
    night.until(lambda: night.received("observation_manager", "Slew failed"), 400)
    assert reason in night.received("observation_manager", "Slew failed")[0].payload.decode()
    night.until(lambda: len(night.images()) == 3, 1200)
    night.until(lambda: night.state("dome") == "closed" and night.simulators["telescope"].device.state == "parked", 300)
    assert night.agent("telescope").device.connected
