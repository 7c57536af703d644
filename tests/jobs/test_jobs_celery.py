"""Celery's application from the configuration, and the transport of our own under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import ContentDisallowed

from pyros.config import ENVIRONMENT, load
from pyros.errors import ConfigError
from pyros.jobs.celery_app import make_app
from pyros.jobs.kombu import MAX_DELIVERIES, TRANSPORT, Store, register
from tests.conftest import AgentsObservatory, free_port, wait_until
from tests.jobs.conftest import Queue as OurQueue

HOLD = """
import sys, time
from pathlib import Path
from pyros.jobs.kombu import Store
taken = Store(Path(sys.argv[1])).take("q", keep=True)
print(taken["properties"]["delivery_tag"], flush=True)
time.sleep(1000)
"""


def message(priority: int = 0, task: str = "t") -> dict[str, Any]:
    return {"headers": {"id": task}, "properties": {"priority": priority, "delivery_info": {}}, "body": task}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Store(tmp_path / "broker.sqlite")))


def test_a_message_is_leased_until_its_process_is_gone(stores: Callable[[], Store], tmp_path: Path) -> None:
    ours = stores()
    ours.put(["q"], 0, "t", message())
    for times in range(MAX_DELIVERIES):
        holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "broker.sqlite")], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline().strip() == b"1"
            other = stores()
            assert other.take("q", keep=True) is None
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate()
        if times < MAX_DELIVERIES - 1:
            free = stores()
            taken = free.take("q", keep=True)
            assert taken is not None
            assert taken["properties"]["delivery_info"]["redelivered"] is True
            free.free([1], again=False)
    assert stores().take("q", keep=True) is None
    assert ours.size("dead.q") == 1


def test_priority_age_acknowledgement_and_return(stores: Callable[[], Store]) -> None:
    one, other = stores(), stores()
    for task, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 9)):
        one.put(["q"], priority, task, message(priority, task))
    first = one.take("q", keep=True)
    assert first is not None
    assert first["body"] == "d"
    one.done(first["properties"]["delivery_tag"])
    second = one.take("q", keep=True)
    assert second is not None
    one.free([second["properties"]["delivery_tag"]], again=True)
    rest = [taken["body"] for _ in range(3) if (taken := other.take("q", keep=False))]
    assert rest == ["b", "a", "c"]
    assert other.take("q", keep=False) is None


def test_a_closed_worker_gives_back_and_a_forked_one_does_not(stores: Callable[[], Store], tmp_path: Path) -> None:
    ours = Store(tmp_path / "broker.sqlite")
    ours.put(["q"], 0, "t", message())
    assert ours.take("q", keep=True)
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert stores().take("q", keep=True) is None
    ours.close()
    assert stores().take("q", keep=True) is not None


def test_what_is_revoked_never_comes_also_when_asked_for_later(stores: Callable[[], Store]) -> None:
    one = stores()
    one.put(["q"], 0, "waits", message(task="waits"))
    assert one.revoke(["waits", "later"]) == ["waits"]
    one.put(["q"], 0, "later", message(task="later"))
    one.put(["q"], 0, "other", message(task="other"))
    taken = stores().take("q", keep=True)
    assert taken is not None
    assert taken["body"] == "other"


def test_kombus_exchanges_reach_every_process(tmp_path: Path) -> None:
    """Direct, by topic and to all; what was bound by one connection is known to another."""
    register()
    url = f"{TRANSPORT}://localhost/{tmp_path / 'broker.sqlite'}"
    with Connection(url) as reader, Connection(url) as writer:
        for kind, key in (("direct", "k"), ("topic", "k.*"), ("fanout", "")):
            queue = Queue(f"queue-{kind}", Exchange(f"exchange-{kind}", kind), routing_key=key, message_ttl=60)
            queue(reader.default_channel).declare()
            got: list[Any] = []

            def take(body: Any, taken: Any, got: list[Any] = got) -> None:
                got.append(body)
                taken.ack()

            sent = {"direct": "k", "topic": "k.x", "fanout": "any"}[kind]
            Queue(queue.name, queue.exchange, routing_key=key)(writer.default_channel).declare()
            writer.Producer().publish({"kind": kind}, exchange=queue.exchange, routing_key=sent)
            with reader.Consumer([queue], callbacks=[take], accept=["json"]):
                reader.drain_events(timeout=10)
            assert got == [{"kind": kind}]
            assert queue(reader.default_channel).queue_declare(passive=True).message_count == 0


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    register()
    with Connection(f"{TRANSPORT}://localhost/{tmp_path / 'broker.sqlite'}") as connection:
        queue = connection.SimpleQueue("q", serializer="pickle")
        queue.put({"a": 1})
        queue.consumer.accept = {"application/json"}
        with pytest.raises(ContentDisallowed):
            queue.get(timeout=10).decode()
        queue.close()


def test_the_application_says_what_the_ini_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"app": "pyros.agents.jobs", "option_tasks": "reduce.* *.mean"}
    place = AgentsObservatory(tmp_path, {"jobs": {"app": "pyros.agents.jobs"}, "jobs_reduce": keys})
    conf = make_app(place.config).conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.accept_content, conf.result_accept_content, conf.task_serializer) == (["json"], ["json"], "json")
    assert conf.broker_url == f"{TRANSPORT}://localhost/{place.config.data}/celery/broker.sqlite"
    assert conf.task_routes == {"reduce.*": {"queue": "jobs_reduce"}, "*.mean": {"queue": "jobs_reduce"}}
    with place.path.open("a") as ini:
        ini.write("[celery]\nbroker = env:BROKER\n")
    with pytest.raises(ConfigError, match=r"\[celery\] broker: env:BROKER is empty"):
        make_app(load(place.path))
    monkeypatch.setenv("BROKER", "amqp://u:p%40@h//")
    assert make_app(load(place.path)).conf.broker_url == "amqp://u:p%40@h//"


def test_a_mistake_in_the_section_is_told_without_the_password(tmp_path: Path) -> None:
    place = AgentsObservatory(tmp_path, {"jobs": {"app": "pyros.agents.jobs"}})
    place.path.write_text(place.path.read_text() + "[celery]\nbroker = secret@host\nurl = x\n")
    with pytest.raises(ConfigError) as told:
        load(place.path)
    assert "[celery] broker: is no URL" in str(told.value)
    assert "[celery] url: unknown key (known here: broker, modules, path, results)" in str(told.value)
    assert "secret" not in str(told.value)


def test_celerys_command_line_tells_a_mistake_in_a_line(tmp_path: Path) -> None:
    celery = Path(sys.executable).parent / "celery"
    environment = os.environ | {ENVIRONMENT: str(tmp_path / "none.ini")}
    done = subprocess.run([celery, "-A", "pyros.jobs", "report"], env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"pyros: ")
    assert b"Traceback" not in done.stderr


def test_celery_runs_what_our_ledger_keeps(tmp_path: Path) -> None:
    """A job is asked for while no worker lives, and one is terminated with its programs."""
    keys = {"app": "pyros.agents.jobs", "option_runner": "celery", "option_grace": "0.2 s", "port": str(free_port())}
    queue = OurQueue(AgentsObservatory(tmp_path, {"jobs": keys}), "jobs")
    worker = None
    try:
        first = queue.ask("/bin/sh", "-c", "echo $PYROS_JOB")
        queue.wait(first, "running")
        assert not queue.folder(first).exists()
        command = [str(Path(sys.executable).parent / "celery"), "-A", "pyros.jobs", "worker", "-Q", "jobs", "-c", "1"]
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
                                      env=os.environ | {ENVIRONMENT: str(queue.place.path)})  # fmt: skip
        assert queue.wait(first).state == "succeeded"
        assert queue.file(first, "log") == f"{first}\n"
        second = queue.ask("/bin/sh", "-c", "setsid sleep 1000 & echo $!; wait")
        pid = int(wait_until(lambda: queue.file(second, "log"), what="it to have begun"))
        queue.revoke(second, terminate=True)
        assert queue.wait(second).state == "terminated"
        assert not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()
        assert json.loads(queue.file(second, "result-1.json"))["why"] == "stopped"
    finally:
        if worker is not None:
            os.killpg(worker.pid, signal.SIGTERM)
            worker.wait()
        queue.close()
