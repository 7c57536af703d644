"""The commands with no observatory running: what they find in files and journals, and what they say when they can't."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import typer

from pyros import config as configuration
from pyros.agents.monitoring import MonitoringState, StandingAlarm
from pyros.cli import app as app_module
from pyros.config import Config
from pyros.journal import Effects, Journal
from pyros.wire import Frame, encode_frame
from tests.cli.conftest import fails, run

IVORN = "ivo://author.test/stream#one"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "command",
    [["demo"], ["run"], ["check"], ["status"], ["alert"], ["send"], ["messages"], ["messages", "list"],
     ["messages", "failed"], ["messages", "retry"], ["instruments", "list"], ["instruments", "test"],
     ["instruments", "shell"], ["jobs", "list"], ["jobs", "show"], ["jobs", "log"], ["jobs", "run"], ["jobs", "revoke"],
     ["jobs", "clean"], ["jobs", "schedule"]],
)  # fmt: skip
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    if command != ["messages"]:
        assert f" pyros {' '.join(command)}" in result.stdout.partition("Example")[2]
        assert "--config" in result.stdout


def test_every_command_is_listed_and_only_the_one_that_is_asked_for_is_loaded() -> None:
    result = run("--help")
    for command in app_module.COMMANDS:
        assert f" {command} " in result.stdout, command
    asked = "from pyros.cli.app import app; import sys; app(['alerts', 'list', '--help'], prog_name='pyros')"
    told = f"import atexit, sys; atexit.register(lambda: print([*sys.modules], file=sys.stderr)); {asked}"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert "pyros alerts list" in done.stdout
    assert "'pyros.cli.alerts'" in done.stderr
    assert "'twisted.internet" not in done.stderr


def test_nothing_typed_shows_the_help() -> None:
    result = run()
    assert result.exit_code == 2
    assert "demo" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'. (see pyros --help)"),
        (["send", "scheduler"], "Missing argument 'MESSAGE'. (see pyros send --help)"),
        (["messages"], "Missing command. (see pyros messages --help)"),
        (["messages", "retry", "scheduler", "x"], "(see pyros messages retry --help)"),
        (["send", "dome", "Close", "--payload", "{"], "not JSON"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def options_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name in getattr(command, "commands", None) or ():
        yield from options_of(command.commands[name], (*path, name))
    if hasattr(command, "list_commands") and not path:
        for name in command.list_commands(None):
            yield from options_of(command.get_command(None, name), (name,))
    for option in command.params:
        yield " ".join(path), option


def test_no_wait_is_longer_than_a_computer_can_wait(observatory: Path) -> None:
    endless = [
        f"{command} {option.opts[0]}"
        for command, option in options_of(typer.main.get_command(app_module.app))
        if option.metavar == "SECONDS" and option.max is None
    ]
    assert endless == []
    for word in ("inf", "1e300"):
        fails(["status", "--timeout", word, "--config", observatory], "--timeout", code=2)


@pytest.mark.parametrize("command", [["request", "list"], ["--version"]])
def test_a_disk_that_is_full_is_one_line(observatory: Path, command: list[str]) -> None:
    for problem in (errno.ENOSPC, errno.EPIPE):
        with Path("/dev/full").open("wb") if problem == errno.ENOSPC else broken_pipe() as output:
            done = subprocess.run(
                [sys.executable, "-c", "from pyros.cli import main; main()", *command],
                env=os.environ | {"PYROS_AGENT_CONFIG": str(observatory)}, stdout=output, stderr=subprocess.PIPE,
                text=True, check=False,
            )  # fmt: skip
        told = "pyros: cannot be written: No space left on device\n" if problem == errno.ENOSPC else ""
        assert (done.returncode, done.stderr) == (1, told)


@contextmanager
def broken_pipe() -> Iterator[int]:
    """Lend the end of a pipe whose reader has gone, as of ``| head -0``."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_disk_that_may_only_be_read_is_one_line(observatory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> list[str]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "reports/2026-11-29.md")

    monkeypatch.setattr("pyros.cli.report.write_report", refused)
    result = run("report", "2026-11-29", "--write", "--config", observatory)
    assert (result.exit_code, result.stderr) == (1, "pyros: reports/2026-11-29.md: Read-only file system\n")


def test_a_user_without_a_name_can_acknowledge_and_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")  # of a container

    monkeypatch.setattr("getpass.getuser", nameless)
    result = run("init", tmp_path / "mine", "--simulators", "--yes")
    assert result.exit_code == 0, result.output
    assert "\nUser=" in (tmp_path / "mine" / "systemd" / "pyros.service").read_text()
    fails(["notify", "ack", "no-such-word", "--config", tmp_path / "mine" / "pyros_agent_config.ini"], "pyros: ")


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    for command in (["check"], ["run"], ["status"], ["demo"], ["messages", "list"], ["send", "a", "b"]):
        result = run(*command, "--config", tmp_path / "none.ini")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "none.ini: no such file (looked for by --config)" in result.stderr


# check ---------------------------------------------------------------------------------------------------------------


def test_check_shows_what_it_found(observatory: Path) -> None:
    result = run("check", "--config", observatory)
    assert result.exit_code == 0, result.output
    assert "Haute-Provence: latitude 43.9308°" in result.stdout
    assert re.search(
        r"telescope +127\.0\.0\.1:\d+ +pyros\.agents\.telescope:TelescopeAgent +native at tcp:127", result.stdout
    )
    assert "telescope.yaml, 40 times faster" in result.stdout
    assert "No mistake found" in result.stdout


def test_check_starts_nothing(observatory: Path) -> None:
    run("check", "--config", observatory)
    assert not (observatory.parent / "var").exists()


def test_check_tells_all_mistakes_at_once(observatory: Path, config: Config) -> None:
    folder = observatory.parent / "observatory"
    edit(folder / "site.yaml", "latitude: 43.9308", "latitude: 143")
    edit(folder / "alert_rules.yaml", "priority: 100", "priority: high")
    edit(folder / "simulators" / "dome.yaml", "travel: 20", "travel: -20")
    before, telescope = observatory.read_text().split("[telescope]")
    observatory.write_text(before + "[telescope]" + telescope.replace("driver = native", "driver = telepathy", 1))
    edit(observatory, "address = tcp:127.0.0.1", "address = 127.0.0.1")
    (observatory.parent / "no_agents_here.py").write_text("")
    edit(observatory, "[analyzer]", "[mine]\nport = 1\napp = not_to_be_imported\n[analyzer]\napp = json")
    result = run("check", "--config", observatory)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    for said in (
        "site.yaml: latitude: must be a number from -90 to 90",
        ": rule 1 (demo burst) priority: must be a whole number",
        "dome.yaml",
        "[telescope] driver = telepathy: must be one of native",
        "[camera] address = 127.0.0.1:",
        "[mine] app: not_to_be_imported cannot be imported",
        "[analyzer] app: json must have one Agent class",
    ):
        assert [line for line in lines if said in line], (said, lines)
    assert "Traceback" not in result.output


def test_check_asks_the_wheel_where_there_is_one(observatory: Path) -> None:
    edit(
        observatory.parent / "observatory" / "simulators" / "filter_wheel.yaml", "filters: [g, r, i]", "filters: [g, i]"
    )
    fails(
        ["check", "--config", observatory],
        "rule 'demo burst' observe: filter 'r' is not in the filter wheel",
        "(it has: g, i)",
    )


def test_check_asks_the_camera_where_there_is_no_wheel(observatory: Path) -> None:
    text = observatory.read_text()
    observatory.write_text(re.sub(r"^\[filter_wheel\].*?^(?=\[)", "", text, flags=re.MULTILINE | re.DOTALL))
    edit(observatory.parent / "observatory" / "alert_rules.yaml", "filter: r,", "filter: Halpha,")
    fails(["check", "--config", observatory], "rule 'demo burst' observe: filter 'Halpha' is not in the camera")


def test_check_warns_of_a_stream_that_is_nearly_a_known_one(observatory: Path) -> None:
    edit(observatory.parent / "observatory" / "alert_rules.yaml", "stream: swift\n", "stream: swfit\n")
    fails(
        ["check", "--config", observatory],
        "rule 'Swift BAT burst' when.stream: PYROS knows no stream 'swfit' (did you mean swift?)",
        code=0,
    )


def test_check_finds_a_simulator_on_an_agents_port(observatory: Path, config: Config) -> None:
    yaml = observatory.parent / "observatory" / "simulators" / "weather.yaml"
    yaml.write_text(re.sub(r"listen: tcp:\d+", f"listen: tcp:{config.agents['scheduler'].port}", yaml.read_text()))
    fails(["check", "--config", observatory], f"port {config.agents['scheduler'].port} is already taken by [scheduler]")


def test_check_finds_mistakes_in_devices_without_python_and_in_faults(observatory: Path) -> None:
    simulators = observatory.parent / "observatory" / "simulators"
    edit(simulators / "mirror_cover.yaml", "rate: 18, to: 270", "rate: 18, to: 300")
    edit(simulators / "dome.yaml", "travel: 20", "faults: [{kind: no_image}]\ntravel: 20")
    edit(observatory, "simulators/dome.yaml", "simulators/dome.yaml\n    observatory/simulators/mirror_cover.yaml")
    result = run("check", "--config", observatory)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "mirror_cover.yaml: commands: open: to: must be a number from 0 to 270, not 300" in said
    assert "dome.yaml: faults: a dome cannot have no_image, only no_answer, late_answer" in said


@pytest.mark.parametrize(
    ("data", "reason"),
    [("file/data", "the observatory/file: Not a directory"), ("/proc/nope/data", "/proc: .+")],
)
def test_check_finds_a_data_folder_that_cannot_be(observatory: Path, data: str, reason: str) -> None:
    (observatory.parent / "file").write_text("")
    edit(observatory, "data = var ", f"data = {data} ")
    result = run("check", "--config", observatory)
    assert result.exit_code == 1
    assert re.search(rf"\[observatory\] data: .*{data} cannot be written \(.*{reason}\); name a", result.stderr)


def test_check_leaves_nothing_where_data_will_be(observatory: Path) -> None:
    before = sorted(observatory.parent.rglob("*"))
    assert run("check", "--config", observatory).exit_code == 0
    (observatory.parent / "var").mkdir()
    assert run("check", "--config", observatory).exit_code == 0
    assert sorted(observatory.parent.rglob("*")) == sorted([*before, observatory.parent / "var"])


# status, send, alert -------------------------------------------------------------------------------------------------


def test_status_of_what_does_not_run(observatory: Path, config: Config) -> None:
    result = run("status", "--config", observatory)
    assert result.exit_code == 1
    assert len(re.findall(r" down ", result.stdout)) == len(config.agents) + 2, "with broker and guardian"
    assert "start it with pyros run" in result.stdout
    lines = [json.loads(line) for line in run("status", "--json", "--config", observatory).stdout.splitlines()]
    assert lines[0] == {"observatory": "demo", "hold": None, "service": None, "alarms": []}
    assert [line["agent"] for line in lines[1:]] == ["broker", *config.agents, "guardian"]
    assert not any(line["up"] for line in lines[1:])
    assert lines[2]["reason"] == "Connection refused"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"agent": "dome", "since": 1e300}, "what answers there is not an agent: Expected `float` < 100000000000.0"),
        ({"agent": "dome", "since": 0, "taken": "\x1b[31m"}, "what answers there is not an agent: Expected `int`"),
        ({"agent": "dome", "since": 0, "outbox": {"\x1b[2J\nx": 1}}, r"1 for \x1b[2J x"),
        (
            {"agent": "dome", "since": 0, "handling": {"message": "Slew", "seconds": 61.2}},
            "dome hangs: it has been handling 'Slew' for 61 s",
        ),
        (
            {"agent": "dome", "since": 0, "forgotten": {"failed messages": 7}},
            "dome had too many failed messages and has forgotten the 7 oldest",
        ),
    ],
)
def test_status_of_what_answers_oddly(observatory: Path, said: dict[str, Any], shown: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dome:
        threading.Thread(target=answer_once, args=(dome, encode_frame(Frame(status=said)))).start()
        text = observatory.read_text()
        observatory.write_text(re.sub(r"(\[dome\][^\[]*?port = )\d+", rf"\g<1>{dome.getsockname()[1]}", text))
        result = run("status", "--config", observatory)
    assert shown in result.stdout
    assert result.stdout.replace("\n", "").isprintable()


STRANGER = {"dome": "\x1b[2J", "told": "", "beats": 1, "beat": 1.5, "closing": False, "since": 5.0}


@pytest.mark.parametrize(
    ("who", "said", "shown"),
    [
        ("broker", {}, r"^broker .* down .*"),
        ("broker", {"since": 5.0, "remotes": ["x"]}, r"^broker .* down .*"),
        ("guardian", {"up": False}, r"guardian .* down +what answers there is not a guardian: Object missing"),
        ("guardian", {"dome": "closed"}, r"guardian .* down +what answers there is not a guardian: Object missing"),
        ("guardian", STRANGER | {"beat": "x"}, r"guardian .* down .* Expected `float`, got `str` - at `\$.beat`"),
        ("guardian", STRANGER | {"up": False, "agent": "dome"}, r"guardian .* up .* dome \\x1b\[2J, a beat 2 s"),
        ("dome", {"agent": "dome", "since": 0, "up": False, "missing": 5, "dome": "x", "events": [1]}, r"^dome .* up "),
    ],
)
def test_status_of_what_is_no_broker_and_no_guardian(
    observatory: Path, who: str, said: dict[str, Any], shown: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        answer = encode_frame(Frame(status=said))
        if who == "guardian":
            answer = f"GUARDIAN 1 x\n{json.dumps(said)}\n".encode()
        threading.Thread(target=answer_once, args=(there, answer)).start()
        text = observatory.read_text()
        observatory.write_text(re.sub(rf"(\[{who}\][^\[]*?port = )\d+", rf"\g<1>{there.getsockname()[1]}", text))
        result = run("status", "--config", observatory)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert re.search(shown, result.stdout, re.MULTILINE), result.stdout
    assert result.stdout.replace("\n", "").isprintable()


def test_broker_status_of_what_is_no_broker(observatory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        threading.Thread(target=answer_once, args=(there, encode_frame(Frame(status={"up": True})))).start()
        text = observatory.read_text()
        observatory.write_text(re.sub(r"(\[broker\][^\[]*?port = )\d+", rf"\g<1>{there.getsockname()[1]}", text))
        result = run("broker", "status", "--config", observatory)
    assert result.exit_code == 1
    assert "what answers there is not a broker: Object missing required field `since`" in result.stderr


def answer_once(server: socket.socket, answer: bytes) -> None:
    with server.accept()[0] as connection:
        connection.recv(4096)
        connection.sendall(answer)


def test_check_asks_for_site_and_rules_where_they_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "pyros.ini"
    file.write_text("[mine]\nport = 5003\n")
    result = run("check", "--config", file)
    assert result.exit_code == 0
    assert "of a program of its own" in result.stdout
    assert "none is named" in result.stdout
    file.write_text("[mine]\nport = 5003\n[scheduler]\nport = 5004\n[alert_manager]\nport = 5005\n")
    result = run("check", "--config", file)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"pyros: {file}: [observatory] {key}: missing; [{who}] needs it"
        for key, who in (("site", "scheduler"), ("site", "alert_manager"), ("alert_rules", "alert_manager"))
    ]


def test_status_tells_silence_from_absence(observatory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(reason: str) -> list[dict[str, Any]]:
        return [
            {"agent": "dome", "address": "127.0.0.1:5008", "up": False, "reason": "timed out"},
            {"agent": "scheduler", "address": "127.0.0.1:5002", "up": False, "reason": reason},
        ]

    monkeypatch.setattr("pyros.cli.status.ask_all", lambda *_: answers("Connection refused"))
    result = run("status", "--config", observatory)
    assert result.exit_code == 1
    assert "Not running: scheduler." in result.stdout
    assert "No answer that helps: dome. " in result.stdout
    monkeypatch.setattr("pyros.cli.status.ask_all", lambda *_: answers("timed out"))
    shown = run("status", "--config", observatory).stdout
    assert "No answer that helps: dome, scheduler. " in shown
    assert "start it" not in shown


def test_status_shows_the_alarms_that_monitoring_has_kept(observatory: Path, config: Config) -> None:
    journal = Journal(config.journal("monitoring"), durable=False)
    alarm = StandingAlarm("dome", "does not close", "THE DOME DOES NOT CLOSE: press the red button", 1774051200.0)
    effects = Effects()
    effects.state = msgspec.json.encode(MonitoringState(alarms=[alarm]))
    journal.commit(effects)
    journal.close()
    result = run("status", "--config", observatory)
    assert result.stdout.startswith("ALARM of dome since 2026-03-21 00:00:00: THE DOME DOES NOT CLOSE: press the red")
    first = json.loads(run("status", "--json", "--config", observatory).stdout.splitlines()[0])
    assert [alarm["key"] for alarm in first["alarms"]] == ["does not close"]


def test_send_to_whom_is_not_there(observatory: Path) -> None:
    fails(
        ["send", "scheduler", "Plan again", "--config", observatory],
        "agent 'scheduler' at 127.0.0.1:",
        "is it running?",
    )
    fails(["send", "gardener", "Mow", "--config", observatory], "'gardener': no such section")


def test_send_refuses_a_payload_that_does_not_fit(observatory: Path) -> None:
    fails(["send", "dome", "Keep open", "--payload", '{"seconds": -1}', "--config", observatory], "$.seconds", code=2)


def test_alert_without_broker_or_packet(observatory: Path, tmp_path: Path) -> None:
    template = observatory.parent / "observatory" / "demo-alert.xml"
    packet = tmp_path / "alert.xml"
    packet.write_text(template.read_text().replace("$ivorn", IVORN))
    for file, said in (
        (tmp_path / "none.xml", "none.xml: cannot be read: No such file"),
        (observatory, "pyros_agent_config.ini: neither XML nor JSON"),
        (template, "Connection refused; start the observatory first: pyros run"),
        (packet, "Connection refused; start the observatory first: pyros run"),
    ):
        result = run("alert", file, "--config", observatory)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
        assert said in result.stderr
    text = observatory.read_text()
    observatory.write_text(text[: text.index("[broker]")] + text[text.index("[alert_manager]") :])
    fails(["alert", packet, "--config", observatory], "[broker]: the section is missing")


# messages ------------------------------------------------------------------------------------------------------------


def test_messages_of_agents_that_never_ran(observatory: Path) -> None:
    assert run("messages", "list", "--config", observatory).stdout == "no messages\n"
    assert run("messages", "failed", "--config", observatory).stdout == "no failed messages\n"
    fails(["messages", "list", "scheduler", "--config", observatory], "the agent has not run here yet")
    assert "no such section" in run("messages", "list", "gardener", "--config", observatory).stderr


def test_messages_are_listed_in_order_of_time(observatory: Path, write: Any) -> None:
    write("scheduler", "Second", {"a": 1}, sent=20.0, sender="majordome")
    write("majordome", "First", sent=10.0)
    write("majordome", "Third", sent=30.0)
    table = run("messages", "list", "--config", observatory).stdout
    assert re.search(r"First.*\n.*Second +majordome +1970-01-01 00:00:20 +\{\"a\":1\}\n.*Third", table)
    assert "First" not in run("messages", "list", "--last", "1", "--config", observatory).stdout
    lines = run("messages", "list", "scheduler", "--json", "--config", observatory).stdout.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == {
        "agent": "scheduler", "number": 1, "direction": "in", "name": "Second", "other": "majordome", "sent": 20.0,
        "taken": 20.001, "payload": {"a": 1}, "error": None,
    }  # fmt: skip


def test_a_damaged_journal_is_told_beside_the_messages_of_others(observatory: Path, write: Any) -> None:
    write("majordome", "First", sent=10.0)
    damaged = configuration.load(observatory).journal("scheduler")
    damaged.write_bytes(b"no database" * 100)
    done = run("messages", "list", "--config", observatory)
    assert (done.exit_code, "First" in done.stdout) == (0, True)
    assert f"{damaged}: cannot read the journal" in done.stderr
    for command in (["messages", "list", "scheduler"], ["request", "list"]):
        fails([*command, "--config", observatory], f"{damaged}: cannot read the journal")


def test_failed_messages_and_refused_ones(observatory: Path, write: Any, write_refused: Any) -> None:
    write("scheduler", "Fine", sent=10.0)
    write("scheduler", "Bad", sent=20.0, error="Traceback (most recent call last):\n  in x\nKeyError: 'x'\n")
    write_refused("majordome", "dome", "Dance", "dome takes no message 'Dance'")
    result = run("messages", "failed", "--config", observatory)
    assert result.exit_code == 0
    assert "Fine" not in result.stdout
    assert re.search(r"scheduler +2 +in +Bad +x .*KeyError: 'x'", result.stdout)
    assert re.search(r"majordome +1 +out +Dance +dome .*takes no message", result.stdout)
    assert "in x" not in result.stdout
    assert "\n  in x\n" in run("messages", "failed", "--traceback", "--config", observatory).stdout
    assert run("messages", "failed", "dome", "--config", observatory).exit_code == 1


def test_retry_of_what_cannot_be_retried(observatory: Path, write: Any) -> None:
    write("scheduler", "Fine", sent=10.0)
    write("scheduler", "Bad", sent=20.0, error="KeyError: 'x'")
    fails(
        ["messages", "retry", "scheduler", "1", "--config", observatory],
        "has no failed message 1; pyros messages failed scheduler shows them",
    )
    fails(
        ["messages", "retry", "scheduler", "2", "--config", observatory],
        "can only be retried by a running agent: pyros run",
    )


def test_check_reads_certificates_and_filters(observatory: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=5))
    certificate, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    plain = observatory.read_text()
    tls = f"[broker tls]\nreceiver_port = 8198\ncertificate = {certificate}\nkey = {key}\n"
    observatory.write_text(plain + tls)
    result = run("check", "--config", observatory)
    assert result.exit_code == 0, result.stderr
    assert "with TLS" in result.stdout
    assert "get a new one" in result.stderr.replace("\n", " ")
    key.write_text(certificate.read_text())
    observatory.write_text(f"{plain}{tls}[remote a]\naddress = a.example.org\nfilters = //Param[\n")
    result = run("check", "--config", observatory)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert f"[broker tls] key: {key} holds no private key without a passphrase" in said
    assert "[remote a] filters: not an XPath (Invalid expression): //Param[" in said
