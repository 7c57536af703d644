"""The configuration file: found, read into values, and every mistake told at once."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from pyros import config
from pyros.config import Address
from pyros.errors import ConfigError, UnknownAgent

OBSERVATORY = "[observatory]\nname = demo\nsite = site.yaml\nalert_rules = rules.yaml\n"


def write(folder: Path, text: str, name: str = config.FILE_NAME) -> Path:
    folder.mkdir(exist_ok=True)
    for other in ("site.yaml", "rules.yaml", "camera.yaml"):
        (folder / other).touch()
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    """Return the mistakes that are reported, without the file's name, which each must begin with."""
    file = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    assert all(problem.startswith(f"{file}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_a_whole_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        OBSERVATORY
        + """data = night ; beside this file
simulators = camera.yaml
clock = night
on_alarm = bin/call --who 'the observer'
[scheduler]
port = 5002
allow = 127.0.0.1 10.1.0.0/16 ::1
[telescope]
ip = 0.0.0.0
port = 5010
driver = native
address = tcp:127.0.0.1:6010
at = tls:dome.example.org
[mine]
ip = ::1
port = 5002
at = [2001:db8::1]:6002
app = my.agents
option_gain = 3
[broker]
receiver_port = 7098
ivo = ivo://my.observatory/broker
remotes = voevent.example.org other.example.org:9099
[monitoring]
port = 5006
max_wind = 12.5
""",
    )
    loaded = config.load(file)
    assert (loaded.path, loaded.name, loaded.clock) == (file, "demo", "night")
    assert loaded.data == tmp_path / "night"
    assert loaded.on_alarm == (str(tmp_path / "bin/call"), "--who", "the observer")
    assert loaded.site == tmp_path / "site.yaml"
    assert loaded.simulators == (tmp_path / "camera.yaml",)
    assert loaded.journal("mine") == tmp_path / "night" / "journals" / "mine.sqlite"
    scheduler = loaded.agent("scheduler")
    assert (scheduler.ip, scheduler.port, scheduler.app) == ("127.0.0.1", 5002, "pyros.agents.scheduler")
    assert scheduler.allow == (ip_network("127.0.0.1"), ip_network("10.1.0.0/16"), ip_network("::1"))
    telescope, mine = loaded.agent("telescope"), loaded.agent("mine")
    assert telescope.address == "tcp:127.0.0.1:6010"
    assert telescope.destination == Address("dome.example.org", 5010, True)
    assert (telescope.where, telescope.listens) == ("dome.example.org:5010", "0.0.0.0:5010")
    assert mine.where == "[2001:db8::1]:6002"
    assert scheduler.destination == Address("127.0.0.1", 5002)
    assert loaded.agent("mine").options == {"gain": "3"}
    assert (mine.listens, scheduler.where) == ("[::1]:5002", "127.0.0.1:5002")
    assert loaded.broker is not None
    assert loaded.broker.remotes == (
        config.RemoteConfig("voevent.example.org", 8099), config.RemoteConfig("other.example.org", 9099)
    )  # fmt: skip
    assert (loaded.broker.receiver_port, loaded.broker.broadcaster_port) == (7098, 8099)
    assert (loaded.limits.max_wind, loaded.limits.max_humidity) == (12.5, 90.0)


def test_tls_and_named_remotes(tmp_path: Path) -> None:
    text = """[broker]
ip = 127.0.0.1
remotes = plain.example.org [::1]:9099
[broker tls]
ip = 0.0.0.0
receiver_port = 8198
allow = 10.0.0.0/8
certificate = site.yaml
key = rules.yaml
client_ca = camera.yaml
[remote chime]
address = voevents.example.org:8099
tls = yes
ca = site.yaml
filters =
    //Param[@name="importance"]
    /*[@role="test"]
[scheduler]
port = 5002
"""
    broker = config.load(write(tmp_path, OBSERVATORY + text)).broker
    assert broker is not None
    assert broker.tls == config.TlsConfig(
        certificate=tmp_path / "site.yaml", key=tmp_path / "rules.yaml", client_ca=tmp_path / "camera.yaml",
        ip="0.0.0.0", receiver_port=8198, allow=(ip_network("10.0.0.0/8"),),
    )  # fmt: skip
    plain, local, chime = broker.remotes
    assert (plain.where, local.where, local.section) == ("plain.example.org:8099", "[::1]:9099", "broker")
    assert chime == config.RemoteConfig(
        "voevents.example.org", 8099, "chime", ('//Param[@name="importance"]', '/*[@role="test"]'), True,
        ca=tmp_path / "site.yaml",
    )  # fmt: skip


def test_mistakes_in_tls_and_remotes(tmp_path: Path) -> None:
    text = """[broker]
remotes = a.example.org a.example.org:8099 b.example.org/x
[broker tls]
certificate = nowhere.pem
colour = blue
[remote 1]
tls = perhaps
ca = site.yaml
certificate = site.yaml
[scheduler]
port = 5002
"""
    known = "allow, broadcaster_port, certificate, client_ca, ip, key, receiver_port"
    assert problems(tmp_path, OBSERVATORY + text) == [
        "[remote 1] section: is written [remote NAME]; a name is a letter, then letters, digits, _ and -",
        "[remote 1] address: missing",
        "[remote 1] tls: 'perhaps' is not one of: yes, no",
        "[remote 1] ca: means something only with tls = yes",
        "[remote 1] certificate: means something only with tls = yes",
        "[remote 1] key: missing; certificate needs it",
        "[broker] remotes: 'a.example.org a.example.org:8099 b.example.org/x' is not like host:port, or"
        " [IPv6 address]:port",
        "[broker tls] receiver_port: missing; give that one, broadcaster_port, or both",
        f"[broker tls] certificate: 'nowhere.pem' names no file ({tmp_path / 'nowhere.pem'})",
        "[broker tls] key: missing",
        f"[broker tls] colour: unknown key (known here: {known})",
    ]


def test_the_same_remote_twice(tmp_path: Path) -> None:
    text = "[broker]\nremotes = a.example.org\n[remote a]\naddress = a.example.org:8099\n[scheduler]\nport = 5002\n"
    assert problems(tmp_path, OBSERVATORY + text) == ["[broker] remotes: a.example.org:8099 is there twice"]


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, OBSERVATORY + "[scheduler]\nport = 5002\n"))
    assert loaded.data == tmp_path / "var"
    assert loaded.agent("scheduler").allow == (ip_network("127.0.0.0/8"), ip_network("::1"))
    assert (loaded.broker, loaded.simulators, loaded.clock) == (None, (), "real")


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """[observatory]
site = nowhere.yaml
alert_rules = rules.yaml
clock = fast
colour = red
[scheduler]
ip = localhost
port = 5002
allow = 127.0.0.1/8
prot = 5003
[majordome]
[camera]
port = 70000
driver = native
[mine]
port = five
[two-words]
port = 5009
app = x
[monitoring]
port = 5006
max_wind = strong
max_cloud = 0
[broker]
ivo = my broker
receiver_port = 5006
remotes = a.example:x
""",
    )
    expected = [
        "[observatory] site: 'nowhere.yaml' names no file (" + str(tmp_path / "nowhere.yaml") + ")",
        "[observatory] clock: 'fast' is not one of: real, night",
        "[observatory] colour: unknown key"
        " (known here: alert_rules, amqp, amqp_ca, amqp_password, archive, clock, data, group, key, name, on_alarm,"
        " simbad, simulators, site, targets, tls)",
        "[scheduler] ip: 'localhost' is not an IP address, like 127.0.0.1",
        "[scheduler] allow: '127.0.0.1/8' is not a list of networks, like 127.0.0.0/8 ::1"
        " (127.0.0.1/8 has host bits set)",
        "[scheduler] prot: unknown key"
        " (known here: address, allow, app, at, driver, ip, kind, listen, log, port, unit, option_...)",
        "[majordome] port: missing",
        "[camera] port: '70000' is not a port; give a whole number from 1 to 65535",
        "[camera] address: missing",
        "[mine] port: 'five' is not a port; give a whole number from 1 to 65535",
        "[two-words] section: an agent's name is a letter, then letters, digits and _;"
        " its unit follows after a blank (64 at most)",
        "[monitoring] max_wind: 'strong' is not a positive number",
        "[monitoring] max_cloud: '0' is not a positive number",
        "[broker] ivo: 'my broker' is not an IVOA identifier, like ivo://my.observatory/broker",
        "[broker] remotes: 'a.example:x' is not a port; give a whole number from 1 to 65535",
        "[broker] receiver_port: 5006 on 127.0.0.1 is already taken by [monitoring]",
    ]
    assert [line for line in expected if line not in found] == []
    assert [line for line in found if line not in expected] == []


def test_two_agents_on_one_port(tmp_path: Path) -> None:
    text = "[scheduler]\nport = 5002\n[majordome]\nport = 5002\n[mine]\nip = ::1\nport = 5002\napp = x\n"
    assert problems(tmp_path, OBSERVATORY + text) == [
        "[majordome] port: 5002 on 127.0.0.1 is already taken by [scheduler]"
    ]


@pytest.mark.parametrize(("all_addresses", "one"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_all_addresses_and_one_of_them_clash(tmp_path: Path, all_addresses: str, one: str) -> None:
    text = f"[scheduler]\nip = {all_addresses}\nport = 5002\n[majordome]\nip = {one}\nport = 5002\n"
    assert problems(tmp_path, OBSERVATORY + text) == [
        f"[majordome] port: 5002 on {one} is already taken by [scheduler]"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[scheduler]\nport = 1\n[scheduler]\nport = 2\n", "section 'scheduler' already exists"),
        ("[scheduler]\nport = 1\nport = 2\n", "option 'port' in section 'scheduler' already exists"),
        ("[scheduler\n", "[scheduler"),
        ("[scheduler]\nport\n", "port"),
    ],
)
def test_what_no_ini_file_may_have_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    found = problems(tmp_path, OBSERVATORY + text)
    assert len(found) == 1
    assert told in found[0]
    assert "line" in found[0]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    file.write_bytes(b"[observatory]\nname = \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"pyros_agent_config.ini: .*utf-8"):
        config.load(file)


def test_sections_that_must_be_there(tmp_path: Path) -> None:
    assert problems(tmp_path, OBSERVATORY) == ["no agent has a section, and there is no [broker]"]


def test_agents_with_ip_and_port_are_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "pyros.ini"
    file.write_text("[scheduler]\nip = 127.0.0.1\nport = 5002\n[mine]\nport = 5003\n")
    loaded = config.load(file)
    assert (loaded.name, loaded.data) == ("observatory", tmp_path / "var")
    assert (loaded.site, loaded.alert_rules) == (config.NOWHERE, config.NOWHERE)
    assert loaded.agent("mine").app == "", "a program of its own runs it"
    with pytest.raises(ConfigError, match=rf"{file}: \[observatory\] site: missing; \[dome\] needs it"):
        loaded.required("site", "[dome]")


def test_a_misspelt_agent_is_a_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, "[sheduler]\nport = 5002\n") == [
        "[sheduler] app: missing: name the module of this agent, unless [scheduler] is meant"
    ]


def test_a_shifted_clock_needs_a_site(tmp_path: Path) -> None:
    text = "[observatory]\nclock = night\n[scheduler]\nport = 5002\n"
    assert problems(tmp_path, text) == ["[observatory] site: missing; clock = night needs it"]


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, OBSERVATORY + "[scheduler]\nport = 5002\n"))
    with pytest.raises(UnknownAgent, match=rf"agent 'dome': no such section in {loaded.path} \(there are: scheduler\)"):
        loaded.agent("dome")


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, environment, here = (
        write(tmp_path / name, OBSERVATORY + "[scheduler]\nport = 5002\n") for name in ("given", "environment", "here")
    )
    monkeypatch.chdir(here.parent)
    monkeypatch.delenv(config.ENVIRONMENT, raising=False)
    assert config.find() == here
    monkeypatch.setenv(config.ENVIRONMENT, str(environment))
    assert config.find() == environment
    assert config.find(given) == given
    assert config.load(str(given)).path == given


def test_a_missing_file_says_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.ENVIRONMENT, raising=False)
    with pytest.raises(ConfigError, match=r"no such file \(looked for by the working directory\)"):
        config.load()
    monkeypatch.setenv(config.ENVIRONMENT, "elsewhere.ini")
    with pytest.raises(ConfigError, match=r"elsewhere.ini: no such file \(looked for by \$PYROS_AGENT_CONFIG\)"):
        config.load()
    with pytest.raises(ConfigError, match=r"x.ini: no such file \(looked for by --config\)"):
        config.load("x.ini")


def test_what_is_no_configuration_says_where_and_what_is_right(tmp_path: Path) -> None:
    assert problems(tmp_path, "garbage\n[observatory]\n") == [
        "line 1: 'garbage' stands before the first section, such as [observatory]"
    ]
    told = "line 2: 'port 5002' is neither 'key = value' nor a [section]"
    assert problems(tmp_path, "[scheduler]\nport 5002\n") == [told]
    with pytest.raises(ConfigError, match="is a folder; name the file in it with --config"):
        config.load(tmp_path)


def test_who_publishes_needs_a_port_and_a_name_of_its_own(tmp_path: Path) -> None:
    told = problems(tmp_path, OBSERVATORY + "[alert_manager]\nport = 1\n[broker]\npublish = yes\n")
    assert told == [
        "[broker] port: missing; publish = yes needs it: there the agents reach the broker",
        "[broker] ivo: 'ivo://pyros.observatory/broker' is no name of your own, which publish = yes needs;"
        " give one like ivo://my.observatory/telescope",
    ]
    simulated = "clock = night\n[alert_manager]\nport = 1\n[broker]\npublish = yes\nport = 2\n"
    loaded = config.load(write(tmp_path, OBSERVATORY + simulated))
    assert (loaded.publishes, loaded.simulated) == (True, True), "a demo may use the demo's name"
    assert loaded.peer("broker").port == 2
    assert loaded.peer("alert_manager") == loaded.agent("alert_manager")
    assert problems(tmp_path, OBSERVATORY + "[alert_manager]\nport = 1\n[broker]\npublish = maybe\n") == [
        "[broker] publish: 'maybe' is not one of: yes, no"
    ]


def test_there_is_no_way_to_a_broker_without_a_port(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, OBSERVATORY + "[alert_manager]\nport = 1\n[broker]\n"))
    with pytest.raises(UnknownAgent):
        loaded.peer("broker")
    assert not loaded.publishes
    assert not loaded.simulated


@pytest.mark.parametrize(("command", "told"), [("call 'who", "No closing quotation"), ('""', "names no program")])
def test_a_command_for_alarms_that_is_none(command: str, told: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"{OBSERVATORY}on_alarm = {command}\n[scheduler]\nport = 5002\n")
    assert found.startswith("[observatory] on_alarm: ")
    assert told in found


DOME = "[dome]\nport = 5008\ndriver = native\naddress = tcp:127.0.0.1:6012\n"


def test_the_guardian_has_a_section_of_its_own(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, f"{OBSERVATORY}[guardian]\nport = 5016\nbeat = 8\n{DOME}roof = yes\n"))
    assert loaded.guardian == config.GuardianConfig(port=5016, beat=8.0)
    assert loaded.guardian.where == "127.0.0.1:5016"
    assert list(loaded.agents) == ["dome"]
    assert loaded.agent("dome").roof
    assert config.load(write(tmp_path, OBSERVATORY + DOME)).guardian is None


def test_mistakes_in_the_guardians_section(tmp_path: Path) -> None:
    assert problems(tmp_path, f"{OBSERVATORY}[guardian]\nport = 5008\nbeat = 0\nopen = yes\n{DOME}") == [
        "[guardian] beat: '0' is not a positive number",
        "[guardian] open: unknown key (known here: allow, at, beat, ip, listen, poll, port)",
        "[guardian] port: 5008 on 127.0.0.1 is already taken by [dome]",
    ]
    assert problems(tmp_path, f"{OBSERVATORY}[guardian]\nport = 5016\n[scheduler]\nport = 5002\nroof = yes\n") == [
        "[scheduler] roof: unknown key"
        " (known here: address, allow, app, at, driver, ip, kind, listen, log, port, unit, option_...)",
        "[guardian]: needs a [dome] section, which names the device",
    ]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("0.0.0.0", "::", True),
        ("127.0.0.1", "::", True),
        ("::1", "::", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_addresses_clash_as_listening_sockets_do(one: str, other: str, clash: bool) -> None:
    assert config.addresses_clash(one, other) is config.addresses_clash(other, one) is clash


QUEUE = "[jobs]\nport = 5020\napp = pyros.agents.jobs\n"


def test_a_scheduled_job_has_a_section_of_its_own(tmp_path: Path) -> None:
    text = (
        f"{QUEUE}[job masters]\nevery = 1 d at 12:00\ncommand = bin/masters --all 'a b'\nseconds = 2 h\nmemory = 4 GB\n"
    )
    text += "[jobs_reduce]\nport = 5021\napp = pyros.agents.jobs\n"
    text += "[job clean]\nevery = 30 12 * * mon\ntask = night.clean\nqueue = reduce\n"
    job, other = config.load(write(tmp_path, text)).jobs
    assert other.queue == "jobs_reduce"
    assert (job.name, job.queue, job.missed, job.on_crash) == ("masters", "jobs", "once", "tell")
    assert job.command == (str(tmp_path / "bin/masters"), "--all", "a b")
    assert (job.seconds, job.memory, job.every.text) == (7200.0, 4 << 30, "1 d at 12:00")


def test_mistakes_in_a_scheduled_job(tmp_path: Path) -> None:
    text = f"{QUEUE}[job 1]\nevery = daily\n[job x]\nevery = 1 d\ncommand = a\ntask = b\n"
    text += "queue = no\nretries = -1\nat = 1\n"
    assert problems(tmp_path, text) == [
        "[job 1] section: is written [job NAME]; a name is a letter, then letters, digits, _ and -",
        "[job 1] command: give either command, a program and its arguments, or task, module.function",
        "[job 1] every: 'daily' is no schedule: write 6 h, 1 d at 12:00 (UTC), or cron's five fields, such as"
        " 30 12 * * 1-5",
        "[job x] command: give either command, a program and its arguments, or task, module.function",
        "[job x] retries: '-1' is not a whole number from 0 to 1000",
        "[job x] at: unknown key (known here: command, every, memory, missed, on_crash, priority, queue,"
        " retries, seconds, task)",
        "[job x] queue: 'no' is no agent of this file; give it a section, with app = pyros.agents.jobs",
    ]


# Where an agent listens, and where others find it --------------------------------------------------------------------


def test_where_an_agent_listens_is_apart_from_where_it_is_found(tmp_path: Path) -> None:
    text = (
        f"{OBSERVATORY}tls = tls\n[scheduler]\nlisten = [::]:5002\nat = tls:north.example.org:15002\n"
        f"[guardian]\nlisten = 0.0.0.0:5016\nat = dome.example.org\n{DOME}"
        "[broker]\nport = 5030\nat = north.example.org\n"
    )
    loaded = config.load(write(tmp_path, text))
    scheduler = loaded.agent("scheduler")
    assert (scheduler.ip, scheduler.port, scheduler.listens) == ("::", 5002, "[::]:5002")
    assert scheduler.destination == config.Address("north.example.org", 15002, tls=True)
    assert loaded.guardian is not None
    assert loaded.guardian.where == "dome.example.org:5016"
    assert loaded.guardian.place.encrypted
    assert loaded.peer("broker").destination == config.Address("north.example.org", 5030)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("listen = dome.example.org:5002", "listen: 'dome.example.org:5002' is not an IP address and a port"),
        ("listen = 5002", "listen: '5002' is not an IP address and a port, like 0.0.0.0:5010"),
        ("listen = tls:0.0.0.0:5002", "listen: 'tls:0.0.0.0:5002' is not an IP address and a port"),
        ("listen = 0.0.0.0:70000", "listen: '0.0.0.0:70000' is not a port"),
        ("listen = 0.0.0.0:5002\nport = 5002", "port: listen says that already; give one of them"),
        ("port = 5002\nat = 0.0.0.0", "at: '0.0.0.0' is no address to connect to"),
    ],
)
def test_mistakes_in_where_an_agent_listens(keys: str, told: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, f"{OBSERVATORY}[scheduler]\n{keys}\n")
    assert problem.startswith(f"[scheduler] {told}")


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("at = north.example.org", "at = south.example.org", []),
        ("at = example.org:15001", "at = example.org:15002", []),  # behind one router, on two computers
        ("at = example.org", "at = example.org", ["[majordome] port: 5001 on 0.0.0.0 is already taken by [scheduler]"]),
        ("at = example.org", "", []),
        ("", "", ["[majordome] port: 5001 on 0.0.0.0 is already taken by [scheduler]"]),
        (
            "at = example.org:15001",
            "at = example.org:15001",
            ["[majordome] at: [scheduler] is found at example.org:15001 already"],
        ),
    ],
)
def test_one_file_serves_several_computers(one: str, other: str, told: list[str], tmp_path: Path) -> None:
    text = f"{OBSERVATORY}[scheduler]\nlisten = 0.0.0.0:5001\n{one}\n[majordome]\nlisten = 0.0.0.0:5001\n{other}\n"
    if told:
        assert problems(tmp_path, text) == told
    else:
        config.load(write(tmp_path, text))
