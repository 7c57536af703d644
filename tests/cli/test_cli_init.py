"""``pyros init``: the files of an observatory of one's own."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from pyros import config as configuration
from pyros.alerts.rules.rules import Rules
from pyros.cli.init import init as command
from pyros.cli.init import questions
from pyros.cli.init.plan import RULES
from pyros.cli.init.properties import DeviceProperties, with_filters
from pyros.cli.init.template import IniTemplate, set_yaml
from pyros.cli.instruments.discover import FoundDevice
from pyros.errors import PyrosError
from pyros.site import Site
from tests.cli.conftest import fails, run

PLACE = ("--latitude", "-29.26", "--longitude", "-70.73", "--elevation", "2400")
REAL = (
    FoundDevice("telescope", "indi", "EQMod Mount", "tcp:10.0.0.2:7624/EQMod Mount"),
    FoundDevice("camera", "alpaca", "ASI 1600", "http://10.0.0.3:11111/camera/0"),
    FoundDevice("camera", "alpaca", "Guider", "http://10.0.0.3:11111/camera/1"),
    FoundDevice("filter_wheel", "alpaca", "ASI 1600", "http://10.0.0.3:11111/camera/0"),
    FoundDevice("filter_wheel", "indi", "EFW", "tcp:10.0.0.2:7624/EFW"),
    FoundDevice("focuser", "indi", "Moonlite", "tcp:10.0.0.2:7624/Moonlite"),
)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ask_devices", lambda *_: list(REAL))
    monkeypatch.setattr(questions, "listens_there", lambda _: False)
    monkeypatch.setattr(questions, "ask_properties", lambda _: DeviceProperties())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_simulators_alone_need_no_answer(tmp_path: Path) -> None:
    folder = tmp_path / "my observatory"
    result = run("init", folder, "--yes", "--simulators")
    assert result.exit_code == 0, result.output
    assert "No mistake found. Start it: pyros run" in result.stdout
    config = configuration.load(folder / configuration.FILE_NAME)
    assert (config.name, config.clock, len(config.simulators)) == ("my observatory", "night", 6)
    assert all(path.is_relative_to(folder) for path in (config.site, config.alert_rules, *config.simulators))
    assert config.broker is not None
    assert config.broker.ivo == "ivo://my-observatory.observatory/pyros"
    assert [mode(path) for path in (folder, folder / "observatory", config.data)] == [0o750, 0o750, 0o700]
    assert mode(config.key_file) == 0o600
    assert [job.name for job in config.jobs] == ["masters", "backup", "index", "earth", "tidy"]
    assert {job.queue for job in config.jobs} == {"jobs"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "observatory").mkdir()
    own = tmp_path / "observatory" / "site.yaml"
    own.write_text("mine")
    fails(["init", tmp_path, "--yes", "--simulators"], f"{own}: exists already")
    assert own.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["observatory"]
    own.unlink()
    assert run("init", tmp_path, "--yes", "--simulators").exit_code == 0
    fails(["init", tmp_path, "--yes"], "pyros_agent_config.ini: exists already")


@pytest.mark.usefixtures("devices")
def test_devices_that_answer_are_used_and_the_others_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "south"
    result = run("init", folder, "--yes", *PLACE, "--simulate", "weather", "--remote", "10.0.0.9", "--remote", "b:8100")
    assert result.exit_code == 0, result.output
    assert "another camera, not taken: Guider (http://10.0.0.3:11111/camera/1)" in result.stdout
    config = configuration.load(folder / configuration.FILE_NAME)
    assert {name: (agent.driver, agent.address) for name, agent in config.agents.items() if agent.driver} == {
        "telescope": ("indi", "tcp:10.0.0.2:7624/EQMod Mount"),
        "camera": ("alpaca", "http://10.0.0.3:11111/camera/0"),
        "filter_wheel": ("indi", "tcp:10.0.0.2:7624/EFW"),
        "focuser": ("indi", "tcp:10.0.0.2:7624/Moonlite"),
        "weather": ("native", "tcp:127.0.0.1:6013"),
    }
    assert (config.clock, config.guardian) == ("real", None)
    assert [path.name for path in config.simulators] == ["weather.yaml"]
    assert config.broker is not None
    assert [remote.where for remote in config.broker.remotes] == ["10.0.0.9:8099", "b:8100"]
    site = Site.load(config.site)
    assert (site.name, site.latitude, site.longitude, site.elevation) == ("south", -29.26, -70.73, 2400)


def test_what_a_station_does_not_measure_stands_in_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    station = FoundDevice("weather", "indi", "Davis", "tcp:10.0.0.2:7624/Davis")
    monkeypatch.setattr(questions, "ask_devices", lambda *_: [station])
    monkeypatch.setattr(questions, "ask_properties", lambda _: DeviceProperties(missing=("humidity", "cloud")))
    how = ["--yes", *PLACE, "--indi", "10.0.0.2"]
    fails(
        ["init", tmp_path / "o", *how, "--without", "clouds"], "--without clouds: a weather station is asked for rain"
    )
    assert run("init", tmp_path / "o", *how, "--without", "humidity,cloud").exit_code == 0
    config = configuration.load(tmp_path / "o" / configuration.FILE_NAME)
    assert config.agents["weather"].address == "tcp:10.0.0.2:7624/Davis?without=humidity,cloud"
    monkeypatch.setattr(questions, "ask_properties", lambda _: DeviceProperties())
    assert run("init", tmp_path / "p", *how).exit_code == 0


def test_what_a_station_does_not_tell_must_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ask_devices", lambda *_: [FoundDevice("weather", "indi", "Davis", "tcp:h:7624/D")])
    monkeypatch.setattr(questions, "ask_properties", lambda _: DeviceProperties(missing=("humidity", "cloud")))
    how = ["--yes", *PLACE, "--indi", "10.0.0.2"]
    for given in ([], ["--without", "cloud"]):
        fails(["init", tmp_path / "o", *how, *given], "Davis tells no humidity and no cloud. If it has no sensor for")
    assert run("init", tmp_path / "o", *how, "--without", "cloud,humidity").exit_code == 0


def test_the_rules_ask_for_the_wheels_filters(tmp_path: Path, devices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("Red", "Green", "H Alpha", "Luminance")
    monkeypatch.setattr(questions, "ask_properties", lambda _: DeviceProperties(filters=names))
    result = run("init", tmp_path / "o", "--yes", *PLACE)
    assert "r is Red, i is Luminance" in result.stdout.replace("\n", " ")
    rules = Rules.load(tmp_path / "o" / RULES)
    used = {each.filter for rule in rules.rules for each in rule.exposures}
    assert used == {"Red", "Luminance"}


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (("U", "B", "V", "R", "I"), "r", "R"),
        (("Red", "Green"), "g", "Green"),
        (("Ha", "Clear"), "i", "Clear"),
        (("Filter 1", "Filter 2"), "r", "Filter 1"),
    ],
)
def test_a_filter_that_the_wheel_has_not(names: tuple[str, ...], wanted: str, found: str) -> None:
    text, changed = with_filters(f"observe: [{{filter: {wanted}, seconds: 1, count: 1}}]", names)
    assert changed == {wanted: found}
    assert yaml.safe_load(text)["observe"][0]["filter"] == found
    assert with_filters(text, names) == (text, {})


@pytest.mark.usefixtures("devices")
def test_real_devices_stand_somewhere(tmp_path: Path) -> None:
    fails(["init", tmp_path / "o", "--yes", "--latitude", "1"], "give --longitude, --elevation")
    fails(["init", tmp_path / "o", "--yes", *PLACE, "--latitude", "95"], "latitude: 95 is not from -90 to 90")
    fails(["init", tmp_path / "o", "--yes", *PLACE, "--simulate", "dom"], "--simulate dom: is no kind")
    fails(["init", tmp_path / "o", "--yes", *PLACE, "--rules", "grb"], "--rules grb: there is no such template")
    assert not (tmp_path / "o").exists()


def test_the_secret_of_gcn_is_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("very-secret\n")
    how = ["--yes", "--simulators", "--gcn-id", "my-client"]
    fails(["init", tmp_path / "o", *how], "--gcn-id needs --gcn-secret FILE")
    fails(["init", tmp_path / "o", *how, "--gcn-secret", tmp_path], "the secret cannot be read")
    result = run("init", tmp_path / "o", *how, "--gcn-secret", secret)
    assert result.exit_code == 0, result.output
    kept = tmp_path / "o" / "secrets" / "gcn"
    assert (kept.read_text(), mode(kept), mode(kept.parent)) == ("very-secret\n", 0o400, 0o700)
    broker = configuration.load(tmp_path / "o" / configuration.FILE_NAME).broker
    assert broker is not None
    (kafka,) = broker.kafka
    assert (kafka.user, kafka.secret, kafka.login) == ("my-client", f"file:{kept}", "oidc")
    assert kafka.topics == ("gcn.classic.voevent.*", "gcn.notices.*", "igwn.gwalert")
    assert "very-secret" not in result.output


@pytest.mark.usefixtures("devices")
def test_a_person_is_asked_for_what_no_option_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AskingQuestions(questions.Questions):
        def __init__(self, asking: bool) -> None:
            super().__init__(asking=True)

    monkeypatch.setattr(command, "Questions", AskingQuestions)
    answers = ["Mount Hill", "2", "1", "n", "y", "n", "abc", "10.5", "20", "300", "none", "me", "the-secret"]
    folder = tmp_path / "o"
    result = run("init", folder, stdin="".join(f"{each}\n" for each in answers).encode())
    assert result.exit_code == 0, result.output
    assert "'abc' is not a number" in result.stdout
    config = configuration.load(folder / configuration.FILE_NAME)
    assert config.agents["camera"].address.endswith("/camera/1")
    assert [path.stem for path in config.simulators] == ["weather"]
    assert (Site.load(config.site).name, Site.load(config.site).latitude) == ("Mount Hill", 10.5)
    assert (folder / "secrets" / "gcn").read_text() == "the-secret\n"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    fails(["init", file / "o", "--yes", "--simulators"], "name another folder")


# The template --------------------------------------------------------------------------------------------------------

INI = """; first
; second

[one]                    ; what it is
key = 1                  ; the key
                         ; goes on
many =                   ; several
    a
    b
; other = x              ; not in force
; [two]
; port = 1
; words =                ; a list
;     a
;     b
; more = 3
;
; about others
[three]
key = 3
; key2 = 4

[last]
key = 5
"""


def test_a_template_keeps_every_comment() -> None:
    ini = IniTemplate(INI)
    ini.set("one", "key", "x", "y")
    ini.set("one", "many", "c")
    ini.set("one", "other", "z")
    ini.enable("two", "port", "words")
    ini.enable("two", "port")
    ini.drop("three")
    ini.head("new")
    assert str(ini).splitlines() == [
        "; new", "", "[one]                    ; what it is", f"{'key =':44} ; the key",
        "                         ; goes on", "    x", "    y", f"{'many = c':44} ; several",
        f"{'other = z':44} ; not in force", "[two]", "port = 1", "words =                ; a list", "    a", "    b",
        "; more = 3", "", "; about others", "[last]", "key = 5",
    ]  # fmt: skip


def test_a_template_leaves_out_a_key_with_all_its_values() -> None:
    ini = IniTemplate(INI)
    ini.leave_out("one", "many")
    assert "; many =                   ; several\n;     a\n;     b\n; other" in str(ini)


def test_what_a_template_lacks_is_told() -> None:
    ini = IniTemplate(INI)
    for change in (
        lambda: ini.set("one", "none", "1"),
        lambda: ini.set("four", "key", "1"),
        lambda: ini.enable("four"),
    ):
        with pytest.raises(PyrosError, match="the demo's configuration has no"):
            change()
    with pytest.raises(PyrosError, match="has no key height"):
        set_yaml("# a\nname: b  # c\n", "x", height="1")
    assert set_yaml("# a\nname: b c   # d\n", "x", name='"e"') == '# x\nname: "e"   # d\n'
