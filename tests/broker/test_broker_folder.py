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


@pytest.fixture
def broadcast() -> list[bytes]:
    return []


@pytest.fixture
def folder(store: EventStore, clock: VirtualClock, tmp_path: Path, broadcast: list[bytes]) -> Iterator[Folder]:
    store.start(lambda _: None)
    folder = Folder(clock, Intake(store, lambda packet, *_: broadcast.append(packet)), tmp_path / "incoming")
    folder.start()
    yield folder
    folder.stop()


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_file())


def wait(reactor: MemoryReactorClock, seconds: int = 3) -> None:
    reactor.pump([1.0, 0.0] * seconds)


def test_files_are_taken_and_moved(
    folder: Folder, reactor: MemoryReactorClock, store: EventStore, tmp_path: Path, broadcast: list[bytes]
) -> None:
    incoming = tmp_path / "incoming"
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
    wait(reactor)
    assert names(incoming / "done") == ["a.xml", "again.xml", "b.json"]
    assert names(incoming / "refused") == [
        "bad.xml", "bad.xml.reason", "cut.json", "cut.json.reason", "empty", "empty.reason",
    ]  # fmt: skip
    assert "VOEvent" in (incoming / "refused" / "bad.xml.reason").read_text()
    assert (incoming / "refused" / "empty.reason").read_text() == "the packet is empty\n"
    assert names(incoming) == [".hidden", "c.xml.part", "d~", "link.xml"]
    assert store.events == 2
    assert broadcast == [make_event()], "subscribers get VOEvents"
    assert folder.counts == {"taken": 3, "refused": 3}
    (incoming / "a.xml").write_bytes(make_event())
    wait(reactor)
    assert names(incoming / "done") == ["a-2.xml", "a.xml", "again.xml", "b.json"]


def test_json_is_json_in_every_encoding_and_a_list_of_one_notice_is_one(
    folder: Folder, reactor: MemoryReactorClock, store: EventStore, tmp_path: Path
) -> None:
    incoming = tmp_path / "incoming"
    notice = '{"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/x.schema.json", "id": "1"}'
    (incoming / "utf16.json").write_bytes(notice.encode("utf-16"))
    (incoming / "one.json").write_text(f"[{notice}]")
    (incoming / "two.json").write_text(f"[{notice}, {notice}]")
    wait(reactor)
    assert names(incoming / "done") == ["one.json", "utf16.json"]
    assert (incoming / "refused" / "two.json.reason").read_text().startswith("a JSON list of 2")
    assert store.events == 2


def test_a_file_is_taken_when_it_is_complete(folder: Folder, reactor: MemoryReactorClock, tmp_path: Path) -> None:
    file = tmp_path / "incoming" / "a.xml"
    packet = make_event()
    for end in range(100, 400, 100):
        file.write_bytes(packet[:end])
        wait(reactor, 1)
    file.write_bytes(packet)
    wait(reactor, 1)
    assert file.exists()
    wait(reactor, 1)
    assert names(tmp_path / "incoming" / "done") == ["a.xml"]
    assert names(tmp_path / "incoming" / "refused") == []


def test_a_full_disk_leaves_the_file(
    folder: Folder, reactor: MemoryReactorClock, store: EventStore, tmp_path: Path
) -> None:
    store.journal.limit_growth(0)
    (tmp_path / "incoming" / "a.xml").write_bytes(make_event(text="x" * 50_000))
    wait(reactor)
    assert names(tmp_path / "incoming") == ["a.xml"]
    store.journal.limit_growth(None)
    wait(reactor)
    assert names(tmp_path / "incoming" / "done") == ["a.xml"]


def test_a_file_that_cannot_be_moved_is_taken_once(
    folder: Folder, reactor: MemoryReactorClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, folder: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module, "move_away", full)
    (tmp_path / "incoming" / "a.xml").write_bytes(make_event())
    wait(reactor, 9)
    assert folder.counts == {"taken": 1, "refused": 0}


def test_a_folder_that_cannot_be_made(store: EventStore, clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AgentError, match="cannot make the watched folder: Not a directory"):
        Folder(clock, Intake(store, lambda *_: None), tmp_path / "file" / "x").start()


def test_a_file_too_large_is_not_read(
    folder: Folder, reactor: MemoryReactorClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "incoming" / "large").open("wb") as file:
        file.truncate(folder_module.MAX_SIZE + 1)
    assert stat.S_ISREG((tmp_path / "incoming" / "large").stat().st_mode)
    wait(reactor)
    assert "the limit is" in (tmp_path / "incoming" / "refused" / "large.reason").read_text()


def test_a_name_that_is_no_text_holds_nobody_up(
    folder: Folder, reactor: MemoryReactorClock, tmp_path: Path, store: EventStore
) -> None:
    (tmp_path / "incoming" / os.fsdecode(b"a\xff\xfe.xml")).write_bytes(make_event())
    (tmp_path / "incoming" / "b.xml").write_bytes(make_event("ivo://x.y/z#1"))
    wait(reactor)
    assert len(names(tmp_path / "incoming" / "done")) == 2
    assert kept_rows(store.journal, "SELECT source FROM events") == [("folder a??.xml",), ("folder b.xml",)]


def test_what_becomes_a_fifo_or_a_link_is_neither_waited_for_nor_followed(
    folder: Folder, reactor: MemoryReactorClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = tmp_path / "incoming"
    (tmp_path / "secret").write_bytes(make_event())
    (incoming / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(incoming / "fifo")
    monkeypatch.setattr(folder, "listing", lambda: {"fifo": (1, 1), "link": (1, 1)})
    wait(reactor)
    assert (incoming / "refused" / "fifo.reason").read_text() == "no file\n"
    assert (incoming / "refused" / "link.reason").read_text().startswith("cannot be read")
