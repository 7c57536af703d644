"""What programs of others ask of a console that runs: the OCS dialect, Simple Image Access, and a message's link."""

from __future__ import annotations

import copy
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from pyros.cli.common import program
from pyros.config import Config
from pyros.console.console import DATABASE_FILE
from pyros.console.roles import Role
from pyros.console.services import SERVICES
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.reading import read_record
from pyros.keys import make_key
from pyros.messages import NOTE, NoteRaised
from pyros.notices.desk import cause_name
from pyros.notices.links import make_token
from pyros.notices.reading import read_book
from pyros.sender import Sender
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, is_open, wait_until
from tests.console.conftest import Browser, RunningConsole, TokenClient, running_console
from tests.imagery.test_image_index import picture
from tests.mail_sink import mail_sink
from tests.ocs.test_ocs import GROUP


@contextmanager
def agent(config: Config, name: str) -> Iterator[None]:
    """Run one agent as twistd does."""
    log = config.path.with_name(f"{name}.log")
    with log.open("wb") as stream:
        words = [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-agent", "--config", str(config.path)]
        process = subprocess.Popen([*words, "--agent", name], stdout=stream, stderr=stream)
    try:
        port = config.agent(name).port
        wait_until(lambda: is_open(port) or process.poll() is not None, what=f"{name} to listen")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


class TomToolkit(TokenClient):
    """A program that names its token as TOM Toolkit does."""

    scheme = "Token"


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.word)
def test_every_service_is_for_who_may_use_it(console: RunningConsole, role: Role) -> None:
    browser = console.browser(role)
    for service in SERVICES:
        path = "/" + service.path.replace("<str:number>", "7")
        if service.get:
            status = browser.get(path).status
            assert (status == 401) == (role < service.role), (path, status)
            # there is no index yet, and nothing of the observatory runs
            assert status < 500 or path in ("/sia2/query", "/obscore.xml", "/obscore.csv", "/health"), (path, status)
        if service.post and role < service.post_role:
            status = browser.post(path, page="/you" if role else "/sign-in").status
            assert status == (403 if role else 401), (path, status)


def test_a_group_is_submitted_followed_and_cancelled(console: RunningConsole) -> None:
    observer = TomToolkit(console, Role.OBSERVER)
    with agent(console.config, "scheduler"):
        group = copy.deepcopy(GROUP)
        group["requests"][0]["windows"] = [{"start": "2040-01-01", "end": "2041-01-01"}]  # type: ignore[index]
        checked = observer.ask("POST", "/api/requestgroups/validate/", group)
        assert checked.json["errors"] == {}, checked
        wrong = observer.ask("POST", "/api/requestgroups/", group | {"operator": "MANY"})
        assert (wrong.status, list(wrong.json)) == (400, ["operator"])
        made = observer.ask("POST", "/api/requestgroups/", group)
        assert made.status == 201, made
        (number,) = [each["id"] for each in made.json["requests"]]
        with closing(sqlite3.connect(console.section.folder / DATABASE_FILE)) as db:
            kept = db.execute("SELECT person.name FROM people_request JOIN people_user AS person ON by_id = person.id"
                              " WHERE people_request.name = ?", (f"ocs-{number}",)).fetchall()  # fmt: skip
        assert kept == [("observer",)]
        found = observer.ask("GET", f"/api/requestgroups?request_id={number}").json
        assert (found["count"], found["results"][0]["id"]) == (1, number)
        assert observer.ask("GET", f"/api/requests/{number}").json["state"] == "PENDING"
        assert observer.ask("GET", f"/api/requests/{number}/observations/").status == 200
        other = console.browser(Role.OBSERVER, "other")
        refused = other.post(f"/api/requestgroups/{number}/cancel/", page="/you")
        assert refused.status == 403
        cancelled = observer.ask("POST", f"/api/requestgroups/{number}/cancel/")
        assert (cancelled.status, cancelled.json["state"]) == (200, "CANCELED")
        wait_until(lambda: observer.ask("GET", f"/api/requests/{number}").json["state"] == "CANCELED", what="its end")
    assert observer.ask("POST", "/api/requestgroups/", [1]).status == 400
    assert observer.ask("GET", "/api/requestgroups?name=x").status == 400


def test_images_are_found_and_downloaded(console: RunningConsole) -> None:
    viewer = TomToolkit(console, Role.VIEWER)
    path = picture(console.config.data / "images" / "one.fits", observation="ocs-77")
    index = ImageIndex(index_file(console.config))
    index.add([read_record(path, None)])
    index.close()
    (frame,) = viewer.ask("GET", "/frames/?REQNUM=77&limit=1000").json["results"]
    assert frame["url"].startswith(f"http://127.0.0.1:{console.section.port}/frames/")
    answer = viewer.ask("GET", "/sia2/query?" + urlencode({"POS": "CIRCLE 83.6 22 0.1"}))
    assert answer.status == 200
    assert "<TD>M 1</TD>" in answer.body
    assert viewer.ask("GET", "/sia2/query?POS=x").status == 400
    exported = viewer.ask("GET", "/obscore.xml")
    assert exported.headers["content-type"] == "application/x-votable+xml"
    assert exported.body.count("<TR>") == viewer.ask("GET", "/obscore.csv").body.count("\n") - 1 == 1
    assert "sia2/images/" in answer.body
    got = viewer.ask("GET", f"/frames/{frame['id']}/download".replace("/download", "/")).json
    assert got == frame
    headers = viewer.ask("HEAD", f"/frames/{frame['id']}/download").headers
    assert headers["content-length"] == str(path.stat().st_size)
    assert Browser(console.section.port).get("/sia2/query").status == 401


def test_a_link_acknowledges_by_its_button_and_not_by_being_opened(console: RunningConsole) -> None:
    config = console.config
    with agent(config, "notifier"):
        note = NoteRaised(key="wet", text="the <b>mirror</b> gets wet", critical=True)
        Sender.send_to("notifier", NOTE, note, config=config)
        (cause,) = wait_until(lambda: list(read_book(config).causes.values()), what="the notice to be kept")
        token = make_token(make_key(config.key_file), cause_name(cause), cause.since)
        stranger = Browser(console.section.port)
        page = stranger.get(f"/acknowledge/{token}")
        assert page.status == 200
        assert "the &lt;b&gt;mirror&lt;/b&gt; gets wet" in page.body
        assert next(iter(read_book(config).causes.values())).acknowledged == ""
        done = stranger.post(f"/acknowledge/{token}", {"name": "Ada"}, page=f"/acknowledge/{token}")
        assert done.status == 200, done
        assert "Thank you" in done.body
        assert next(iter(read_book(config).causes.values())).acknowledged == "Ada"
        assert "Ada takes care of it" in stranger.get(f"/acknowledge/{token}").body
        operator = console.browser(Role.OPERATOR)
        shown = operator.get("/notices").body
        assert "the &lt;b&gt;mirror&lt;/b&gt; gets wet" in shown
        assert token not in shown + operator.get("/notices.json").body  # a viewer could acknowledge with it
        Sender.send_to("notifier", NOTE, NoteRaised(key="dust", text="dust on the mirror"), config=config)
        dust = operator.get("/notices.json").json["lasting"][0]
        assert (dust["text"], dust["acknowledged"]) == ("dust on the mirror", "")
        assert operator.post("/notices/acknowledge", {"notice": dust["name"]}, page="/notices").status == 303
        lasting = operator.get("/notices.json").json["lasting"]
        assert [each["acknowledged"] for each in lasting] == ["operator", "Ada"]
        assert operator.post("/notices/acknowledge", {"notice": "99-1"}, page="/notices").status == 404
        assert operator.post("/notices/test", {"recipient": "nobody"}, page="/notices").status == 404
    assert stranger.get(f"/acknowledge/{token[:-1]}x").status == 403


def test_a_test_message_is_sent_by_its_button(tmp_path: Path) -> None:
    with mail_sink() as sink:
        file = copy_demo(tmp_path)
        rules = f"""
mail: {{server: "127.0.0.1:{sink.port}", from: pyros@example.org, security: none}}
recipients: {{ada: {{mail: ada@example.org}}}}
rules: []
"""
        file.with_name("notices.yaml").write_text(rules)
        change = ("; option_rules = observatory/notices.yaml ", "option_rules = notices.yaml ")
        with running_console(file, change) as running, agent(running.config, "notifier"):
            operator = running.browser(Role.OPERATOR)
            assert "Send ada a test" in operator.get("/notices").body
            assert "/notices/test" not in running.browser(Role.OBSERVER).get("/notices").body
            assert operator.post("/notices/test", {"recipient": "ada"}, page="/notices").status == 303
            wait_until(lambda: sink.taken, what="the message")
            assert sink.taken[0]["To"] == "ada@example.org"
            wait_until(lambda: operator.get("/notices.json").json["messages"][0]["how"] == "sent", what="its end")
