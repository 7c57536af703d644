"""``pyros upgrade``: the data of an older PYROS, after a backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pyros.alerts.archive.archive import Archive
from pyros.alerts.archive.search import archive_format
from pyros.alerts.archive.tables import FORMAT as ARCHIVE_FORMAT
from pyros.backup import FOLDER, check
from pyros.journal import FORMAT, Journal, JournalReader
from tests.cli.conftest import fails, run
from tests.test_formats import kept


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Give an observatory with a journal and an archive of format 1, and a journal of today's; its configuration."""
    ini = tmp_path / "pyros_agent_config.ini"
    ini.write_text("[observatory]\nname = t\n[a]\nport = 5020\napp = tests.a\n")
    journals = tmp_path / "var/journals"
    journals.mkdir(parents=True)
    kept(journals, 1)
    Journal(journals / "b.sqlite").close()
    archive = tmp_path / "var/archive.sqlite"
    Archive(archive).close()
    with closing(sqlite3.connect(archive)) as db, db:
        db.execute("UPDATE meta SET format = 1")
        db.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=none)")
    return ini


def formats(folder: Path) -> tuple[int, int | None]:
    with closing(JournalReader(folder / "journals/a.sqlite")) as reader:
        return reader.format(), archive_format(folder / "archive.sqlite")


def test_a_dry_run_tells_and_changes_nothing(older: Path) -> None:
    data = older.parent / "var"
    before = {path: path.read_bytes() for path in data.rglob("*.sqlite")}
    done = run("upgrade", "--dry-run", "--config", older)
    assert done.exit_code == 0, done.output
    lines = {line.split()[1]: " ".join(line.split()[2:]) for line in done.stdout.splitlines()[:3]}
    assert lines["a"] == f"format 1 becomes {FORMAT}"
    assert lines["b"] == f"format {FORMAT}, as it should be"
    assert "upgrade 2 of them" in " ".join(done.stdout.split())
    assert {path: path.read_bytes() for path in data.rglob("*.sqlite")} == before
    assert not (data / FOLDER).exists()


def test_an_upgrade_makes_a_backup_first(older: Path) -> None:
    data = older.parent / "var"
    done = run("upgrade", "--config", older)
    assert done.exit_code == 0, done.output
    assert formats(data) == (FORMAT, ARCHIVE_FORMAT)
    [backup] = (data / FOLDER).iterdir()
    assert check(backup)[1] == []
    assert formats(backup / "data") == (1, 1)
    assert "there is nothing to upgrade" in run("upgrade", "--config", older).stdout


def test_nothing_is_upgraded_while_an_agent_runs(older: Path) -> None:
    journal = Journal(older.parent / "var/journals/b.sqlite")
    fails(["upgrade", "--config", older], "b: running: nothing was upgraded; stop the observatory first")
    journal.close()
    assert formats(older.parent / "var") == (1, 1)


def test_data_of_a_newer_pyros_are_left_alone(older: Path) -> None:
    with closing(sqlite3.connect(older.parent / "var/journals/b.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    fails(["upgrade", "--config", older], "journal b has format 99: it is of a newer PYROS than")
    assert formats(older.parent / "var") == (1, 1)
