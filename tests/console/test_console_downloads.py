"""A job's outputs by signed links: the file to who has the link, and nothing else to anybody."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pyros.console.links import download_link
from pyros.jobs.outbox import open_output, outputs
from tests.console.conftest import Running


@pytest.fixture
def outbox(console: Running) -> Path:
    """Give the outbox of a job that has left a page, a link to the observatory's key, and a pipe."""
    folder = console.config.data / "jobs" / "jobs" / "job-1" / "work" / "outbox"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("<script>alert(1)</script>")
        (folder / "key").symlink_to(console.config.key_file)
        os.mkfifo(folder / "pipe")
    return folder


def path_of(console: Running, name: str, seconds: float = 60.0, job: str = "job-1") -> str:
    return urlsplit(download_link(console.config, "jobs", job, name, seconds)).path


def test_who_has_the_link_takes_the_file_and_never_sees_it_as_a_page(console: Running, outbox: Path) -> None:
    answer = console.browser().get(path_of(console, "report.html"))
    assert (answer.status, answer.body) == (200, "<script>alert(1)</script>")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["key", "pipe", "nothing", "../lock", "../../../observatory.key", "", ".", "a/b"])
def test_what_is_no_file_of_the_outbox_is_not_there(console: Running, outbox: Path, name: str) -> None:
    assert console.browser().get(path_of(console, name)).status == 404
    assert console.browser().get(path_of(console, "report.html", job=f"../{name}")).status == 404


def test_a_changed_or_old_link_gives_nothing(console: Running, outbox: Path) -> None:
    good = path_of(console, "report.html")
    for path in (path_of(console, "report.html", -1.0), good[:-1] + ("0" if good[-1] != "0" else "1"), "/download/x.y"):
        assert console.browser().get(path).status == 403


def test_an_outbox_that_is_a_link_has_nothing(console: Running, tmp_path: Path) -> None:
    work = console.config.data / "jobs" / "jobs" / "job-2" / "work"
    work.mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (work / "outbox").symlink_to(tmp_path)
    with pytest.raises(FileNotFoundError, match="job job-2 has left no file 'secret'"):
        open_output(console.config, "jobs", "job-2", "secret")
    assert outputs(console.config, "jobs", "job-2") == []


def test_outputs_are_files(console: Running, outbox: Path) -> None:
    assert outputs(console.config, "jobs", "job-1") == [("report.html", 25)]
    assert outputs(console.config, "jobs", "never") == []
