"""The console beside a whole simulated observatory, in Chromium: a burst, STOP, and an observatory that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyros import config as configuration
from pyros.cli.common import program, twistd
from pyros.cli.demo.demo import fill, flare
from pyros.config import Config
from pyros.console.links import entry_link
from pyros.console.roles import Role
from pyros.journal import JournalReader
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, is_open, wait_until
from tests.console.chromium import Visit, chromium

_SHOWN = "document.querySelector('[data-panel={}]').textContent"


class DemoObservatory:
    """``pyros run`` as a process of its own, with its console."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.process = self.begin()

    def begin(self) -> subprocess.Popen[bytes]:
        """Start it, and return when its console answers."""
        section = self.config.console
        assert section is not None
        with self.config.path.with_name("observatory.log").open("ab") as log:
            self.process = subprocess.Popen(
                twistd(self.config.path), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: is_open(section.port), what="the console")
        return self.process

    def kill(self) -> None:
        """End its process as it is; its console has a session of its own."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """End it, and its console."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        section = self.config.console
        assert section is not None
        wait_until(lambda: not is_open(section.port), what="the console to end")

    @property
    def link(self) -> str:
        """A link into the console."""
        return entry_link(self.config, "owner", Role.ADMIN)

    def took(self, agent: str, *names: str) -> list[str]:
        """Return which of these messages an agent has committed, in their order."""
        with closing(JournalReader(self.config.journal(agent))) as journal:
            return [received.name for _, received in journal.received(last=500) if received.name in names]


@contextmanager
def running(config: Config) -> Iterator[DemoObservatory]:
    observatory = DemoObservatory(config)
    try:
        yield observatory
    finally:
        observatory.end()


def with_console(folder: Path) -> Config:
    """Return the demo's configuration in a folder, whose observatory starts its console."""
    file = copy_demo(folder)
    file.write_text(file.read_text().replace("\nrun = no ", "\nrun = yes "))
    return configuration.load(file)


@pytest.fixture(scope="module")
def observatory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoObservatory]:
    with running(with_console(tmp_path_factory.mktemp("demo"))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def burst(observatory: DemoObservatory) -> None:
    """Send the demo's alert, and let its source flare up."""
    config = observatory.config
    assert config.broker is not None
    template = config.path.parent / "observatory" / "demo-alert.xml"
    packet = fill(template, config, config.data)
    flare(config, packet)
    subprocess.run(
        [sys.executable, program("comet-sendvo"), "--host=127.0.0.1", f"--port={config.broker.receiver_port}",
         "-f", str(packet.file)],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip


def test_a_burst_appears_without_a_reload_and_stop_closes(observatory: DemoObservatory, browser: Any) -> None:
    visit = Visit(browser, observatory.link)
    visit.wait_for(f"{_SHOWN.format('chips')}.includes('SAFE') && !{_SHOWN.format('chips')}.includes('UNSAFE')")
    visit.page.evaluate("window.loaded = 1")
    burst(observatory)
    visit.wait_for(f"/burst-.*(observing|planned|requested)/s.test({_SHOWN.format('events')})")
    visit.wait_for(f"{_SHOWN.format('chips')}.includes('Dome open')")
    visit.wait_for("document.querySelector('[data-panel=image] img')?.naturalWidth > 0")
    visit.wait_for(f"/\\d\\d\\.\\d\\d/.test({_SHOWN.format('events')})")  # a magnitude
    assert visit.page.evaluate("window.loaded") == 1
    before = observatory.took("dome", "Stop").count("Stop")
    visit.page.click("#stop")
    visit.wait_for("document.getElementById('ordered').textContent.includes('Taken by all')")
    visit.wait_for(
        f"{_SHOWN.format('chips')}.includes('owner@console') && {_SHOWN.format('chips')}.includes('Dome closed')"
    )
    assert observatory.took("dome", "Stop").count("Stop") == before + 1
    assert "Stop" in observatory.took("camera", "Stop")
    assert visit.complaints == []
    visit.page.click(".release button")
    visit.page.wait_for_selector("[data-held=no]", state="attached")
    assert visit.page.evaluate("window.loaded") == 1
    visit.context.close()


def test_stop_and_release_without_javascript(observatory: DemoObservatory, browser: Any) -> None:
    visit = Visit(browser, observatory.link, "phone", javascript=False)
    held, free = "[data-held=yes]", "[data-held=no]"
    visit.page.click("#stop")
    visit.page.wait_for_selector(held, state="attached")
    assert "owner@console: stopped from the console" in visit.page.text_content("[data-panel=chips]")
    assert (observatory.config.data / "hold.json").exists()
    visit.page.click(".release button")
    visit.page.wait_for_selector(free, state="attached")
    visit.page.click("summary.hold")
    visit.page.fill(".asking input[name=why]", "lightning")
    visit.page.click(".asking form button")
    visit.page.wait_for_selector(held, state="attached")
    assert "owner@console: lightning" in visit.page.text_content("[data-panel=chips]")
    visit.page.click(".release button")
    visit.page.wait_for_selector(free, state="attached")
    visit.context.close()


@pytest.mark.long
def test_a_killed_observatory_turns_the_page_grey_until_it_is_back(tmp_path: Path, browser: Any) -> None:
    with running(with_console(tmp_path)) as observatory:
        visit = Visit(browser, observatory.link)
        visit.wait_for("document.getElementById('live').textContent.includes('live')")
        visit.page.evaluate("window.loaded = 1")
        observatory.kill()
        visit.wait_for("document.body.matches('.stale')")
        assert "No news from the observatory" in visit.page.text_content("#stale")
        visit.wait_for(f"{_SHOWN.format('chips')}.includes('STOPPED')")
        observatory.begin()
        visit.wait_for("!document.body.matches('.stale')")
        visit.wait_for(f"!{_SHOWN.format('chips')}.includes('STOPPED')")
        assert visit.page.evaluate("window.loaded") == 1
        visit.context.close()
