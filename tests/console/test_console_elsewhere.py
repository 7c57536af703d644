"""What services elsewhere know: asked beside the page, kept, and a dead one holds nobody up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import outgoing
from pyros.console import elsewhere as module
from pyros.console.elsewhere import AGAIN_SECONDS, FRESH_SECONDS, MAX_KEPT, Answered, Elsewhere
from pyros.console.outside import SERVICES, About, Means
from pyros.console.roles import Role
from tests.cli.conftest import copy_demo
from tests.conftest import wait_until
from tests.console.conftest import running_console
from tests.views.test_lists import written_events

PLACED = About(names=("swift:1",), ra=83.633, dec=22.0145, error_radius=0.001, time=1790000000.0)
SIMBAD = b'{"metadata": [], "data": [["M   1", "SNR", 0.0002], ["V* CM Tau", null, 0.0003]]}'
GCN = b"""<ol><li><a class="usa-link" href="/circulars/38500?q">GRB 261128A: it&#x27;s <b>&amp; so</a></li>
<li><a href="/circulars/38501">GRB 261128A: &lt;redshift&gt;</a></li><a href="/circulars/new">new</a></ol>"""
TNS = b'{"id_code": 200, "data": {"reply": [{"objname": "2026abc", "prefix": "AT", "objid": 1}]}}'


class Net:
    """Answers instead of the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, bytes | OSError] = {"simbad": SIMBAD, "gcn": GCN, "tns": TNS}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        monkeypatch.setattr(outgoing, "get", self.get)

    def get(self, url: str, **how: Any) -> bytes:
        self.asked.append((url, how))
        answer = next(value for name, value in self.answers.items() if name in url)
        if isinstance(answer, OSError):
            raise answer
        return answer


class Threads:
    """Keeps questions until they are run."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def ask(self, question: Callable[[], None]) -> None:
        self.waiting.append(question)

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    return Net(monkeypatch)


def by_name(answers: tuple[Answered, ...]) -> dict[str, Answered]:
    return {each.name: each for each in answers}


def test_each_service_is_asked_once_beside_the_page(tmp_path: Path, net: Net) -> None:
    threads = Threads()
    it = Elsewhere(tmp_path, ("simbad", "tns", "gcn"), Means(tns="7 bot key"), threads.ask)
    for _ in range(3):
        assert {each.state for each in it.look(PLACED)} == {"asking"}
    assert (len(threads.waiting), net.asked) == (3, [])
    threads.run()
    found = by_name(it.look(PLACED))
    assert [(each.name, each.text, round(each.distance or 0.0, 2)) for each in found["simbad"].rows] == [
        ("M 1", "SNR", 0.72), ("V* CM Tau", "", 1.08),
    ]  # fmt: skip
    assert [(each.name, each.text) for each in found["gcn"].rows] == [("GCN 38501", "GRB 261128A: <redshift>")]
    assert found["tns"].rows[0].url == "https://www.wis-tns.org/object/2026abc"
    assert {each.state for each in found.values()} == {"known"}
    assert threads.waiting == []
    assert all(how["public"] and how["seconds"] <= 10 and how["largest"] <= 1 << 20 for _, how in net.asked)
    assert b"key" in next(how["body"] for url, how in net.asked if "tns" in url)
    assert "key" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))


def test_a_dead_service_is_told_and_asked_again_later(
    tmp_path: Path, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module, "system_time", lambda: now)
    threads = Threads()
    it = Elsewhere(tmp_path, ("simbad",), Means(), threads.ask)
    it.look(PLACED)
    threads.run()
    now += FRESH_SECONDS + 1
    net.answers["simbad"] = TimeoutError("has not answered within 10 s")
    it.look(PLACED)
    threads.run()
    simbad = by_name(it.look(PLACED))["simbad"]
    assert (simbad.state, simbad.problem, len(simbad.rows)) == ("failed", "has not answered within 10 s", 2)
    now += AGAIN_SECONDS - 1
    it.look(PLACED)
    assert threads.waiting == []
    now += 2
    assert by_name(it.look(PLACED))["simbad"].state == "asking"
    for garbage in (b"", b"{", b"<html>", b'{"data": [[1]]}', b'{"data": 3}'):
        net.answers["simbad"] = garbage
        threads.run()
        now += AGAIN_SECONDS + 1
        it.look(PLACED)
    threads.run()
    assert by_name(it.look(PLACED))["simbad"].problem == "answers something that is not its table"


def test_who_is_not_to_be_asked_is_not(tmp_path: Path, net: Net) -> None:
    threads = Threads()
    it = Elsewhere(tmp_path, ("gcn", "tns"), Means(), threads.ask)
    nowhere = msgspec.structs.replace(PLACED, ra=None, dec=None, time=None)
    assert [each.problem for each in it.look(PLACED)] == ["is not asked here", "is not asked here", ""]
    assert all("no position" in each.problem for each in it.look(nowhere))
    assert len(threads.waiting) == 1


def test_few_questions_are_under_way_and_few_answers_kept(tmp_path: Path, net: Net) -> None:
    threads = Threads()
    it = Elsewhere(tmp_path, ("simbad",), Means(), threads.ask)
    for number in range(20):
        it.look(msgspec.structs.replace(PLACED, ra=float(number)))
    assert len(threads.waiting) == 4
    for number in range(MAX_KEPT + 20):
        it.look(msgspec.structs.replace(PLACED, ra=number / 10))
        threads.run()
    assert len(list(tmp_path.rglob("*.json"))) == MAX_KEPT


@pytest.mark.parametrize(
    ("names", "called"),
    [(("lvc:S230914ak",), "S230914ak"), (("fermi:1", "grb:GRB261128A"), "GRB 261128A"),
     (("icecube:1",), "IceCube-260921"),     (("swift:1",), "GRB 260921")],
)  # fmt: skip
def test_what_circulars_call_an_event(names: tuple[str, ...], called: str) -> None:
    assert About(names=names, time=1790000000.0).circulars_name == called
    assert all(each.link(About(names=names)) == "" for each in SERVICES[:2])


def test_the_page_waits_for_nobody(tmp_path: Path) -> None:
    changes = (
        ("; look_up = simbad tns gcn ", "look_up = simbad "),
        ("; simbad = no ", "simbad = http://127.0.0.1:1/ "),
    )
    with running_console(copy_demo(tmp_path), *changes) as running:
        written_events(running.config, 3)
        browser = running.browser(Role.VIEWER)
        assert 'href="/elsewhere?key=swift%3A2"' in browser.get("/event?key=swift:2").body
        found = browser.get("/elsewhere.json?key=swift:2").json["services"]
        assert [each["problem"] for each in found[1:]] == ["is not asked here"] * 2
        assert browser.get("/elsewhere?key=none").status == 404
        wait_until(
            lambda: browser.get("/elsewhere.json?key=swift:2").json["services"][0]["state"] == "failed",
            what="an answer",
        )
