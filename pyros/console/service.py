"""``twistd -n pyros-console``: the options, and the service. Django is imported when the service starts."""

from __future__ import annotations

import logging
import os
import sys
import threading
from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.application.service import Service
from twisted.internet import endpoints
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from pyros.clock import RealClock, Timer, cancel_call
from pyros.config import Config, ConsoleConfig
from pyros.errors import ConfigError, PyrosError
from pyros.reactor import installed_reactor
from pyros.service_manager import ServiceManager
from pyros.twistd import NotStarted, Options, telling_mistakes

log = Logger("console")
_THREADS, _ORDER_THREADS = 8, 4
_SWITCH_SECONDS = 0.0005
"""After so long a thread that renders a page lets another one run. An order takes some forty turns with its agents'
answers, each of which would wait for Python's own 5 ms: a fifth of a second beside one page."""
_AGAIN_SECONDS, _TRIES = 0.5, 120
_FILL_SECONDS = 0.5
_FILL_EVERY_SECONDS = 30.0
_PARENT_SECONDS = 1.0
_END_SECONDS = 10.0
"""How long the end waits for answers that are being made; one that hangs, on a disk that is gone, is left to itself."""
LINGER_SECONDS = 20.0
"""How long a console outlives the observatory that started it: its pages say meanwhile that there is no news."""


def missing_extra(config: Config) -> str:
    """Return what to install so that the console can run; '' for nothing."""
    missing = [name for name in ("django",) if find_spec(name) is None]
    return f"{config.path}: [console]: needs: pip install 'pyros-observatory[console]'" if missing else ""


class ConsoleOptions(Options):
    """twistd -n pyros-console"""

    longdesc = "Run the console of the configuration: web pages, live, for people and programs."
    optParameters: list[list[Any]] = [  # noqa: RUF012
        ["parent", None, None, "The process that started it, and with which it ends.", int]
    ]


@telling_mistakes
def console_service(options: ConsoleOptions) -> Service:
    """For the plugin ``pyros-console``."""
    config = options.load()
    if config.console is None:
        raise ConfigError([f"{config.path}: [console]: the section is missing; give it a port"])
    if problem := missing_extra(config):
        raise ConfigError([problem])
    return ConsoleService(config, config.console, parent=options["parent"])


class ConsoleService(Service):
    """The console under twistd. Every method is for the reactor's thread."""

    def __init__(self, config: Config, section: ConsoleConfig, *, parent: int | None = None) -> None:
        """Read and make what it needs, without starting it; ``parent`` is the process that started it.

        Raises ConfigError, as `pyros.console.console.Console` does.
        """
        from pyros.console.console import Console  # noqa: PLC0415

        os.umask(0o077)
        self._reactor = installed_reactor()
        self._section, self._parent = section, parent
        self.console = Console(config, section, RealClock(self._reactor))
        self._manager = ServiceManager(self.console.clock)
        self._pools = (ThreadPool(0, _THREADS, "console"), ThreadPool(0, _ORDER_THREADS, "console-orders"))
        for pool in self._pools:
            pool.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]
        self._port: Any = None
        self._tries = 0
        self._orphan_since: float | None = None
        self._timers: dict[str, Timer] = {}
        self._live: Any = None

    def startService(self) -> None:
        """Start, or end twistd with one line that says why not."""
        super().startService()
        os.umask(0o077)
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            self._start()
        except PyrosError as error:
            raise NotStarted(f"pyros: {error}") from None
        self._manager.watch(lambda: self._port is not None)

    def _start(self) -> None:
        from pyros.console.settings import configure  # noqa: PLC0415

        for name, level in (("django", logging.ERROR), ("django.request", logging.CRITICAL + 1),
                            ("django.security", logging.CRITICAL + 1)):  # fmt: skip
            logging.getLogger(name).setLevel(level)  # what they would log names URLs, which may be secret
        configure(self.console)
        from pyros.console.database import prepare  # noqa: PLC0415  it needs Django's settings
        from pyros.console.stack import make_stack  # noqa: PLC0415

        prepare(self.console)
        for pool in self._pools:
            pool.start()
        self._live, site = make_stack(self.console, self._reactor, *self._pools)
        self.console.feed.start()
        self._listen(site)
        self._fill_search()
        if self._parent is not None:
            self._watch_parent()

    def _listen(self, site: Any) -> None:
        listening = endpoints.serverFromString(self._reactor, _endpoint(self._section)).listen(site)
        listening.addCallbacks(self._listening, self._not_listening, errbackArgs=(site,))

    def _listening(self, port: Any) -> None:
        self._port = port
        log.info("the console is {url}", url=self._section.url)

    def _not_listening(self, failure: Failure, site: Any) -> None:
        """Try again where an observatory was killed a moment ago, whose console still says so; else give up."""
        self._tries += 1
        taken = failure.check(CannotListenError) is not None
        if taken and self._parent is not None and self._tries < _TRIES and self.running:
            self._timers["listen"] = self.console.clock.call_later(_AGAIN_SECONDS, self._listen, site)
            return
        section = self._section
        log.critical("{path}: [console] port: cannot listen on {ip}:{port}: {why}", path=self.console.config.path,
                     ip=section.ip, port=section.port, why=failure.getErrorMessage())  # fmt: skip
        self._end(1)

    def _fill_search(self) -> None:
        """Take into the search's index what the journals have, a while at a time: who searches need not wait."""

        def filled(complete: bool) -> None:
            if self.running:
                seconds = _FILL_EVERY_SECONDS if complete else _FILL_SECONDS
                self._timers["search"] = self.console.clock.call_later(seconds, self._fill_search)

        def broken(failure: Failure) -> None:
            log.error("the search's index cannot be filled: {why}", why=failure.getErrorMessage())
            filled(True)

        filling = deferToThreadPool(self._reactor, self._pools[0], self.console.search.fill, _FILL_SECONDS)
        filling.addCallbacks(filled, broken)

    def _watch_parent(self) -> None:
        self._timers["parent"] = self.console.clock.call_later(_PARENT_SECONDS, self._watch_parent)
        if os.getppid() == self._parent:
            return
        now = self.console.clock.monotonic()
        self._orphan_since = self._orphan_since or now
        if now - self._orphan_since > LINGER_SECONDS:
            log.info("the observatory that started the console is gone, and so it ends")
            self._end(0)

    def _end(self, code: int) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            return
        if code:
            self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, code)

    def stopService(self) -> Deferred[Any]:
        """End the streams, the threads, the port."""
        super().stopService()
        self._manager.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for timer in self._timers.values():
            cancel_call(timer)
        if self._live is not None:
            self._live.stop()
        await (self._port.stopListening() if self._port is not None else succeed(None))
        ended: Deferred[bool] = Deferred()
        threading.Thread(target=self._end_threads, args=(ended,), daemon=True).start()
        patience = self.console.clock.call_later(_END_SECONDS, _settle, ended, False)
        if await ended:
            patience.cancel()
        else:
            log.error("the console ends with an answer unfinished, which has taken more than {seconds:.0f} s",
                      seconds=_END_SECONDS)  # fmt: skip

    def _end_threads(self, ended: Deferred[bool]) -> None:
        """End the feed and the pools, in a thread: an answer that is being written waits for the reactor."""
        if self._live is not None:
            self.console.feed.stop()
        for pool in self._pools:
            if pool.started:
                pool.stop()
        self._reactor.callFromThread(_settle, ended, True)


def _settle(ended: Deferred[bool], value: bool) -> None:
    if not ended.called:
        ended.callback(value)


def _endpoint(section: ConsoleConfig) -> str:
    quote = endpoints.quoteStringArgument
    where = f"{section.port}:interface={quote(section.ip)}"
    if section.certificate is None or section.key is None:
        return f"tcp{'6' * (':' in section.ip)}:{where}:backlog=200"
    files = f"privateKey={quote(str(section.key))}:certKey={quote(str(section.certificate))}"
    return f"ssl:{where}:{files}:backlog=200"
