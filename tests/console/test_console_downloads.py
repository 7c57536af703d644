"""A job's outputs by signed links: the file to who has the link, and nothing else to anybody."""

from __future__ import annotations

import http.client
import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pyros.console.links import download_link
from pyros.jobs.outbox import open_output, outputs
from tests.conftest import PATIENCE, wait_until
from tests.console.conftest import Browser, RunningConsole

LARGE = 60_000_000
"""Bytes of an output that must not come into memory."""


@pytest.fixture
def outbox(console: RunningConsole) -> Path:
    """Give the outbox of a job that has left a page, a link to the observatory's key, and a pipe."""
    folder = console.config.data / "jobs" / "jobs" / "job-1" / "work" / "outbox"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("<script>alert(1)</script>")
        (folder / "key").symlink_to(console.config.key_file)
        os.mkfifo(folder / "pipe")
    return folder


def path_of(console: RunningConsole, name: str, seconds: float = 60.0, job: str = "job-1") -> str:
    return urlsplit(download_link(console.config, "jobs", job, name, seconds)).path


def test_who_has_the_link_takes_the_file_and_never_sees_it_as_a_page(console: RunningConsole, outbox: Path) -> None:
    answer = console.browser().get(path_of(console, "report.html"))
    assert (answer.status, answer.body) == (200, "<script>alert(1)</script>")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["key", "pipe", "nothing", "../lock", "../../../observatory.key", "", ".", "a/b"])
def test_what_is_no_file_of_the_outbox_is_not_there(console: RunningConsole, outbox: Path, name: str) -> None:
    assert console.browser().get(path_of(console, name)).status == 404
    assert console.browser().get(path_of(console, "report.html", job=f"../{name}")).status == 404


def test_a_changed_or_old_link_gives_nothing(console: RunningConsole, outbox: Path) -> None:
    good = path_of(console, "report.html")
    for path in (path_of(console, "report.html", -1.0), good[:-1] + ("0" if good[-1] != "0" else "1"), "/download/x.y"):
        assert console.browser().get(path).status == 403


def test_an_outbox_that_is_a_link_has_nothing(console: RunningConsole, tmp_path: Path) -> None:
    work = console.config.data / "jobs" / "jobs" / "job-2" / "work"
    work.mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (work / "outbox").symlink_to(tmp_path)
    with pytest.raises(FileNotFoundError, match="job job-2 has left no file 'secret'"):
        open_output(console.config, "jobs", "job-2", "secret")
    assert outputs(console.config, "jobs", "job-2") == []


def test_outputs_are_files(console: RunningConsole, outbox: Path) -> None:
    assert outputs(console.config, "jobs", "job-1") == [("report.html", 25)]
    assert outputs(console.config, "jobs", "never") == []


@pytest.fixture
def large(outbox: Path) -> Path:
    """Leave a large output."""
    file = outbox / "large.bin"
    with file.open("wb") as stream:
        stream.truncate(LARGE)
    return file


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_held(pid: int, file: Path) -> bool:
    """Whether a process has a file open."""
    return any(Path(each).resolve() == file.resolve() for each in Path(f"/proc/{pid}/fd").iterdir())


def ask_and_read_a_little(console: RunningConsole, path: str) -> socket.socket:
    """Ask for a file, and read its first bytes only."""
    line = socket.create_connection(("127.0.0.1", console.section.port), timeout=PATIENCE)
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{console.section.port}\r\n\r\n".encode())
    assert line.recv(15) == b"HTTP/1.1 200 OK"
    return line


def test_who_reads_no_further_keeps_no_file_in_memory_and_holds_nobody_up(console: RunningConsole, large: Path) -> None:
    path, before = path_of(console, large.name), resident(console.pid)
    lines = [ask_and_read_a_little(console, path) for _ in range(12)]  # more than there are threads
    assert len(console.browser().get(path).body) == LARGE
    assert resident(console.pid) - before < LARGE / 2
    for line in lines:
        line.close()
    wait_until(lambda: not is_held(console.pid, large), what="the file to be closed")


def test_a_head_tells_how_large_a_file_is_and_sends_none(console: RunningConsole, large: Path) -> None:
    answer = Browser(console.section.port).ask("HEAD", path_of(console, large.name))
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(LARGE), "")
    wait_until(lambda: not is_held(console.pid, large), what="the file to be closed")


def test_a_file_that_becomes_shorter_meanwhile_is_not_taken_for_the_whole(console: RunningConsole, large: Path) -> None:
    with ask_and_read_a_little(console, path_of(console, large.name)) as line:
        os.truncate(large, 1000)
        got = 0
        with suppress(ConnectionResetError):
            while piece := line.recv(1 << 20):
                got += len(piece)
        assert got < LARGE


def test_a_file_that_becomes_longer_meanwhile_ends_where_it_was_said(console: RunningConsole, large: Path) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", console.section.port, timeout=PATIENCE)) as line:
        line.request("GET", path_of(console, large.name))
        answer = line.getresponse()
        answer.read(1)
        os.truncate(large, LARGE + 1000)
        assert len(answer.read()) == LARGE - 1
        line.request("GET", "/sign-in")
        assert line.getresponse().status == 200
