"""The API for programs: described by OpenAPI, the pages' own answers, and no nonsense makes it fail."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote, urlencode

from pyros.console.roles import Role
from tests.console.conftest import Browser, Running

_NONSENSE = (
    "", "0", "-1", "1", "7", "1e400", "nan", "999999999999999999999999", "yes", "x" * 3000, "{}", "[]", "null",
    '{"a":1}', '{"majordome":3}', "../../etc/passwd", "%00", "\x00", "ä☃", "' OR 1=1 --", "2026-11-29", "2026-99-99",
)  # fmt: skip


def described(browser: Browser) -> dict[str, Any]:
    answer = browser.get("/api/v1/openapi.json")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def test_it_is_described_and_every_reference_is_there(console: Running) -> None:
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
    assert not any("users" in path or "administration" in path for path in found["paths"])


def test_it_is_the_pages_own_answer_and_has_a_tag(console: Running) -> None:
    browser = console.browser(Role.VIEWER)
    answer = browser.get("/api/v1/sources")
    assert answer.body == browser.get("/sources.json").body
    again = browser.get("/api/v1/sources", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, "")
    assert console.browser().get("/api/v1/events").status == 401
    assert console.browser().get("/api/v1/openapi.json").status == 401


def test_nonsense_is_refused_as_json(console: Running) -> None:
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


def test_orders_take_json_and_tell_who_did_not_answer(console: Running) -> None:
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
