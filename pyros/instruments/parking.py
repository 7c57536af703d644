"""Parks a mount by a link of its own, where a roof is about to close over it and its agent cannot be waited for.

The link is made only then, because many mounts take one client.
"""

from __future__ import annotations

from twisted.internet.task import deferLater
from twisted.logger import Logger

from pyros.clock import Clock
from pyros.config import Config
from pyros.errors import InstrumentError
from pyros.instruments import connect
from pyros.reactor import Reactor
from pyros.site import Site

_AGAIN_SECONDS = 2.0  # from a failed attempt to the next


async def park(config: Config, reactor: Reactor, clock: Clock, log: Logger, seconds: float) -> None:
    """Park the configuration's mount, so that a roof cannot hit it; in the reactor's thread.

    Where it was told something else since, it is told again: an agent may have sent it back to its target. Raises
    InstrumentError, ConfigError or TimeoutError when it has not said within so many ``seconds`` that it is parked.
    """
    section, until = config.agent("telescope"), clock.monotonic() + seconds
    mount = connect("telescope", section.driver, section.address, reactor, clock, site=Site.load(config.site))
    try:
        while True:
            try:
                await mount.park().addTimeout(max(0.0, until - clock.monotonic()), reactor)
                return
            except InstrumentError as error:
                if clock.monotonic() + _AGAIN_SECONDS >= until:
                    raise
                log.warn("the mount isn't parked, and is told again: {why}", why=error)
            await deferLater(reactor, _AGAIN_SECONDS)
    finally:
        mount.disconnect()
