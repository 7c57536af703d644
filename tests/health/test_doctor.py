"""Each fault is named by exactly its check, by the same verdict in every form; others' mistakes hold nothing up."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from pyros import backup, health, views
from pyros import config as configuration
from pyros.agents.monitoring import Link, PowerWord, StandingAlarm
from pyros.agents.night_table import State
from pyros.agents.safety_rules import Broken
from pyros.errors import PyrosError
from pyros.health import HealthCheck, Observatory
from pyros.health.checks import agents, computer, night
from pyros.health.report import EXIT_CODES, Report, health_json, nagios
from pyros.health.running import look
from pyros.hold import Holds
from pyros.jobs import ledger
from pyros.jobs.ledger import JobEnd
from pyros.journal import Effects, Outgoing
from pyros.messages import PowerReading, WeatherReading
from pyros.planning.visibility import place_overhead
from pyros.site import Site
from pyros.time_server import ClockOffset
from tests.cli.conftest import run
from tests.conftest import free_port, wait_until
from tests.health.conftest import make_old
from tests.health.rig import SITE, HealthRig
from tests.views.written import write

Fault = Callable[[HealthRig], Any]
DAY = 86400.0


def _monitoring(rig: HealthRig, **values: Any) -> None:
    rig.monitoring = msgspec.structs.replace(rig.monitoring, **values)
    rig.save()


def _telemetry(rig: HealthRig, name: str, **values: Any) -> None:
    rig.monitoring.telemetry[name] = msgspec.structs.replace(rig.monitoring.telemetry[name], **values)
    rig.save()


def _majordome(rig: HealthRig, **values: Any) -> None:
    rig.majordome = msgspec.structs.replace(rig.majordome, **values)
    rig.save()


def _says(rig: HealthRig, name: str, **values: Any) -> None:
    said = rig.guardian if name == "guardian" else rig.said[name]
    said |= values
    rig.answer()


def _image(rig: HealthRig, **values: Any) -> None:
    assert rig.monitoring.last_image is not None
    _monitoring(rig, last_image=msgspec.structs.replace(rig.monitoring.last_image, **values))


def _disconnected(rig: HealthRig) -> None:
    rig.monitoring.links["dome"] = Link(False, "no answer", rig.now)
    rig.save()
    write(rig.journals["dome"], {"connected": False})


def _frozen(rig: HealthRig) -> None:
    _monitoring(rig, broken={"frozen": Broken("the sensor for wind has said 2 for 9999 s")}, safe=False)


def _old_backup(rig: HealthRig) -> None:
    folder, _ = backup.back_up(rig.config, rig.config.data / backup.FOLDER, rig.now - 3 * DAY)
    make_old(folder / backup.MANIFEST, 3)


def _hold(rig: HealthRig) -> None:
    class Earlier:
        def time(self) -> float:
            return rig.now - 5 * 3600

        def monotonic(self) -> float:
            return 0.0

    Holds(rig.config.data, Earlier()).set("Anna", "wasps")  # type: ignore[arg-type]


def _ini(rig: HealthRig, old: str, new: str) -> None:
    text = rig.file.read_text()
    assert old in text
    rig.file.write_text(text.replace(old, new))


def _lines(rig: HealthRig, old: str, new: str = "") -> None:
    """Replace what a regular expression finds in the configuration."""
    text, count = re.subn(old, new, rig.file.read_text())
    assert count == 1
    rig.file.write_text(text)


def _deaf_broker(rig: HealthRig) -> None:
    """Let the broker say nothing, and have no port for authors."""
    rig.ports.says.pop(rig.port["broker"])
    _lines(rig, r"receiver_port = \d+", f"receiver_port = {free_port()}")


def _send(rig: HealthRig, count: int, refused: str = "") -> None:
    """Let the scheduler have so many messages for the majordome, which wait, or are refused for a reason."""
    effects = Effects()
    effects.outgoing = [Outgoing("majordome", n + 1, f"m{n}", "A message", rig.now, b"{}") for n in range(count)]
    rig.journals["scheduler"].commit(effects)
    if refused:
        effects = Effects()
        effects.refused = [(refused, "majordome", n + 1) for n in range(count)]
        rig.journals["scheduler"].commit(effects)


def _full_night(rig: HealthRig) -> None:
    """Give one night's images a file that is larger than any disk has free, all of it a hole."""
    night = rig.config.data / "images" / "2026-03-20"
    night.mkdir(parents=True)
    with (night / "0001.fits").open("wb") as file:
        file.truncate(8 * 10**12)


def _failed_job(rig: HealthRig) -> None:
    rig.add_job(rig.now - 60)
    write(rig.journals["jobs"], also=[lambda db: ledger.look(db, rig.now, 1)])
    write(rig.journals["jobs"], also=[lambda db: ledger.end(db, "j1", 1, JobEnd(code=3), rig.now)])


def _low(rig: HealthRig) -> None:
    """Let the telescope track what is below the horizon: the site's is at -5 degrees all around."""
    ra, dec = place_overhead(Site.load(rig.site), datetime.fromtimestamp(rig.now, UTC), -6.0, 90.0)
    _telemetry(rig, "telescope", state="tracking", values={"ra": ra, "dec": dec})


def _certificate(rig: HealthRig, days: float) -> None:
    ends = datetime.now(UTC) + timedelta(days=days)
    issued = trustme.CA().issue_cert("127.0.0.1", not_before=ends - timedelta(days=90), not_after=ends)
    issued.cert_chain_pems[0].write_to_path(rig.folder / "console.pem")
    issued.private_key_pem.write_to_path(rig.folder / "console.key")
    with rig.file.open("a") as file:
        file.write(f"[console]\nport = {free_port()}\nrun = no\ncertificate = console.pem\nkey = console.key\n")


FAULTS: dict[str, tuple[str, Fault]] = {
    "agents.running": ("fail", lambda rig: rig.stop("scheduler")),
    "agents.answering": ("fail", lambda rig: rig.ports.says.pop(rig.port["scheduler"])),
    "agents.hanging": ("fail", lambda rig: _says(rig, "camera", handling={"message": "Expose", "seconds": 60.0})),
    "agents.forgetting": ("warn", lambda rig: _says(rig, "scheduler", forgotten={"requests": 3})),
    "guardian.running": ("fail", lambda rig: rig.ports.says.pop(rig.port["guardian"])),
    "guardian.beat": ("fail", lambda rig: _says(rig, "guardian", beat=90.0)),
    "queues.failed": ("warn", lambda rig: rig.fail_message("camera")),
    "journals.readable": ("fail", lambda rig: write(rig.journals["majordome"], {"focused": "never"})),
    "night.fault": ("fail", lambda rig: _majordome(rig, state=State.FAULT)),
    "night.alarms": ("fail", lambda rig: _monitoring(rig, alarms=[StandingAlarm("dome", "shut", "it jams", rig.now)])),
    "night.hold": ("warn", _hold),
    "weather.fresh": ("fail", lambda rig: _telemetry(rig, "weather", time=rig.now - 900)),
    "weather.plausible": ("fail", lambda rig: _monitoring(
        rig, last=WeatherReading(temperature=8.0, humidity=-999.0, wind=2.0, rain=False))),
    "weather.varying": ("fail", _frozen),
    "safety.released": ("fail", lambda rig: _monitoring(rig, shut=True, safe=False)),
    "safety.known": ("fail", lambda rig: _monitoring(rig, safe=None)),
    "devices.connected": ("fail", _disconnected),
    "devices.telling": ("warn", lambda rig: _telemetry(rig, "telescope", time=rig.now - 900)),
    "camera.temperature": ("warn", lambda rig: _telemetry(
        rig, "camera", values={"temperature": 3.0, "target": -10.0, "power": 100.0})),
    "focus.recent": ("warn", lambda rig: _majordome(rig, focused=rig.now - DAY)),
    "images.measured": ("warn", lambda rig: _image(rig, sources=0)),
    "images.sharp": ("warn", lambda rig: _image(rig, fwhm=11.0)),
    "masters.young": ("warn", lambda rig: make_old(rig.folder / "masters" / "bias.fits", 90)),
    "sources.heard": ("fail", lambda rig: _monitoring(
        rig, alert_sources={"kafka gcn": Link(False, "silent", rig.now)})),
    "alert_rules.readable": ("fail", lambda rig: rig.rules.write_text("rules: [")),
    "archive.behind": ("warn", lambda rig: rig.add_event(rig.now - 3600)),
    "jobs.moving": ("warn", lambda rig: rig.add_job(rig.now - 3600)),
    "disk.nights": ("warn", _full_night),
    "disk.images": ("warn", lambda rig: _ini(rig, "disk_images = 0.001", "disk_images = 1e9")),
    "secrets.key": ("fail", lambda rig: rig.config.key_file.chmod(0o644)),
    "backup.recent": ("warn", _old_backup),
    "broker.listening": ("fail", _deaf_broker),
    "guardian.present": ("warn", lambda rig: _lines(rig, r"\[guardian\]\nport = \d+\n")),
    "queues.waiting": ("warn", lambda rig: _send(rig, 201)),
    "queues.refused": ("warn", lambda rig: _send(rig, 1, "no such message")),
    "alert_rules.sensible": ("warn", lambda rig: rig.rules.write_text(RULES)),
    "disk.dome": ("fail", lambda rig: _lines(rig, "disk_dome = 0.0001", "disk_dome = 1e9")),
    "clock.real": ("fail", lambda rig: _ini(rig, "clock = real", "clock = night")),
    "certificates.valid": ("fail", lambda rig: _certificate(rig, -1)),
    "certificates.soon": ("warn", lambda rig: _certificate(rig, 20)),
    "devices.errors": ("warn", lambda rig: _telemetry(rig, "telescope", state="error")),
    "images.kept": ("warn", lambda rig: (rig.folder / "image.fits").unlink()),
    "jobs.succeeding": ("warn", _failed_job),
    "site.horizon": ("warn", _low),
    "site.horizon_named": ("warn", lambda rig: rig.site.write_text(SITE.read_text())),
    "safety.mains": ("warn", lambda rig: _monitoring(rig, power=PowerWord(PowerReading(on_mains=False, charge=80.0)))),
    "room.heater": ("fail", lambda rig: (rig.folder / "heater").write_text("off")),
    "room.light": ("warn", lambda rig: (rig.folder / "light").write_text("on")),
    "mirror.clean": ("fail", lambda rig: (rig.folder / "dust").touch()),
}  # fmt: skip


OF_ONE = (
    "agents.running", "agents.answering", "guardian.running", "guardian.beat", "night.fault", "night.alarms",
    "weather.fresh", "weather.varying", "safety.released", "safety.known", "devices.connected", "devices.telling",
    "camera.temperature", "focus.recent", "images.sharp", "site.horizon", "safety.mains", "journals.readable",
)  # fmt: skip
"""Faults of one of two telescopes, or of what they share."""
_OF_EACH = ("guardian", "night", "safety", "camera", "focus", "images", "site")


RULES = """
rules:
  - name: misspelt
    when:
      stream: swfit
    observe:
      - {filter: r, seconds: 10, count: 1}
"""


class Outcomes:
    """A plugin that keeps which tests of a run of pytest have failed, by the checks' names."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Any:
        outcome = yield
        if outcome.get_result().failed:
            self.failed.add(item.parent.obj(item.name).check_name)


def named(found: dict[str, str]) -> dict[str, str]:
    """Return the checks that are not well, without the clock: this computer's is not the test's."""
    return {name: verdict for name, verdict in found.items()
            if verdict not in ("pass", "skip") and name != "clock.synchronised"}  # fmt: skip


def by_json(body: str | bytes) -> dict[str, str]:
    found = json.loads(body)
    return named({name.replace(":", "."): each[0]["verdict"] for name, each in found["checks"].items()})


def by_nagios(text: str) -> dict[str, str]:
    words = {"WARNING": "warn", "CRITICAL": "fail", "UNKNOWN": "unknown"}
    lines = [line.split(": ") for line in text.splitlines()[1:]]
    return named({line[1]: words[line[0]] for line in lines})


def by_pytest(rig: HealthRig, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run the checks as tests, in this process."""
    monkeypatch.setenv(configuration.ENVIRONMENT, str(rig.file))
    outcomes = Outcomes()
    sys.modules.pop("pyros.health.all_checks", None)
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler", "-p", "no:terminal",
               "-c", "/dev/null", "--rootdir", str(rig.folder), "--import-mode=importlib"]  # fmt: skip
    pytest.main([*options, all_checks_file()], plugins=[outcomes])
    return outcomes.failed - {"clock.synchronised"}


def all_checks_file() -> str:
    return str(Path(health.__file__).with_name("all_checks.py"))


def report_of(rig: HealthRig) -> Report:
    with closing(views.observed(rig.file)) as observed:
        return look(observed)


def test_a_well_observatory_has_no_fault(rig: HealthRig) -> None:
    report = report_of(rig)
    assert by_json(health_json(report)) == {}
    assert len(report.checks) >= 50


@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_is_named_by_exactly_its_check(rig: HealthRig, check: str) -> None:
    verdict, fault = FAULTS[check]
    fault(rig)
    report = report_of(rig)
    body = json.loads(health_json(report))
    assert by_json(health_json(report)) == by_nagios(nagios(report)) == {check: verdict}
    assert (report.http_status == 503) == (body["status"] == "fail") == (verdict == "fail")


@pytest.fixture
def two(rig_folder: Path) -> Iterator[HealthRig]:
    made = HealthRig(rig_folder, "west", "east")
    yield made
    made.close()


def test_two_telescopes_are_well(two: HealthRig) -> None:
    report = report_of(two)
    assert by_json(health_json(report)) == {}
    names = {check.name for check in report.checks}
    assert {"camera east.temperature", "camera west.temperature", "guardian west.beat", "weather.fresh"} < names
    assert not {"camera.temperature", "night.fault", "weather east.fresh"} & names


@pytest.mark.parametrize("check", OF_ONE)
def test_a_fault_of_one_of_two_telescopes_is_named_by_exactly_its_check(two: HealthRig, check: str) -> None:
    verdict, fault = FAULTS[check]
    fault(two)
    group, _, test = check.partition(".")
    report = report_of(two)
    assert by_json(health_json(report)) == {f"{group}{' west' * (group in _OF_EACH)}.{test}": verdict}
    if check.startswith(("agents", "devices", "journals")):
        (bad,) = [each for each in report.bad if each.name == check]
        assert " west" in bad.text
        assert " east" not in bad.text


@pytest.mark.parametrize("check", list(FAULTS)[::3])
def test_pytest_and_command_say_the_same(rig: HealthRig, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, fault = FAULTS[check]
    fault(rig)
    assert by_pytest(rig, monkeypatch) == {check}
    result = run("doctor", "--nagios", "--config", rig.file)
    assert by_nagios(result.output) == {check: verdict}
    assert result.exit_code == EXIT_CODES[verdict]  # type: ignore[index]


def _full_disk(patch: pytest.MonkeyPatch) -> None:
    full = os.statvfs("/")
    patch.setattr(os, "statvfs", lambda path: os.statvfs_result((*full[:7], 100, *full[8:])))


def _no_table(patch: pytest.MonkeyPatch) -> None:
    def ended(now: float) -> None:
        raise PyrosError("the table ends before the night does")

    patch.setattr(night, "check_table", ended)


@pytest.mark.parametrize(
    ("check", "verdict", "fault"),
    [
        ("disk.files", "fail", _full_disk),
        ("clock.sane", "fail", lambda patch: patch.setattr(computer, "system_time", lambda: 86400.0)),
        ("clock.synchronised", "warn", lambda patch: patch.setattr(computer, "clock_synchronised", lambda: False)),
        ("clock.offset", "warn", lambda patch: patch.setattr(computer, "clock_offset", lambda: ClockOffset(-2.5, "x"))),
        ("journals.size", "warn", lambda patch: patch.setattr(agents, "MAX_WAL_GB", -1.0)),
        ("earth.table", "warn", _no_table),
    ],
)
def test_a_fault_of_the_computer_is_named_by_exactly_its_check(
    rig: HealthRig,
    check: str,
    verdict: str,
    fault: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    found = {each.name: each.verdict for each in report_of(rig).checks if each.verdict not in ("pass", "skip")}
    found.setdefault("clock.synchronised", "warn")
    assert found == {check: verdict, "clock.synchronised": "warn"}


def test_every_check_has_a_fault_that_it_names(rig: HealthRig) -> None:
    """Nobody adds a check of which it isn't known whether it can fail."""
    names = {each.name for each in report_of(rig).checks}
    assert names - set(FAULTS) == {
        "disk.files", "clock.sane", "clock.synchronised", "clock.offset", "journals.size", "earth.table",
    }  # fmt: skip


HANGS = """
from pathlib import Path
from pyros.health import HealthCheck

class Slow(HealthCheck):
    timeout = 0.2

    def test_for_ever(self):
        self.assertEqual(Path(PIPE).read_text(), "go on")

class Quick(HealthCheck):
    def test_bug(self):
        raise KeyError("no such thing")
"""


def test_a_check_that_hangs_holds_no_other(rig: HealthRig) -> None:
    pipe = rig.folder / "pipe"
    os.mkfifo(pipe)
    (rig.folder / "site_health.py").write_text(HANGS.replace("PIPE", repr(str(pipe))))
    for text in ("has not ended within 0.2 s", "still hangs"):
        report = report_of(rig)
        found = {check.name: check for check in report.bad}
        assert found["slow.for_ever"].verdict == "fail"
        assert text in found["slow.for_ever"].text
        assert found["quick.bug"].verdict == "unknown"
        assert "no such thing" in found["quick.bug"].text
        assert "site_health.py, line 13" in found["quick.bug"].text
        assert len(report.checks) >= 50
    pipe.write_text("go on")
    wait_until(lambda: not any(each.name == "check slow.for_ever" for each in threading.enumerate()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def x(:", "line 1"),
        ("import no_such_module", "no_such_module"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import unittest\nclass A(unittest.TestCase):\n    def test_x(self): ...", "HealthCheck"),
        ("from pyros.health import HealthCheck\nclass A(HealthCheck):\n    level = 'bad'", "level"),
        ("from pyros.health import HealthCheck\nclass A(HealthCheck):\n    timeout = -1", "timeout"),
    ],
)
def test_a_mistake_in_a_file_is_told(rig: HealthRig, text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (rig.folder / "site_health.py").write_text(text)
    report = report_of(rig)
    [bad] = [check for check in report.bad if check.name != "clock.synchronised"]
    assert (bad.name, bad.verdict) == ("site_health", "unknown")
    assert words in bad.text
    assert "site_health.py" in bad.text or words == "no_such_module"
    assert report.exit_code == 3
    if words == "line 1":
        assert by_pytest(rig, monkeypatch) == {"loading.files"}


def test_assertions_tell_what_they_found(rig: HealthRig) -> None:
    class Own(HealthCheck):
        def test_all(self) -> None: ...

    check = Own("test_all")
    observed = views.observed(rig.file)
    check.observatory = Observatory(observed)
    check.assert_free(rig.folder, 0.001)
    check.assert_port("127.0.0.1", rig.port["broker"])
    check.assert_fresh(rig.file, 3600)
    for fails, words in (
        (lambda: check.assert_free(rig.folder, 1e9), "are needed"),
        (lambda: check.assert_free(rig.folder / "not" / "mounted", 0.001), "no such folder"),
        (lambda: check.assert_port("127.0.0.1", free_port()), "accepts no connection"),
        (lambda: check.assert_fresh(rig.now - 7200, 3600, "the log"), "the log is 2 h old"),
        (lambda: check.assert_fresh(rig.folder / "nothing", 3600), "there is none"),
        (lambda: check.assert_http_response(f"http://127.0.0.1:{free_port()}/x?token=secret"), "/x cannot be asked"),
    ):
        with pytest.raises(AssertionError, match=words) as caught:
            fails()
        assert "secret" not in str(caught.value)
    observed.close()


def test_a_configuration_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    result = run("doctor", "--nagios", "--config", tmp_path / "none.ini")
    assert result.exit_code == 3
    assert result.output.startswith("PYROS UNKNOWN - ")
