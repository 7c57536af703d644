"""Agent.start() in plain programs and under twistd, and agents that are killed, full or in each other's way."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyros.agents import Agent, Message
from pyros.errors import AgentError, JournalError, MessageRefused, UnknownAgent
from pyros.sender import Sender
from tests.conftest import PATIENCE, wait_until

REMEMBERING = Path(__file__).parent / "programs" / "remembering_agent.py"

DESIGN = """\
from pyros.agents import Agent
from pyros.sender import Sender
from tests.conftest import PATIENCE

class SchedulerAgent(Agent):
    MSG_OBS_FINISHED = "Observation finished"

    def __init__(self):
        super().__init__(Agent.SCHEDULER)
        self.actions_by_message[self.MSG_OBS_FINISHED] = self.observation_finished

    def work(self):                      # once, in the agent's thread, before the first message; must return
        ...
    def observation_finished(self, message):
        ...
    def shutdown(self):                  # on Agent.SHUTDOWN, before the thread ends
        ...

SchedulerAgent().start()
"""
SENDING = """\
Sender.send_to(Agent.SCHEDULER, SchedulerAgent.MSG_OBS_FINISHED)
Sender.send_to(Agent.SCHEDULER, Agent.SHUTDOWN)
"""


def write(place: Any, text: str, name: str = "program.py") -> Path:
    file = Path(place.folder / name)
    file.write_text(text)
    return file


def send(place: Any, name: str, payload: Any = None, agent: str = "remembering") -> None:
    Sender.send_to(agent, name, payload, config=place.config)


def test_the_agent_and_sender_of_the_design_run_as_they_stand(observatory: Callable[..., Any]) -> None:
    place = observatory("scheduler")
    program = place.run(write(place, DESIGN + SENDING))
    assert program.wait() == 0
    assert (program.output, program.errors) == ("", "")
    assert place.received("scheduler") == [("Observation finished", {}, None), ("Shutdown", {}, None)]


def test_netcat_is_answered_whether_it_closes_its_sending_side_or_not(observatory: Callable[..., Any]) -> None:
    place = observatory("scheduler")
    program = place.run(write(place, DESIGN))
    place.up("scheduler")
    assert place.say("scheduler", b"Observation finished\n").startswith("OK ")
    assert place.say("scheduler", b'Observation finished\t{"observation": "3"}').startswith("OK ")
    with place.connect("scheduler") as connection:
        connection.sendall(b"Observation finished\n")
        answer = connection.recv(1000)
        assert answer.startswith(b"OK ")
        assert answer.endswith(b"\n")
        connection.sendall(b"Observation finished\r\n")
        assert connection.recv(1000).startswith(b"OK ")
    assert place.say("scheduler", b"Dance\n").startswith(
        "ERR scheduler takes no message 'Dance' (it takes: Observation"
    )
    assert [row[:2] for row in place.received("scheduler")] == [
        ("Observation finished", payload) for payload in ({}, {"observation": "3"}, {}, {})
    ]
    assert place.say("scheduler", b"Shutdown\n").startswith("ERR 'Shutdown' moves a device, ends an agent or says that")
    Sender.send_to("scheduler", Agent.SHUTDOWN, config=place.config)
    assert program.wait() == 0
    assert program.errors == ""


@pytest.mark.skipif(not shutil.which("nc") and not os.environ.get("CI"), reason="needs nc: tools/system-packages")
def test_netcat_itself(observatory: Callable[..., Any]) -> None:
    place = observatory("scheduler")
    place.run(write(place, DESIGN))
    place.up("scheduler")
    port = place.config.agent("scheduler").port
    import subprocess

    command = f"printf 'Observation finished\\n' | timeout 80 nc -N 127.0.0.1 {port}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=PATIENCE)
    assert done.stdout.startswith(b"OK ")


def test_timers_and_state_survive_a_kill(observatory: Callable[..., Any]) -> None:
    place = observatory("remembering")
    program = place.run(REMEMBERING)
    place.up("remembering")
    send(place, "Remember", {"what": "first"})
    send(place, "Remind", {"what": "soon", "seconds": 1.0})
    send(place, "Remind", {"what": "much later", "seconds": 3600})
    program.kill()
    assert program.wait() == -signal.SIGKILL
    again = place.run(REMEMBERING)
    place.up("remembering")  # before that a signal just kills it
    wait_until(lambda: place.state("remembering")["heard"] == ["first", "soon"], what="the timer")
    assert len(place.rows("remembering", "SELECT * FROM timers")) == 1
    again.kill(signal.SIGTERM)
    again.wait()
    assert place.state("remembering")["heard"] == ["first", "soon", "shut down"]


def test_a_failed_message_is_kept_over_a_restart_and_can_be_retried(observatory: Callable[..., Any]) -> None:
    place = observatory("remembering")
    program = place.run(REMEMBERING)
    place.up("remembering")
    send(place, "Remember", {"what": "before"})
    send(place, "Fail")
    send(place, "Remember", {"what": "after"})
    assert place.state("remembering")["heard"] == ["before", "after"]
    ((number, error),) = place.rows("remembering", "SELECT number, error FROM received WHERE error IS NOT NULL")
    assert "RuntimeError: it does not work yet" in error
    program.kill()
    program.wait()
    place.run(REMEMBERING)
    assert place.up("remembering")["failed"] == 1
    send(place, Agent.RETRY_FAILED, {"number": number})
    assert place.status("remembering")["failed"] == 1
    write(place, "", "works")
    send(place, Agent.RETRY_FAILED, {"number": number})
    assert place.status("remembering")["failed"] == 0
    assert place.state("remembering")["heard"] == ["before", "after", "half done"]
    with pytest.raises(MessageRefused, match=f"no failed message has number {number}"):
        send(place, Agent.RETRY_FAILED, {"number": number})


def test_an_agent_with_a_full_disk_stores_later(observatory: Callable[..., Any]) -> None:
    place = observatory("remembering", "other")
    program = place.run(REMEMBERING)
    place.up("remembering")
    send(place, "Remember", {"what": "before"})
    # No write may reach further into a file than this; the WAL has its size already, and is filled from its beginning.
    unlimited = resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
    assert unlimited[1] == resource.RLIM_INFINITY
    answer = place.say("remembering", b'Remember\t{"what": "by hand", "data": "' + b"x" * 50_000 + b'"}\n')
    assert answer.startswith("ERR ")
    assert "remembering.sqlite: cannot store: " in answer
    with Sender.open("remembering", config=place.config, timeout=20) as connection:
        for number in range(20):
            connection.post("Remember", {"what": str(number), "data": "x" * 5000})
        flushing = threading.Thread(target=connection.flush)
        flushing.start()
        wait_until(lambda: place.up("remembering")["waiting"], what="the messages to wait")
        assert place.state("remembering") == {"heard": ["before"], "size": 0}
        resource.prlimit(program.pid, resource.RLIMIT_FSIZE, unlimited)
        flushing.join(PATIENCE)
    assert place.state("remembering") == {"heard": ["before", *map(str, range(20))], "size": 100_000}


class PlainAgent(Agent):
    def __init__(self, name: str = "plain") -> None:
        super().__init__(name)
        self.heard: list[str] = []
        self.actions_by_message["Hear"] = self.hear

    def hear(self, message: Message) -> None:
        self.heard.append(threading.current_thread().name)


def test_a_port_that_is_taken_is_told_and_nothing_is_left(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("plain")
    section = place.config.agent("plain")
    with socket.create_server((section.ip, section.port)), pytest.raises(AgentError) as caught:
        PlainAgent().start(place.config)
    assert str(caught.value) == (
        f"{place.path}: [plain] port: cannot listen on {section.where}: Address already in use;"
        " is this agent running already?"
    )
    running(place, PlainAgent())
    send(place, "Hear", agent="plain")


class FailingAgent(PlainAgent):
    def work(self) -> None:
        self.call_later(0, "Hear")
        raise ZeroDivisionError("in work")


def test_what_work_raises_start_raises_and_nothing_is_left(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("plain")
    for _ in range(5):
        with pytest.raises(ZeroDivisionError, match="in work"):
            FailingAgent().start(place.config)
    plain = PlainAgent()
    running(place, plain)
    assert place.rows("plain", "SELECT * FROM timers") == []
    send(place, "Hear", agent="plain")
    assert plain.heard == ["pyros-plain"]


def test_under_djangos_reloader_it_says_what_to_do(
    observatory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = observatory("plain")
    monkeypatch.setenv("RUN_MAIN", "true")  # what the reloader tells the process that it restarts
    with pytest.raises(AgentError, match=r"'plain' cannot be started under Django's reloader.* `runserver --noreload`"):
        PlainAgent().start(place.config)


class BadDeviceAgent(PlainAgent):
    def attach(self, reactor: Any) -> None:
        raise AgentError("no such device")


def test_what_attach_raises_start_raises_and_nothing_is_left(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("plain")
    with pytest.raises(AgentError, match="no such device"):
        BadDeviceAgent().start(place.config)
    running(place, PlainAgent())
    send(place, "Hear", agent="plain")


def test_a_running_agent_is_not_started_twice(observatory: Callable[..., Any], running: Callable[..., Any]) -> None:
    place = observatory("plain")
    running(place, plain := PlainAgent())
    with pytest.raises(JournalError, match=r"plain\.sqlite: the journal is in use by process"):
        PlainAgent().start(place.config)
    with pytest.raises(UnknownAgent, match="agent 'unheard': no such section"):
        PlainAgent("unheard").start(place.config)
    send(place, "Hear", agent="plain")
    plain.stop()
    plain.stop()


def test_an_agent_ends_by_message_and_can_be_started_again(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("plain")
    plain = PlainAgent()
    for _ in range(3):
        plain.start(place.config)
        send(place, Agent.SHUTDOWN, agent="plain")
        wait_until(lambda: not any(thread.name == "pyros-plain" for thread in threading.enumerate()))
        plain.stop()
    running(place, plain)
    send(place, "Hear", agent="plain")


class ReflexAgent(PlainAgent):
    def __init__(self) -> None:
        super().__init__()
        self.actions_by_message["Hear at once"] = self.actions_by_message["Hear"]
        self.arrived: list[Message] = []
        self.reflexes["Hear"] = self.arrived.append


@pytest.mark.parametrize("then", ["the end", "a message that cannot wait"])
def test_patient_messages_share_a_turn_which_ends_with_the_first_that_is_not(
    observatory: Callable[..., Any], running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr("pyros.agents.runtime.loop.PATIENT", {"Hear": 600.0})
    place = observatory("plain")
    plain = ReflexAgent()
    running(place, plain)
    section = place.config.agent("plain")
    for number in (1, 2, 3):
        with socket.create_connection((section.ip, section.port), PATIENCE) as client:
            client.sendall(b"Hear\n")
            wait_until(lambda: len(plain.arrived) == number)  # noqa: B023
    assert plain.heard == []
    if then == "a message that cannot wait":
        send(place, "Hear at once", agent="plain")
        wait_until(lambda: len(plain.heard) == 4)
    plain.stop()
    query = "SELECT count(*), count(DISTINCT turn) FROM received WHERE name LIKE 'Hear%'"
    assert place.rows("plain", query) == [(len(plain.heard), 1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("rest", ["", "import signal\nwhile True: signal.pause()\n"], ids=["ended", "main-goes-on"])
def test_a_plain_program_ends_by_signal_with_shutdown_run(
    observatory: Callable[..., Any], number: signal.Signals, rest: str
) -> None:
    place = observatory("remembering")
    program = place.run(write(place, REMEMBERING.read_text() + rest))
    place.up("remembering")
    program.kill(number)
    code = program.wait()
    assert place.state("remembering")["heard"] == ["shut down"]
    assert code in (0, -number)
    if number == signal.SIGTERM:
        assert program.errors == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_started_at_module_level_of_a_tac_file_under_twistd(
    observatory: Callable[..., Any], number: signal.Signals
) -> None:
    place = observatory("remembering")
    text = REMEMBERING.read_text().replace('if __name__ == "__main__":\n    ', "")
    text = text.replace("from __future__ import annotations", "")  # a tac file is no module whose names can be found
    write(
        place, text + '\nfrom twisted.application.service import Application\napplication = Application("x")\n', "x.tac"
    )
    program = place.run(Path(sys.executable).with_name("twistd"), "-ny", "x.tac")
    place.up("remembering")
    send(place, "Remember", {"what": "under twistd"})
    program.kill(number)
    code = program.wait()
    assert code in (0, -number)
    assert "Traceback" not in program.output + program.errors
    assert place.state("remembering")["heard"] == ["under twistd", "shut down"]


def test_a_handler_that_never_returns_does_not_keep_the_program_alive_for_ever(observatory: Callable[..., Any]) -> None:
    place = observatory("scheduler")
    text = DESIGN.replace("def observation_finished(self, message):\n        ...",
                          "def observation_finished(self, message):\n        __import__('time').sleep(99)")  # fmt: skip
    program = place.run(write(place, text))
    place.up("scheduler")
    with place.connect("scheduler") as connection:
        connection.sendall(b"Observation finished\n")
        wait_until(lambda: place.up("scheduler")["waiting"])
        program.kill(signal.SIGTERM)
        program.wait()
