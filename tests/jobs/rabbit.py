"""A node of RabbitMQ of one's own: Debian's server, on free ports, with its files in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import free_port, wait_until

RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@contextmanager
def rabbit(folder: Path) -> Iterator[str]:
    """Run a node of RabbitMQ with everything of its own; gives its URL."""
    port, distribution, mapper = free_port(), free_port(), free_port()
    environment = os.environ | {
        "HOME": str(folder), "RABBITMQ_NODENAME": f"pyros{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(distribution), "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"), "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"), "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
    }  # fmt: skip
    (folder / "plugins").write_text("[].\n")
    names = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(mapper)], env=environment)
    with (folder / "node.log").open("wb") as out:
        node = subprocess.Popen([str(RABBIT)], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True)  # fmt: skip
    try:

        def ready() -> bool:
            assert node.poll() is None, (folder / "node.log").read_text()
            return "Starting broker... completed" in (folder / "node.log").read_text()

        wait_until(ready, what="RabbitMQ to be ready")
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGTERM)
        try:
            node.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        names.kill()
        names.wait()
