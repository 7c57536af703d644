"""Sender: delivers a message to an agent by name.

``Sender.send_to`` is for plain programs; it returns when the agent has committed the message. In a handler of an
agent it goes through that agent's outbox, so that it takes effect with the turn or not at all.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyros import config as _config
from pyros.errors import AgentError, AgentUnreachable
from pyros.sender._client import AgentClient, ask, open_connection, reachable

__all__ = ["AgentClient", "Sender", "ask", "current_config", "open_connection", "outbox_of_this_thread", "reachable"]


class _Outbox(threading.local):
    """Set by an agent while it runs handlers in this thread: where `Sender.send_to` leads then."""

    send: Callable[[str, str, Any], None] | None = None
    config: _config.Config | None = None
    """The agent's configuration."""


outbox_of_this_thread = _Outbox()
_connections: dict[tuple[str, _config.Address, Path], AgentClient] = {}
_loaded: dict[tuple[str, int], _config.Config] = {}
_guard = threading.Lock()


class Sender:
    """Delivers messages to agents by their names."""

    @staticmethod
    def send_to(
        agent: str, name: str, payload: Any = None, *, config: _config.Config | None = None, timeout: float = 10.0
    ) -> str:
        """Deliver a message and return its id when the agent has committed it (from a plain program; any thread).

        ``payload`` is None, a dict, or the payload type of that name. The agent's address comes from ``config``, or
        from the file that ``$PYROS_AGENT_CONFIG`` or the working directory gives.

        Raises UnknownAgent, AgentUnreachable (nobody there, or no answer within ``timeout`` seconds) or MessageRefused,
        each naming agent, address and reason; ConfigError (also for a key file that others may read); ValueError for
        what can't be sent. In an agent's handler it returns at once: the message is in the outbox, and leaves when the
        turn is committed.
        """
        if outbox_of_this_thread.send is not None:
            outbox_of_this_thread.send(agent, name, payload)
            return ""
        connection = Sender._connection(agent, config, timeout)
        with connection.lock:
            try:
                return connection.send(name, payload)
            except AgentUnreachable:
                connection.abandon()  # the caller has been told that it failed: it must not arrive with the next one
                raise

    @staticmethod
    def open(agent: str, *, config: _config.Config | None = None, timeout: float = 10.0) -> AgentClient:
        """Open a connection of one's own, to send many messages in a pipeline; use it in a ``with`` statement."""
        loaded = config or current_config()
        return AgentClient(loaded.agent(agent), timeout, loaded.key_file)

    @staticmethod
    def _connection(agent: str, config: _config.Config | None, timeout: float) -> AgentClient:
        loaded = config or current_config()
        section = loaded.agent(agent)
        if _in_reactor_thread():
            raise AgentError("Sender.send_to would block the reactor: call it in another thread, or use self.send_to")
        key = (section.name, section.destination, loaded.key_file)
        with _guard:
            connection = _connections.get(key)
            if connection is None or connection.pid != os.getpid():
                connection = _connections[key] = AgentClient(section, timeout, loaded.key_file)
        connection.timeout = timeout
        return connection


@atexit.register
def close_connections() -> None:
    """Close what `Sender.send_to` keeps open; done when the program ends, too."""
    with _guard:
        for connection in _connections.values():
            connection.close()
        _connections.clear()


def current_config() -> _config.Config:
    """Return the configuration of the agent whose handler runs in this thread, else the one that the environment names.

    That one is read again when the file has changed. Raises ConfigError.
    """
    if outbox_of_this_thread.config is not None:
        return outbox_of_this_thread.config
    path = _config.find()
    key = (str(path), path.stat().st_mtime_ns)
    with _guard:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = _config.load(path)
        return _loaded[key]


def _in_reactor_thread() -> bool:
    from twisted.python import threadable  # noqa: PLC0415  a plain program need not load Twisted before it sends

    return bool(threadable.isInIOThread())
