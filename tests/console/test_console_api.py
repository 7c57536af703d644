"""The API for programs: described by OpenAPI, the pages' own answers, and no nonsense makes it fail."""

from __future__ import annotations

import json
import os
import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from pyros.agents.scheduler import SchedulerAgent
from pyros.console.roles import Role
from pyros.console.switches import SwitchFile
from pyros.planning.intake.validation import KEYS
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, wait_until
from tests.console.conftest import Answer, Browser, RunningConsole, TokenClient, running_console, token_of

_NONSENSE = (
    "", "0", "-1", "1", "7", "1e400", "nan", "999999999999999999999999", "yes", "x" * 3000, "{}", "[]", "null",
    '{"a":1}', '{"majordome":3}', "../../etc/passwd", "%00", "\x00", "ä☃", "' OR 1=1 --", "2026-11-29", "2026-99-99",
)  # fmt: skip


def described(browser: Browser) -> dict[str, Any]:
    answer = browser.get("/api/v1/openapi.json")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def test_it_is_described_and_every_reference_is_there(console: RunningConsole) -> None:
    found = described(console.browser(Role.VIEWER))
    assert found["openapi"] == "3.1.0"
    for path in ("state", "events", "event", "requests", "images", "devices", "messages", "health"):
        assert f"/api/v1/{path}" in found["paths"]
    for path in ("events", "alerts", "images"):
        names = {each["name"] for each in found["paths"][f"/api/v1/{path}"]["get"]["parameters"]}
        assert {"ra", "dec", "radius", "sky_map", "share", "moc"} <= names
    text = json.dumps(found)
    for name in {each.split('"')[0] for each in text.split("#/components/schemas/")[1:]}:
        assert name in found["components"]["schemas"]
    keys = set(found["paths"]["/api/v1/requests/new"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "properties"])  # fmt: skip
    assert keys == {*KEYS, "check"} - {"owner"}
    assert not any("users" in path or "administration" in path for path in found["paths"])


def test_it_is_the_pages_own_answer_and_has_a_tag(console: RunningConsole) -> None:
    browser = console.browser(Role.VIEWER)
    answer = browser.get("/api/v1/sources")
    assert answer.body == browser.get("/sources.json").body
    again = browser.get("/api/v1/sources", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, "")
    assert console.browser().get("/api/v1/events").status == 401
    assert console.browser().get("/api/v1/openapi.json").status == 401


def test_nonsense_is_refused_as_json(console: RunningConsole) -> None:
    browser, chance = console.browser(Role.OPERATOR), random.Random(7)
    for path, methods in described(browser)["paths"].items():
        for _ in range(12 if "get" in methods else 0):
            parameters = methods["get"]["parameters"]
            url = path
            for each in (each for each in parameters if each["in"] == "path"):
                url = url.replace(f"{{{each['name']}}}", quote(chance.choice(_NONSENSE[1:]), safe=""))
            query = {each["name"]: chance.choice(_NONSENSE) for each in parameters if each["in"] == "query"}
            answer = browser.get(f"{url}?{urlencode(query)}")
            allowed = {200, 400, 404} | ({503} if "image" in path else set())  # there is no index of images yet
            assert answer.status in allowed, (url, query, answer)
            assert answer.headers["content-type"].startswith("application/json"), (url, answer)
            answer.json  # noqa: B018  it is JSON


def test_orders_take_json_and_tell_who_did_not_answer(console: RunningConsole) -> None:
    browser = console.browser(Role.OPERATOR)
    page = browser.get("/").body
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    headers = {"Content-Type": "application/json", "X-CSRFToken": token,
               "Origin": f"http://127.0.0.1:{console.section.port}"}  # fmt: skip
    for body in (b"", b"{", b'{"why": 3}', b'{"why": ""}', b"\xff"):
        answer = browser.ask("POST", "/api/v1/hold", body, headers=headers)
        assert (answer.status, "say why" in answer.json["error"]) == (400, True), answer
    held = browser.ask("POST", "/api/v1/hold", b'{"why": "clouds"}', headers=headers)
    assert held.status == 200
    assert held.json["order"] == "hold"
    assert "dome" in held.json["missing"]
    assert "clouds" in browser.get("/api/v1/state").body
    released = browser.ask("POST", "/api/v1/release", b"{}", headers=headers)
    assert (released.status, released.json["order"]) == (200, "release")


class RequestingProgram(TokenClient):
    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", f"/api/v1/requests/{path}", body, **headers)


M31 = {"target": "M 31", "ra": "00:42:44.3", "dec": 41.269, "exposures": [{"filter": "r", "seconds": 60, "count": 3}],
       "max_airmass": 2, "windows": [{"until": "2090-01-01"}]}  # fmt: skip


def test_a_program_asks_for_an_observation_changes_and_withdraws_it(console: RunningConsole) -> None:
    observer, other = RequestingProgram(console, Role.OBSERVER), RequestingProgram(console, Role.OBSERVER, "leavitt")
    operator = RequestingProgram(console, Role.OPERATOR)
    assert observer.post("new", M31).status == 503  # no scheduler runs yet
    scheduler = SchedulerAgent()
    scheduler.start(console.config)

    def requests() -> dict[str, Any]:
        answer = console.browser(Role.VIEWER).get("/api/v1/requests")
        return {each["request"]["id"]: each["request"] for each in answer.json["requests"]}

    try:
        checked = observer.post("new", M31 | {"check": True})
        assert (checked.status, checked.json["sent"], requests()) == (200, False, {})
        assert checked.json["next_up"]["begin"] > 0
        assert "It can be made: next up " in checked.json["words"]
        made = observer.post("new", M31)
        assert (made.status, made.json["request"]["id"], made.json["request"]["owner"]) == (201, "m-31", "observer")
        wait_until(lambda: "m-31" in requests(), what="the request")
        assert observer.post("new", M31 | {"id": "m-31"}).status == 400  # it is there already
        given = {"key": "m-31", "priority": 30, "max_airmass": None, "comment": "an outburst"}
        assert other.post("change", given).status == other.post("cancel", {"key": "m-31"}).status == 409
        assert observer.post("change", given | {"check": True}).json["request"]["priority"] == 30
        assert observer.post("change", given).json["sent"]
        wait_until(lambda: requests()["m-31"]["priority"] == 30, what="the change")
        found = requests()["m-31"]
        assert found["reason"] == "an outburst"
        assert "max_airmass" not in found.get("constraints", {})
        assert found["exposures"][0]["count"] == 3
        assert len(found["windows"]) == 1
        assert operator.post("change", {"key": "m-31", "windows": None, "exposures": "i:5x2"}).status == 200
        wait_until(lambda: not requests()["m-31"].get("windows"), what="the operator's change")
        assert requests()["m-31"]["owner"] == "observer"
        assert observer.post("cancel", {"key": "m-31", "why": "clouds"}).json == {"key": "m-31"}
        wait_until(lambda: not requests(), what="the withdrawal")
        assert observer.post("cancel", {"key": "m-31"}).status == 404
    finally:
        scheduler.stop()
    told = "".join(file.read_text() for file in console.section.folder.glob("audit-*.jsonl"))
    assert told.count('"observer/script"') >= 4


def test_a_request_repeated_under_its_key_is_made_once(console: RunningConsole) -> None:
    observer, other = RequestingProgram(console, Role.OBSERVER), RequestingProgram(console, Role.OBSERVER, "leavitt")
    scheduler = SchedulerAgent()
    scheduler.start(console.config)

    def ids() -> list[str]:
        answer = console.browser(Role.VIEWER).get("/api/v1/requests")
        return [each["request"]["id"] for each in answer.json["requests"]]

    try:
        made = observer.post("new", M31, Idempotency_Key='"field-7"')
        assert made.status == 201
        assert made.json["request"]["id"].startswith("m-31-")
        wait_until(lambda: len(ids()) == 1, what="the request")
        for key in ('"field-7"', "field-7"):
            again = observer.post("new", M31, Idempotency_Key=key)
            assert (again.status, again.json["request"]) == (201, made.json["request"])
        assert observer.post("new", M31 | {"priority": 5}, Idempotency_Key="field-7").status == 422
        assert observer.post("new", M31 | {"id": "mine"}, Idempotency_Key="field-7").status == 400
        assert observer.post("new", M31, Idempotency_Key="x" * 201).status == 400
        assert len(ids()) == 1
        assert other.post("new", M31, Idempotency_Key="field-7").status == 201  # another person's is another one
        wait_until(lambda: len(ids()) == 2, what="the other request")
        assert observer.post("cancel", {"key": made.json["request"]["id"]}).status == 200
        wait_until(lambda: len(ids()) == 1, what="the withdrawal")
        assert observer.post("new", M31, Idempotency_Key="field-7").status == 409
        assert len(ids()) == 1
    finally:
        scheduler.stop()


def test_a_request_that_makes_no_sense_is_refused_with_each_reason(console: RunningConsole) -> None:
    observer = RequestingProgram(console, Role.OBSERVER)
    answer = observer.post("new", M31 | {"dec": "+95", "exposures": "r", "prioritaet": 3})
    assert answer.status == 400
    assert [each.split(":")[0] for each in answer.json["problems"]] == [
        "request prioritaet", "request dec", "request exposures",
    ]  # fmt: skip
    nonsense: tuple[Any, ...] = (
        M31 | {"owner": "galileo"}, M31 | {"check": "yes"}, {"target": "M 31"}, [], 3, b"{", b"\xff", b"",
        b'{"target": ' + b"[" * 5000, M31 | {"ra": 10**400}, M31 | {"priority": True},
        M31 | {"exposures": [{"filter": [], "seconds": {}}]}, M31 | {"cadence": {"every": []}},
    )  # fmt: skip
    for wrong in nonsense:
        refused = observer.post("new", wrong)
        assert (refused.status, bool(refused.json["error"])) == (400, True), (wrong, refused)
    never = observer.post("new", M31 | {"dec": -80, "check": True})
    assert (never.status, never.json["next_up"]["begin"]) == (200, None)
    assert "cannot be observed within a year" in never.json["words"]
    bodies: tuple[dict[str, Any], ...] = ({}, {"key": "x" * 300}, {"key": "x", "id": "y"})
    for body in bodies:
        assert observer.post("change", body).status == 400, body
    for body in ({"key": 3}, {"key": "x", "why": 3}, {"key": "x", "y": 1}):
        assert observer.post("cancel", body).status == 400, body
    assert observer.post("change", {"key": "nothing"}).status == 404


def test_programs_ask_only_where_their_scope_and_the_switches_let_them(console: RunningConsole) -> None:
    assert RequestingProgram(console, Role.OPERATOR, scope="viewer").post("new", M31).status == 403
    observer, switches = RequestingProgram(console, Role.OBSERVER), SwitchFile(console.section.folder)
    for name, on in (("read_only", True), ("requests", False)):
        switches.set(name, on=on)
        assert [observer.post(path, M31).status for path in ("new", "change", "cancel")] == [403] * 3
        switches.set(name, on=not on)
    assert observer.post("new", M31 | {"check": True}).status == 200


@pytest.mark.long
def test_a_console_ends_while_requests_are_being_answered(tmp_path: Path) -> None:
    """Each looks through a year of nights, and answers after the console was told to end."""
    low = {"dec": -36, "max_airmass": None}  # 10.07 degrees at best
    body = json.dumps(M31 | low | {"min_altitude": 10.5, "check": True}).encode()
    with running_console(copy_demo(tmp_path)) as running, ExitStack() as lines:
        port = running.section.port
        token = token_of(running.browser(Role.OBSERVER), "observer")
        head = (f"POST /api/v1/requests/new HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
        for _ in range(3):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            line.sendall(head.encode() + body)
        assert running.browser().get("/health/live").status == 200  # they have been taken meanwhile


@pytest.mark.long
def test_a_console_ends_though_an_answer_never_comes(tmp_path: Path) -> None:
    """The names of targets are in a pipe that nobody writes: who reads it waits for ever."""
    file = copy_demo(tmp_path)
    names = file.with_name("targets.csv")
    names.write_text("name,ra,dec\n")
    body = json.dumps({"target": "M 31", "exposures": "r:60x3", "check": True}).encode()
    with running_console(file, ("; targets = ", "targets = ")) as running, ExitStack() as lines:
        names.unlink()
        os.mkfifo(names)
        token = token_of(running.browser(Role.OBSERVER), "observer")
        head = (f"POST /api/v1/requests/new HTTP/1.1\r\nHost: 127.0.0.1:{running.section.port}\r\n"
                f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")  # fmt: skip
        line = lines.enter_context(socket.create_connection(("127.0.0.1", running.section.port), timeout=PATIENCE))
        line.sendall(head.encode() + body)
        assert running.browser().get("/health/live").status == 200  # it has been taken meanwhile
    assert "the console ends with an answer unfinished" in running.log.read_text()
