"""Backups: a copy of databases that are written to meanwhile, whole or not there."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyros.backup import FOLDER, KEPT, MANIFEST, back_up, backups, check, keep_newest, nightly, restore
from pyros.config import ENVIRONMENT, Config, load
from pyros.errors import JournalError, PyrosError
from pyros.journal import Journal

NOW = 1_800_000_000.0
LONG_AGO = 1_600_000_000.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Give an observatory that has run: journals, archive, key, rules."""
    (tmp_path / "site.yaml").write_text("{}\n")
    (tmp_path / "pyros_agent_config.ini").write_text(
        "[observatory]\nname = t\nsite = site.yaml\n[a]\nport = 5020\napp = tests.a\n"
    )
    data = tmp_path / "var"
    for name in ("journals/a.sqlite", "archive.sqlite", "images/2026-03-20/index.sqlite", "images.sqlite"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(data / name)) as db:
            db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE pairs (one INTEGER, other INTEGER);")
    (data / "observatory.key").write_text("secret")
    return load(tmp_path / "pyros_agent_config.ini")


@pytest.fixture
def written_to(config: Config) -> Iterator[None]:
    """Write pairs of rows meanwhile, each pair in a transaction, beside a transaction that never ends."""
    ends = threading.Event()
    begun = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(config.journal("a"), isolation_level=None)) as db:
            number = 0
            while not ends.is_set():
                number += 1
                db.execute("BEGIN")
                db.execute("INSERT INTO pairs VALUES (?, 0)", (number,))
                db.execute("UPDATE pairs SET other = one WHERE one = ?", (number,))
                db.execute("COMMIT")
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(60)
    yield
    ends.set()
    thread.join()


def test_a_backup_is_what_was_committed(config: Config, written_to: None, tmp_path: Path) -> None:
    folder, backup = back_up(config, tmp_path / "backups", NOW)
    assert (folder.name, folder.stat().st_mode & 0o777) == ("20270115T080000Z", 0o700)
    places = {file.path for file in backup.files}
    assert places == {
        "data/journals/a.sqlite", "data/archive.sqlite", "data/observatory.key", "files/pyros_agent_config.ini",
        "files/site.yaml",
    }  # fmt: skip
    assert backup.config == "files/pyros_agent_config.ini"
    assert check(folder) == (backup, [])
    with closing(sqlite3.connect(folder / "data/journals/a.sqlite")) as db:
        count, whole = db.execute("SELECT count(*), sum(one = other) FROM pairs").fetchone()
    assert count == whole > 0
    assert sorted(path.name for path in folder.rglob("*") if path.is_file() and "sqlite" in path.name) == [
        "a.sqlite", "archive.sqlite",
    ]  # fmt: skip


def test_a_backup_that_was_changed_is_told(config: Config, tmp_path: Path) -> None:
    folder, _ = back_up(config, tmp_path / "backups", NOW)
    (folder / "data/observatory.key").write_text("other!")
    (folder / "files/site.yaml").unlink()
    assert check(folder)[1] == [
        "files/site.yaml: is missing",
        "data/observatory.key: has changed since it was backed up",
    ]
    (folder / MANIFEST).unlink()
    with pytest.raises(PyrosError, match="is no whole backup"):
        check(folder)


def test_what_cannot_be_copied_leaves_no_backup(config: Config, tmp_path: Path) -> None:
    config.journal("a").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    with pytest.raises(JournalError, match=r"a\.sqlite: "):
        back_up(config, tmp_path / "backups", NOW)
    assert list((tmp_path / "backups").iterdir()) == []


def test_the_newest_are_kept(config: Config, tmp_path: Path) -> None:
    to = tmp_path / "backups"
    made = [back_up(config, to, NOW + 60 * number)[0] for number in range(4)]
    with pytest.raises(FileExistsError):
        back_up(config, to, NOW)
    (to / ".20270101T000000Z.partial").mkdir()
    assert backups(to) == made
    assert keep_newest(to, 2) == made[:2]
    assert backups(to) == made[2:]


def test_each_nights_backup_is_a_task(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(config.path))
    older = [back_up(config, config.data / FOLDER, LONG_AGO + number)[0] for number in range(KEPT)]
    made = Path(nightly())
    assert check(made)[1] == []
    assert backups(config.data / FOLDER) == [*older[1:], made]


def test_a_backup_is_put_back_and_what_stood_there_is_kept(config: Config) -> None:
    journal = config.journal("a")
    with closing(sqlite3.connect(journal, isolation_level=None)) as db:
        db.execute("INSERT INTO pairs VALUES (1, 1)")
    folder, _ = back_up(config, config.data / FOLDER, NOW)
    with closing(sqlite3.connect(journal, isolation_level=None)) as db:
        db.execute("INSERT INTO pairs VALUES (2, 2)")
    config.site.write_text("# another\n")
    replaced, elsewhere = restore(config, folder, NOW + 60)
    for path, rows in ((journal, [(1, 1)]), (replaced / "journals" / "a.sqlite", [(1, 1), (2, 2)])):
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT * FROM pairs").fetchall() == rows
    assert [text.partition(":")[0] for text in elsewhere] == [str(config.site)]
    assert config.key_file.read_text() == "secret"
    assert config.key_file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_restored_that_is_not_whole_or_under_a_living_agent(config: Config) -> None:
    folder, _ = back_up(config, config.data / FOLDER, NOW)
    journal = Journal(config.data / "journals" / "b.sqlite")
    with pytest.raises(PyrosError, match="b is running"):
        restore(config, folder, NOW)
    journal.close()
    (folder / "data" / "archive.sqlite").write_bytes(b"something else")
    with pytest.raises(PyrosError, match=r"nothing was restored: data/archive\.sqlite: has changed"):
        restore(config, folder, NOW)
    assert not list(config.data.glob("replaced-*"))
