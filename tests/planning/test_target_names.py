"""Names of targets: from the observatory's file, and from SIMBAD, which is a server of the test's own here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pyros.errors import ConfigError, PlanningError
from pyros.planning.intake import simbad
from pyros.planning.intake.names import TargetNames
from tests.conftest import free_ports
from tests.web import WebAnswer, WebRequest, web_server

Reply = Callable[[WebRequest], WebAnswer]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    """Answer every question by ``reply``; gives the URL."""
    with web_server(reply) as port:
        yield f"http://127.0.0.1:{port}/simbad/sim-tap/sync"


def table(*rows: list[Any]) -> bytes:
    return json.dumps({"metadata": [{"name": "main_id"}], "data": list(rows)}).encode()


def answering(content: bytes, status: int = 200, asked: list[str] | None = None) -> Reply:
    def reply(request: WebRequest) -> WebAnswer:
        if asked is not None:
            asked.append(request.path)
        return WebAnswer(content, status)

    return reply


def names(folder: Path, text: str) -> TargetNames:
    path = folder / "targets.csv"
    path.write_text(text)
    return TargetNames.load(path)


def test_a_name_is_found_whatever_its_blanks_and_case(tmp_path: Path) -> None:
    found = names(tmp_path, "name,ra,dec,aliases\nM 31,00:42:44.3,+41:16:09,NGC 224; Andromeda\n").get("ngc224")
    assert found is not None
    assert found.name == "M 31"
    assert [found.ra, found.dec] == pytest.approx([10.684583, 41.269167])


def test_a_name_that_is_not_there_has_one_like_it(tmp_path: Path) -> None:
    known = names(tmp_path, "name,ra,dec\nTabby's star,301.5644,44.4569\n")
    assert known.get("Taby's star") is None
    assert known.like("Taby's star") == "Tabby's star"
    assert known.like("M 31") == ""


def test_every_mistake_in_the_file_of_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        names(tmp_path, "name,ra,dec\nA,east,1\n\n# no line\n,1,1\nB,1,91\nC,1,1\nc,1,1\nD,1,1,1\n")
    mistakes = [problem.removeprefix(f"{tmp_path / 'targets.csv'}: ") for problem in caught.value.problems]
    begins = ["line 9: has 4 columns, the heading 3", "line 2: ra: must be", "line 5: name", "line 6: dec: must be"]
    begins.append("line 8: name: 'c' is there twice")
    assert [mistake.startswith(begin) for mistake, begin in zip(mistakes, begins, strict=True)] == [True] * 5


def test_a_heading_with_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        names(tmp_path, "name,ra,de\nA,1,1\n")
    assert [each.split(": ", 1)[1] for each in caught.value.problems] == [
        "line 1: column dec: missing", "line 1: column 'de': unknown; known are name, ra, dec, aliases",
    ]  # fmt: skip


def test_simbad_is_asked_for_the_name_and_its_proper_motion_counts() -> None:
    asked: list[str] = []
    barnard = table(["NAME Barnard's star", 269.45207695, 4.69336497, -801.551, 10362.394])
    with server(answering(barnard, asked=asked)) as url:
        found = simbad.resolve("Barnard's star", 2026.9, url=url)
    assert found is not None
    assert (found.name, found.source) == ("NAME Barnard's star", "SIMBAD")
    assert found.dec == pytest.approx(4.69336497 + 26.9 * 10362.394 / 3.6e6)
    assert found.ra == pytest.approx(269.45207695 - 26.9 * 0.801551 / 3600 / 0.99665, abs=1e-6)
    query = parse_qs(urlsplit(asked[0]).query)
    assert query["query"][0].endswith("WHERE id = 'Barnard''s star'")
    assert query["format"] == ["json"]


def test_what_simbad_does_not_know_has_no_position() -> None:
    with server(answering(table())) as url:
        assert simbad.resolve("M 999", url=url) is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answering(b"<html>busy</html>"), "answers something that is not its table"),
        (answering(table(["V* X", None, None, None, None])), "SIMBAD knows V\\* X, but not where it is"),
        (answering(b"", 503), "answers 503 Service Unavailable"),
        (answering(b" " * (simbad.LARGEST_ANSWER + 1)), "answers more than 100000 bytes"),
    ],
)
def test_what_simbad_should_not_answer_is_told_in_one_line(reply: Reply, reason: str) -> None:
    with server(reply) as url, pytest.raises(PlanningError, match=reason) as caught:
        simbad.resolve("M 31", url=url)
    assert "\n" not in str(caught.value)


def test_simbad_that_does_not_answer_is_left_in_time() -> None:
    over = threading.Event()
    with server(lambda _: WebAnswer(str(over.wait()).encode())) as url:
        try:
            with pytest.raises(PlanningError, match=r"has not answered within 0\.2 s"):
                simbad.resolve("M 31", url=url, seconds=0.2)
        finally:
            over.set()


def test_simbad_that_answers_a_byte_now_and_then_is_left_in_time() -> None:
    over = threading.Event()

    def trickle() -> Iterator[bytes]:
        while not over.wait(0.02):
            yield b" "

    with server(lambda _: WebAnswer(trickle())) as url:
        try:
            with pytest.raises(PlanningError, match=r"has not answered within 0\.2 s"):
                simbad.resolve("M 31", url=url, seconds=0.2)
        finally:
            over.set()


def test_without_a_network_simbad_is_refused_cleanly() -> None:
    (port,) = free_ports(1)
    with pytest.raises(PlanningError, match=r"SIMBAD at 127\.0\.0\.1:[0-9]+ cannot be asked: Connection refused"):
        simbad.resolve("M 31", url=f"http://127.0.0.1:{port}/sync")
