"""What one running console knows: its configuration, secret, switches, audit, and the feed of frames."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pyros import views
from pyros.clock import Clock
from pyros.config import NO, Config, ConsoleConfig
from pyros.console.attempts import Attempts
from pyros.console.audit import Audit
from pyros.console.cache import Cache
from pyros.console.elsewhere import Elsewhere
from pyros.console.feed import Feed
from pyros.console.outside import Means
from pyros.console.pages import Page, shown
from pyros.console.search_index import SearchIndex
from pyros.console.switches import SwitchFile
from pyros.errors import ConfigError
from pyros.files import read_secret
from pyros.health.figures import Figures
from pyros.health.running import Doctor
from pyros.keys import make_key

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
SECRET_FILE = "secret.key"
DATABASE_FILE = "console.sqlite"


class Console:
    """One console. Its parts may be used from any thread."""

    def __init__(self, config: Config, section: ConsoleConfig, clock: Clock) -> None:
        """Make the console's folder and secret where there are none. Raises ConfigError, naming file and key.

        ``clock`` is the reactor's.
        """
        self.config, self.section, self.clock = config, section, clock
        self.feed: Feed
        """Where the frames come from; set when it starts."""
        self.observed = views.observed(config)
        self.holds = self.observed.holds
        self.pages: tuple[Page, ...] = shown(config)
        self.folder = own_folder(section)
        self.secret = make_key(self.folder / SECRET_FILE, "the console's secret")
        for path in (self.database, section.key, section.tns):
            if path is not None and path.exists():
                check_private(path)
        self.cache = Cache(section)
        self.switches = SwitchFile(self.folder)
        self.audit = Audit(self.folder)
        self.attempts = Attempts()
        self.doctor = Doctor(self.observed)
        self.figures = Figures(self.observed)
        self.elsewhere = Elsewhere(self.folder, look_up_names(config, section), means_of(config, section))
        self.search = SearchIndex(self.folder, self.observed)

    @property
    def database(self) -> Path:
        """The file of people, sessions and notes."""
        return self.folder / DATABASE_FILE

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.section.certificate is not None or self.section.behind_proxy

    @property
    def hosts(self) -> frozenset[str]:
        """The names, without port, that a request's Host may have; lower case."""
        own = {"127.0.0.1", "localhost", "[::1]"}
        ip = self.section.ip
        listening = {f"[{ip}]" if ":" in ip else ip} - {"0.0.0.0", "[::]"}
        return frozenset(own | listening | set(self.section.hosts))


def look_up_names(config: Config, section: ConsoleConfig) -> tuple[str, ...]:
    """Return the services elsewhere that may be asked; SIMBAD not, where names of targets aren't looked up there."""
    return tuple(name for name in section.look_up if name != "simbad" or config.simbad != NO)


def means_of(config: Config, section: ConsoleConfig) -> Means:
    """Return what asking needs. Raises ConfigError for a file that isn't secret, or doesn't hold what it should."""
    address = config.simbad if config.simbad != NO else ""
    if section.tns is None:
        return Means(simbad=address)
    try:
        key = read_secret(section.tns)
    except ValueError as error:
        raise ConfigError([f"{section.tns}: {error}"]) from None
    if len(key.split()) != 3:
        raise ConfigError([f"{section.tns}: must hold a bot's number, name and key at TNS, with blanks between"])
    return Means(simbad=address, tns=key)


def own_folder(section: ConsoleConfig) -> Path:
    """Make the folder of what the console keeps, for its owner alone. Raises ConfigError."""
    try:
        section.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if section.folder.stat().st_mode & _OTHERS:
            section.folder.chmod(0o700)
    except OSError as error:
        raise ConfigError([f"{section.folder}: the console's folder cannot be made: {error.strerror}"]) from None
    return section.folder


def check_private(path: Path) -> None:
    """Raise ConfigError when others may read a file that holds secrets."""
    mode = os.stat(path).st_mode
    if mode & _OTHERS:
        raise ConfigError([
            f"{path}: others may read it, and it holds secrets (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
        ])  # fmt: skip
