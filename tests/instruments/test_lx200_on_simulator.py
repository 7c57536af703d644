"""The LX200 driver and the simulated telescope's second port, each with its own codec and astronomy."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pyros.errors import CommandAborted, DeviceRefused
from pyros.instruments.conformance import CHECKS, Check, Context, Result, run, tidy
from tests.instruments.conftest import DeviceWorld, Simulate

ADDRESS = "tcp:127.0.0.1:6020"


@pytest.fixture
def connect(simulate: Simulate, world: DeviceWorld) -> Simulate:
    """Start the demo's telescope with a second port, and connect the driver to it, in pieces of 3 bytes."""
    world.cut = 3

    def make(**changed: Any) -> Any:
        device = simulate("telescope", "lx200", ADDRESS, lx200="tcp:6020:interface=127.0.0.1", **changed)
        world.run()
        return device

    return make


@pytest.mark.parametrize("mount", ["equatorial", "german", "altazimuth"])
@pytest.mark.parametrize("check", CHECKS["telescope"], ids=str)
def test_it_conforms(check: Check, mount: Any, connect: Simulate, world: DeviceWorld, context: Context) -> None:
    world.cut = 3 if mount != "german" else 1 << 20
    device = connect(mount=mount)
    result: Result = world.result(Deferred.fromCoroutine(run(check, device, context)), 3000)
    assert (result.outcome, result.reason) == ("passed", "")


def test_all_checks_in_a_row_and_the_mount_is_left_in_order(
    connect: Simulate, world: DeviceWorld, context: Context
) -> None:
    device = connect()
    for check in CHECKS["telescope"][:-1]:
        result = world.result(Deferred.fromCoroutine(run(check, device, context)), 3000)
        assert result.outcome == "passed", result
    assert world.result(Deferred.fromCoroutine(tidy("telescope", device)), 60) == ""
    assert world.result(device.state()) == "parked"


def test_the_mount_is_where_was_demanded_in_icrs(connect: Simulate, world: DeviceWorld, context: Context) -> None:
    """The simulator's own conversion from the coordinates of date, and the driver's, agree to the language's steps."""
    telescope = connect(pointing_noise=0.0)
    ra, dec = context.place(60, 120)
    pointing = world.result(telescope.slew(ra, dec), 60)
    assert pointing.error_arcsec < 16
    here = telescope.simulator.device.pointing()
    assert abs(here.ra - ra) * 3600 < 8
    assert abs(here.dec - dec) * 3600 < 1
    assert telescope.name == "PYROS LX200"


def test_only_one_command_is_under_way(connect: Simulate, world: DeviceWorld) -> None:
    telescope = connect()
    asked = [telescope.position() for _ in range(20)]
    world.run()
    assert all(each.called for each in asked)
    commands = list(telescope.simulator.second.commands)
    assert commands.count("GR") >= 20
    assert commands[:5] == ["GR", "U", "GR", "GVP", "D"]


def test_a_refusal_has_the_mounts_text(connect: Simulate, world: DeviceWorld, context: Context) -> None:
    telescope = connect(parked=False)
    with pytest.raises(DeviceRefused, match=r"^LIMIT: the target is at altitude -") as refusal:
        world.result(telescope.slew(*context.place(-20, 90)), 5)
    assert refusal.value.code == "LIMIT"


def test_a_mount_that_was_parked_by_somebody_else_is_woken(
    connect: Simulate, world: DeviceWorld, context: Context
) -> None:
    telescope = connect(parked=True)
    assert world.result(telescope.state()) == "idle"  # the language has no word for it
    assert world.result(telescope.slew(*context.place(60, 120)), 60).error_arcsec < 30
    assert world.result(telescope.state()) == "tracking"


def test_a_stop_ends_the_slew(connect: Simulate, world: DeviceWorld, context: Context) -> None:
    telescope = connect(parked=False)
    slew = telescope.slew(*context.place(30, 200)).addErrback(lambda failure: failure.value)
    world.run(0.6)
    assert world.result(telescope.state()) == "slewing"
    world.result(telescope.stop())
    assert isinstance(world.result(slew), CommandAborted)
    world.run(1)
    assert telescope.simulator.device.state == "tracking"
