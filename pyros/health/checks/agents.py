"""Agents, broker and guardian run and answer; their queues move, their journals can be read."""

from __future__ import annotations

from pyros.config import BROKER
from pyros.health.asking import LONG_SECONDS
from pyros.health.check import HealthCheck, warning
from pyros.journal import MAX_COUNTED

_MAX_WAITING = 200
_MAX_BEAT_SECONDS = 30.0
_MAX_JOURNAL_GB = 4.0
MAX_WAL_GB = 0.5


class AgentsCheck(HealthCheck):
    """The agents run, and their threads do not hang."""

    group = "agents"
    tags = ("agents",)

    def test_running(self) -> None:
        """Every agent of the configuration, and the broker, runs."""
        down = self.observatory.night.down
        if down:
            every = len(down) == len(self.observatory.night.agents)
            self.fail(
                f"nothing runs: pyros run --config {self.observatory.config.path}"
                if every
                else f"not running: {', '.join(down)}"
            )

    def test_answering(self) -> None:
        """Every agent that runs answers on its port."""
        asked = self.observatory.asked()
        silent = [
            f"{name} ({asked[name].get('reason', '')})"
            for name in self.observatory.config.agents
            if self.observatory.is_up(name) and not asked[name]["up"]
        ]
        if silent:
            self.fail(f"these run and do not answer: {', '.join(silent)}")

    def test_hanging(self) -> None:
        """No agent's handler takes longer than three seconds."""
        hanging = [
            f"{name} has been handling {handling['message']!r} for {handling['seconds']:.0f} s"
            for name, said in self.observatory.asked().items()
            if (handling := said.get("handling")) is not None and handling["seconds"] >= LONG_SECONDS
        ]
        if hanging:
            self.fail("; ".join(hanging))

    @warning
    def test_forgetting(self) -> None:
        """No agent had more of something than it can keep."""
        forgotten = [
            f"{name} has forgotten the {count} oldest {what}"
            for name, said in self.observatory.asked().items()
            for what, count in said.get("forgotten", {}).items()
        ]
        if forgotten:
            self.fail("; ".join(forgotten))


class BrokerCheck(HealthCheck):
    """The broker takes alerts."""

    group = "broker"
    tags = ("alerts",)

    def test_listening(self) -> None:
        """It answers, or where it has no port for that, its ports for authors and subscribers do."""
        if self.observatory.config.broker is None:
            self.skipTest("there is no broker")
        if not self.observatory.is_up(BROKER):
            self.skipTest("the broker does not run")
        said = self.observatory.asked()[BROKER]
        if not said["up"]:
            self.fail(said.get("reason", "no answer"))


class GuardianCheck(HealthCheck):
    """The process that closes the dome when the dome's agent is gone."""

    group = "guardian"
    each = "dome"
    tags = ("safety",)

    @property
    def _name(self) -> str:
        return f"guardian {self.unit}".strip()

    @warning
    def test_present(self) -> None:
        """An observatory with a dome has a guardian."""
        config = self.observatory.config
        if "dome" not in config.agents:
            self.skipTest("there is no dome")
        if config.guardian is None:
            self.fail(f"{config.path}: [{self._name}]: no such section: nobody closes the dome when its agent cannot")

    def test_running(self) -> None:
        """The guardian answers."""
        if self.observatory.config.guardian is None:
            self.skipTest("there is no guardian")
        said = self.observatory.asked()[self._name]
        if not said["up"]:
            self.fail(f"no answer from {said['address']}: {said.get('reason', '')}")

    def test_beat(self) -> None:
        """The guardian hears the dome's agent, and has not had to close."""
        if self.observatory.config.guardian is None:
            self.skipTest("there is no guardian")
        said = self.observatory.asked()[self._name]
        if not said["up"] or not self.observatory.is_up("dome"):
            self.skipTest("guardian or dome's agent does not run")
        if said.get("closing"):
            self.fail("the guardian is closing the dome")
        if said.get("beats") and said["beat"] > _MAX_BEAT_SECONDS:
            self.fail(f"the dome's agent has not been heard for {said['beat']:.0f} s")


class QueuesCheck(HealthCheck):
    """Messages arrive and are handled."""

    group = "queues"
    level = "warning"
    tags = ("agents",)

    def test_waiting(self) -> None:
        """Few messages wait for an agent that runs."""
        up = {agent.name for agent in self.observatory.night.agents if agent.up}
        waiting: dict[str, int] = {}
        for name in up:
            with self.observatory.observed.journal(name) as journal:
                for to, count in (journal.waiting() if journal is not None else {}).items():
                    waiting[to] = waiting.get(to, 0) + count
        full = [f"{count} for {to}" for to, count in waiting.items() if count > _MAX_WAITING and to in up]
        if full:
            self.fail(f"messages wait: {', '.join(full)}")

    def test_failed(self) -> None:
        """No message has failed that was not handled since."""
        failed = [f"{count(agent.failed)} of {agent.name}" for agent in self.observatory.night.agents if agent.failed]
        if failed:
            self.fail(f"failed messages: {', '.join(failed)}; pyros messages failed")

    def test_refused(self) -> None:
        """No agent has refused another's message."""
        refused = [
            f"{count(agent.refused)} of {agent.name}" for agent in self.observatory.night.agents if agent.refused
        ]
        if refused:
            self.fail(f"refused messages: {', '.join(refused)}; pyros messages failed")


class JournalsCheck(HealthCheck):
    """The agents' journals."""

    group = "journals"
    tags = ("agents", "disk")

    def test_readable(self) -> None:
        """Every journal and state can be read."""
        problems: dict[str, str] = {}
        for look in (self.observatory, *self.observatory.telescopes):
            _ = look.night, look.monitoring, look.majordome
            agents = look.config.agents
            problems |= {
                agents[name].name if name in agents else name: why for name, why in look.observed.problems.items()
            }
        if problems:
            self.fail("; ".join(f"{name}: {why}" for name, why in problems.items()))

    @warning
    def test_size(self) -> None:
        """No journal is larger than 4 GB, and no write-ahead log than 0.5 GB."""
        large = []
        for name in self.observatory.observed.names:
            path = self.observatory.observed.path(name)
            for each, most in ((path, _MAX_JOURNAL_GB), (path.with_name(f"{path.name}-wal"), MAX_WAL_GB)):
                if each.exists() and (size := each.stat().st_size / 1e9) > most:
                    large.append(f"{each} has {size:.1f} GB")
        if large:
            self.fail("; ".join(large))


def count(number: int) -> str:
    """Return how many, where counting has an end."""
    return f"{number} or more" if number >= MAX_COUNTED else str(number)
