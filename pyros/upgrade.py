"""Which format an observatory's journals and archive have, and how they are brought to this PYROS's. Any thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from pyros.alerts.archive.archive import Archive, shown
from pyros.alerts.archive.search import archive_format
from pyros.alerts.archive.tables import FORMAT as ARCHIVE_FORMAT
from pyros.config import Config
from pyros.journal import FORMAT, Journal, JournalReader, running


class StoredFile(NamedTuple):
    """A journal, or the archive."""

    name: str
    """What people call it."""
    where: Path | str
    """Its file, or the archive's URL."""
    found: int
    """The format that it has."""
    wanted: int
    """The format that this PYROS reads and writes."""
    bring: Callable[[Path | str], Any]
    """Opens it for writing, which brings it up to date; what that gives has ``close``."""

    @property
    def older(self) -> bool:
        """Whether it is to be brought up to date."""
        return self.found < self.wanted

    def upgrade(self) -> None:
        """Bring it up to date, wholly or not at all. Raises JournalError naming it."""
        self.bring(self.where).close()


def stored_files(config: Config) -> list[StoredFile]:
    """Return the journals and the archive that there are. Raises JournalError naming one that cannot be read."""
    stored = []
    for path in _journals(config):
        with closing(JournalReader(path)) as reader:
            found = reader.format()
        stored.append(StoredFile(f"journal {path.stem}", path, found, FORMAT, lambda file: Journal(Path(file))))
    where = config.alert_archive
    if (archived := archive_format(where)) is not None:
        stored.append(StoredFile(f"archive {shown(where)}", where, archived, ARCHIVE_FORMAT, Archive))
    return stored


def running_agents(config: Config) -> list[str]:
    """Return the names of those who have their journals open."""
    return [path.stem for path, alive in running(_journals(config)).items() if alive]


def _journals(config: Config) -> list[Path]:
    return sorted((config.data / "journals").glob("*.sqlite"))
