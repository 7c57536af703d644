"""Reads the sections; gathers every mistake before it gives up."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pyros.config._agent import LOOPBACK, Address, AgentConfig, AmqpConfig, Network, is_here
from pyros.config._agent_section import TlsOption, listening, read_agent, tls_word
from pyros.config._console import read_console
from pyros.config._schedule import schedule
from pyros.config._section import Section
from pyros.config._units import Agents, UnitConfig, check_units
from pyros.config._values import (
    INSTRUMENTS,
    NOWHERE,
    PYROS_IVO,
    BrokerConfig,
    CeleryConfig,
    Config,
    GuardianConfig,
    JobConfig,
    KafkaConfig,
    RemoteConfig,
    TlsConfig,
    WeatherLimits,
)
from pyros.config._words import (
    Untold,
    address,
    amqp_url,
    choice,
    command,
    ip_word,
    ivo,
    lines,
    networks,
    number,
    port_number,
    remote,
    remotes,
    servers,
    topic,
    topics,
    web_address,
    yes,
)
from pyros.errors import ConfigError
from pyros.quantities import DURATIONS, SIZES, positive, quantity

_TLS = "broker tls"
_duration = quantity(DURATIONS, 0.001, 1e8)


def _size(text: str) -> int:
    return int(quantity(SIZES, 2.0**20, 2.0**50)(text))


_LIBRDKAFKA = "librdkafka."
_LOGINS = ("oidc", "plain", "scram-sha-256", "scram-sha-512")
_KAFKA_OURS = {
    "bootstrap.servers", "metadata.broker.list", "group.id", "enable.auto.commit", "enable.auto.offset.store",
    "auto.offset.reset", "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password",
    "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.method", "sasl.oauthbearer.scope", "ssl.ca.location", "https.ca.location",
}  # fmt: skip


class Reader:
    """One file's sections on their way to a Config."""

    def __init__(self, file: Path, parser: configparser.ConfigParser) -> None:
        self.file = file
        self.problems: list[str] = []
        self.sections = {
            name: Section(file, name, dict(parser.items(name)), self.problems) for name in parser.sections()
        }

    def read(self) -> Config:
        observatory = self.sections.pop("observatory", None) or Section(self.file, "observatory", {}, self.problems)
        broker = self.sections.pop("broker", None)
        kafka = tuple(self._kafka(section) for section in self._sections_like(r"kafka\b"))
        if kafka and broker is None:
            self.problems.append(f"{self.file}: [{kafka[0].section}]: needs a [broker] section, which takes the alerts")
        guardian = self.sections.pop("guardian", None)
        guardians = self._sections_like(r"guardian\s")
        units = [self._unit(section) for section in self._sections_like(r"unit\s")]
        console, cache = self.sections.pop("console", None), self.sections.pop("console cache", None)
        tls = self.sections.pop(_TLS, None)
        named = tuple(self._remote(section) for section in self._sections_like(r"remote\s"))
        if broker is None and (tls or named):
            section = _TLS if tls else named[0].section
            self.problems.append(f"{self.file}: [{section}]: needs a [broker] section")
        jobs = tuple(self._job(section) for section in self._sections_like(r"job\s"))
        data = observatory.take("data", self._path, self.file.parent / "var")
        celery = self.sections.pop("celery", None)
        tls_rule = observatory.take("tls", tls_word(self._path), TlsOption()) or TlsOption()
        amqp = self._amqp(observatory, tls_rule.dangerous)
        config = Config(
            path=self.file,
            name=observatory.take("name", str, "observatory"),
            data=data,
            site=observatory.take("site", self._existing, NOWHERE),
            alert_rules=observatory.take("alert_rules", self._existing, NOWHERE),
            simulators=observatory.take("simulators", self._files, ()),
            clock=observatory.take("clock", choice("real", "night"), "real"),
            limits=self._limits(self.sections.get("monitoring")),
            unit_limits={
                name.partition(" ")[2]: self._limits(section)
                for name, section in self.sections.items()
                if name.startswith("monitoring ")
            },
            units={unit.name: unit for unit in units},
            unit_guardians={each.name.partition(" ")[2].strip(): self._guardian(each, tls_rule) for each in guardians},
            on_alarm=observatory.take("on_alarm", self._command, ()),
            group=observatory.take("group", str, ""),
            key=observatory.optional("key", self._path),
            archive=observatory.optional("archive", self._archive) or "",
            targets=observatory.take("targets", self._existing, NOWHERE),
            simbad=observatory.take("simbad", web_address, ""),
            broker=self._broker(broker, tls, named, kafka) if broker else None,
            celery=self._celery(celery) if celery else CeleryConfig(),
            guardian=self._guardian(guardian, tls_rule) if guardian else None,
            console=read_console(console, cache, data, self._existing, self.problems),
            certificates=tls_rule.certificates,
            dangerous=tls_rule.dangerous,
            amqp=amqp,
            agents=_as_units({name: read_agent(section, tls_rule, amqp) for name, section in self.sections.items()}),
        )
        observatory.rest()
        if not self.problems:
            wrong = check_units(config.agents.values(), config.units, INSTRUMENTS)
            self.problems += [f"{self.file}: {each}" for each in wrong]
        if config.clock == "night" and "site" not in observatory.given:
            observatory.problem("site", "missing; clock = night needs it")
        if guardian is not None and "dome" not in config.agents:
            self.problems.append(f"{self.file}: [guardian]: needs a [dome] section, which names the device")
        for unit in config.unit_guardians:
            if f"dome {unit}" not in config.agents:
                self.problems.append(f"{self.file}: [guardian {unit}]: needs a [dome {unit}] section")
        for agent in config.agents.values():
            if agent.open_air and (dome := config.seen_from(agent.unit).agents.get("dome")) is not None:
                self.problems.append(f"{self.file}: [{agent.name}] open_air: there is [{dome.name}] above it")
        config = msgspec.structs.replace(config, jobs=tuple(self._routed(job, config) for job in jobs))
        self._check_ports(config)
        if config.broker is not None and config.broker.publish:
            self._check_publishing(config, config.broker)
        if not config.agents and config.broker is None:
            self.problems.append(f"{self.file}: no agent has a section, and there is no [broker]")
        if self.problems:
            raise ConfigError(self.problems)
        return config

    def _sections_like(self, beginning: str) -> list[Section]:
        """Take the sections whose names begin so (a regular expression)."""
        return [self.sections.pop(name) for name in list(self.sections) if re.match(beginning, name)]

    def _amqp(self, section: Section, dangerous: bool) -> AmqpConfig | None:
        server = section.optional("amqp", amqp_url)
        readers = {"amqp_password": self._secret_file, "amqp_ca": self._existing}
        files = {key: section.optional(key, read) for key, read in readers.items()}
        if "amqp" not in section.given:
            for key in [key for key, file in files.items() if file is not None]:
                section.problem(key, "means something only with amqp = amqps://USER@HOST/VHOST")
        if server is None:
            return None
        if "amqp_password" not in section.given and server.user != AmqpConfig(()).user:
            section.problem("amqp_password", f"missing; a file with the password of {server.user}")
        if files["amqp_ca"] and not server.tls:
            section.problem("amqp_ca", "means something only with amqps://")
        if not (server.tls or dangerous or all(is_here(node.host) for node in server.nodes)):
            section.problem("amqp", "would tell the password to who is on the network: amqps:// on another computer")
        return msgspec.structs.replace(server, password=files["amqp_password"], authority=files["amqp_ca"])

    def _path(self, text: str) -> Path:
        return (self.file.parent / Path(text).expanduser()).absolute()

    def _command(self, text: str) -> tuple[str, ...]:
        """Take a command apart; a program named with a / is relative to the file, as all paths are."""
        program, *arguments = command(text)
        return (str(self._path(program)) if "/" in program else program, *arguments)

    def _archive(self, text: str) -> Path | str:
        """Never repeats what was given, for it may hold a password."""
        if "://" not in text:
            return self._path(text)
        if not re.match(r"(postgresql|sqlite)\b[^:]*://", text):
            raise Untold("is neither a file nor like postgresql+psycopg://USER@HOST/DATABASE")
        return text

    def _existing(self, text: str) -> Path:
        path = self._path(text)
        if not path.is_file():
            raise ValueError(f"names no file ({path})")
        return path

    def _secret_file(self, text: str) -> Path:
        """Never repeats what was given, for it may be the secret itself."""
        path = self._path(text)
        if not path.is_file():
            raise Untold("names no file; the password stands in a file that only its owner may read")
        return path

    def _files(self, text: str) -> tuple[Path, ...]:
        return tuple(self._existing(word) for word in text.split())

    def _unit(self, section: Section) -> UnitConfig:
        name = " ".join(section.name.split()[1:])
        if not re.fullmatch(r"[A-Za-z0-9_]+( [A-Za-z0-9_]+)*", name):
            section.problem("section", "is written [unit NAME]; a name is letters, digits and _, and blanks between")
        config = UnitConfig(name, site=section.optional("site", self._existing))
        section.rest()
        return config

    def _limits(self, section: Section | None) -> WeatherLimits:
        default = WeatherLimits()
        if section is None:
            return default
        return WeatherLimits(
            **{key: section.take(key, positive, getattr(default, key)) for key in WeatherLimits.__struct_fields__}
        )

    def _guardian(self, section: Section, tls: TlsOption) -> GuardianConfig:
        ip, port = listening(section)
        config = GuardianConfig(
            port=port,
            ip=ip,
            at=section.optional("at", address),
            beat=section.take("beat", positive, 5.0),
            poll=section.take("poll", positive, 1.0),
            allow=section.take("allow", networks, LOOPBACK),
            name=" ".join(section.name.split()),
            certificates=tls.certificates,
            dangerous=tls.dangerous,
        )
        section.rest()
        return config

    def _broker(
        self,
        section: Section,
        tls: Section | None,
        named: tuple[RemoteConfig, ...],
        kafka: tuple[KafkaConfig, ...],
    ) -> BrokerConfig:
        default = BrokerConfig()
        ip, allow = section.take("ip", ip_word, default.ip), section.take("allow", networks, default.allow)
        config = BrokerConfig(
            ip=ip,
            port=section.optional("port", port_number),
            at=section.optional("at", address),
            receiver_port=section.take("receiver_port", port_number, default.receiver_port),
            broadcaster_port=section.take("broadcaster_port", port_number, default.broadcaster_port),
            ivo=section.take("ivo", ivo, default.ivo),
            remotes=(*section.take("remotes", remotes, default.remotes), *named),
            allow=allow,
            folder=section.optional("folder", self._path),
            publish=section.take("publish", yes, default.publish),
            kafka=kafka,
            tls=self._tls(tls, ip, allow) if tls else None,
        )
        section.rest()
        if config.at is not None and config.port is None:
            section.problem("port", "missing; at says where the others find that port")
        twins = [each.where for each in config.remotes]
        for where in sorted({each for each in twins if twins.count(each) > 1}):
            section.problem("remotes", f"{where} is there twice")
        return config

    def _tls(self, section: Section, ip: str, allow: tuple[Network, ...]) -> TlsConfig:
        ports = {key: section.optional(key, port_number)
                 for key in ("receiver_port", "broadcaster_port")}  # fmt: skip
        if not any(ports.values()):
            section.problem("receiver_port", "missing; give that one, broadcaster_port, or both")
        config = TlsConfig(
            certificate=section.take("certificate", self._existing),
            key=section.take("key", self._existing),
            ip=section.take("ip", ip_word, ip),
            allow=section.take("allow", networks, allow),
            client_ca=section.optional("client_ca", self._existing),
            **ports,
        )
        section.rest()
        return config

    def _remote(self, section: Section) -> RemoteConfig:
        name = section.called("remote")
        host, port = section.take("address", remote) or ("", 0)
        files = {key: section.optional(key, self._existing)
                 for key in ("ca", "certificate", "key")}  # fmt: skip
        tls = section.take("tls", yes, False)
        server_name = section.take("server_name", str, "")
        for key in [key for key, file in files.items() if file] + ["server_name"] * bool(server_name):
            if not tls:
                section.problem(key, "means something only with tls = yes")
        section.need_each_other("certificate", "key")
        filters = section.optional("filters", lines) or ()
        section.rest()
        return RemoteConfig(host, port, name, filters, tls, server_name, **files)

    def _kafka(self, section: Section) -> KafkaConfig:
        name = section.called("kafka")
        settings = {
            key.removeprefix(_LIBRDKAFKA): section.values.pop(key)
            for key in list(section.values)
            if key.startswith(_LIBRDKAFKA)
        }
        for key in settings.keys() & _KAFKA_OURS:
            section.problem(_LIBRDKAFKA + key, "is set by the broker itself, or by a key of its own in this section")
        login = section.take("login", choice("none", *_LOGINS), "none")
        heartbeat = section.take("heartbeat", topic, "")
        config = KafkaConfig(
            name=name,
            servers=section.take("servers", servers),
            topics=section.take("topics", topics),
            group=section.take("group", str, ""),
            start=section.take("start", choice("latest", "earliest"), "latest"),
            login=login,
            user=section.take("user", str, "" if login == "none" else None),
            secret=section.take("secret", self._secret, "" if login == "none" else None),
            token_url=section.take("token_url", str, None if login == "oidc" else ""),
            scope=section.take("scope", str, ""),
            tls=section.take("tls", yes, login != "none"),
            ca=section.optional("ca", self._existing),
            heartbeat=heartbeat,
            silence=section.take("silence", positive, 60.0 if heartbeat else 0.0),
            gate=section.take("gate", yes, False),
            schema=section.optional("schema", self._existing),
            schema_registry=section.take("schema_registry", web_address, ""),
            settings=settings,
        )
        if "*" in heartbeat:
            section.problem("heartbeat", f"{heartbeat!r} is not one topic")
        section.rest("librdkafka....")
        return config

    def _secret(self, text: str) -> str:
        """Never repeats what was given, for it may be the secret itself."""
        kind, _, rest = text.partition(":")
        if kind == "env" and re.fullmatch(r"[A-Za-z_]\w*", rest, re.ASCII):
            return text
        if kind == "file" and rest.strip():
            return f"file:{self._path(rest.strip())}"
        raise Untold("says not where the secret is: give env:VARIABLE or file:PATH, not the secret itself")

    def _job(self, section: Section) -> JobConfig:
        name = section.called("job")
        if ("command" in section.given) == ("task" in section.given):
            section.problem("command", "give either command, a program and its arguments, or task, module.function")
        limits = {key: section.optional(key, convert)
                  for key, convert in (("seconds", _duration), ("memory", _size))}  # fmt: skip
        config = JobConfig(
            name=name,
            every=section.take("every", schedule),
            queue=section.take("queue", str, "jobs"),
            command=section.take("command", self._command, ()),
            task=section.take("task", str, ""),
            missed=section.take("missed", choice("once", "skip"), "once"),
            on_crash=section.take("on_crash", choice("tell", "rerun"), "tell"),
            retries=section.take("retries", number(0, 1000), 0),
            priority=section.take("priority", number(0, 9), 0),
            **limits,
        )
        section.rest()
        return config

    def _routed(self, job: JobConfig, config: Config) -> JobConfig:
        """Return a scheduled job with its queue's whole name: ``reduce`` is ``jobs_reduce``, as on the command line."""
        for name in (job.queue, f"jobs_{job.queue}"):
            if name in config.agents:
                return msgspec.structs.replace(job, queue=name)
        told = f"{job.queue!r} is no agent of this file; give it a section, with app = pyros.agents.jobs"
        self.problems.append(f"{self.file}: [{job.section}] queue: {told}")
        return job

    def _celery(self, section: Section) -> CeleryConfig:
        config = CeleryConfig(
            broker=section.take("broker", self._url, ""),
            results=section.take("results", self._url, ""),
            modules=section.take("modules", lambda text: tuple(text.split()), ()),
            path=section.take("path", lambda text: tuple(self._path(word) for word in text.split()), ()),
        )
        section.rest()
        return config

    def _url(self, text: str) -> str:
        """Never repeats what was given, for it may hold a password."""
        if re.match(r"[a-zA-Z][\w.:+-]*://", text):
            return text
        try:
            return self._secret(text)
        except Untold:
            raise Untold("is no URL like amqp://USER@HOST//, and not env:VARIABLE or file:PATH, where one is") from None

    def _check_publishing(self, config: Config, broker: BrokerConfig) -> None:
        where = f"{self.file}: [broker]"
        if broker.port is None:
            self.problems.append(f"{where} port: missing; publish = yes needs it: there the agents reach the broker")
        if not config.simulated and (broker.ivo or "").lower().startswith(PYROS_IVO):
            self.problems.append(
                f"{where} ivo: {broker.ivo!r} is no name of your own, which publish = yes needs;"
                " give one like ivo://my.observatory/telescope"
            )

    def _check_ports(self, config: Config) -> None:
        agents = list(config.agents.values())
        agents += [each.place for each in (config.guardian, *config.unit_guardians.values()) if each is not None]
        places = [(agent.name, "port", agent.ip, agent.port, agent.at) for agent in agents]
        if config.console:
            places.append(("console", "port", config.console.ip, config.console.port, None))
        if config.broker:
            places += [
                ("broker", key, config.broker.ip, getattr(config.broker, key), config.broker.at)
                for key in ("port", "receiver_port", "broadcaster_port")
            ]
            if (tls := config.broker.tls) is not None:
                keys = ("receiver_port", "broadcaster_port")
                places += [(_TLS, key, tls.ip, getattr(tls, key), config.broker.at) for key in keys]
        taken: list[tuple[str, str, int, Address | None]] = []
        found_at: dict[Address, str] = {}
        for name, key, ip, port, at in places:
            if not (ip and port):
                continue  # told already
            who = name if key == "port" else f"{name} {key}"
            other = next((each[0] for each in taken if port == each[2] and addresses_clash(ip, each[1])
                          and _same_computer(port, at, each[3])), None)  # fmt: skip
            if other:
                self.problems.append(f"{self.file}: [{name}] {key}: {port} on {ip} is already taken by [{other}]")
                continue
            taken.append((who, ip, port, at))
            if at is not None and key == "port":
                there = Address(at.host, at.port or port)
                if (first := found_at.setdefault(there, name)) != name:
                    self.problems.append(f"{self.file}: [{name}] at: [{first}] is found at {there} already")


def _as_units(agents: dict[str, AgentConfig]) -> Mapping[str, AgentConfig]:
    """Return the sections as they are, or, where one says more than its kind, as units see them."""
    return Agents(agents.values()) if any(section.of_kind or section.unit for section in agents.values()) else agents


def _same_computer(port: int, one: Address | None, other: Address | None) -> bool:
    """Return whether two sections that listen on ``port`` are certainly of one computer.

    They need not be where others find them under different names, or where a router forwards another port.
    """
    if one is None or other is None:
        return one is other
    return one.host == other.host and {one.port or port, other.port or port} == {port}


def addresses_clash(one: str, other: str) -> bool:
    """Return whether a socket that listens on one address keeps another from listening on the other, at the same port.

    ``0.0.0.0`` takes every address of IPv4; ``::`` takes every address, since Twisted leaves IPV6_V6ONLY off.
    """
    return one == other or "::" in (one, other) or ("0.0.0.0" in (one, other) and ":" not in one + other)
