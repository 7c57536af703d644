"""The console's database for commands: opened as the console itself opens it, without a port."""

from __future__ import annotations

from twisted.internet.task import Clock

from pyros.clock import RealClock
from pyros.config import Config
from pyros.console.links import section_of
from pyros.console.service import missing_extra
from pyros.errors import ConfigError


def open_database(config: Config) -> None:
    """Set Django up in this process, once, and bring the database up to date. Raises ConfigError."""
    section = section_of(config)
    if problem := missing_extra(config):
        raise ConfigError([problem])
    from pyros.console.console import Console  # noqa: PLC0415
    from pyros.console.settings import configure  # noqa: PLC0415

    console = Console(config, section, RealClock(Clock()))
    configure(console)
    from pyros.console.database import prepare  # noqa: PLC0415  it needs Django's settings

    prepare(console)


def unknown_devices(config: Config) -> tuple[str, ...]:
    """Return the names of devices that people have described and that have no section in the configuration.

    Raises ConfigError as `open_database` does.
    """
    open_database(config)
    from pyros.console.people.models import Device  # noqa: PLC0415

    names = Device.objects.values_list("name", flat=True)
    return tuple(name for name in names if name not in config.agents)
