"""The notifier: what agents say becomes messages, a slow service delays nobody, and no kill loses or repeats much."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from pyros import messages
from pyros.agents.monitoring import MonitoringAgent
from pyros.agents.notifier import NotifierAgent
from pyros.cli.app import app
from pyros.messages import (
    AlarmEnded,
    AlarmRaised,
    AlertDecided,
    AlertSource,
    InstrumentConnection,
    JobFinished,
    JobProgressed,
    NightReported,
    NoteEnded,
    NoteRaised,
    ObservationReport,
    WeatherState,
    encode_payload,
)
from pyros.notices.reading import read_book
from pyros.sender import Sender
from tests.conftest import PATIENCE, wait_until
from tests.mail_sink import MailSink, mail_sink
from tests.rig import AgentRig, make_config

RULES = """
mail: {{server: "127.0.0.1:{port}", from: pyros@example.org, security: none}}
recipients: {{ada: {{mail: ada@example.org}}, bob: {{mail: bob@example.org}}}}
rules:
- {{name: all, what: [all, progress], to: [ada], at_most: 100 per 1 min}}
- {{name: notes, what: note, to: [bob]}}
"""
PROGRAM = "from pyros.agents.notifier import NotifierAgent; NotifierAgent().start()"


def said(name: str, payload: Any) -> tuple[str, bytes]:
    return name, encode_payload(name, payload)


def rehearsed(inline: Callable[..., AgentRig], folder: Path, *others: str) -> AgentRig:
    (folder / "notices.yaml").write_text(RULES.format(port=25))
    agents = dict(make_config(folder, "notifier", *others).agents)
    agents["notifier"] = msgspec.structs.replace(agents["notifier"], options={"rules": "notices.yaml"})
    return inline(NotifierAgent(), agents=agents)


def test_what_agents_say_is_told_and_a_rehearsal_only_records_it(
    inline: Callable[..., AgentRig], tmp_path: Path
) -> None:
    rig = rehearsed(inline, tmp_path)
    link, source = InstrumentConnection("camera", "no answer"), AlertSource("kafka gcn", "no heartbeat for 60 s")
    failed = ObservationReport(observation="obs-1", reason="the shutter is stuck")
    for name, json in (
        said(messages.ALARM, AlarmRaised(source="dome", key="k", text="the dome does not close")),
        said(messages.ALARM_OVER, AlarmEnded(source="dome", key="k")),
        said(messages.WEATHER_UNSAFE, WeatherState("it rains")),
        said(messages.WEATHER_UNSAFE, WeatherState("it rains")),
        said(messages.WEATHER_SAFE, WeatherState("good")),
        said(messages.ALERT_DECIDED, AlertDecided("ivo://a", "GRB 1", True, "near", "bursts")),
        said(messages.ALERT_DECIDED, AlertDecided("ivo://b", "GRB 2", False, "far")),
        said(messages.INSTRUMENT_DISCONNECTED, link),
        said(messages.INSTRUMENT_CONNECTED, link),
        said(messages.ALERTS_SILENT, source),
        said(messages.OBSERVATION_FAILED, failed),
        said(messages.OBSERVATION_FAILED, ObservationReport(observation="obs-2", reason="a cloud", again=True)),
        said(messages.JOB_FINISHED, JobFinished(id="tidy-1", name="tidy", state="failed", reason="exit code 2")),
        said(messages.JOB_PROGRESSED, JobProgressed(id="m-1", name="masters", percent=50, text="flats", owner="ada")),
        said(messages.NIGHT_REPORTED, NightReported(night="2026-03-20", file="/night.md")),
        said(messages.NOTE, NoteRaised(key="n", text="the water is low")),
        said(messages.NOTE_OVER, NoteEnded(key="n")),
    ):
        rig.host.post(name, json)
    rig.reactor.pump([0.01] * 300)
    ended = rig.agent.state.ended
    assert {(each.recipient, each.how) for each in ended} == {("ada", "recorded"), ("bob", "recorded")}
    assert [each.subject.removeprefix("[test] ") for each in ended if each.recipient == "ada"] == [
        "ALARM: dome: the dome does not close",
        "good again: dome: the dome does not close",
        "unsafe: notifier: it rains",
        "good again: notifier: it rains",
        "alert: notifier: GRB 1 is to be observed: near",
        "fault: camera: the camera is not connected: no answer",
        "good again: camera: the camera is not connected: no answer",
        "fault: notifier: no alerts from kafka gcn: no heartbeat for 60 s",
        "fault: notifier: obs-1 has failed: the shutter is stuck",
        "job: notifier: the job tidy (tidy-1) has failed: exit code 2",
        "job: notifier: the job masters (m-1, asked for by ada) is at 50 %: flats",
        "night: notifier: the report of the night of 2026-03-20",
        "note: notifier: the water is low",
        "good again: notifier: the water is low",
    ]
    assert rig.agent.state.waiting == []


def test_another_process_of_a_program_speaks_of_the_same_thing(inline: Callable[..., AgentRig], tmp_path: Path) -> None:
    rig = rehearsed(inline, tmp_path)
    note = said(messages.NOTE, NoteRaised(key="water", text="the water is low"))
    for number in (1, 2):
        rig.turn(note, peer=f"program:check_water.py-{number}234-abcde{number}")
    rig.turn(said(messages.NOTE_OVER, NoteEnded(key="water")), peer="program:check_water.py-9-abcdef")
    (cause,) = rig.agent.state.causes.values()
    assert (cause.notice.source, cause.count, cause.over is not None) == ("check_water.py", 2, True)


def test_a_file_that_is_wrong_stops_the_notifier_at_its_start(inline: Callable[..., AgentRig], tmp_path: Path) -> None:
    (tmp_path / "notices.yaml").write_text("rules: all\n")
    agents = dict(make_config(tmp_path, "notifier").agents)
    agents["notifier"] = msgspec.structs.replace(agents["notifier"], options={"rules": "notices.yaml"})
    assert inline(NotifierAgent(), agents=agents).host.stopped.called


def test_monitoring_tells_of_safety_and_passes_the_guardians_alarms_on(inline: Callable[..., AgentRig]) -> None:
    rig = inline(MonitoringAgent(), "notifier", "dome")
    rig.turn(
        said(messages.ALARM, AlarmRaised(source="guardian", key="k", text="the dome's agent is silent")),
        said(messages.ALARM, AlarmRaised(source="dome", key="k", text="which the dome tells by itself")),
        said(messages.ALARM_OVER, AlarmEnded(source="guardian", key="k")),
    )
    rig.reactor.advance(100)  # no reading of the weather
    rows = rig.rows("SELECT name, payload FROM outbox WHERE agent = 'notifier' ORDER BY seq")
    assert [(name, msgspec.json.decode(payload).get("source", "")) for name, payload in rows] == [
        ("Alarm over", "monitoring"),
        ("Alarm", "guardian"),
        ("Alarm over", "guardian"),
        ("Weather unsafe", ""),
    ]


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as made:
        yield made


@pytest.fixture
def notifier(observatory: Callable[..., Any], sink: MailSink) -> Any:
    made = observatory("notifier", notifier={"app": "pyros.agents.notifier", "option_rules": "notices.yaml"})
    (made.folder / "notices.yaml").write_text(RULES.format(port=sink.port))
    return made


def test_a_slow_service_delays_nobody_and_people_can_test_and_acknowledge(notifier: Any, sink: MailSink) -> None:
    cli, stuck = CliRunner(), threading.Event()
    first = iter([True])

    def hang(step: str) -> str | None:
        if step == "MAIL" and next(first, False):
            stuck.wait(PATIENCE)
        return None

    sink.at = hang
    program = notifier.run("-c", PROGRAM)
    notifier.up("notifier")
    how = ["--config", str(notifier.path)]
    try:
        Sender.send_to(
            "notifier", messages.ALARM, AlarmRaised(source="dome", key="k", text="it is stuck"), config=notifier.config
        )
        wait_until(lambda: "MAIL" in sink.steps, what="the first message to be on its way")
        result = cli.invoke(app, ["notify", "test", "bob", "--timeout", str(PATIENCE), *how])
        assert result.exit_code == 0, result.output
        assert "sent: bob" in result.output
        assert sink.subjects == ["[test] test"]
    finally:
        stuck.set()
    wait_until(lambda: len(sink.taken) == 2, what="the first message to arrive")
    token = re.search(r"pyros notify ack (\S+)", sink.taken[1].get_content())
    assert token is not None
    result = cli.invoke(app, ["notify", "ack", token[1], *how])
    assert result.exit_code == 0, result.output
    wait_until(lambda: not read_book(notifier.config).waiting, what="the delivery to have ended")
    listed = cli.invoke(app, ["notify", "list", *how]).output
    assert "takes care of it  it is stuck" in listed
    assert "sent: ada  [test] ALARM: dome: it is stuck" in listed
    program.kill(signal.SIGTERM)
    assert program.wait() == 0, program.errors


@pytest.mark.parametrize("step", ["connect", "DATA", "taken"])
def test_killed_while_it_delivers_a_message_comes_once_or_twice(notifier: Any, sink: MailSink, step: str) -> None:
    pids: list[int] = []

    def at(now: str) -> str | None:
        if now == step and pids:
            os.kill(pids.pop(), signal.SIGKILL)
            return ""
        return None

    sink.at = at
    program = notifier.run("-c", PROGRAM)
    notifier.up("notifier")
    pids.append(program.pid)
    note = NoteRaised(key="n", text="once, or twice")
    Sender.send_to("notifier", messages.NOTE, note, config=notifier.config)
    assert program.wait() == -signal.SIGKILL
    second = notifier.run("-c", PROGRAM)
    notifier.up("notifier")
    wait_until(lambda: len(read_book(notifier.config).ended) == 2, what="both deliveries to have ended")
    second.kill(signal.SIGTERM)
    assert second.wait() == 0, second.errors
    came = [str(mail["To"]) for mail in sink.taken]
    assert {came.count("ada@example.org"), came.count("bob@example.org")} <= {1, 2}
    book = read_book(notifier.config)
    assert [each.how for each in book.ended] == ["sent", "sent"]
    assert book.waiting == []
