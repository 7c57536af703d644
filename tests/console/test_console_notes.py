"""Notes and tags on events: written, found, taken away by who wrote them, and kept in the audit and in fixtures."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from pyros.console.roles import Role
from tests.console.conftest import Browser, RunningConsole, token_of
from tests.views.test_lists import written_events

EVENT = f"/event?key={quote('swift:3')}"


def test_a_note_is_written_found_and_taken_away(console: RunningConsole) -> None:
    written_events(console.config, 5)
    observer, other = console.browser(Role.OBSERVER), console.browser(Role.OBSERVER, "leavitt")
    fields = {"event": "swift:3", "text": "it is <b>bright</b>\nand red", "tags": "afterglow, z-known"}
    assert observer.post("/event/note", fields, page=EVENT).headers["location"] == "/event?key=swift%3A3#notes"
    shown = observer.get(EVENT).body
    assert "it is &lt;b&gt;bright&lt;/b&gt;<br>and red" in shown
    assert 'href="/notes?tag=z-known"' in shown
    number = int(re.findall(r"/notes/(\d+)/remove", shown)[-1])
    assert f"/notes/{number}/remove" not in other.get(EVENT).body
    assert other.post(f"/notes/{number}/remove", page=EVENT).status == 409
    viewer = console.browser(Role.VIEWER)
    assert [each["text"] for each in viewer.get("/notes.json?tag=z-known").json["notes"]] == [
        "it is <b>bright</b>\nand red"
    ]
    assert viewer.get("/notes.json?tag=z-know").json["notes"] == []
    assert "/event/note" not in viewer.get(EVENT).body
    assert observer.post(f"/notes/{number}/remove", page=EVENT).status == 303
    assert viewer.get("/notes.json?event=swift:3").json["notes"] == []
    audit = "".join(path.read_text() for path in console.section.folder.glob("audit-*.jsonl"))
    assert '"what":"add note","about":"swift:3: afterglow z-known"' in audit
    assert '"what":"remove note"' in audit


def test_a_note_that_says_nothing_or_too_much_is_refused(console: RunningConsole) -> None:
    written_events(console.config, 5)
    browser = console.browser(Role.OBSERVER)
    for fields, code in (
        ({"event": "swift:3"}, 400), ({"event": "swift:3", "text": "x" * 4001}, 400),
        ({"event": "none", "text": "x"}, 404),
        ({"event": "swift:3", "tags": "a/b"}, 400), ({"event": "swift:3", "tags": " ".join("abcdefghijkl")}, 400),
    ):  # fmt: skip
        assert browser.post("/event/note", fields, page=EVENT).status == code, fields


def test_programs_write_notes_page_by_page(console: RunningConsole) -> None:
    written_events(console.config, 5)
    token = token_of(console.browser(Role.OBSERVER), "observer")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    program = Browser(console.section.port)
    for number in range(3):
        body = json.dumps({"event": "swift:4", "tags": [f"n{number}", "é"]}).encode()
        made = program.ask("POST", "/api/v1/event/note", body, headers=headers)
        assert (made.status, made.json["tags"]) == (201, [f"n{number}", "é"])
    first = program.get("/api/v1/notes?limit=2&tag=%C3%A9", headers=headers).json
    assert [each["tags"][0] for each in first["notes"]] == ["n2", "n1"]
    rest = program.get(f"/api/v1/notes?limit=2&tag=%C3%A9&after={first['after']}", headers=headers).json
    assert ([each["tags"][0] for each in rest["notes"]], rest["after"]) == (["n0"], None)
    for wrong in (b"", b"{", b'{"event": 3}', b"\xff", b'{"event": "swift:4", "text": "\\u0000"}'):
        assert program.ask("POST", "/api/v1/event/note", wrong, headers=headers).status in (201, 400), wrong
