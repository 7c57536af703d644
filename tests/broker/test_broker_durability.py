"""Durable before acknowledged, counted.

Whatever dies or fills up, what was acknowledged is in the archive, and has reached a real alert manager exactly once.
"""

from __future__ import annotations

import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyros.alerts.archive.query import Query
from pyros.alerts.archive.search import ArchiveReader
from pyros.broker.vtp.protocol import frame
from pyros.errors import JournalError
from tests.broker.conftest import AlertManagerProcess, Configuration, make_event
from tests.broker.process import BrokerProgram
from tests.conftest import free_port, wait_until

HERE = Path(__file__).parent
AT_ONCE = 16
pytestmark = pytest.mark.timeout(300)
Managers = Callable[[Path], AlertManagerProcess]


def ivorn(number: int) -> str:
    return f"ivo://test.observatory/bursts#{number}"


@pytest.fixture
def broker(configuration: Configuration) -> Iterator[BrokerProgram]:
    keys = {key: str(free_port()) for key in ("receiver_port", "broadcaster_port")}
    made = BrokerProgram(configuration(**keys), any_port=False)
    yield made
    made.close()


class PersistentAuthor:
    """Sends events, many at a time, each over a connection of its own; again, until it knows that one is kept."""

    def __init__(self, port: int, numbers: range, text: str = "") -> None:
        self._port, self._text = port, text
        self._waiting = list(reversed(numbers))
        self._selector = selectors.DefaultSelector()
        self.acknowledged: set[int] = set()
        """Those that were told to be kept."""
        self.known: set[int] = set()
        """Those that were told to be kept already: their acknowledgement was lost with the broker."""
        self.refused = 0

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until that is so, or everything is known to be kept."""
        while not until() and (self._waiting or self._selector.get_map()):
            while self._waiting and len(self._selector.get_map()) < AT_ONCE:
                self._connect(self._waiting.pop())
            for key, _ in self._selector.select(20):
                self._answered(key.fileobj, *key.data)

    def _connect(self, number: int) -> None:
        one = socket.socket()
        try:
            one.connect(("127.0.0.1", self._port))
            one.sendall(frame(make_event(ivorn(number), text=self._text)))
        except OSError:
            one.close()
            self._waiting.append(number)
        else:
            self._selector.register(one, selectors.EVENT_READ, (number, bytearray()))

    def _answered(self, one: Any, number: int, answer: bytearray) -> None:
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        answer += data
        if data and (len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big")):
            return
        self._selector.unregister(one)
        one.close()
        if b'role="ack"' in answer:
            assert number not in self.acknowledged, "acknowledged as new, twice"
            self.acknowledged.add(number)
        elif b"Previously seen" in answer:
            self.known.add(number)
        else:
            self.refused += b"send it again" in answer
            self._waiting.insert(0, number)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            one: Any = key.fileobj
            one.close()
        self._selector.close()


@pytest.fixture
def author(broker: BrokerProgram) -> Iterator[Callable[[int], PersistentAuthor]]:
    with ExitStack() as stack:
        yield lambda count: stack.enter_context(closing(PersistentAuthor(broker.receiver, range(count))))


def never() -> bool:
    return False


def check(broker: BrokerProgram, manager: AlertManagerProcess, count: int, text: str = "") -> None:
    """Every one of so many events is in the archive once, and was handed to the alert manager once."""
    wait_until(lambda: manager.count() >= count)
    once = Counter(make_event(ivorn(number), text=text) for number in range(count))
    assert manager.received() == once
    assert manager.decided() == Counter(ivorn(number) for number in range(count))
    archive = broker.config.parent / "var" / "archive.sqlite"

    def archived() -> list[str]:
        try:
            reader = ArchiveReader(archive)
        except JournalError:  # the broker was killed before it had made the archive
            return []
        try:
            if reader.count() < count:
                return []
            return [entry.identity for entry in reader.find(Query())]
        finally:
            reader.close()

    assert Counter(wait_until(archived)) == Counter(ivorn(number) for number in range(count))
    wait_until(lambda: not broker.count(), what="the last answers of the alert manager")
    assert broker.stop()["waiting"] == 0


@pytest.mark.parametrize(("kills", "events"), [(4, 800), pytest.param(30, 5000, marks=pytest.mark.long)])
def test_killed_again_and_again_while_an_author_sends(
    broker: BrokerProgram, author: Callable[[int], PersistentAuthor], alert_manager: Managers, kills: int, events: int
) -> None:
    manager, sending, chance = alert_manager(broker.config), author(events), random.Random(20_260_102)
    instants = sorted(chance.sample(range(events - 100), kills))
    for instant in instants:  # after so many acknowledgements, with up to 16 events on their way
        sending.run(lambda instant=instant: len(sending.acknowledged) + len(sending.known) >= instant)  # type: ignore[misc]
        broker.kill()
        broker.start()
    sending.run(never)
    assert len(sending.acknowledged | sending.known) == events
    assert len(sending.known) <= kills * AT_ONCE
    check(broker, manager, events)


def test_an_alert_manager_that_is_away_for_the_whole_run(
    broker: BrokerProgram, author: Callable[[int], PersistentAuthor], alert_manager: Managers
) -> None:
    sending = author(600)
    sending.run(lambda: len(sending.acknowledged) >= 300)
    broker.kill()
    broker.start()
    sending.run(never)
    assert len(sending.acknowledged | sending.known) == 600
    check(broker, alert_manager(broker.config), 600)


def test_a_disk_that_is_full_for_a_while(
    broker: BrokerProgram, author: Callable[[int], PersistentAuthor], alert_manager: Managers
) -> None:
    manager, sending = alert_manager(broker.config), author(600)
    sending.run(lambda: len(sending.acknowledged) >= 200)
    broker.process.send_signal(signal.SIGUSR1)
    sending.run(lambda: sending.refused >= 100)
    kept = len(sending.acknowledged)
    sending.run(lambda: sending.refused >= 200)
    assert len(sending.acknowledged) == kept, "nothing is acknowledged that could not be stored"
    broker.process.send_signal(signal.SIGUSR2)
    sending.run(never)
    assert sending.acknowledged == set(range(600))
    check(broker, manager, 600)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[int], None]]:
    """Mount a file system of so many megabytes; the value makes it larger."""
    mount = shutil.which("mount")
    if os.getuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    folder.mkdir()
    command: list[str | Path] = [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")

    def grow(size: int) -> None:
        subprocess.run([mount, "-o", f"remount,size={size}m", folder], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_file_system_without_room(
    configuration: Configuration, author: Any, alert_manager: Managers, tmp_path: Path
) -> None:
    keys = {key: str(free_port()) for key in ("receiver_port", "broadcaster_port")}
    config = configuration("small", **keys)
    count, text = 800, "x" * 20_000  # 16 MB, which 12 can never hold
    with small_disk(config.parent / "var", 12) as grow:  # 8 MB of it for the WAL
        broker, manager = BrokerProgram(config, any_port=False), alert_manager(config)
        sending = PersistentAuthor(broker.receiver, range(count), text)
        try:
            sending.run(lambda: sending.refused >= 50)
            assert 0 < len(sending.acknowledged) < count
            grow(200)
            sending.run(never)
            assert sending.acknowledged == set(range(count))
            check(broker, manager, count, text)
        finally:
            sending.close()
            broker.kill()
            manager.close()
