"""A watched folder, with time in the test's hands."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from pyros.broker import folder as folder_module
from pyros.broker.folder import Folder
from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from pyros.clock import VirtualClock
from pyros.errors import AgentError
from tests.broker.conftest import kept_rows, make_event


class WatchedFolder:
    """A folder that is watched, the store behind it, and what subscribers got."""

    def __init__(self, reactor: MemoryReactorClock, clock: VirtualClock, store: EventStore, incoming: Path) -> None:
        self.reactor, self.store, self.incoming = reactor, store, incoming
        self.broadcast: list[bytes] = []
        store.start(lambda _: None)
        self.folder = Folder(clock, Intake(store, lambda packet, *_: self.broadcast.append(packet)), incoming)

    def wait(self, seconds: int = 3) -> None:
        self.reactor.pump([1.0, 0.0] * seconds)

    def taken(self) -> list[str]:
        return names(self.incoming / "done")

    def refused(self, name: str) -> str:
        """Return the reason for which a file was refused."""
        return (self.incoming / "refused" / f"{name}.reason").read_text()


@pytest.fixture
def watched(
    store: EventStore, reactor: MemoryReactorClock, clock: VirtualClock, tmp_path: Path
) -> Iterator[WatchedFolder]:
    watched = WatchedFolder(reactor, clock, store, tmp_path / "incoming")
    watched.folder.start()
    yield watched
    watched.folder.stop()


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_file())


def test_files_are_taken_and_moved(watched: WatchedFolder) -> None:
    incoming = watched.incoming
    notice = b'{"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/x.schema.json", "id": "1"}'
    (incoming / "a.xml").write_bytes(make_event())
    (incoming / "again.xml").write_bytes(make_event())
    (incoming / "b.json").write_bytes(notice)
    (incoming / "bad.xml").write_bytes(b"<html/>")
    (incoming / "cut.json").write_bytes(b'{"id": ')
    (incoming / "empty").touch()
    for other in (".hidden", "c.xml.part", "d~"):
        (incoming / other).write_bytes(make_event("ivo://x.y/z#1"))
    (incoming / "directory").mkdir()
    (incoming / "link.xml").symlink_to("/etc/passwd")
    os.mkfifo(incoming / "fifo")
    watched.wait()
    assert watched.taken() == ["a.xml", "again.xml", "b.json"]
    assert names(incoming / "refused") == [
        "bad.xml", "bad.xml.reason", "cut.json", "cut.json.reason", "empty", "empty.reason",
    ]  # fmt: skip
    assert "VOEvent" in watched.refused("bad.xml")
    assert watched.refused("empty") == "the packet is empty\n"
    assert names(incoming) == [".hidden", "c.xml.part", "d~", "link.xml"]
    assert watched.store.events == 2
    assert watched.broadcast == [make_event()], "subscribers get VOEvents"
    assert watched.folder.counts == {"taken": 3, "refused": 3}
    (incoming / "a.xml").write_bytes(make_event())
    watched.wait()
    assert watched.taken() == ["a-2.xml", "a.xml", "again.xml", "b.json"]


def test_json_is_json_in_every_encoding_and_a_list_of_one_notice_is_one(watched: WatchedFolder) -> None:
    incoming = watched.incoming
    notice = '{"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/x.schema.json", "id": "1"}'
    (incoming / "utf16.json").write_bytes(notice.encode("utf-16"))
    (incoming / "one.json").write_text(f"[{notice}]")
    (incoming / "two.json").write_text(f"[{notice}, {notice}]")
    watched.wait()
    assert watched.taken() == ["one.json", "utf16.json"]
    assert watched.refused("two.json").startswith("a JSON list of 2")
    assert watched.store.events == 2


def test_a_file_is_taken_when_it_is_complete(watched: WatchedFolder) -> None:
    file = watched.incoming / "a.xml"
    packet = make_event()
    for end in range(100, 400, 100):
        file.write_bytes(packet[:end])
        watched.wait(1)
    file.write_bytes(packet)
    watched.wait(1)
    assert file.exists()
    watched.wait(1)
    assert watched.taken() == ["a.xml"]
    assert names(watched.incoming / "refused") == []


def test_a_full_disk_leaves_the_file(watched: WatchedFolder) -> None:
    watched.store.journal.limit_growth(0)
    (watched.incoming / "a.xml").write_bytes(make_event(text="x" * 50_000))
    watched.wait()
    assert names(watched.incoming) == ["a.xml"]
    watched.store.journal.limit_growth(None)
    watched.wait()
    assert watched.taken() == ["a.xml"]


def test_a_file_that_cannot_be_moved_is_taken_once(watched: WatchedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, folder: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module, "move_away", full)
    (watched.incoming / "a.xml").write_bytes(make_event())
    watched.wait(9)
    assert watched.folder.counts == {"taken": 1, "refused": 0}


def test_a_folder_that_cannot_be_made(store: EventStore, clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AgentError, match="cannot make the watched folder: Not a directory"):
        Folder(clock, Intake(store, lambda *_: None), tmp_path / "file" / "x").start()


def test_a_file_too_large_is_not_read(watched: WatchedFolder) -> None:
    with (watched.incoming / "large").open("wb") as file:
        file.truncate(folder_module.MAX_SIZE + 1)
    assert stat.S_ISREG((watched.incoming / "large").stat().st_mode)
    watched.wait()
    assert "the limit is" in watched.refused("large")


def test_a_name_that_is_no_text_holds_nobody_up(watched: WatchedFolder) -> None:
    (watched.incoming / os.fsdecode(b"a\xff\xfe.xml")).write_bytes(make_event())
    (watched.incoming / "b.xml").write_bytes(make_event("ivo://x.y/z#1"))
    watched.wait()
    assert len(watched.taken()) == 2
    assert kept_rows(watched.store.journal, "SELECT source FROM events") == [("folder a??.xml",), ("folder b.xml",)]


def test_what_becomes_a_fifo_or_a_link_is_neither_waited_for_nor_followed(
    watched: WatchedFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = watched.incoming
    (tmp_path / "secret").write_bytes(make_event())
    (incoming / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(incoming / "fifo")
    monkeypatch.setattr(watched.folder, "listing", lambda: {"fifo": (1, 1), "link": (1, 1)})
    watched.wait()
    assert watched.refused("fifo") == "no file\n"
    assert watched.refused("link").startswith("cannot be read")
