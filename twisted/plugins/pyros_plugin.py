"""twistd -n pyros | pyros-agent | pyros-broker | pyros-guardian | pyros-simulator | pyros-console.

Each is started by what pyros.twistd names; the console by pyros.console.service.
"""

import signal

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from zope.interface import implementer


@implementer(IPlugin, IServiceMaker)
class PyrosServiceMaker:
    """Names only: pyros is imported when its command is used, not when twistd lists its plugins."""

    def __init__(self, tapname: str, description: str, options: str, make: str, module: str = "pyros.twistd") -> None:
        self.tapname, self.description, self._module = tapname, description, module
        self._options, self._make = options, make

    @property
    def options(self):  # type: ignore[no-untyped-def]
        return namedAny(f"{self._module}.{self._options}")

    def makeService(self, options):  # type: ignore[no-untyped-def]
        from twisted.internet import reactor  # noqa: PLC0415  here twistd has chosen it

        # The reactor takes signals when it runs, which is after ports are open and agents have begun: until then Ctrl-C
        # would be a traceback, and SIGTERM would end all without making anything safe.
        signal.signal(signal.SIGINT, reactor.sigInt)  # type: ignore[attr-defined]
        signal.signal(signal.SIGTERM, reactor.sigTerm)  # type: ignore[attr-defined]
        return namedAny(f"{self._module}.{self._make}")(options)


observatory = PyrosServiceMaker("pyros", "A whole robotic observatory.", "ObservatoryOptions", "observatory_service")
agent = PyrosServiceMaker("pyros-agent", "One agent of an observatory.", "AgentOptions", "agent_service")
broker = PyrosServiceMaker("pyros-broker", "The observatory's VOEvent broker.", "BrokerOptions", "broker_service")
guardian = PyrosServiceMaker(
    "pyros-guardian", "What closes an observatory's dome.", "GuardianOptions", "guardian_service"
)
simulator = PyrosServiceMaker("pyros-simulator", "Simulated instruments.", "SimulatorOptions", "simulator_service")
console = PyrosServiceMaker(
    "pyros-console", "The observatory's web pages.", "ConsoleOptions", "console_service", "pyros.console.service"
)
