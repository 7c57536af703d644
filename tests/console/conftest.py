"""A console in a process of its own, as twistd starts it, and browsers of four roles that talk to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest

from pyros import config as configuration
from pyros.cli.common import program
from pyros.config import Config, ConsoleConfig
from pyros.console.links import entry_link
from pyros.console.roles import Role
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, is_open, wait_until

pytest.importorskip("django", reason="needs the extra [console]")


class Answer(NamedTuple):
    """What the console has answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Keeps cookies, and sends forms as a browser without JavaScript does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes = b"", *, headers: dict[str, str] | None = None, host: str = ""
    ) -> Answer:
        """Send a request, follow no redirection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {"Host": host or f"127.0.0.1:{self.port}", "Connection": "close"} | (headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, body=body or None, headers=sent)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def get(self, path: str, **how: Any) -> Answer:
        return self.ask("GET", path, **how)

    def post(
        self, path: str, fields: dict[str, str] | None = None, *, page: str = "/", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a form, with the token that stands in the page that has it."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).body)
        fields = {"csrfmiddlewaretoken": found[1] if found else ""} | (fields or {})
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
        return self.ask("POST", path, urlencode(fields).encode(), headers=kind | (headers or {}))


class RunningConsole:
    """A console that runs."""

    def __init__(self, config: Config, log: Path, pid: int) -> None:
        assert config.console is not None
        self.config, self.log, self.pid = config, log, pid
        self.section: ConsoleConfig = config.console

    def browser(self, role: Role = Role.NOBODY, name: str = "") -> Browser:
        """Return a browser in which somebody of that role has signed in by a link."""
        browser = Browser(self.section.port)
        if role:
            link = entry_link(self.config, name or role.word, role)
            assert browser.get(urlsplit(link).path).status == 302
        return browser


def token_of(browser: Browser, scope: str) -> str:
    """Have the person of a browser make a token of a scope; returns it."""
    page = browser.post("/you/tokens", {"name": "script", "scope": scope, "days": "1"}, page="/you").body
    found = re.search(r'value="(pyros_[\w-]+)"', page)
    assert found is not None, page
    return found[1]


class TokenClient:
    """A program that shows a token of a person's: of the person's own role, or of a lower scope."""

    scheme = "Bearer"

    def __init__(self, console: RunningConsole, role: Role, name: str = "", scope: str = "") -> None:
        self.token = token_of(console.browser(role, name), scope or role.word)
        self._browser = console.browser()

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> Answer:
        """Send JSON, or bytes as they are."""
        body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {"Content-Type": "application/json", "Authorization": f"{self.scheme} {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._browser.ask(method, path, body, headers=sent)


@contextmanager
def running_console(file: Path, *changes: tuple[str, str]) -> Iterator[RunningConsole]:
    """Run the console of a configuration, in which texts are replaced first."""
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    config = configuration.load(file)
    assert config.console is not None
    log = file.with_name("console.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-console", "--config", str(file)],
            stdout=stream, stderr=stream, cwd=file.parent,
        )  # fmt: skip
    try:
        port = config.console.port
        wait_until(lambda: is_open(port) or process.poll() is not None, what="the console to listen")
        assert process.poll() is None, log.read_text()
        yield RunningConsole(config, log, process.pid)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """Run a console whose observatory doesn't run."""
    with running_console(copy_demo(tmp_path_factory.mktemp("console"))) as running:
        yield running
