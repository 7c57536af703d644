"""pyros_agent_config.ini read once into frozen values.

Every mistake is reported at once, each with file, section, key and what would be right; an unknown key is a mistake.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar

import msgspec

from pyros.errors import ConfigError, UnknownAgent

FILE_NAME = "pyros_agent_config.ini"
ENVIRONMENT = "PYROS_AGENT_CONFIG"
Network = IPv4Network | IPv6Network
_T = TypeVar("_T")

STANDARD_AGENTS = {
    "alert_manager": "pyros.agents.alert_manager",
    "scheduler": "pyros.agents.scheduler",
    "majordome": "pyros.agents.majordome",
    "observation_manager": "pyros.agents.observation_manager",
    "monitoring": "pyros.agents.monitoring",
    "analyzer": "pyros.agents.analyzer",
    "telescope": "pyros.agents.telescope",
    "camera": "pyros.agents.camera",
    "dome": "pyros.agents.dome",
    "weather": "pyros.agents.weather",
}
_KAFKA = re.compile(r"kafka\b")
_LIBRDKAFKA = "librdkafka."
_LOGINS = ("oidc", "plain", "scram-sha-256", "scram-sha-512")
_KAFKA_OURS = {
    "bootstrap.servers", "metadata.broker.list", "group.id", "enable.auto.commit", "enable.auto.offset.store",
    "auto.offset.reset", "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password",
    "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.method", "sasl.oauthbearer.scope", "ssl.ca.location", "https.ca.location",
}  # fmt: skip
INSTRUMENTS = ("telescope", "camera", "dome", "weather")
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))


class AgentConfig(msgspec.Struct, frozen=True):
    """Where an agent listens, what runs it, who may connect, and the values of its own keys."""

    name: str
    ip: str
    port: int
    app: str
    allow: tuple[Network, ...] = _LOOPBACK
    driver: str = ""
    address: str = ""
    options: Mapping[str, str] = {}
    """The ``option_...`` keys of the section, without that beginning; for agents of one's own."""

    @property
    def where(self) -> str:
        """``ip:port``, for people."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class KafkaConfig(msgspec.Struct, frozen=True):
    """A section ``[kafka NAME]``: one Kafka service whose topics the broker takes in."""

    name: str
    servers: str
    topics: tuple[str, ...]
    """Topics' names; ``*`` stands for anything (``gcn.notices.*``)."""
    group: str = ""
    """The consumer group, under which the service knows how far we have read; '' for one of this journal's own."""
    start: str = "latest"
    """Where a new group begins: ``latest`` (what comes from now on) or ``earliest`` (all that the service has)."""
    login: str = "none"
    user: str = ""
    secret: str = ""
    """Where the secret is, not what it is: ``env:VARIABLE`` or ``file:PATH``."""
    token_url: str = ""
    scope: str = ""
    tls: bool = False
    ca: Path | None = None
    heartbeat: str = ""
    silence: float = 0.0
    """Seconds without any message after which the silence is an alarm; 0 for never."""
    settings: Mapping[str, str] = {}
    """The ``librdkafka.x`` keys of the section: the client library's own settings, by their names there."""

    @property
    def section(self) -> str:
        """The section's name in the file."""
        return f"kafka {self.name}"


class BrokerConfig(msgspec.Struct, frozen=True):
    """The VOEvent broker: where authors and subscribers connect, and which brokers it subscribes to."""

    ip: str = "127.0.0.1"
    port: int | None = None
    """Where it answers how it is, as agents do; None for nowhere."""
    receiver_port: int = 8098
    broadcaster_port: int = 8099
    ivo: str = "ivo://pyros.observatory/broker"
    remotes: tuple[tuple[str, int], ...] = ()
    allow: tuple[Network, ...] = _LOOPBACK
    folder: Path | None = None
    """Files that are put there are alerts."""
    kafka: tuple[KafkaConfig, ...] = ()
    """From the sections ``[kafka NAME]``."""


class WeatherLimits(msgspec.Struct, frozen=True):
    """Above these the weather is unsafe: wind m/s, humidity percent, cloud 0 to 1; silence in seconds."""

    max_wind: float = 15.0
    max_humidity: float = 90.0
    max_cloud: float = 0.8
    max_silence: float = 60.0


class Config(msgspec.Struct, frozen=True):
    """The whole file. Paths are absolute."""

    path: Path
    name: str
    data: Path
    site: Path
    alert_rules: Path
    agents: Mapping[str, AgentConfig]
    simulators: tuple[Path, ...] = ()
    clock: str = "real"
    """``real``, or ``night``: the observatory's clock is shifted so that its site's night is now."""
    broker: BrokerConfig | None = None
    limits: WeatherLimits = WeatherLimits()

    def agent(self, name: str) -> AgentConfig:
        """That agent's section; raises UnknownAgent naming the file and the agents there are."""
        try:
            return self.agents[name]
        except KeyError:
            known = ", ".join(sorted(self.agents))
            raise UnknownAgent(name, "", f"no such section in {self.path} (there are: {known})") from None

    def journal(self, name: str) -> Path:
        """Where that agent's (or the broker's) journal is."""
        return self.data / "journals" / f"{name}.sqlite"


def find(path: str | os.PathLike[str] | None = None) -> Path:
    """The configuration file: the one given, else $PYROS_AGENT_CONFIG, else the one in the working directory.

    Raises ConfigError saying where it was looked for.
    """
    given = path or os.environ.get(ENVIRONMENT)
    found = Path(given or FILE_NAME).absolute()
    if found.is_file():
        return found
    source = "--config" if path else f"${ENVIRONMENT}" if given else "the working directory"
    raise ConfigError([f"{found}: no such file (looked for by {source}); name it with --config or ${ENVIRONMENT}"])


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the file that `find` finds; raises ConfigError listing every mistake."""
    file = find(path)
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=True)
    try:
        with file.open(encoding="utf-8") as stream:
            parser.read_file(stream, source=str(file))
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigError([f"{file}: {' '.join(str(error).split())}"]) from None
    return _Reader(file, parser).read()


class _Untold(ValueError):
    """A bad value that must not be repeated."""


class _Section:
    """One section while it is read: takes keys away, collects problems."""

    def __init__(self, file: Path, name: str, values: dict[str, str], problems: list[str]) -> None:
        self.file, self.name, self.values, self.problems = file, name, values, problems

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.file}: [{self.name}] {key}: {text}")

    def take(self, key: str, convert: Callable[[str], _T], default: _T | None = None) -> _T:
        """The converted value; a missing or bad one becomes a problem (and ``default``, or the empty value)."""
        text = self.values.pop(key, None)
        if text is None:
            if default is None:
                self.problem(key, "missing")
                return default  # type: ignore[return-value]
            return default
        try:
            return convert(text)
        except _Untold as error:
            self.problem(key, str(error))
        except ValueError as error:
            self.problem(key, f"{text!r} {error}")
        return default  # type: ignore[return-value]

    def rest(self, known: str) -> None:
        for key in self.values:
            self.problem(key, f"unknown key (known here: {known})")


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("is not a port; give a whole number from 1 to 65535")
    return int(text)


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("is not an IP address, like 127.0.0.1") from None


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(word) for word in text.split())
    except ValueError as error:
        raise ValueError(f"is not a list of networks, like 127.0.0.0/8 ::1 ({error})") from None


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ValueError("is not a positive number")
    return value


def _choice(*allowed: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is not one of: {', '.join(allowed)}")
        return text

    return convert


def _remotes(text: str) -> tuple[tuple[str, int], ...]:
    remotes = []
    for word in text.split():
        host, colon, port = word.rpartition(":")
        remotes.append((host, _port(port)) if colon else (word, 8099))
    return tuple(remotes)


def _servers(text: str) -> str:
    words = text.replace(",", " ").split()
    if not words:
        raise ValueError("names no server; give host:port, several separated by blanks")
    return ",".join(f"{host}:{_port(port)}" for host, port in (_host(word, 9092) for word in words))


def _host(word: str, port: int) -> tuple[str, str]:
    host, colon, given = word.rpartition(":")
    return (host, given) if colon else (word, str(port))


def _topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._*-]{1,249}", text):
        raise ValueError("is not a topic: letters, digits, dots, - and _ (* stands for anything)")
    return text


def _topics(text: str) -> tuple[str, ...]:
    topics = []
    for word in text.split():
        try:
            topics.append(_topic(word))
        except ValueError as error:
            raise ValueError(f"has {word!r}, which {error}") from None
    if not topics:
        raise ValueError("names no topic")
    return tuple(topics)


def _yes(text: str) -> bool:
    return _choice("yes", "no")(text) == "yes"


def _ivo(text: str) -> str:
    if not re.fullmatch(r"ivo://[A-Za-z0-9][\w\-.~*'()]{2,}/[\w\-.~*'()/]+", text, re.ASCII):
        raise ValueError("is not an IVOA identifier, like ivo://my.observatory/broker")
    return text


class _Reader:
    def __init__(self, file: Path, parser: configparser.ConfigParser) -> None:
        self.file = file
        self.problems: list[str] = []
        self.sections = {
            name: _Section(file, name, dict(parser.items(name)), self.problems) for name in parser.sections()
        }

    def read(self) -> Config:
        observatory = self.sections.pop("observatory", None)
        if observatory is None:
            raise ConfigError([f"{self.file}: [observatory]: the section is missing"])
        broker = self.sections.pop("broker", None)
        kafka = tuple(self._kafka(self.sections.pop(name)) for name in list(self.sections) if _KAFKA.match(name))
        if kafka and broker is None:
            self.problems.append(f"{self.file}: [{kafka[0].section}]: needs a [broker] section, which takes the alerts")
        config = Config(
            path=self.file,
            name=observatory.take("name", str),
            data=observatory.take("data", self._path, self.file.parent / "var"),
            site=observatory.take("site", self._existing),
            alert_rules=observatory.take("alert_rules", self._existing),
            simulators=observatory.take("simulators", self._files, ()),
            clock=observatory.take("clock", _choice("real", "night"), "real"),
            limits=self._limits(),
            broker=self._broker(broker, kafka) if broker else None,
            agents={name: self._agent(section) for name, section in self.sections.items()},
        )
        observatory.rest("name, data, site, alert_rules, simulators, clock")
        self._check_ports(config)
        if not config.agents:
            self.problems.append(f"{self.file}: no agent has a section")
        if self.problems:
            raise ConfigError(self.problems)
        return config

    def _path(self, text: str) -> Path:
        return (self.file.parent / Path(text).expanduser()).absolute()

    def _existing(self, text: str) -> Path:
        path = self._path(text)
        if not path.is_file():
            raise ValueError(f"names no file ({path})")
        return path

    def _files(self, text: str) -> tuple[Path, ...]:
        return tuple(self._existing(word) for word in text.split())

    def _limits(self) -> WeatherLimits:
        section = self.sections.get("monitoring")
        default = WeatherLimits()
        if section is None:
            return default
        return WeatherLimits(
            **{key: section.take(key, _positive, getattr(default, key)) for key in WeatherLimits.__struct_fields__}
        )

    def _broker(self, section: _Section, kafka: tuple[KafkaConfig, ...]) -> BrokerConfig:
        default = BrokerConfig()
        config = BrokerConfig(
            ip=section.take("ip", _ip, default.ip),
            port=section.take("port", _port) if "port" in section.values else None,
            receiver_port=section.take("receiver_port", _port, default.receiver_port),
            broadcaster_port=section.take("broadcaster_port", _port, default.broadcaster_port),
            ivo=section.take("ivo", _ivo, default.ivo),
            remotes=section.take("remotes", _remotes, default.remotes),
            allow=section.take("allow", _networks, default.allow),
            folder=section.take("folder", self._path) if "folder" in section.values else None,
            kafka=kafka,
        )
        section.rest(", ".join(field for field in BrokerConfig.__struct_fields__ if field != "kafka"))
        return config

    def _kafka(self, section: _Section) -> KafkaConfig:
        name = section.name.partition(" ")[2].strip()
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
            section.problem("section", "is written [kafka NAME]; a name is a letter, then letters, digits, _ and -")
        settings = {
            key.removeprefix(_LIBRDKAFKA): section.values.pop(key)
            for key in list(section.values)
            if key.startswith(_LIBRDKAFKA)
        }
        for key in settings.keys() & _KAFKA_OURS:
            section.problem(_LIBRDKAFKA + key, "is set by the broker itself, or by a key of its own in this section")
        login = section.take("login", _choice("none", *_LOGINS), "none")
        heartbeat = section.take("heartbeat", _topic, "")
        config = KafkaConfig(
            name=name,
            servers=section.take("servers", _servers),
            topics=section.take("topics", _topics),
            group=section.take("group", str, ""),
            start=section.take("start", _choice("latest", "earliest"), "latest"),
            login=login,
            user=section.take("user", str, "" if login == "none" else None),
            secret=section.take("secret", self._secret, "" if login == "none" else None),
            token_url=section.take("token_url", str, None if login == "oidc" else ""),
            scope=section.take("scope", str, ""),
            tls=section.take("tls", _yes, login != "none"),
            ca=section.take("ca", self._existing) if "ca" in section.values else None,
            heartbeat=heartbeat,
            silence=section.take("silence", _positive, 60.0 if heartbeat else 0.0),
            settings=settings,
        )
        if "*" in heartbeat:
            section.problem("heartbeat", f"{heartbeat!r} is not one topic")
        section.rest(", ".join(KafkaConfig.__struct_fields__[1:-1]) + ", librdkafka....")
        return config

    def _secret(self, text: str) -> str:
        """Never repeats what was given, for it may be the secret itself."""
        kind, _, rest = text.partition(":")
        if kind == "env" and re.fullmatch(r"[A-Za-z_]\w*", rest, re.ASCII):
            return text
        if kind == "file" and rest.strip():
            return f"file:{self._path(rest.strip())}"
        raise _Untold("says not where the secret is: give env:VARIABLE or file:PATH, not the secret itself")

    def _agent(self, section: _Section) -> AgentConfig:
        name = section.name
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
            section.problem("section", "an agent's name is a letter, then letters, digits and _ (64 at most)")
        if "app" not in section.values and name not in STANDARD_AGENTS:
            section.problem(
                "app",
                f"missing: name the module of this agent (standard agents: {', '.join(STANDARD_AGENTS)})",
            )
        instrument = name in INSTRUMENTS and "app" not in section.values
        options = {
            key.removeprefix("option_"): section.values.pop(key)
            for key in list(section.values)
            if key.startswith("option_")
        }
        config = AgentConfig(
            name=name,
            ip=section.take("ip", _ip, "127.0.0.1"),
            port=section.take("port", _port),
            app=section.take("app", str, STANDARD_AGENTS.get(name, "-")),
            allow=section.take("allow", _networks, _LOOPBACK),
            driver=section.take("driver", str, None if instrument else ""),
            address=section.take("address", str, None if instrument else ""),
            options=options,
        )
        section.rest("ip, port, app, allow, driver, address, option_...")
        return config

    def _check_ports(self, config: Config) -> None:
        places = [(agent.name, "port", agent.ip, agent.port) for agent in config.agents.values()]
        if config.broker:
            places += [
                ("broker", key, config.broker.ip, getattr(config.broker, key))
                for key in ("port", "receiver_port", "broadcaster_port")
            ]
        taken: list[tuple[str, str, int]] = []
        for name, key, ip, port in places:
            if not (ip and port):
                continue  # told already
            who = name if key == "port" else f"{name} {key}"
            other = next((other for other, at, same in taken if port == same and _overlap(ip, at)), None)
            if other:
                self.problems.append(f"{self.file}: [{name}] {key}: {port} on {ip} is already taken by [{other}]")
            else:
                taken.append((who, ip, port))


def _overlap(one: str, other: str) -> bool:
    """Whether a socket that listens on the one address keeps another from listening on the other ('::' takes all)."""
    return one == other or "::" in (one, other) or ("0.0.0.0" in (one, other) and ":" not in one + other)
