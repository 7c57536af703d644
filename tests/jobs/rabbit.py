"""A node of RabbitMQ of one's own: Debian's server, on free ports, with its files in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench._sites import SiteComputers
from tests.conftest import PATIENCE, free_port, wait_until

COOKIE = "PYROSTESTS"
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitNode:
    """One node, which may be killed and started again."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str], *before: str) -> None:
        """``before`` are the words before the command that starts it."""
        self._before = before
        self.port = port
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        self._log, self._environment = folder / "node.log", environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        wait_until(self.is_ready, 3 * PATIENCE, what="RabbitMQ to be ready")

    def begin(self) -> None:
        """Start it."""
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*self._before, str(RABBIT)], env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def is_ready(self) -> bool:
        """Whether it takes connections; fails where it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return "Starting broker... completed" in self._log.read_text()

    def sees(self) -> int:
        """Return how many nodes of its cluster run, as it says; 0 where it says nothing, or begins only."""
        name = self._environment["RABBITMQ_NODENAME"]
        ask = f"fun(Module, Function) -> rpc:call('{name}', Module, Function, [], 5000) end"
        call = f"Ask = {ask}, Booted = Ask(rabbit, is_booted), Seen = Ask(rabbit_nodes, all_running)"
        command = [
            "erl",
            "-hidden",
            "-name",
            name.replace("rabbit", "looking"),
            "-setcookie",
            COOKIE,
            "-noshell",
            "-eval",
        ]
        told = f'{call}, io:format("~p", [case Booted of true -> Seen; _ -> Booted end]), halt().'
        said = subprocess.run(
            [*self._before, *command, told], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout
        return said.count("@") if said.startswith("[") else 0

    def send(self, number: int) -> None:
        """Send the node's processes a signal that doesn't end them."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the node's processes a signal, and wait for their end, for which they have half a minute."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def rabbit(folder: Path) -> Iterator[str]:
    """Run a node of RabbitMQ with everything of its own; gives its URL."""
    with rabbit_node(folder) as node:
        yield node.url


@contextmanager
def rabbit_node(folder: Path, config: str = "") -> Iterator[RabbitNode]:
    """Run a node of RabbitMQ with everything of its own; ``config`` are lines of its configuration."""
    (folder / "rabbitmq.conf").write_text(config)
    port, distribution, mapper = free_port(), free_port(), free_port()
    environment = _own_files(folder) | {
        "HOME": str(folder), "RABBITMQ_NODENAME": f"pyros{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(distribution), "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }  # fmt: skip
    names = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(mapper)], env=environment)
    node = RabbitNode(folder, port, environment)
    try:
        node.start()
        yield node
    finally:
        node.kill(signal.SIGTERM)
        names.kill()
        names.wait()


def _own_files(folder: Path) -> dict[str, str]:
    """Return an environment in which a node's files are in a folder, and it has no plugins."""
    (folder / "plugins").write_text("[].\n")
    return os.environ | {
        "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"), "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"), "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
    }  # fmt: skip


@contextmanager
def rabbit_cluster(computers: SiteComputers, *places: str, config: str = "") -> Iterator[dict[str, RabbitNode]]:
    """Run a cluster with a node on each of these computers; ``config`` are more lines of its configuration."""
    home = computers.folder / "rabbit"
    home.mkdir()
    cookie = home / ".erlang.cookie"
    cookie.write_text(COOKIE)
    cookie.chmod(0o400)
    names = {place: f"rabbit@{computers.places[place].inside}" for place in places}
    lines = ["loopback_users = none", "cluster_formation.peer_discovery_backend = classic_config", config]
    lines += [f"cluster_formation.classic_config.nodes.{at} = {name}" for at, name in enumerate(names.values(), 1)]
    nodes: dict[str, RabbitNode] = {}
    try:
        for place, name in names.items():
            folder = home / place
            folder.mkdir()
            (folder / "rabbitmq.conf").write_text("\n".join([*lines, ""]))
            computers.run(place, "epmd")
            environment = _own_files(folder) | {
                "HOME": str(home), "RABBITMQ_NODENAME": name, "RABBITMQ_USE_LONGNAME": "true",
            }  # fmt: skip
            nodes[place] = RabbitNode(folder, 5672, environment, *computers.entering(place))
            nodes[place].start()
        yield nodes
    finally:
        for node in nodes.values():
            node.kill()
