"""What nobody may do to the console: other sites' pages, guessed passwords, large bodies, stolen links."""

from __future__ import annotations

import http.client
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pyros.cli.common import program
from pyros.console.actions import ACTIONS
from pyros.console.api import api_path
from pyros.console.console import DATABASE_FILE, SECRET_FILE
from pyros.console.links import entry_link
from pyros.console.pages import PAGES, sections
from pyros.console.roles import Role
from pyros.console.server import MAX_BODY, make_site
from pyros.console.services import SERVICES
from pyros.console.switches import SwitchFile
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from tests.builders import MemoryLine
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, wait_until
from tests.console.conftest import Browser, RunningConsole, running_console, token_of
from tests.console.test_console_access import filled
from tests.views.test_lists import written_events

PASSWORD = "Kepler-22b-is-warm"


@pytest.mark.parametrize("path", ["/", "/live", "/static/console.css", "/stop", "/sign-in"])
def test_another_host_is_refused_everywhere(console: RunningConsole, path: str) -> None:
    browser = console.browser(Role.ADMIN)
    for host in ("evil.example.org", "127.0.0.1.evil.org:8080", "", "localhost@evil.org"):
        answer = browser.get(path, host=host or "x")
        assert answer.status == 400
        assert "csrf" not in answer.body
    assert browser.get("/", host=f"localhost:{browser.port}").status == 200


def test_every_answer_forbids_frames_and_foreign_scripts(console: RunningConsole) -> None:
    browser = console.browser(Role.VIEWER)
    for path in ("/", "/tonight.json", "/nowhere", "/static/console.css", "/static/nothing", "/sign-in"):
        headers = browser.get(path).headers
        assert headers["x-frame-options"] == "DENY", path
        assert headers["x-content-type-options"] == "nosniff", path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    page = browser.get("/").body
    assert re.findall(r"<script(?![^>]*(?: src=| type=\"application/json\"))|\son\w+=|\sstyle=", page) == []


def test_forms_of_other_sites_are_refused(console: RunningConsole) -> None:
    browser = console.browser(Role.OPERATOR)
    own = f"http://127.0.0.1:{browser.port}"
    assert browser.ask("POST", "/stop", b"why=x", headers={"Origin": own}).status == 403  # no token
    assert browser.post("/stop", headers={"Origin": "https://evil.example.org"}).status == 403
    assert browser.post("/stop", headers={"Origin": "null"}).status == 403
    assert browser.post("/stop", headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}).status == 403
    assert not (console.config.data / "hold.json").exists()
    assert browser.get("/live", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert console.browser().get("/live").status == 401


@pytest.mark.parametrize("told", [f"Content-Length: {MAX_BODY + 1}", "Transfer-Encoding: chunked"])
def test_a_body_that_is_too_large_is_cut_off(console: RunningConsole, told: str) -> None:
    port = console.section.port
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        line.sendall(f"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{told}\r\n\r\n".encode())
        if "chunked" in told:
            with suppress(OSError):  # it is cut off meanwhile
                line.sendall((b"10000\r\n" + b"x" * 65536 + b"\r\n") * (MAX_BODY // 65536 + 1))
        assert line.recv(12) == b"HTTP/1.1 413"


class AtRest(Resource):
    """Answers everything."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"here"


class NeverAnswered(AtRest):
    """Answers nothing yet."""

    def render(self, request: Any) -> Any:
        return NOT_DONE_YET


@pytest.fixture
def line() -> Iterator[tuple[Clock, Any, MemoryLine]]:
    """Return a connection to the console's port, on virtual time."""
    clock, transport = Clock(), MemoryLine()
    site = make_site(AtRest(), clock)
    channel: Any = site.buildProtocol(None)
    channel.makeConnection(transport)
    yield clock, channel, transport
    channel.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: ", b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n"]
)
def test_a_byte_now_and_then_keeps_no_connection(line: tuple[Clock, Any, MemoryLine], begin: bytes) -> None:
    clock, channel, transport = line
    for byte in begin[:1], begin[1:], *[b"a"] * 58:
        assert not transport.disconnecting
        channel.dataReceived(byte)
        clock.advance(1.0)
    clock.advance(2.0)
    assert transport.disconnecting
    clock.advance(16.0)
    assert transport.aborting


def test_the_kernel_ends_a_connection_whose_answer_nobody_reads() -> None:
    with socket.socket() as handle:
        transport: Any = MemoryLine()
        transport.getHandle = lambda: handle
        channel: Any = make_site(AtRest(), Clock()).buildProtocol(None)
        channel.makeConnection(transport)
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        channel.connectionLost(Failure(ConnectionDone()))


def test_of_too_many_connections_the_oldest_goes_that_asks_nothing() -> None:
    site = make_site(NeverAnswered(), Clock(), limit=3)
    asked, idle, half = (MemoryLine() for _ in range(3))
    for transport, said in (asked, b"GET / HTTP/1.1\r\n\r\n"), (idle, b""), (half, b"GET / HTTP/1.1\r\nHost: x"):
        connect(site, transport, said)
    first, second = MemoryLine(), MemoryLine()
    connect(site, first, b"GET / HTTP/1.1\r\n\r\n")
    assert [line.aborting for line in (asked, idle, half, first)] == [False, True, False, False]
    connect(site, second, b"GET / HTTP/1.1\r\n\r\n")
    assert [line.aborting for line in (asked, half, first, second)] == [False, True, False, False]
    assert site.buildProtocol(None) is None


def connect(site: Any, transport: MemoryLine, said: bytes) -> None:
    channel = site.buildProtocol(None)
    channel.makeConnection(transport)
    channel.dataReceived(said)


def test_a_slow_body_and_a_connection_used_again_are_served(line: tuple[Clock, Any, MemoryLine]) -> None:
    clock, channel, transport = line
    channel.dataReceived(f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY}\r\n\r\n".encode())
    for begin in range(0, MAX_BODY, 4096):  # at 32 kbit/s
        clock.advance(1.0)
        channel.dataReceived(b"x" * min(4096, MAX_BODY - begin))
    assert transport.value().count(b"200 OK") == 1
    for count in range(2, 5):
        clock.advance(50.0)
        for byte in b"GET / HTTP/1.1\r\n\r\n":
            channel.dataReceived(bytes([byte]))
            clock.advance(1.0)
        assert transport.value().count(b"200 OK") == count
    assert not transport.disconnecting


def test_an_invitation_is_used_once_and_its_person_signs_in(console: RunningConsole) -> None:
    admin = console.browser(Role.ADMIN)
    page = admin.post("/users/invite", {"role": "observer", "note": "Edwin"}, page="/users").body
    link = re.search(r'value="(http://[^"]+/invitation/[^"]+)"', page)
    assert link is not None
    path = urlsplit(link[1]).path
    guest = console.browser()
    assert guest.post(path, {"name": "edwin", "password": "short"}, page=path).status == 400
    assert guest.post(path, {"name": "Edwin <b>", "password": PASSWORD}, page=path).status == 400
    assert guest.post(path, {"name": "edwin", "password": PASSWORD}, page=path).status == 302
    assert guest.get("/").status == 200
    assert console.browser().get(path).status == 403
    assert console.browser().get(path[:-1] + ("0" if path[-1] != "0" else "1")).status == 403
    again = console.browser()
    assert again.post("/sign-in", {"name": "edwin", "password": PASSWORD, "next": "//evil.org/"}, page="/sign-in")[
        1
    ]["location"] == "/"  # fmt: skip
    assert guest.post("/sign-out", page="/you").status == 303
    assert guest.get("/").status == 302
    SwitchFile(console.section.folder).set("sign_in", on=False)
    try:
        assert console.browser().post("/sign-in", {"name": "edwin", "password": PASSWORD}, page="/you").status == 403
        assert again.get("/").status == 200
    finally:
        SwitchFile(console.section.folder).set("sign_in", on=True)


def test_what_ends_a_session_counts_at_the_next_request(console: RunningConsole) -> None:
    guest, admin = console.browser(Role.OPERATOR, "leaving"), console.browser(Role.ADMIN)
    stolen = Browser(guest.port)
    stolen.cookies = dict(guest.cookies)
    assert [stolen.get("/tonight.json").status for _ in range(2)] == [200, 200]
    assert guest.post("/sign-out", page="/you").status == 303
    assert stolen.get("/tonight.json").status == 401
    dismissed = console.browser(Role.OPERATOR, "leaving")
    for active, status in (("no", 401), ("yes", 200)):
        assert admin.post("/users/leaving/change", {"active": active}, page="/users").status == 303
        assert dismissed.get("/tonight.json").status == status


def test_a_session_ends_at_its_time_though_nothing_has_changed(console: RunningConsole) -> None:
    browser = console.browser(Role.VIEWER, "brief")
    assert browser.get("/tonight.json").status == 200
    key = next(value for name, value in browser.cookies.items() if name.endswith("session"))
    with closing(sqlite3.connect(console.section.folder / DATABASE_FILE)) as db, db:
        ends = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%d %H:%M:%S.%f}"
        db.execute("UPDATE django_session SET expire_date = ? WHERE session_key = ?", (ends, key))
    wait_until(lambda: browser.get("/tonight.json").status == 401, what="the end of the session")


def test_every_form_of_a_page_has_the_browsers_own_token(console: RunningConsole) -> None:
    found = []
    for name in ("one", "two"):
        page = console.browser(Role.OPERATOR, name).get("/devices").body
        tokens = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert page.count("<form") == len(tokens) > page.count('action="/devices/command"') > 1
        found.append({*tokens})
    assert [len(tokens) for tokens in found] == [1, 1]
    assert found[0] != found[1]


def test_a_forgotten_password_is_replaced_once_by_an_admins_link(console: RunningConsole) -> None:
    person, admin = console.browser(Role.OPERATOR, "forgetful"), console.browser(Role.ADMIN)
    assert person.post("/you/password", {"old": "", "new": PASSWORD}, page="/you").status == 303
    assert console.browser(Role.OPERATOR).post("/users/forgetful/password", page="/you").status == 403
    token = {"Authorization": f"Bearer {token_of(admin, 'admin')}"}
    assert console.browser().ask("POST", "/users/forgetful/password", headers=token).status == 403
    assert admin.post("/users/nobody-there/password", page="/users").status == 404

    def link() -> str:
        page = admin.post("/users/forgetful/password", page="/users").body
        found = re.search(r'value="(http://[^"]+/password/[^"]+)"', page)
        assert found is not None, page
        return urlsplit(found[1]).path

    path, other, fresh = link(), link(), PASSWORD + "-still"
    stranger = console.browser()
    assert "forgetful" in stranger.get(path).body
    assert person.get("/").status == 200  # opening it has changed nothing
    assert stranger.post(path, {"password": "short"}, page=path).status == 400
    switches = SwitchFile(console.section.folder)
    for name, on in (("read_only", True), ("sign_in", False)):
        switches.set(name, on=on)
        assert stranger.post(path, {"password": fresh}, page="/sign-in").status == 403
        switches.set(name, on=not on)
    assert stranger.post(path, {"password": fresh}, page=path).status == 302
    assert (stranger.get("/").status, person.get("/").status, person.get("/live").status) == (200, 302, 401)
    for used in (path, other, path[:-1] + ("0" if path[-1] != "0" else "1")):
        assert console.browser().get(used).status == 403
    again = console.browser()
    assert again.post("/sign-in", {"name": "forgetful", "password": PASSWORD}, page="/sign-in").status == 401
    assert again.post("/sign-in", {"name": "forgetful", "password": fresh}, page="/sign-in").status == 302
    path = link()
    assert admin.post("/users/forgetful/change", {"active": "no"}, page="/users").status == 303
    assert console.browser().get(path).status == 403
    assert admin.post("/users/forgetful/password", page="/users").status == 404
    told = "".join(file.read_text() for file in console.section.folder.glob("audit-*.jsonl"))
    assert '"make password link"' in told
    assert "by a link of admin" in told
    assert path not in told + console.log.read_text()


def test_after_five_wrong_passwords_it_has_to_be_waited(console: RunningConsole) -> None:
    browser = console.browser()
    wrong = {"name": "galileo", "password": "wrong"}
    codes = [browser.post("/sign-in", wrong, page="/sign-in").status for _ in range(6)]
    assert codes == [401] * 5 + [429]


def test_a_token_may_what_its_scope_and_its_person_may_until_it_is_revoked(console: RunningConsole) -> None:
    browser = console.browser(Role.OPERATOR, "johannes")
    assert browser.post("/you/tokens", {"name": "x", "scope": "admin", "days": "1"}, page="/you").status == 400
    reading, operating = token_of(browser, "viewer"), token_of(browser, "operator")
    program = Browser(browser.port)

    def ask(token: str, method: str, path: str) -> int:
        return program.ask(method, path, headers={"Authorization": f"Bearer {token}"}).status

    assert ask(reading, "GET", "/tonight.json") == 200
    assert ask(reading, "POST", "/stop") == 403
    assert ask(operating, "POST", "/stop") == 200
    assert ask(operating, "POST", "/release") == 200
    assert ask(operating, "POST", "/you/tokens") == 403
    assert ask("pyros_" + "x" * 43, "GET", "/tonight.json") == 401
    numbers = re.findall(r"/you/tokens/(\d+)/revoke", browser.get("/you").body)
    assert console.browser(Role.VIEWER).post(f"/you/tokens/{numbers[0]}/revoke", page="/you").status == 404
    for number in numbers:
        assert browser.post(f"/you/tokens/{number}/revoke", page="/you").status == 303
    assert ask(reading, "GET", "/tonight.json") == ask(operating, "POST", "/stop") == 401


def test_no_secret_is_in_any_answer_or_log(console: RunningConsole) -> None:
    browser = console.browser(Role.ADMIN)
    token = token_of(browser, "viewer")
    link = urlsplit(entry_link(console.config, "admin", Role.ADMIN)).path
    assert browser.get(link).status == 302
    secrets = {
        (console.section.folder / SECRET_FILE).read_text().strip(), PASSWORD, token, link.rpartition("/")[2],
        browser.cookies["pyros_session"], "pbkdf2_", str(console.section.folder),
    }  # fmt: skip
    answers = [browser.get(path) for path in ("/", "/tonight.json", "/users", "/users.json", "/you", "/you.json",
                                              "/administration", "/nowhere")]  # fmt: skip
    shown = "".join(answer.body + repr(answer.headers) for answer in answers) + console.log.read_text()
    audit = "".join(path.read_text() for path in console.section.folder.glob("audit-*.jsonl"))
    assert [secret for secret in secrets if secret in shown + audit] == []
    data = (console.section.folder / DATABASE_FILE).read_bytes()
    assert token.encode() not in data
    modes = {path.name: path.stat().st_mode & 0o077 for path in console.section.folder.iterdir()}
    assert not any(modes.values()), modes


def test_only_admins_are_shown_what_has_failed(console: RunningConsole) -> None:
    admin, operator = console.browser(Role.ADMIN), console.browser(Role.OPERATOR)
    with closing(sqlite3.connect(console.section.folder / DATABASE_FILE)) as db:
        db.execute("ALTER TABLE people_note RENAME TO people_gone")
        try:
            shown, others = admin.get("/notes"), operator.get("/notes")
            token = token_of(operator, "operator")
            program = Browser(operator.port).get("/notes.json", headers={"Authorization": f"Bearer {token}"})
        finally:
            db.execute("ALTER TABLE people_gone RENAME TO people_note")
    assert (shown.status, others.status, program.status) == (503, 503, 503)
    assert "Traceback" in shown.body
    for answer in (others, program):
        assert [word for word in ("Traceback", "people_note", "/console/", "django") if word in answer.body] == []


def test_a_section_that_is_hidden_is_nowhere(tmp_path: Path) -> None:
    """Not in the menu, at no URL, not in the API, not in what programs of others ask; and no link leads there."""
    gone = sections()
    with running_console(copy_demo(tmp_path), ("; hide = users ", f"hide = {' '.join(gone)} ;")) as running:
        browser = running.browser(Role.ADMIN)
        for page in (each for each in PAGES if each.hidden_by in gone):
            for path in {page.path, f"{page.path or page.name}.json", api_path(page)} - {""}:
                assert browser.get(filled(path)).status == 404, path
        for it in (each for each in (*ACTIONS, *SERVICES) if each.section in gone):
            assert browser.post(filled(it.path)).status == 404, it.path
        assert set(browser.get("/api/v1/openapi.json").json["paths"]) == {
            "/api/v1/state", "/api/v1/stop", "/api/v1/hold", "/api/v1/release",
        }  # fmt: skip
        shown = "".join(browser.get(path).body for path in ("/", "/you"))
        links = set(re.findall(r'(?:href|src|action)="(/[^"#]*)"', shown)) - {f"/{each.path}" for each in ACTIONS}
        assert {path: code for path in links if (code := browser.get(path).status) == 404} == {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("hidden", "path", "gone"),
    [("images requests", "/event?key=swift:3", ("/images", "/request")), ("events", "/images/1", ("/event",))],
)
def test_what_is_shown_leads_to_nothing_that_is_hidden(
    tmp_path: Path, hidden: str, path: str, gone: tuple[str, ...]
) -> None:
    with running_console(copy_demo(tmp_path), ("; hide = users ", f"hide = {hidden} ;")) as running:
        written_events(running.config, 3)
        file = tmp_path / "one.fits"
        file.write_bytes(b"no FITS")
        file.with_suffix(".png").write_bytes(b"PNG")
        index = ImageIndex(index_file(running.config))
        index.add([ImageRecord(path=str(file), night="2026-03-20", started=5.0, event="swift:3", filter="r")])
        index.close()
        browser = running.browser(Role.OPERATOR)
        shown = browser.get(path)
        assert shown.status == 200
        links = re.findall(r'(?:href|src)="(/[^"#]*)"', shown.body)
        assert "/devices" in links
        assert [link for link in links if link.startswith(gone)] == []


@pytest.mark.parametrize("wrong", ["secret", "database", "names"])
def test_it_refuses_to_start_and_says_why(tmp_path: Path, wrong: str) -> None:
    file = copy_demo(tmp_path)
    folder = file.parent / "var" / "console"
    folder.mkdir(parents=True)
    if wrong == "names":
        wish = "hide = cinema\n[console cache]\nin = memory\ntheatre = 5\n;"
        file.write_text(file.read_text().replace("; hide = users ", wish))
    else:
        path = folder / (SECRET_FILE if wrong == "secret" else DATABASE_FILE)
        path.write_text("0" * 64)
        path.chmod(0o640)
    done = subprocess.run(
        [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-console", "--config", str(file)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert {
        "secret": "others may read the console's secret (mode 0640)",
        "database": "others may read it, and it holds secrets (mode 0640); run: chmod 600",
        "names": "[console] hide: 'cinema' is no section that can be hidden (there are: ",
    }[wrong] in done.stderr
    assert ("[console cache] theatre: is no page (there are: tonight, " in done.stderr) == (wrong == "names")
    assert "Traceback" not in done.stderr


def test_nobody_is_told_what_exists(console: RunningConsole) -> None:
    browser = console.browser()
    assert browser.get("/nowhere").headers["location"] == "/sign-in?next=/nowhere"
    with pytest.raises(KeyError):
        browser.get("/").headers["server"]
    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=PATIENCE)
    connection.request("TRACE", "/")
    assert connection.getresponse().status in (400, 405, 501)
    connection.close()
