"""Search: events, targets, the log and notes by their words; an index that follows the journals, and can be lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pyros import views
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.config import Config
from pyros.console.roles import Role
from pyros.console.search_index import EVENT, LOG, SEARCH_FILE, TARGET, SearchIndex
from pyros.nights import diary
from pyros.nights.diary import DiaryLine
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from tests.console.conftest import RunningConsole
from tests.steps import Steps
from tests.views.test_lists import written_events
from tests.views.written import commit, configuration

ALL = (EVENT, TARGET, LOG)


def decided(config: Config, *reasons: str, event: str = "swift:1") -> None:
    records = [
        DecisionRecord(alert=f"ivo://a#{n}", event=event, decided=float(n), accepted=True, rule="grb", reason=reason,
                       outcome="nothing")
        for n, reason in enumerate(reasons)
    ]  # fmt: skip
    also = [decisions.prepare, *(partial(decisions.write, record=record) for record in records)]
    commit(config, "alert_manager", None, [], also)


def planned(config: Config, *lines: NightLine) -> None:
    commit(config, "scheduler", None, [], [night_log.prepare, partial(night_log.write, lines=lines)])


def logged(config: Config, reason: str) -> None:
    line = DiaryLine("2026-03-20", 1.0, "weather", "unsafe", reason)
    commit(config, "majordome", None, [], [diary.prepare, partial(diary.write, line=line)])


def found(index: SearchIndex, words: str, kinds: tuple[str, ...] = ALL) -> list[tuple[str, str]]:
    assert index.fill(60.0)
    return [(doc.kind, doc.key) for _, doc in index.find(words, kinds, None, 50)[0]]


def test_the_index_follows_the_journals(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    index = SearchIndex(tmp_path, views.observed(config))
    assert found(index, "anything") == []
    decided(config, "an error of 0.1 degrees", "the same again")
    planned(config, NightLine(night="2026-03-20", observation="m31-lrgb", target="M 31", reason="too low"))
    logged(config, "wind of 17 m/s")
    assert found(index, "error") == found(index, "grb") == [(EVENT, "swift:1")]
    assert found(index, "Too LOW m31") == [(TARGET, "m31-lrgb")]
    assert found(index, "WIND uns") == [(LOG, "2026-03-20")]
    assert found(index, "wind", (EVENT,)) == found(index, "win ") == []
    planned(config, NightLine(night="2026-03-20", observation="m31-lrgb", target="M 31", reason="by the Moon"))
    planned(config, NightLine(night="2026-03-21", observation="m33", target="M 33", reason="by the Moon"))
    assert found(index, "too low") == []
    assert found(index, "moon") == [(TARGET, "m33"), (TARGET, "m31-lrgb")]


def test_pages_go_on_where_the_last_ended(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    index = SearchIndex(tmp_path, views.observed(config))
    for number in range(7):
        decided(config, "bright", "bright still", event=f"swift:{number}")
    assert index.fill(60.0)
    first, more = index.find("bright", ALL, None, 4)
    rest, last = index.find("bright", ALL, first[-1][0], 4)
    assert [doc.key for _, doc in (*first, *rest)][:7] == [f"swift:{n}" for n in range(6, -1, -1)]
    assert (more, last) == (True, False)


def test_a_rare_kind_is_not_looked_for_among_all_with_the_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(tmp_path)
    index = SearchIndex(tmp_path, views.observed(config))
    logged(config, "bright")
    for number in range(100):
        decided(config, "bright", event=f"swift:{number}")
    assert index.fill(60.0)
    steps = Steps(monkeypatch)
    assert [doc.kind for _, doc in index.find("bright", (LOG,), None, 50)[0]] == [LOG]
    assert steps.count < 500, "100 events would take 850"


@pytest.mark.parametrize("how", ["deleted", "garbage", "cut"])
def test_a_lost_index_is_made_anew(tmp_path: Path, how: str) -> None:
    config = configuration(tmp_path)
    index = SearchIndex(tmp_path, views.observed(config))
    decided(config, "bright")
    assert found(index, "bright") == [(EVENT, "swift:1")]
    file = tmp_path / SEARCH_FILE
    content = file.read_bytes()
    file.unlink()
    if how != "deleted":
        file.write_bytes(b"no database" * 1000 if how == "garbage" else content[:5000])
    assert found(index, "bright") == [(EVENT, "swift:1")]


def test_another_journal_in_its_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    index = SearchIndex(tmp_path, views.observed(config))
    decided(config, "bright", "brighter")
    assert found(index, "bright") != []
    for path in config.journal("alert_manager").parent.glob("alert_manager*"):
        path.unlink()
    decided(config, "faint", event="swift:9")
    assert (found(index, "brighter"), found(index, "faint")) == ([], [(EVENT, "swift:9")])


def test_the_page_finds_events_and_notes(console: RunningConsole) -> None:
    written_events(console.config, 5)
    logged(console.config, "<b>gusts</b>")
    observer = console.browser(Role.OBSERVER)
    fields = {"event": "swift:3", "text": "A green flash, 50% of it", "tags": ""}
    assert observer.post("/event/note", fields, page="/event?key=swift:3").status == 303
    viewer = console.browser(Role.VIEWER)
    page = viewer.get("/search?words=gusts").body
    assert "&lt;b&gt;gusts&lt;/b&gt;" in page
    assert 'href="/nights/2026-03-20"' in page
    answer = viewer.get("/api/v1/search?words=green+50%25").json
    assert [each["event"] for each in answer["notes"]] == ["swift:3"]
    assert viewer.get("/search.json?words=green&kind=event").json["notes"] == []
    events = viewer.get("/search.json?words=swift&limit=2").json
    assert [(each["kind"], each["key"]) for each in events["hits"]] == [("event", "swift:5"), ("event", "swift:4")]
    more = viewer.get(f"/search.json?words=swift&limit=2&after={events['after']}").json
    assert [each["key"] for each in more["hits"]] == ["swift:3", "swift:2"]
    assert viewer.get("/search?words=x&kind=cats").status == 400
    for words in ('"', "'", "* OR", "NEAR(a b)", "%00", "^a", "-", "(", "a:b"):
        assert (
            viewer.get(
                "/search",
            ).status
            == viewer.get(f"/search?words={words.replace(' ', '+')}").status
            == 200
        )
