"""A plain Comet hands its events to our alert manager."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyros import messages
from pyros.journal import JournalReader
from tests.broker.conftest import Configuration, comet_sendvo, make_config, make_event
from tests.broker.process import waiting_alerts
from tests.conftest import PATIENCE, wait_until

TWISTD = str(Path(sys.executable).with_name("twistd"))
Until = Callable[[Callable[[], Any]], Any]


@contextmanager
def comet(folder: Path, config: Path, port: int) -> Iterator[Path]:
    """Run a plain Comet with the handler; gives its log."""
    log = folder / "comet.log"
    command = [TWISTD, "-n", "--pidfile=", "comet", "--receive", f"--receive-port={port}", "--eventdb=db"]
    command += ["--local-ivo=ivo://test.other/comet", "--pyros-alerts", f"--pyros-alerts-config={config}"]
    with log.open("a") as out, subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as process:
        try:
            yield log
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_comet_lists_the_handler(tmp_path: Path) -> None:
    ran = subprocess.run([TWISTD, "comet", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--pyros-alerts " in ran.stdout
    assert "--pyros-alerts-config=" in ran.stdout


def test_an_event_is_in_the_outbox_for_the_alert_manager(
    tmp_path: Path, configuration: Configuration, port: int
) -> None:
    config = configuration()
    journal = config.parent / "var" / "journals" / "comet.sqlite"

    def outbox() -> list[messages.AlertReceived]:
        return waiting_alerts(journal)

    def one_more(number: int) -> None:
        packet = make_event(f"ivo://test.observatory/bursts#{number}")
        with comet(tmp_path, config, port) as log:
            wait_until(lambda: comet_sendvo(port, packet).returncode == 0)  # False until its port is open
            wait_until(lambda: len(outbox()) == number)
        assert outbox()[-1].packet == packet
        assert (outbox()[-1].source, outbox()[-1].kept) == ("comet", number)
        assert "Traceback" not in log.read_text()

    one_more(1)
    one_more(2)  # on the journal of the first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file"),
        ("[observatory]\nnaem = x\n[scheduler]\nport = 5001\n", "[observatory] naem: unknown key"),
    ],
)
def test_a_bad_configuration_is_told_before_comet_starts(tmp_path: Path, text: str | None, reason: str) -> None:
    config = tmp_path / "x.ini"
    if text is not None:
        config.write_text(text)
    command = [TWISTD, "-n", "--pidfile=", "comet", "--receive", "--local-ivo=ivo://test.other/comet", "--pyros-alerts"]
    command += [f"--pyros-alerts-config={config}"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode != 0
    assert f"{config}: " in ran.stdout + ran.stderr
    assert reason in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_what_cannot_be_stored_is_tried_again(
    thread_reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = importlib.import_module("comet.plugins.pyros_alerts")
    handler = plugin.AlertHandler()
    monkeypatch.setattr("twisted.internet.reactor", thread_reactor, raising=False)
    monkeypatch.setattr("pyros.config.load", lambda _: make_config(tmp_path))
    handler.set_option("config", "")
    ((start, arguments, _),) = thread_reactor.whenRunningHooks
    start(*arguments)
    handler.store.journal.limit_growth(0)
    handled = handler(SimpleNamespace(raw_bytes=make_event(text="long " * 10_000)))
    for _ in range(3):
        thread_reactor.run_until(thread_reactor.getDelayedCalls)
        assert not handled.called
        thread_reactor.advance(plugin.RETRY)
    handler.store.journal.limit_growth(None)
    thread_reactor.advance(plugin.RETRY)
    while not handled.called:
        thread_reactor.from_threads.get(timeout=PATIENCE)()
        if not handled.called:
            thread_reactor.advance(plugin.RETRY)
    assert handler.store.events == 1
    reader = JournalReader(make_config(tmp_path).journal("comet"))
    assert len(reader.outbox("alert_manager", 0, 10)) == 1
    reader.close()
    ((stop, _, _),) = thread_reactor.triggers["before"]["shutdown"]
    stopped = stop()
    thread_reactor.from_threads.get(timeout=PATIENCE)()
    for connector, client in zip(thread_reactor.connectors, thread_reactor.tcpClients, strict=True):
        client[2].clientConnectionFailed(connector, Failure(ConnectionDone()))
    assert stopped.called
