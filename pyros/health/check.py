"""A health check: a test case of unittest that looks at an observatory as it is now.

The same class runs under pytest and unittest, in `pyros doctor`, and for the console. Its time limit lives in `run`,
so that it holds wherever it runs: what takes longer fails, and goes on in a thread of its own that nobody waits for.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import unittest
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pyros import outgoing
from pyros.clock import steady_seconds, system_time
from pyros.files import free_gigabytes
from pyros.health.observatory import Observatory, default_observatory

Level = Literal["critical", "warning"]
_T = TypeVar("_T", bound=Callable[..., Any])
_LARGEST_ANSWER = 1 << 20
_SET_UP_SECONDS = 1.0
"""What `setUp` and `tearDown` have at least."""


def warning(test: _T) -> _T:
    """Make one test of a critical class one whose failure is a warning."""
    test.level = "warning"  # type: ignore[attr-defined]
    return test


class HealthCheck(unittest.TestCase):
    """The base of all checks. Each method ``test_...`` is a check of its own; its docstring says what must hold.

    A check passes, fails by ``self.fail`` and the assertions, or doesn't apply (``self.skipTest``).
    """

    level: ClassVar[Level] = "critical"
    """What a failure means: ``critical`` or ``warning``."""
    timeout: ClassVar[float] = 10.0
    """Seconds that a check may take."""
    tags: ClassVar[tuple[str, ...]] = ()
    """Words by which checks are chosen (``pyros doctor --tag``)."""
    group: ClassVar[str] = ""
    """The first part of the checks' names; by default the class's name in small letters."""

    each: ClassVar[str] = ""
    """A kind of agents: where there are several telescopes the check is made for each of them, as its unit sees the
    observatory, and its name has the unit: ``camera east.temperature``."""
    unit: str = ""
    """The unit of the agent that it is made for."""

    observatory: Observatory
    """What is looked at; without one that of $PYROS_AGENT_CONFIG, or of the working directory."""

    _hanging: ClassVar[dict[str, threading.Thread]] = {}

    @property
    def check_name(self) -> str:
        """The check's name: ``disk.space_for_images``."""
        group = self.group or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        return f"{f'{group} {self.unit}'.strip()}.{self._testMethodName.removeprefix('test_')}"

    @property
    def check_level(self) -> Level:
        """What its failure means."""
        return getattr(getattr(self, self._testMethodName, None), "level", self.level)

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the check within its time limit, as unittest and pytest ask for it."""
        if not hasattr(self, "observatory"):
            self.observatory = default_observatory()
        ends = steady_seconds() + self.timeout
        for name in ("setUp", self._testMethodName, "tearDown"):
            function = getattr(self, name)
            if name == "setUp" and self.each and self.observatory.telescopes:
                function = partial(self.skipTest, "each of several telescopes has its own: pyros doctor looks at them")
            setattr(self, name, self._bounded(name, function, ends))
        return super().run(result)

    def _bounded(self, name: str, function: Callable[[], Any], ends: float) -> Callable[[], Any]:
        def bounded() -> Any:
            key = f"{self.observatory.config.path} {self.check_name} {name}"
            before = self._hanging.get(key)
            if before is not None and before.is_alive():
                self.fail(f"still hangs since an earlier look, after its {self.timeout:g} s")
            raised: list[BaseException] = []

            def work() -> None:
                try:
                    function()
                except BaseException as error:
                    raised.append(error)

            thread = threading.Thread(target=work, name=f"check {self.check_name}", daemon=True)
            thread.start()
            least = 0.0 if name == self._testMethodName else _SET_UP_SECONDS
            thread.join(max(least, ends - steady_seconds()))
            if thread.is_alive():
                self._hanging[key] = thread
                self.fail(f"has not ended within {self.timeout:g} s")
            self._hanging.pop(key, None)
            if raised:
                raise raised[0]

        bounded.__doc__ = function.__doc__
        bounded.level = getattr(function, "level", self.level)  # type: ignore[attr-defined]
        return bounded

    def assert_ping(self, host: str, seconds: float = 2.0) -> None:
        """Fail unless a computer answers an ICMP echo request; skip where there is no program ``ping``."""
        program = shutil.which("ping")
        if program is None:
            self.skipTest("ping is not installed")
        command = [program, "-n", "-q", "-c", "1", "-W", str(max(1, round(seconds))), "--", host]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2, check=False)
        except subprocess.TimeoutExpired:
            self.fail(f"{host} does not answer a ping within {seconds:g} s")
        if ended.returncode:
            said = ended.stderr.strip().splitlines()
            self.fail(f"{host} does not answer a ping within {seconds:g} s{f' ({said[-1]})' if said else ''}")

    def assert_port(self, host: str, port: int, seconds: float = 2.0) -> None:
        """Fail unless a TCP port accepts a connection."""
        try:
            socket.create_connection((host, port), seconds).close()
        except OSError as error:
            self.fail(f"{host}:{port} accepts no connection: {error.strerror or error}")

    def assert_http_response(self, url: str, contains: str = "", seconds: float = 5.0) -> None:
        """Fail unless a web address answers with success, and with a text in its first megabyte."""
        where = urlsplit(url)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise ValueError(f"{url!r} is not an http or https address")
        shown = f"{where.scheme}://{where.hostname}{f':{where.port}' if where.port else ''}{where.path}"
        try:
            answer = outgoing.get(url, seconds=seconds, largest=_LARGEST_ANSWER)
        except OSError as error:
            self.fail(f"{shown} {error}")
        if contains.encode() not in answer:
            self.fail(f"{shown} answers, but {contains!r} is not in it")

    def assert_free(self, path: Path | str, gigabytes: float) -> None:
        """Fail unless a folder is there, and so much is free on its disk: one that isn't mounted is nowhere."""
        if not Path(path).exists():
            self.fail(f"{path}: there is no such folder; is its disk mounted?")
        free = free_gigabytes(Path(path))
        if free < gigabytes:
            self.fail(f"{free:.1f} GB are free in {path}, {gigabytes:g} GB are needed")

    def assert_fresh(self, what: Path | str | float | None, seconds: float, name: str = "") -> None:
        """Fail unless a file was changed, or something was at an instant, not longer ago than ``seconds``.

        A file's age is by the computer's clock, an instant (Unix seconds) by the observatory's. None, or no file,
        is never fresh.
        """
        if isinstance(what, int | float) or what is None:
            shown, age = name or "it", None if what is None else self.observatory.now - what
        else:
            shown = name or str(what)
            age = system_time() - Path(what).stat().st_mtime if Path(what).exists() else None
        if age is None:
            self.fail(f"{shown}: there is none")
        if age > seconds:
            self.fail(f"{shown} is {_duration(age)} old; at most {_duration(seconds)} is right")


def _duration(seconds: float) -> str:
    for unit, length, below in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172800)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
