"""What the configuration says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import msgspec

from pyros import keys
from pyros.config._agent import LOOPBACK, Address, AgentConfig, AmqpConfig, Network
from pyros.config._schedule import Schedule
from pyros.config._units import CENTRAL_SCHEDULER, WHOLE, Agents, UnitConfig, around
from pyros.errors import ConfigError, UnknownAgent
from pyros.kinds import KINDS


class StandardAgents:
    """The names of the agents that PYROS brings along; `Agent` has these constants, too.

    A name with a value here is a row of the table; one without is an instrument's, and comes from its row in `KINDS`.
    """

    ALERT_MANAGER: ClassVar = "alert_manager"
    SCHEDULER: ClassVar = "scheduler"
    CENTRAL_SCHEDULER: ClassVar = CENTRAL_SCHEDULER
    MAJORDOME: ClassVar = "majordome"
    OBSERVATION_MANAGER: ClassVar = "observation_manager"
    MONITORING: ClassVar = "monitoring"
    ANALYZER: ClassVar = "analyzer"
    NOTIFIER: ClassVar = "notifier"
    TELESCOPE: ClassVar[str]
    CAMERA: ClassVar[str]
    DOME: ClassVar[str]
    WEATHER: ClassVar[str]
    FILTER_WHEEL: ClassVar[str]
    FOCUSER: ClassVar[str]
    GUIDER: ClassVar[str]
    SAFETY: ClassVar[str]
    UPS: ClassVar[str]
    SWITCH: ClassVar[str]
    COVER: ClassVar[str]


STANDARD_AGENTS = {name: f"pyros.agents.{name}" for key, name in vars(StandardAgents).items() if key.isupper()} | {
    kind.name: kind.agent for kind in KINDS.values()
}
"""The module of each standard agent."""
BROKER = "broker"
PYROS_IVO = "ivo://pyros.observatory/"
"""How the identifiers begin that belong to PYROS's demos and tests."""
INSTRUMENTS = tuple(KINDS)
for _kind in INSTRUMENTS:
    setattr(StandardAgents, _kind.upper(), _kind)  # such as StandardAgents.FOCUSER
OPTIONAL_AGENTS = tuple(kind.name for kind in KINDS.values() if kind.optional)
"""Those that an observatory may well do without."""


class KafkaConfig(msgspec.Struct, frozen=True):
    """A section ``[kafka NAME]``: one Kafka service whose topics the broker takes in."""

    name: str
    """The section's name, after ``kafka``."""
    servers: str
    """The service's first addresses, ``host:port`` separated by commas."""
    topics: tuple[str, ...]
    """Topics' names; ``*`` stands for anything (``gcn.notices.*``)."""
    group: str = ""
    """The consumer group, under which the service knows how far we have read; '' for one of this journal's own."""
    start: str = "latest"
    """Where a new group begins: ``latest`` (what comes from now on) or ``earliest`` (all that the service has)."""
    login: str = "none"
    """How we log in there: ``none``, or a way that `pyros.config` knows."""
    user: str = ""
    """Name, or client id, that we log in with."""
    secret: str = ""
    """Where the secret is, not what it is: ``env:VARIABLE`` or ``file:PATH``."""
    token_url: str = ""
    """Where an OIDC login gets its tokens."""
    scope: str = ""
    """Scope that an OIDC login asks for; '' for none."""
    tls: bool = False
    """Whether the connection is encrypted."""
    ca: Path | None = None
    """Authorities that may have signed the service's certificate, PEM; None: those that this computer trusts."""
    heartbeat: str = ""
    """Topic on which the service says that it lives; '' for none."""
    silence: float = 0.0
    """Seconds without any message after which the silence is an alarm; 0 for never."""
    gate: bool = False
    """Whether a survey's packets come there: ``pyros broker gate`` takes them, not the broker."""
    schema: Path | None = None
    """The Avro schema, JSON, of packets that name theirs only by a number; None where they carry it."""
    schema_registry: str = ""
    """Address of the registry that has the schemas of such packets by their numbers; '' for none."""
    settings: Mapping[str, str] = {}
    """The ``librdkafka.x`` keys of the section: the client library's own settings, by their names there."""

    @property
    def section(self) -> str:
        """The section's name in the file."""
        return f"kafka {self.name}"


class TlsConfig(msgspec.Struct, frozen=True):
    """The section ``[broker tls]``: ports for authors and subscribers that come over networks that aren't ours.

    All files are PEM.
    """

    certificate: Path
    """Ours, with those of the authorities between it and a root after it."""
    key: Path
    """The certificate's private key."""
    ip: str = "127.0.0.1"
    """Address that these ports are on."""
    receiver_port: int | None = None
    """TCP port for authors; None for no such port."""
    broadcaster_port: int | None = None
    """TCP port for subscribers; None for no such port."""
    allow: tuple[Network, ...] = LOOPBACK
    """Networks that may connect."""
    client_ca: Path | None = None
    """Who connects must show a certificate that one of these authorities has signed; None: nobody needs one."""


class RemoteConfig(msgspec.Struct, frozen=True):
    """A broker that we subscribe to: a word of ``remotes``, or a section ``[remote NAME]``."""

    host: str
    """Name or address of the computer."""
    port: int = 8099
    """TCP port of its broadcaster."""
    name: str = ""
    """The section's; '' for one that has none."""
    filters: tuple[str, ...] = ()
    """XPath expressions that we ask it to choose events by: those for which one of them holds."""
    tls: bool = False
    """Whether the connection is encrypted."""
    server_name: str = ""
    """Whose certificate we expect there; '' for the host's."""
    ca: Path | None = None
    """The authorities that may have signed it; None: those that this computer trusts."""
    certificate: Path | None = None
    """What we show, where it wants to know who we are; with its ``key``."""
    key: Path | None = None
    """The private key of ``certificate``."""

    @property
    def section(self) -> str:
        """The section's name in the file."""
        return f"remote {self.name}" if self.name else BROKER

    @property
    def where(self) -> str:
        """``host:port``, for people."""
        return str(Address(self.host, self.port))


class BrokerConfig(msgspec.Struct, frozen=True):
    """The VOEvent broker: where authors and subscribers connect, and which brokers it subscribes to."""

    ip: str = "127.0.0.1"
    """Address that its ports are on."""
    port: int | None = None
    """Where it answers how it is, as agents do; None for nowhere."""
    at: Address | None = None
    """Where the agents find that port; None: where it listens."""
    receiver_port: int = 8098
    """TCP port for authors."""
    broadcaster_port: int = 8099
    """TCP port for subscribers."""
    ivo: str = "ivo://pyros.observatory/broker"
    """The broker's own identifier, an IVORN."""
    remotes: tuple[RemoteConfig, ...] = ()
    """Brokers that it subscribes to."""
    allow: tuple[Network, ...] = LOOPBACK
    """Networks that may connect."""
    folder: Path | None = None
    """Files that are put there are alerts."""
    publish: bool = False
    """Whether our own follow-ups of alerts go to the subscribers."""
    kafka: tuple[KafkaConfig, ...] = ()
    """From the sections ``[kafka NAME]``."""
    tls: TlsConfig | None = None
    """From the section ``[broker tls]``."""


class GuardianConfig(msgspec.Struct, frozen=True):
    """The section ``[guardian]``: the process that closes the dome when the dome's agent is silent."""

    port: int
    """TCP port for the beat of the dome's agent."""
    ip: str = "127.0.0.1"
    """Address that it listens on."""
    at: Address | None = None
    """Where the dome's agent finds it; None: where it listens."""
    beat: float = 5.0
    """Seconds without a beat of the dome's agent after which it closes a dome that isn't closed."""
    poll: float = 1.0
    """Seconds between two looks at the device."""
    allow: tuple[Network, ...] = LOOPBACK
    """Networks that may connect."""
    name: str = "guardian"
    """The section's name, which its certificate has."""
    certificates: Path | None = None
    """Folder of the certificates with which other computers are spoken to; None: there is none."""
    dangerous: bool = False
    """Plain text is spoken with other computers."""

    @property
    def place(self) -> AgentConfig:
        """Where it listens, how it is reached, and by which certificates, in the words of an agent's section."""
        return AgentConfig(
            self.name, self.ip, self.port, "", self.allow,
            at=self.at, certificates=self.certificates, dangerous=self.dangerous,
        )  # fmt: skip

    @property
    def where(self) -> str:
        """Where the dome's agent finds it, for people."""
        return self.place.where


LOOK_UP = ("simbad", "tns", "gcn")
"""The services elsewhere that the console may ask."""


class ConsoleConfig(msgspec.Struct, frozen=True):
    """The section ``[console]``: the web pages for people, and what programs ask over HTTP."""

    port: int
    """TCP port for browsers and programs."""
    folder: Path
    """Where it keeps people, sessions, notes and its secret; its user's alone."""
    ip: str = "127.0.0.1"
    """Address that it listens on; another than this computer's own needs TLS, or ``behind_proxy``."""
    hosts: tuple[str, ...] = ()
    """Names under which browsers reach it, besides this computer's own."""
    behind_proxy: bool = False
    """Whether a web server before it speaks TLS, and names the caller in ``X-Forwarded-For`` and ``-Proto``."""
    certificate: Path | None = None
    """Its certificate, PEM, with its ``key``; None: without TLS."""
    key: Path | None = None
    """The private key of ``certificate``."""
    hide: tuple[str, ...] = ()
    """Sections that are nowhere: in no menu, at no URL."""
    fixture: Path | None = None
    """What a new console's database begins with, as ``pyros console dumpdata`` writes it; None: nothing."""
    run: bool = True
    """Whether an observatory that starts starts it, too, where its extra is installed."""
    look_up: tuple[str, ...] = LOOK_UP
    """The services elsewhere that are asked what they know of an event that somebody looks at."""
    tns: Path | None = None
    """The file with a bot's number, name and key at the Transient Name Server; None: it isn't asked."""
    cache: str = "memory"
    """Where answers of views are kept for their lifetimes: ``none``, ``memory``, or a folder's path."""
    lifetimes: Mapping[str, float] = {}
    """Seconds for which a view's answer is kept, by section; what isn't named is made anew."""

    @property
    def url(self) -> str:
        """Where a browser on this computer finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.ip, f"[{self.ip}]" if ":" in self.ip else self.ip)
        return f"http{'s' * (self.certificate is not None)}://{host}:{self.port}/"


class JobConfig(msgspec.Struct, frozen=True):
    """A section ``[job NAME]``: a job that is done again and again."""

    name: str
    """The section's."""
    every: Schedule
    """When it is due."""
    queue: str = "jobs"
    """The agent that runs it; a section may leave out the beginning ``jobs_`` of its name."""
    command: tuple[str, ...] = ()
    """The program and its arguments; () for a task."""
    task: str = ""
    """The Python function, ``module.function``; '' for a command."""
    missed: str = "once"
    """Instants at which its agent was down: they are made up for ``once``, or it is to ``skip`` them."""
    on_crash: str = "tell"
    """``tell`` or ``rerun``, as in `pyros.messages.JobRequest`."""
    retries: int = 0
    """How many times it is run again after it has failed."""
    priority: int = 0
    """0 to 9; the highest goes first."""
    seconds: float | None = None
    """How long it may run; None: the queue's own limit."""
    memory: int | None = None
    """Bytes that it may use; None: the queue's own limit."""

    @property
    def section(self) -> str:
        """The section's name in the file."""
        return f"job {self.name}"


class CeleryConfig(msgspec.Struct, frozen=True):
    """The section ``[celery]``: for those who run tasks by Celery (`pyros.jobs.celery`)."""

    broker: str = ""
    """The broker's URL, or where it is (``env:VARIABLE``, ``file:PATH``); '' for a file in the data folder."""
    results: str = ""
    """Where results are kept, a URL of Celery's; '' for a file in the data folder."""
    modules: tuple[str, ...] = ()
    """Modules that have tasks; a worker imports them."""
    path: tuple[Path, ...] = ()
    """Folders in which these are found, beside the configuration's."""


class WeatherLimits(msgspec.Struct, frozen=True):
    """The limits of the safety table (`pyros.agents.safety_rules`); keys of the section ``[monitoring]``."""

    max_wind: float = 15.0
    """Above this mean wind it is unsafe, m/s."""
    safe_wind: float = 12.0
    """Below this it is safe again, m/s; never above ``max_wind``, and so are the others."""
    max_gust: float = 20.0
    """Above such gusts it is unsafe, m/s."""
    safe_gust: float = 16.0
    """Below such gusts it is safe again, m/s."""
    max_humidity: float = 90.0
    """Above this it is unsafe, percent."""
    safe_humidity: float = 85.0
    """Below this it is safe again, percent."""
    min_spread: float = 2.0
    """Temperature less dew point below which it is unsafe, kelvins."""
    safe_spread: float = 3.0
    """The same above which it is safe again, kelvins."""
    max_cloud: float = 0.8
    """Above this it is unsafe, fraction of the sky."""
    safe_cloud: float = 0.6
    """Below this it is safe again, fraction of the sky."""
    max_silence: float = 60.0
    """Seconds for which a reading of the weather or the safety monitor's word counts."""
    quiet: float = 900.0
    """Seconds for which it must have been good, where nothing else is said."""
    rain_quiet: float = 1200.0
    """The same after rain, seconds."""
    frozen: float = 1800.0
    """A sensor that has said the same for so many seconds is out of order."""
    battery: float = 60.0
    """Seconds on battery after which it is unsafe."""
    min_charge: float = 50.0
    """Charge of the UPS below which it is unsafe, percent."""
    power_quiet: float = 600.0
    """Seconds of mains after which it is safe again."""
    power_silence: float = 120.0
    """Seconds for which the UPS's word counts."""
    missing: float = 60.0
    """Seconds for which a required device may be away."""
    clock_step: float = 2.0
    """Seconds by which the wall clock may step."""
    clock_quiet: float = 600.0
    """Seconds after a step after which it is safe again."""
    closings_hour: float = 3.0
    """So many changes to unsafe within an hour keep it unsafe for an hour."""
    closings_night: float = 6.0
    """So many in a night keep it unsafe until a person releases it."""
    disk_images: float = 5.0
    """Free space below which the camera doesn't expose, GB."""
    disk_dome: float = 1.0
    """Free space below which the dome closes, GB."""


NO = "no"
NOWHERE = Path()
"""Stands for a file that the configuration doesn't name."""


class Config(msgspec.Struct, frozen=True):
    """The whole file. Paths are absolute; ``site`` and ``alert_rules`` are `NOWHERE` where they are not named."""

    path: Path
    """The file itself."""
    name: str
    """The observatory's name."""
    data: Path
    """Folder of journals, images and archive."""
    site: Path
    """The site's YAML file."""
    alert_rules: Path
    """The YAML file of the rules for alerts."""
    agents: Mapping[str, AgentConfig]
    """The agents' sections, by name."""
    simulators: tuple[Path, ...] = ()
    """YAML files of simulated devices that run along."""
    clock: str = "real"
    """``real``, or ``night``: the observatory's clock is shifted so that its site's night is now."""
    broker: BrokerConfig | None = None
    """The section ``[broker]``; None where there is none."""
    jobs: tuple[JobConfig, ...] = ()
    """From the sections ``[job NAME]``."""
    console: ConsoleConfig | None = None
    """The section ``[console]``; None: it has no web pages."""
    celery: CeleryConfig = CeleryConfig()
    """From the section ``[celery]``."""
    guardian: GuardianConfig | None = None
    """None: nobody closes the dome when the dome's agent cannot."""
    limits: WeatherLimits = WeatherLimits()
    """Weather in which the dome may be open."""
    unit: str = ""
    """The unit that sees the observatory so, see `seen_from`; '' for the whole."""
    units: Mapping[str, UnitConfig] = {}
    """From the sections ``[unit NAME]``, by the units' names."""
    unit_guardians: Mapping[str, GuardianConfig] = {}
    """From the sections ``[guardian UNIT]``, by their units."""
    unit_limits: Mapping[str, WeatherLimits] = {}
    """Limits of the sections ``[monitoring UNIT]``, by their units."""
    on_alarm: tuple[str, ...] = ()
    """The site's own command for alarms, its words; () for none."""
    group: str = ""
    """The group of users who may read journals and data; '' for the observatory's own user alone."""
    certificates: Path | None = None
    """``tls``: folder of the certificates with which agents on other computers are spoken to; None: there is none."""
    dangerous: bool = False
    """``tls = DANGEROUSLY_OFF``: plain text is spoken with other computers."""
    amqp: AmqpConfig | None = None
    """The RabbitMQ by which agents are reached whose section says so; None: there is none."""
    key: Path | None = None
    """The file of the observatory's key, where another one than that in the data folder is named."""
    archive: Path | str = ""
    """Another place of the archive of alerts: a file, or a database's URL. '' for the file in the data folder."""

    targets: Path = NOWHERE
    """The observatory's own names of targets, CSV; `NOWHERE` for none."""
    simbad: str = ""
    """Where SIMBAD is asked for names that are not in it: a URL; '' for SIMBAD's own, `NO` for nowhere."""

    def required(self, key: str, who: str) -> Path:
        """Return the file that ``site`` or ``alert_rules`` names; raises ConfigError telling who needs it."""
        path: Path = getattr(self, key)
        if path == NOWHERE:
            raise ConfigError([f"{self.path}: [observatory] {key}: missing; {who} needs it"])
        return path

    def agent(self, name: str) -> AgentConfig:
        """Return that agent's section; raises UnknownAgent naming the file and the agents there are."""
        try:
            return self.agents[name]
        except KeyError:
            known = ", ".join(sorted(self.agents))
            raise UnknownAgent(name, "", f"no such section in {self.path} (there are: {known})") from None

    def seen_from(self, unit: str) -> Config:
        """Return the configuration as a unit sees it: short names mean its own agents, or else those around it.

        Its site, guardian and limits of the weather are the unit's, too. Any thread.
        """
        if not isinstance(self.agents, Agents) or unit == self.unit:
            return self
        places = tuple(around(unit))
        sites = [own.site for place in places if (own := self.units.get(place)) is not None and own.site is not None]
        return msgspec.structs.replace(
            self,
            unit=unit,
            agents=Agents(self.agents.sections, unit),
            site=sites[0] if sites else self.site,
            guardian=self.unit_guardians.get(unit) if unit else self.guardian,
            limits=next((self.unit_limits[place] for place in places if place in self.unit_limits), self.limits),
        )

    def guarded(self) -> tuple[Config, ...]:
        """Return the configuration as each unit sees it whose dome has a guardian."""
        units = ((WHOLE,) if self.guardian is not None else ()) + tuple(self.unit_guardians)
        return tuple(self.seen_from(unit) for unit in units)

    def has(self, name: str) -> bool:
        """Return whether a message for that name goes to anybody; see `receivers`."""
        return name in self.agents or bool(self._within(name))

    def receivers(self, name: str) -> tuple[str, ...]:
        """Return the names of the agents that a message for a name goes to.

        One, that of `agent` or the broker; or, of a kind that only units within this one have, each of them. Raises
        UnknownAgent as `agent` does.
        """
        if name not in self.agents and (within := self._within(name)):
            return within
        return (self.peer(name).name,)

    def _within(self, kind: str) -> tuple[str, ...]:
        return self.agents.within(kind) if isinstance(self.agents, Agents) else ()

    def short_name(self, name: str) -> str:
        """Return how this unit calls an agent: by its kind where that means this very agent, else by its name."""
        section = self.agents.get(name)
        if section is None or (short := self.agents.get(section.kind)) is None or short.name != section.name:
            return name
        return section.kind

    def monitored(self, section: AgentConfig) -> tuple[str, str]:
        """Return who monitors an instrument, and how it calls it there; of several who share it, the first does."""
        seen = self.seen_from(section.unit)
        keeper = seen.receivers(StandardAgents.MONITORING)[0] if seen.has(StandardAgents.MONITORING) else ""
        unit = seen.agents[keeper].unit if keeper else section.unit
        return keeper or StandardAgents.MONITORING, self.seen_from(unit).short_name(section.name)

    @property
    def telescopes(self) -> tuple[str, ...]:
        """The units of the telescopes, where there are several units; () where the telescope is the whole's."""
        units = (section.unit for section in self.agents.values() if section.kind == StandardAgents.TELESCOPE)
        return tuple(dict.fromkeys(unit for unit in units if unit))

    @property
    def telescope_name(self) -> str:
        """What images call the unit's telescope (TELESCOP): ``option_name`` of its section; '' without one."""
        section = self.agents.get(StandardAgents.TELESCOPE)
        default = f"{self.name} telescope {self.unit}".strip()
        return section.options.get("name", default) if section is not None else ""

    def unit_of(self, telescope: str) -> str:
        """Of several telescopes the unit of the one that images call so; '' where there is none."""
        return next((unit for unit in self.telescopes if self.seen_from(unit).telescope_name == telescope), "")

    def peer(self, name: str) -> AgentConfig:
        """Where messages for an agent go, or for the broker; raises UnknownAgent as `agent` does."""
        if name == BROKER and self.broker is not None and self.broker.port is not None:
            return AgentConfig(
                BROKER, self.broker.ip, self.broker.port, "", self.broker.allow, at=self.broker.at,
                certificates=self.certificates, dangerous=self.dangerous,
            )  # fmt: skip
        return self.agent(name)

    @property
    def publishes(self) -> bool:
        """Whether the observatory tells others what it does about alerts."""
        return self.broker is not None and self.broker.publish

    @property
    def simulated(self) -> bool:
        """Whether the time, or what it observes with, isn't real: then nothing that it finds is."""
        return self.clock != "real" or bool(self.simulators)

    @property
    def key_file(self) -> Path:
        """Where the observatory's key is."""
        return self.key or self.data / keys.FILE

    @property
    def alert_archive(self) -> Path | str:
        """Where alerts are archived: a file, or a database's URL."""
        return self.archive or self.data / "archive.sqlite"

    @property
    def images(self) -> Path:
        """The folder of the images, a folder for each night; it may be on a disk of its own."""
        return self.data / "images"

    @property
    def clock_shift(self) -> Path:
        """The file of the seconds by which ``clock = night`` has shifted the observatory's clock."""
        return self.data / "clock_shift_seconds"

    def shift_seconds(self) -> float:
        """Return by how many seconds the agents have shifted the observatory's clock: 0 but for ``clock = night``."""
        if self.clock == "night":
            with suppress(OSError, ValueError):
                return float(self.clock_shift.read_text())
        return 0.0

    def journal(self, name: str) -> Path:
        """Where that agent's (or the broker's) journal is."""
        section = self.agents.get(name)
        return self.data / "journals" / f"{name if section is None else section.name}.sqlite"
