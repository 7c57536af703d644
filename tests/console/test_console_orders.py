"""STOP, hold and release: by plain forms, in read-only mode, and while the console's database is locked."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyros.clock import RealClock
from pyros.console.roles import Role
from pyros.console.switches import SwitchFile
from pyros.hold import Holds
from tests.console.conftest import Browser, RunningConsole


class _NoScheduler:
    """Stands for a reactor where only the time is asked for."""


def held(console: RunningConsole) -> str:
    """Return who holds the observatory, and why; '' for nobody."""
    hold = Holds(console.config.data, RealClock(_NoScheduler())).hold  # type: ignore[arg-type]
    return "" if hold is None else f"{hold.who}: {hold.why}"


@contextmanager
def locked(console: RunningConsole) -> Iterator[None]:
    """Lock the database so that nobody can even read: SQLite's locks of a WAL's readers (walformat, 2.3) are taken."""
    with console.section.folder.joinpath("console.sqlite-shm").open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
        yield


@pytest.fixture
def operator(console: RunningConsole) -> Browser:
    browser = console.browser(Role.OPERATOR)
    assert "STOP" in browser.get("/").body
    return browser


def test_stop_by_its_form_holds_and_release_ends_it(console: RunningConsole, operator: Browser) -> None:
    answer = operator.post("/stop", {"why": "hail"})
    assert (answer.status, "agents did not answer" in answer.body) == (200, True)  # there are none here
    assert held(console) == "operator@console: hail"
    assert operator.post("/release").status == 200
    assert held(console) == ""
    assert operator.post("/hold", {"why": " "}).status == 400
    assert held(console) == ""


def test_stop_is_taken_in_read_only_mode(console: RunningConsole, operator: Browser) -> None:
    switches = SwitchFile(console.section.folder)
    switches.set("read_only", on=True)
    try:
        assert "read-only" in operator.get("/you").body
        assert operator.post("/you/tokens", {"name": "a", "scope": "viewer"}, page="/you").status == 403
        assert operator.post("/stop").status == 200
        assert held(console) == "operator@console: stopped from the console"
        assert operator.post("/release").status == 200
    finally:
        switches.set("read_only", on=False)
    assert operator.post("/you/tokens", {"name": "a", "scope": "viewer"}, page="/you").status == 200


def test_stop_is_taken_while_the_database_is_locked(console: RunningConsole, operator: Browser) -> None:
    viewer = console.browser(Role.VIEWER)
    viewer.get("/")
    page = operator.get("/").body
    with locked(console):
        assert "STOP" in operator.get("/").body
        assert operator.post("/stop", {"why": "locked"}).status == 200
        assert held(console) == "operator@console: locked"
        assert viewer.post("/release").status == 403
        assert operator.post("/release").status == 200
        assert console.browser().post("/stop", page="/sign-in").status == 401
    assert held(console) == ""
    assert "STOP" in page


def test_a_pass_counts_only_while_the_database_cannot_be_asked(console: RunningConsole) -> None:
    browser = console.browser(Role.OPERATOR, "dismissed")
    page = browser.get("/").body
    assert "STOP" in page
    assert console.browser(Role.ADMIN).post("/users/dismissed/change", {"active": "no"}, page="/users").status == 303
    assert browser.post("/stop", page="/sign-in").status == 401
    assert held(console) == ""
