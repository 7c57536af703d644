"""``pyros check``: is the configuration right? Nothing is started."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from typing import Any

import msgspec
from twisted.internet.task import Clock

from pyros import config as configuration
from pyros.agents.safety_rules import Rule
from pyros.agents.safety_rules import rules as safety_rules
from pyros.alerts.rules.lint import never_fitting, unknown_notice_types, unknown_streams
from pyros.alerts.rules.rules import Rules
from pyros.broker.vtp.filters import check_syntax, compile_filter
from pyros.broker.vtp.tls import Tls
from pyros.certificates import ended
from pyros.cli.common import ConfigOption, complain, facts_table, out, plain_table, short, show
from pyros.cli.ports import PortPlace, listening
from pyros.clock import RealClock
from pyros.config import NOWHERE, Config, addresses_clash
from pyros.console.console import DATABASE_FILE
from pyros.console.offline import unknown_devices
from pyros.console.pages import shown
from pyros.console.service import missing_extra
from pyros.errors import ConfigError, PyrosError
from pyros.instruments import KINDS, check_address
from pyros.notices.delivery import apprise_problem
from pyros.notices.rules import NoticeRules
from pyros.planning import Site
from pyros.quantities import number
from pyros.sender.amqp import amqp_ready
from pyros.sender.certificates import examine, unreachable
from pyros.simulators import Description
from pyros.simulators import load as load_simulator


def check(config: ConfigOption = None) -> None:
    """Check the configuration and everything it names, without starting anything.

    Site, alert rules, simulators, drivers and addresses, the agents' code,
    ports, the data folder: prints what it found, or every mistake at once.

    Examples:
      pyros check
      pyros check --config my_observatory.ini
    """
    loaded = configuration.load(config)
    findings = Findings(loaded)
    if findings.problems:
        raise ConfigError(findings.problems)
    findings.show()
    for warning in findings.warnings:
        complain(warning)


class Findings:
    """What a configuration names, read; and every problem with it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.site = None if config.site == NOWHERE else self._try(Site.load, config.site)
        for unit in config.units.values():
            if unit.site is not None:
                self._try(Site.load, unit.site)
        self.rules = None if config.alert_rules == NOWHERE else self._try(Rules.load, config.alert_rules)
        self.simulators: list[Description] = [
            found for path in config.simulators if (found := self._try(load_simulator, path))
        ]
        self.agents: dict[str, Any] = {
            name: self._try(_load_agent, config, name) for name, section in config.agents.items() if section.app
        }
        self.safety = self._safety_table()
        self._check_devices()
        self._check_filters()
        self._check_ports()
        self._check_data()
        self._check_broker()
        self._check_certificates()
        self._check_console()
        self._check_notices()
        if config.broker is not None and "alert_manager" not in config.agents:
            self.warnings.append(
                f"{config.path}: [alert_manager]: no such section: the broker keeps its events and sends them on, and"
                " nothing is decided about them"
            )
        for section in config.agents.values():
            if section.kind == "dome" and config.seen_from(section.unit).guardian is None:
                name = f"guardian {section.unit}".strip()
                self.warnings.append(
                    f"{config.path}: [{name}]: no such section: nobody closes the dome when the dome's agent cannot;"
                    " add one with a port"
                )
        if self.rules:
            lints = unknown_streams, unknown_notice_types, never_fitting
            self.warnings += [f"{config.alert_rules}: {each}" for lint in lints for each in lint(self.rules)]
        self._check_alerts_way()
        self.problems = list(dict.fromkeys(self.problems))

    def _try(self, load: Any, *args: Any) -> Any:
        try:
            return load(*args)
        except PyrosError as error:
            self.problems += str(error).splitlines()
        return None

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(f"{self.config.path}: [{where}] {what}")

    def _check_devices(self) -> None:
        for section in self.config.agents.values():
            if section.kind not in KINDS or not section.driver:
                continue
            try:
                check_address(section.kind, section.driver, section.address)
            except ConfigError as error:
                for problem in error.problems:
                    self._problem(section.name, problem)

    def _check_alerts_way(self) -> None:
        """Find what is missing between an alert and a telescope: each agent sends to the next one."""
        there = self.config.agents
        for name, ends in (
            ("alert_manager", {"scheduler": "what it wants observed goes there"}),
            ("scheduler", {"majordome": "nobody carries its plan out"}),
            ("majordome", {"observation_manager": "nobody carries out an observation"}),
            ("observation_manager", {"telescope": "nothing is pointed", "camera": "nothing is exposed"}),
        ):
            for other, why in ends.items():
                for section in there.values():
                    if section.kind == name and not self.config.seen_from(section.unit).has(other):
                        missing = f"{other} {section.unit}".strip()
                        told = f"[{missing}]: no such section, but there is [{section.name}]: {why}"
                        self.warnings.append(f"{self.config.path}: {told}")

    def _safety_table(self) -> tuple[Rule, ...]:
        """Make the safety table as monitoring will; () where there is no monitoring."""
        section, limits = self.config.agents.get("monitoring"), self.config.limits
        if section is None:
            return ()
        values: dict[str, float] = {}
        for key in ("safe_after", "frozen_after"):
            with suppress(KeyError, ValueError):  # what is wrong there was found with the agent
                values[key] = number(0.0)(section.options[key])
        limits = msgspec.structs.replace(limits, frozen=values.get("frozen_after", limits.frozen))
        return safety_rules(limits, values.get("safe_after"))

    def _check_filters(self) -> None:
        """Find rules that would fail at the first alert, for they ask for a filter that the observatory doesn't have.

        Filters are those of the simulated wheel, or of the simulated camera where there is no wheel.
        """
        device = "filter_wheel" if "filter_wheel" in self.config.agents else "camera"
        found = [each for each in self.simulators if each.device == device]
        if not self.rules or len(found) != 1:
            return
        filters = getattr(found[0].settings, "filters", ())
        name = device.replace("_", " ")
        for rule in self.rules.rules:
            for missing in dict.fromkeys(each.filter for each in rule.exposures if each.filter not in filters):
                self.problems.append(
                    f"{self.config.alert_rules}: rule {rule.name!r} observe: filter {missing!r} is not in the {name}"
                    f" of {found[0].file} (it has: {', '.join(filters)})"
                )

    def _check_console(self) -> None:
        """Try the sections to hide; warn of a missing extra, and of devices that people have described and are none."""
        section = self.config.console
        if section is None:
            return
        self._try(shown, self.config)
        if problem := missing_extra(self.config):
            self.warnings.append(problem)
        elif (section.folder / DATABASE_FILE).exists():
            for name in self._try(unknown_devices, self.config) or ():
                self.warnings.append(
                    f"{section.folder / DATABASE_FILE}: device {name!r} is described, but has no section in"
                    f" {self.config.path}"
                )

    def _check_ports(self) -> None:
        """Agents and broker were compared when the configuration was read; the simulators come on top."""
        taken: list[PortPlace] = []
        for place in listening(self.config, self.simulators):
            other = next(
                (each for each in taken if each.port == place.port and addresses_clash(each.ip, place.ip)), None
            )
            taken.append(place)
            if place.port and other is not None and place.file != self.config.path:
                self.problems.append(f"{place.file}: listen: port {place.port} is already taken by {other.who}")

    def _check_data(self) -> None:
        """Try to write into the data folder: to root everything seems writable, also where nothing can be made."""
        folder = self.config.data
        try:
            while not folder.exists():
                folder = folder.parent
            tempfile.TemporaryDirectory(prefix=".pyros-check-", dir=folder).cleanup()
        except OSError as error:
            reason = f"cannot be written ({folder}: {error.strerror or error}); name a folder of your own"
            self._problem("observatory", f"data: {self.config.data} {reason}")

    def _check_certificates(self) -> None:
        """Check the agents' certificates, where they are needed, and the way to RabbitMQ where one is used."""
        self._try(amqp_ready, self.config)
        found = examine(self.config, RealClock(Clock()).now())
        self.problems += found.problems
        self.warnings += [*found.warnings, *unreachable(self.config)]

    def _check_broker(self) -> None:
        """Check the files of the broker's TLS, and what it asks of other brokers."""
        tls, now = self._try(Tls, self.config), RealClock(Clock()).now()  # certificates end by the computer's time
        if tls is not None:
            self.problems += ended(tls.certificates, now)
            self.warnings += [each for each in tls.expiring(now) if not self.problems]
        for remote in self.config.broker.remotes if self.config.broker else ():
            for text in remote.filters:
                try:
                    check_syntax(text)
                except ValueError as error:
                    self._problem(remote.section, f"filters: {error}")
                    continue
                try:
                    compile_filter(text)
                except ValueError as error:
                    where = f"{self.config.path}: [{remote.section}] filters"
                    self.warnings.append(f"{where}: a broker like this one would not take it and send all: {error}")

    def _check_notices(self) -> None:
        """Check the notifier's rules, the files of its secrets, and what apprise makes of them."""
        section = self.config.agents.get("notifier")
        if section is None or not section.options.get("rules"):
            return
        rules = self._try(NoticeRules.load, self.config.path.parent / section.options["rules"])
        for recipient in rules.recipients if rules is not None else ():
            if recipient.apprise is not None and (problem := apprise_problem(recipient.apprise)):
                where = f"{rules.path}: recipients {recipient.name} apprise"
                self.problems.append(f"{where}: {recipient.apprise} {problem}")

    def show(self) -> None:
        """Print what was found, as tables."""
        config, site, broker = self.config, self.site, self.config.broker
        simulated = {_port_of(each): each for each in self.simulators}
        facts = facts_table()
        facts.add_row("observatory", f"{config.name}, from {config.path}")
        where = "none is named"
        if site is not None:
            where = f"{site.name}: latitude {site.latitude:g}°, longitude {site.longitude:g}°, {site.elevation:g} m"
        facts.add_row("site", where)
        facts.add_row("clock", "its night is now" if config.clock == "night" else "the computer's")
        facts.add_row("alert rules", f"{len(self.rules.rules)} in {config.alert_rules}" if self.rules else "none named")
        facts.add_row("data", str(config.data))
        if broker is None:
            facts.add_row("broker", "none")
        else:
            remotes = ", ".join(remote.where for remote in broker.remotes) or "no other broker"
            facts.add_row("broker", f"{broker.ivo}: receives on {broker.ip}:{broker.receiver_port},"
                                    f" broadcasts on {broker.broadcaster_port}, subscribes to {remotes}")  # fmt: skip
            if broker.tls is not None:
                ports = ", ".join(str(port) for port in (broker.tls.receiver_port, broker.tls.broadcaster_port) if port)
                who = f"whom {broker.tls.client_ca} knows" if broker.tls.client_ca else "anybody in its networks"
                facts.add_row("with TLS", f"{broker.tls.ip}, ports {ports}, for {who}")
        if config.telescopes:
            facts.add_row("telescopes", ", ".join(config.telescopes))
            facts.add_row("for one alone", "the console's pages of events, and pyros replay")
        for seen in config.guarded() or (config,):
            guardian = seen.guardian
            facts.add_row(f"guardian {seen.unit}".strip(), "none" if guardian is None else
                          f"{guardian.where}: closes the dome after {guardian.beat:g} s without a beat")  # fmt: skip
        show(facts)
        out.print()
        table = plain_table("agent", "address", "code", "device")
        for section in config.agents.values():
            agent = type(self.agents.get(section.name))
            code = f"{agent.__module__}:{agent.__name__}" if section.app else "of a program of its own"
            simulator = simulated.get(section.address.rpartition(":")[2])
            device = f"{section.driver} at {section.address}" if section.address else ""
            if simulator is not None:
                faster = f", {simulator.speed:g} times faster" if simulator.speed != 1 else ""
                device += f" (simulated by {short(simulator.file)}{faster})"
            table.add_row(section.name, section.where, code, device)
        show(table)
        self._show_safety()
        out.print(f"\nNo mistake found. Start it: pyros run --config {config.path}")

    def _show_safety(self) -> None:
        """Print the safety table as configured."""
        if not self.safety:
            return
        out.print()
        headings = ("unsafe by", "at", "safe again", "stale after", "then")
        table = plain_table(*headings, wraps=headings)
        for rule in self.safety:
            table.add_row(rule.name, rule.unsafe, rule.safe, rule.stale, rule.acts)
        show(table)


def _load_agent(config: Config, name: str) -> Any:
    from pyros.observatory import load_agent  # noqa: PLC0415  it brings Twisted and astropy

    return load_agent(config, name)


def _port_of(simulator: Description) -> str:
    return next((word for word in simulator.listen.split(":")[1:] if word.isdigit()), "")
