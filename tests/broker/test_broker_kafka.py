"""Kafka as the broker sees it, with librdkafka's mock cluster in another process as the service."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest

from pyros import messages
from pyros.alerts import parse
from pyros.alerts.formats.avro import container
from pyros.config import AgentConfig
from pyros.sender import ask
from tests.broker.conftest import Configuration, make_event
from tests.conftest import PATIENCE, wait_until
from tests.web import WebAnswer, WebRequest, web_server

if not os.environ.get("CI"):  # there it must be tested
    pytest.importorskip("confluent_kafka", reason="needs: pip install 'pyros-observatory[kafka]'")

HERE = Path(__file__).parent
FAST = """
librdkafka.session.timeout.ms = 2000
librdkafka.heartbeat.interval.ms = 400
librdkafka.topic.metadata.refresh.interval.ms = 500
librdkafka.reconnect.backoff.max.ms = 500
"""
OFFSET_COMMIT, FETCH, TOPIC_AUTHORIZATION_FAILED, INVALID_COMMIT = 8, 1, 29, 28


class Service:
    """The mock cluster."""

    def __init__(self, *topics: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HERE / "kafka_process.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        for topic in topics:
            self.tell(f"create {topic} 1")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def produce(self, topic: str, *packets: bytes, key: bytes = b"") -> None:
        for packet in packets:
            texts = (base64.b64encode(part).decode() for part in (packet, key) if part)
            self.tell(f"produce {topic} {' '.join(texts)}")
        self.tell("flush")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    with ExitStack() as stack:
        yield lambda *topics: stack.enter_context(closing(Service(*topics)))


@pytest.fixture
def section(configuration: Configuration) -> Callable[..., Path]:
    """Write a configuration with one [kafka gcn]."""

    def write(address: str, name: str = "a", **keys: str) -> Path:
        path = configuration(name)
        keys = {"servers": address, "topics": "gcn.classic.voevent.* gcn.notices.*", "start": "earliest"} | keys
        with path.open("a") as file:
            file.write("[kafka gcn]\n" + FAST + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        return path

    return write


def notice(number: int) -> bytes:
    return json.dumps({"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/x.schema.json", "id": number}).encode()


VOEVENTS, NOTICES = "gcn.classic.voevent.SWIFT_BAT_GRB_POS_ACK", "gcn.notices.test.alert"


def test_voevents_json_and_what_is_neither(service: Any, start: Any, section: Any) -> None:
    gcn = service(VOEVENTS, NOTICES)
    broker = start(section(gcn.address))
    wait_until(lambda: broker.said("receiving gcn.classic"))
    first, second = make_event("ivo://test.observatory/bursts#1"), make_event("ivo://test.observatory/bursts#2")
    gcn.produce(VOEVENTS, first, b"Error: no such thing", first, first.replace(b"a burst", b"another"), second)
    gcn.produce(NOTICES, notice(1), notice(2), notice(1))
    wait_until(lambda: broker.count() == 4)
    alerts = {(alert.packet, alert.topic) for alert in broker.outbox()}
    assert alerts == {(first, VOEVENTS), (second, VOEVENTS), (notice(1), NOTICES), (notice(2), NOTICES)}
    assert {alert.source for alert in broker.outbox()} == {f"kafka gcn {VOEVENTS}", f"kafka gcn {NOTICES}"}
    wait_until(lambda: len(broker.rows("SELECT * FROM rejected")) == 2)
    kept = broker.rows("SELECT packet, reason, conflict FROM rejected ORDER BY conflict")
    assert kept[0][0] == b"Error: no such thing"
    assert kept[0][1].startswith("neither XML nor JSON")
    assert kept[1][1].startswith("conflicts with the event that is stored under this ivorn")
    gcn.tell(f"create {NOTICES}.new 1")  # a topic that begins to exist while we listen
    gcn.produce(f"{NOTICES}.new", notice(3))
    wait_until(lambda: broker.count() == 5)
    status = broker.stop()
    assert status["kafka"]["gcn"]["topics"] == [VOEVENTS, NOTICES, f"{NOTICES}.new"]
    assert status["kafka"]["gcn"]["trouble"] == ""


def bare_detection(number: int = 29) -> tuple[bytes, bytes]:
    """Return a schema of Rubin's kind, and a record of it."""
    fields = [
        {"name": "diaSourceId", "type": "long"},
        {"name": "diaSource", "type": {"type": "map", "values": "double"}},
    ]
    schema = {"type": "record", "name": "alert", "fields": fields}
    stream, written = io.BytesIO(), json.dumps(schema).encode()
    fastavro.schemaless_writer(stream, schema, {"diaSourceId": number, "diaSource": {"ra": 10.5, "dec": -43.5}})
    return written, stream.getvalue()


def test_the_schema_of_a_bare_record_comes_as_its_key(service: Any, start: Any, section: Any) -> None:
    """So Fink sends its livestream."""
    key, record = bare_detection()
    fink = service("fink_sn_lsst")
    broker = start(section(fink.address, topics="fink_sn_lsst"))
    wait_until(lambda: broker.said("receiving fink_sn_lsst"))
    fink.produce("fink_sn_lsst", record, record, key=key)
    fink.produce("fink_sn_lsst", notice(1), key=b"an object's name")
    wait_until(lambda: broker.count() == 2)
    packets = {alert.packet for alert in broker.outbox()}
    assert packets == {container(key, record), notice(1)}
    assert parse(container(key, record)).target == (10.5, -43.5)


@pytest.mark.parametrize("way", ["schema", "schema_registry"])
def test_the_schema_of_a_numbered_record_is_given_or_asked_for(
    way: str, service: Any, start: Any, section: Any, tmp_path: Path
) -> None:
    """So Rubin sends its packets."""
    schema, record = bare_detection()
    _, other = bare_detection(30)
    numbered = [b"\0" + number.to_bytes(4) + each for number, each in ((703, record), (704, other))]
    asked = []

    def answer(request: WebRequest) -> WebAnswer:
        """Answer as a registry that has one schema, 703."""
        asked.append(request.path)
        if request.path != "/lsst/schemas/ids/703":
            return WebAnswer(b"{}", 404)
        return WebAnswer(json.dumps({"schema": schema.decode()}).encode())

    (tmp_path / "lsst.avsc").write_bytes(schema)
    rubin = service("lsst-alerts")
    with web_server(answer) as port:
        registry = f"http://127.0.0.1:{port}/lsst/"
        given = {"schema": str(tmp_path / "lsst.avsc"), "schema_registry": registry}[way]
        broker = start(section(rubin.address, topics="lsst-alerts", **{way: given}))
        wait_until(lambda: broker.said("receiving lsst-alerts"))
        rubin.produce("lsst-alerts", numbered[0], numbered[1], notice(1))
        wait_until(lambda: broker.count() + len(broker.rows("SELECT * FROM rejected")) == 3)
    packets = {alert.packet for alert in broker.outbox()}
    whole = {container(schema, record), notice(1)}
    if way == "schema":
        assert packets == {*whole, container(schema, other)}
    else:
        ((reason,),) = broker.rows("SELECT reason FROM rejected")
        assert (packets, reason.partition(",")[0]) == (whole, "an Avro record of schema 704")
        assert set(asked) == {"/lsst/schemas/ids/703", "/lsst/schemas/ids/704"}


def test_killed_in_mid_stream_every_alert_arrives_once(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    path = section(gcn.address, start="latest")
    broker = start(path)
    wait_until(lambda: broker.said("receiving"))
    total = 0
    for run in range(3):
        gcn.produce(NOTICES, *(notice(number) for number in range(total, total + 300)))
        total += 300
        wait_until(lambda: broker.count() > 100 + 300 * run)  # noqa: B023
        broker.kill()
        gcn.produce(NOTICES, *(notice(number) for number in range(total, total + 50)))  # while it is away
        total += 50
        broker = start(path)
        wait_until(lambda: broker.count() >= total)  # noqa: B023
    gcn.produce(NOTICES, notice(total))
    wait_until(lambda: broker.count() == total + 1)
    broker.stop()
    assert [alert.packet for alert in broker.outbox()] == [notice(number) for number in range(total + 1)]


def test_after_a_clean_stop_nothing_comes_twice(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    path = section(gcn.address)
    for run in (1, 2):
        gcn.produce(NOTICES, notice(run))
        broker = start(path)
        wait_until(lambda: broker.count() == run)  # noqa: B023
        status = broker.stop()
        assert (status["received"], status["duplicates"]) == (1, 0)


def test_the_service_goes_away_and_comes_back(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    broker = start(section(gcn.address))
    gcn.produce(NOTICES, notice(1))
    wait_until(lambda: broker.count() == 1)
    gcn.tell("down")
    wait_until(lambda: broker.said("cannot be reached"))
    gcn.tell("up")
    gcn.produce(NOTICES, notice(2))
    wait_until(lambda: broker.count() == 2)
    assert broker.said("works again")
    gcn.tell("down")
    assert broker.stop()["received"] == 2, "it ends all the same"


def test_the_service_goes_away_in_mid_stream_and_the_alert_manager_gets_each_alert_once(
    service: Any, start: Any, section: Any, alert_manager: Any
) -> None:
    gcn = service(NOTICES)
    config = section(gcn.address)
    broker, manager = start(config), alert_manager(config)
    packets = [notice(number) for number in range(600)]
    gcn.produce(NOTICES, *packets[:500])
    wait_until(lambda: broker.count() + manager.count() > 0)
    gcn.tell("down")  # with most of them not fetched yet
    for packet in packets[500:]:
        gcn.tell(f"produce {NOTICES} {base64.b64encode(packet).decode()}")  # the producer keeps them until it is back
    gcn.tell("up")
    gcn.tell("flush")
    wait_until(lambda: manager.count() >= 600)
    assert manager.received() == Counter(packets)
    wait_until(lambda: not broker.count())
    assert broker.stop()["waiting"] == 0


def test_errors_that_arrive_as_messages(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    gcn.tell(f"fail {FETCH} {TOPIC_AUTHORIZATION_FAILED} 2")
    broker = start(section(gcn.address))
    gcn.produce(NOTICES, notice(1))
    wait_until(lambda: broker.said("refuses us"))
    wait_until(lambda: broker.count() == 1)
    assert broker.said("are user and secret right, and not expired?")
    assert not broker.rows("SELECT * FROM rejected")
    assert broker.stop()["kafka"]["gcn"]["trouble"], "what comes on a topic says nothing about another"


def test_a_commit_that_fails_is_made_again(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    path = section(gcn.address, topics=NOTICES)
    broker = start(path)
    wait_until(lambda: broker.said("receiving"))
    gcn.tell(f"fail {OFFSET_COMMIT} {INVALID_COMMIT} 1")
    gcn.produce(NOTICES, notice(1))
    wait_until(lambda: broker.count() == 1)
    wait_until(lambda: broker.said("Commit offset data size is not valid"))
    wait_until(lambda: broker.said("works again"))
    broker.kill()
    broker = start(path)
    gcn.produce(NOTICES, notice(2))
    wait_until(lambda: broker.count() == 2)
    status = broker.stop()
    assert (status["received"], status["duplicates"]) == (1, 0)


def test_a_full_disk_holds_the_stream_and_loses_nothing(service: Any, start: Any, section: Any, port: int) -> None:
    gcn = service(NOTICES)
    config = section(gcn.address)
    config.write_text(config.read_text().replace("[broker]", f"[broker]\nport = {port}"))
    broker = start(config)
    wait_until(lambda: broker.said("receiving"))
    broker.process.send_signal(signal.SIGUSR1)
    packets = [notice(number) for number in range(400)]
    gcn.produce(NOTICES, *packets)
    wait_until(lambda: ask(AgentConfig("broker", "127.0.0.1", port, ""), "status", PATIENCE)["failed"])
    broker.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: broker.count() == 400)
    status = broker.stop()
    assert {alert.packet for alert in broker.outbox()} == set(packets)
    assert status["duplicates"] == 0


def test_a_packet_too_large_for_a_message(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES)
    broker = start(section(gcn.address))
    large = msgspec.json.encode({"healpix_file": "x" * 4_000_000})
    gcn.produce(NOTICES, large)
    wait_until(lambda: broker.count() == 1)
    (alert,) = broker.outbox()
    assert (alert.packet, alert.kept) == (b"", 1)
    assert broker.rows("SELECT packet FROM events WHERE number = 1") == [(large,)]


def test_silence_is_an_alarm(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES, "gcn.heartbeat")
    gcn.produce("gcn.heartbeat", b"{}")  # an old one
    config = section(gcn.address, heartbeat="gcn.heartbeat", silence="1.5")
    with config.open("a") as file:
        file.write("[monitoring]\nport = 1\n")
    broker = start(config)

    def told() -> list[tuple[str, str]]:
        rows = broker.rows("SELECT name, payload FROM outbox WHERE agent = 'monitoring' ORDER BY seq")
        return [(name, messages.decode_payload(name, bytes(payload)).source) for name, payload in rows]

    wait_until(lambda: broker.said("receiving"))
    wait_until(lambda: broker.said("nothing heard on gcn.heartbeat"))

    def beats() -> bool:
        gcn.produce("gcn.heartbeat", b"{}")  # again and again, as they come; the first may be before where we begin
        return bool(broker.said("is heard again"))

    wait_until(beats)
    silent, heard = (messages.ALERTS_SILENT, "kafka gcn"), (messages.ALERTS_HEARD, "kafka gcn")
    wait_until(lambda: told()[:2] == [silent, heard])
    status = broker.stop()
    assert status["events"] == 0
    assert status["kafka"]["gcn"]["heard"] is not None


def test_a_topic_that_is_not_there_is_told_and_the_others_are_taken(service: Any, start: Any, section: Any) -> None:
    gcn = service(NOTICES, "gcn.heartbeat")
    broker = start(section(gcn.address, topics="gcn.notices.* no.such.topic gcn.other.*", heartbeat="gcn.heartbeat"))
    wait_until(lambda: broker.said("(or none that we may read) fits no.such.topic, gcn.other.*"))
    gcn.produce(NOTICES, notice(1), notice(2))
    wait_until(lambda: broker.count() == 2)
    status = broker.stop()
    kafka = status["kafka"]["gcn"]
    assert kafka["topics"] == [NOTICES]
    assert kafka["missing"] == ["no.such.topic", "gcn.other.*"]
    assert "Unknown topic" in kafka["trouble"]
    assert kafka["lag"] in (None, 0)
    assert not broker.said("works again")


def test_expired_credentials_are_said_plainly(service: Any, start: Any, section: Any, tmp_path: Path) -> None:
    gcn = service(NOTICES)
    (tmp_path / "secret").write_text("Top-Secret-17\n")
    with web_server(lambda _: WebAnswer(b'{"error": "invalid_client"}', 401)) as port:
        url = f"http://127.0.0.1:{port}/token"
        keys = {"login": "oidc", "user": "astronomer", "secret": f"file:{tmp_path}/secret", "token_url": url}
        broker = start(section(gcn.address, tls="no", **keys))
        wait_until(lambda: broker.said("refuses us"))
        status = broker.stop()
    assert "are user and secret right" in status["kafka"]["gcn"]["trouble"]
    assert not broker.said("Top-Secret-17")
    assert "Top-Secret-17" not in json.dumps(status)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (
            {"login": "plain", "user": "x", "secret": "env:PYROS_NO_SUCH_SECRET"},
            "secret: the environment has no variable",
        ),
        ({"login": "plain", "user": "x", "secret": "file:nothing"}, "secret: cannot read"),
        ({"librdkafka.no.such": "1"}, 'No such configuration property: "no.such"'),
    ],
)
def test_a_mistake_is_one_line(section: Any, keys: dict[str, str], reason: str) -> None:
    path = section("127.0.0.1:1", **keys)
    ran = subprocess.run(
        [sys.executable, HERE / "broker_process.py", path],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    error = json.loads(ran.stdout)["error"]
    assert error.startswith(f"{path}: [kafka gcn]")
    assert reason in error
    assert "Traceback" not in ran.stderr
