"""The LX200 driver and the simulated telescope's second port: a second command after every exchange of the first."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.simulators import Simulator, load
from tests.instruments.conftest import MIDNIGHT, OBSERVATORY, DeviceWorld
from tests.instruments.interleaving import Backend, How, Pairs, simulated_telescope_commands

described = cache(load)


def backend(before: str) -> Backend:
    """Make the demo's telescope and the LX200 driver, ready for commands."""
    world = DeviceWorld()
    clock = VirtualClock(world, MIDNIGHT)
    description = described(OBSERVATORY / "simulators" / "telescope.yaml")
    simulator = Simulator(description.changed(lx200="tcp:6020:interface=127.0.0.1", speed=100.0), world, clock)
    world.result(simulator.start())
    telescope: Any = instruments.connect("telescope", "lx200", "tcp:127.0.0.1:6020", world, clock)
    world.run(5)

    def close() -> None:
        world.result(telescope.disconnect())
        world.result(simulator.stop())
        assert not world.getDelayedCalls()

    made = Backend(world, telescope, {}, {}, close, before=before, settle=20.0)
    targets = simulated_telescope_commands(made, simulator.device, clock, ("idle", "parked", "tracking"))
    made.commands["sync"] = lambda: telescope.sync(*targets["slew"])
    return made


@pytest.mark.parametrize(("before", "how"), [("", "newer"), ("", "away"), ("", "cancel"), ("slew", "drop")])
def test_the_newest_command_counts(before: str, how: How) -> None:
    firsts = ["slew", "park", "stop", "unpark", *(["sync"] if before else [])]  # a parked mount takes no sync
    case = Pairs("lx200", "telescope", firsts, ["slew elsewhere", "park", "stop", "stop and park"], before)
    case.check(partial(backend, before), how)
