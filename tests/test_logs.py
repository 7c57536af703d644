"""What others say is text in the log and on a terminal: it moves no cursor and begins no line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    Logger,
    LogPublisher,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.log import FileLogObserver
from zope.interface import implementer

from pyros.cli.common import PrintableConsole
from pyros.errors import AgentUnreachable
from pyros.logs import PrintableEvents, limit, log_observer, open_log
from pyros.printable import instant, printable

EVIL = "fine\x1b[2J\x1b]0;owned\x07\r\n2026-11-28 00:00:00 [dome#info] the dome is closed\u202e\x9b31m\ud800"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 40° north", "plain, 40° north"),
        ("\x1b[2J", r"\x1b[2J"),
        ("one\ntwo\r\nthree\u2028four", "one two  three four"),
        ("a\u00a0b\tc", "a b c"),
        ("\u202eevil\x9b\x7f\0", r"\u202eevil\x9b\x7f\x00"),
        ("\ud800", r"\ud800"),
    ],
)
def test_text_is_made_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def new_log(written: io.StringIO) -> Any:
    return textFileLogObserver(written)


def old_log(written: io.StringIO) -> Any:
    emit: Any = FileLogObserver(written).emit
    return LegacyLogObserverWrapper(emit)


@pytest.mark.parametrize("observer", [new_log, old_log])
@pytest.mark.parametrize(
    "tell",
    [
        lambda log: log.warn("{who} says no", who=EVIL),
        lambda log: log.error("{error}", error=AgentUnreachable("dome", "here", EVIL)),
        lambda log: log.info("{all}", all=["x", EVIL]),
        lambda log: log.info("{all!r}", all={"x": EVIL}),
    ],
)
def test_a_log_line_cannot_be_forged(observer: Callable[[io.StringIO], Any], tell: Callable[[Logger], None]) -> None:
    written = io.StringIO()
    tell(Logger("test", observer=LogPublisher(PrintableEvents(), observer(written))))
    text = written.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert "fine" in text
    assert "owned" in text


@pytest.mark.parametrize("observer", [new_log, old_log])
def test_a_traceback_carries_no_escapes(observer: Callable[[io.StringIO], Any]) -> None:
    written = io.StringIO()
    log = Logger("test", observer=LogPublisher(PrintableEvents(), observer(written)))
    try:
        raise ValueError(EVIL)
    except ValueError:
        log.failure("it failed")
    text = written.getvalue()
    assert "Traceback" in text
    assert r"\x1b[2J" in text
    assert text.replace("\n", "").replace("\t", "").isprintable()


def test_what_is_printable_is_logged_as_it_is() -> None:
    events: list[dict[str, Any]] = []
    keep: Any = events.append
    Logger("test", observer=LogPublisher(PrintableEvents(), keep)).info("{who} is {how}", who="dome", how=1)
    (event,) = events
    assert (event["log_format"], event["who"], event["how"]) == ("{who} is {how}", "dome", 1)


def test_the_console_writes_no_escapes_of_others() -> None:
    file = io.StringIO()
    console = PrintableConsole(file=file, width=400, markup=False, force_terminal=True, color_system="standard")
    table = Table()
    table.add_column("who")
    table.add_row(Text(EVIL.replace("\ud800", ""), "red"))
    console.print(table)
    console.print(EVIL, style="bold")
    written = file.getvalue()
    assert "\x1b[31m" in written, "its own colours are written"
    for evil in ("\x1b[2J", "\x1b]0", "\x07", "\r", "\u202e", "\x9b", "\ud800"):
        assert evil not in written


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "1970-01-01 00:00:00"), (1e300, "1e+300"), (float("nan"), "nan")])
def test_a_time_without_a_date_is_shown_as_a_number(seconds: float, shown: str) -> None:
    assert instant(seconds) == shown


def test_a_log_in_json_is_an_object_a_line(tmp_path: Path) -> None:
    file = open_log(str(tmp_path / "log"))
    logger = Logger("dome", observer=log_observer(file, as_json=True))
    logger.info("closed after {seconds} s\nor so", seconds=3)
    logger.debug("")
    try:
        raise AgentUnreachable("camera", "here", "away")
    except AgentUnreachable:
        logger.failure("what now")
    file.close()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first == {"level": "info", "who": "dome", "text": "closed after 3 s\nor so"}
    assert (second["level"], second["text"]) == ("critical", "what now")
    assert "AgentUnreachable" in second["traceback"]


def test_a_file_of_the_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyros.logs.ROTATE_BYTES", 200)
    monkeypatch.setattr("pyros.logs.MAX_ROTATED", 2)
    file = open_log(str(tmp_path / "log"))
    logger = Logger("dome", observer=log_observer(file, as_json=False))
    for number in range(20):
        logger.info("line {number}, of some length", number=number)
    file.close()
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.1", "log.2"}
    assert "line 19" in (tmp_path / "log").read_text()


def test_a_loggers_level_is_limited() -> None:
    logger = Logger("dome")
    heard: list[str] = []

    @implementer(ILogObserver)
    def observer(event: dict[str, Any]) -> None:
        heard.append(event["log_format"])

    globalLogPublisher.addObserver(observer)
    try:
        limit(logger, "debug")
        logger.info("one")
        limit(logger, "warn")
        logger.info("two")
        logger.warn("three")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert heard == ["one", "three"]
