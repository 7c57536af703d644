"""Links that who can read the console's secret makes: to sign in (``pyros console link``), and to jobs' outputs."""

from __future__ import annotations

from pyros.config import Config, ConsoleConfig
from pyros.console.console import SECRET_FILE, own_folder
from pyros.console.roles import Role
from pyros.console.sealed import Download, SignInLink, seal
from pyros.errors import ConfigError
from pyros.keys import make_key

ENTRY_SECONDS = 3600.0
DOWNLOAD_SECONDS = 7 * 86_400.0


def section_of(config: Config) -> ConsoleConfig:
    """Return the section ``[console]``. Raises ConfigError where there is none."""
    if config.console is None:
        raise ConfigError([f"{config.path}: [console]: the section is missing; give it a port"])
    return config.console


def entry_link(config: Config, name: str, role: Role, seconds: float = ENTRY_SECONDS) -> str:
    """Return a URL that signs its opener in as that person, who is made with that role if there is none.

    Raises ConfigError: no console is configured, or its secret is not this user's to read.
    """
    section = section_of(config)
    secret = make_key(own_folder(section) / SECRET_FILE, "the console's secret")
    return f"{section.url}enter/{seal(secret, SignInLink(name, int(role)), seconds)}"


def download_link(config: Config, queue: str, job: str, name: str, seconds: float = DOWNLOAD_SECONDS) -> str:
    """Return a URL by which anybody may take a file that a job has left, for so long. Raises as `entry_link` does."""
    section = section_of(config)
    secret = make_key(own_folder(section) / SECRET_FILE, "the console's secret")
    return f"{section.url}download/{seal(secret, Download(queue, job, name), seconds)}"
