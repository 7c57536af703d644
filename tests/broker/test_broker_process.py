"""The broker over real sockets, with Comet's own programs on the other side."""

from __future__ import annotations

import json
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros import messages, wire
from pyros.broker.vtp.protocol import frame, transport
from pyros.config import load
from pyros.errors import DeliveryError, MessageRefused
from pyros.keys import make_key
from pyros.line_limit import MAX_LINES
from tests.broker.conftest import Configuration, Start, comet_sendvo, make_event
from tests.broker.process import SCRIPT
from tests.cli.conftest import run
from tests.conftest import PATIENCE, GreetedPeer, wait_until

BIN = Path(sys.executable).parent


def test_comet_sends_and_comet_subscribes(start: Start, configuration: Configuration, tmp_path: Path) -> None:
    broker = start(configuration())
    command = [str(BIN / "twistd"), "-n", "--pidfile=", "comet", "--local-ivo=ivo://test.other/comet", "--save-event"]
    command += [f"--remote=127.0.0.1:{broker.broadcaster}", "--save-event-directory=saved", "--eventdb=db"]
    with (tmp_path / "comet.log").open("w") as log, subprocess.Popen(command, cwd=tmp_path, stdout=log) as comet:
        try:
            wait_until(lambda: broker.said("has connected"))
            sent = comet_sendvo(broker.receiver, make_event("ivo://test.observatory/bursts#sent-by-comet"))
            assert sent.returncode == 0, sent.stdout
            assert "Acknowledgement received" in sent.stdout
            files = wait_until(lambda: [file for file in (tmp_path / "saved").glob("*") if file.stat().st_size])
            assert files[0].read_bytes() == make_event("ivo://test.observatory/bursts#sent-by-comet")
        finally:
            comet.terminate()
    again = comet_sendvo(broker.receiver, make_event("ivo://test.observatory/bursts#sent-by-comet"))
    assert again.returncode == 1
    assert "Previously seen by this broker" in again.stdout
    (alert,) = broker.outbox()
    assert alert.packet == make_event("ivo://test.observatory/bursts#sent-by-comet")
    status = broker.stop()
    assert (status["received"], status["duplicates"], status["waiting"]) == (1, 1, 1)


def test_kill_right_after_the_acknowledgement(start: Start, configuration: Configuration) -> None:
    config = configuration()
    for life in range(1, 4):
        broker = start(config)
        packet = make_event(f"ivo://test.observatory/bursts#{life}")
        broker.publish(packet)
        broker.kill()
        assert [alert.packet for alert in broker.outbox()][-1] == packet
        assert len(broker.outbox()) == life
    broker = start(config)
    with pytest.raises(MessageRefused, match="Previously seen by this broker"):
        broker.publish(packet)
    with pytest.raises(MessageRefused, match="conflicts with the event that is stored"):
        broker.publish(packet.replace(b"a burst", b"another"))
    assert broker.stop()["events"] == 3


def test_a_full_disk(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    broker.publish(make_event("ivo://test.observatory/bursts#1"))
    broker.process.send_signal(signal.SIGUSR1)
    refused = 0
    for _ in range(3):
        with pytest.raises(MessageRefused, match="could not be stored, send it again"):
            broker.publish(make_event("ivo://test.observatory/bursts#2"))
        refused += 1
    assert len(broker.outbox()) == 1
    broker.process.send_signal(signal.SIGUSR2)
    broker.publish(make_event("ivo://test.observatory/bursts#2"))
    assert len(broker.outbox()) == 2
    status = broker.stop()
    assert (status["received"], status["failed"], status["duplicates"]) == (2, refused, 0)


def test_a_broker_subscribes_to_a_broker_and_finds_it_again(
    start: Start, configuration: Configuration, port: int
) -> None:
    upstream_config = configuration("upstream")
    near = start(configuration("near", remotes=f"127.0.0.1:{port}"))
    with socket.create_server(("127.0.0.1", port)) as listener:  # a relay, so that upstream can be on any port
        upstream = start(upstream_config)
        near_side = listener.accept()[0]
        far_side = socket.create_connection(("127.0.0.1", upstream.broadcaster))
        threading.Thread(target=pump, args=(near_side, far_side), daemon=True).start()
        threading.Thread(target=pump, args=(far_side, near_side), daemon=True).start()
        wait_until(lambda: near.said("subscribed to"))
        upstream.publish(make_event())
        wait_until(near.outbox)
        assert near.outbox()[0].source == f"broker 127.0.0.1:{port}"
        upstream.kill()
        wait_until(lambda: near.said("has gone"))
        listener.accept()[0].close()
    for one in (near_side, far_side):
        one.close()
    near.stop()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes from one to the other; however the one ends (a kill may be a reset), the other does too."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_bad_clients_do_not_stop_it(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    address, limits = ("127.0.0.1", broker.receiver), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    silent = [socket.create_connection(address) for _ in range(1000)]
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
    external = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    reasons = []
    for packet in (bomb, external, b"<a>" * 200 + b"</a>" * 200, b"GET / HTTP/1.0", b"<html/>", b"\xff" * 1000):
        with pytest.raises(MessageRefused) as refused:
            broker.publish(packet)
        reasons.append(str(refused.value).partition("rejected: ")[2][:20])
        assert "root:" not in str(refused.value)
    assert reasons == [
        "a DOCTYPE is not all", "a DOCTYPE is not all", "elements are nested ", "neither XML nor JSON",
        "not a VOEvent: its r", "neither XML nor JSON",
    ]  # fmt: skip
    with pytest.raises(DeliveryError, match="the limit is 99999"):
        broker.publish(b"x" * 150_000)
    for raw in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xffabc", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00"):
        with socket.create_connection(address) as one:
            one.sendall(raw)
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.2", 0))
        foreign.connect(address)
        foreign.settimeout(PATIENCE)
        assert closed(foreign)
    broker.publish(make_event())
    assert len([one for one in silent if closed(one)]) >= 740, "1,000 authors and the others, where 256 may be"
    assert 0 < broker.log.read_text().count("more than 256 authors") <= 2 * MAX_LINES
    for one in silent:
        one.close()
    status = broker.stop()
    assert status["received"] == 1
    assert broker.said("author 127.0.0.2 is in no allowed network")


def closed(connection: socket.socket) -> bool:
    connection.settimeout(0.001 if connection.gettimeout() is None else PATIENCE)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_a_subscriber_that_never_reads_costs_only_itself(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    with socket.socket() as deaf, socket.create_connection(("127.0.0.1", broker.broadcaster)) as good:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", broker.broadcaster))
        received = bytearray()
        sent = 0
        good.setblocking(False)
        while not broker.said("reads too slowly"):
            broker.publish(make_event(f"ivo://test.observatory/bursts#{sent}", text="x" * 95_000))
            sent += 1
            received += drain(good)
            assert sent < 200

        def all_there() -> bool:
            received.extend(drain(good))
            return len(received) > sent * 95_000

        wait_until(all_there)
    assert broker.stop()["received"] == sent


def drain(connection: socket.socket) -> bytes:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return connection.recv(1 << 22) if selector.select(0) else b""


def test_filters_that_are_bombs_do_not_stall_the_authors(start: Start, configuration: Configuration) -> None:
    """On an event of 97 kB each of these takes minutes; and sixteen of the costliest that are taken, on top."""
    broker = start(configuration())
    nested = "//*" + "[//*" * 10 + "]" * 10
    bombs = [nested, "//*/following::*/following::*", "count(//*[count(.//*[count(.//*) > 0]) > 0]) < 0"]
    allowed = [f"//Group[.//Param[@name='{number}']]" for number in range(16)]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with (
        socket.create_connection(("127.0.0.1", broker.broadcaster)) as bomber,
        socket.create_connection(("127.0.0.1", broker.broadcaster)) as costly,
    ):
        for one, filters in ((bomber, bombs), (costly, allowed)):
            answer = transport("authenticate", "ivo://a.b.c/d", now, response="ivo://x.y.z/s", filters=filters)
            one.sendall(frame(answer))

        def refused(log: str) -> int:
            return sum(map(log.count, ("is not allowed in", "could take more", "the axis")))

        def heard() -> str:
            log = broker.log.read_text()
            return log if log.count("filters by") >= len(allowed) and refused(log) >= len(bombs) else ""

        assert refused(wait_until(heard)) == len(bombs)
        for number in range(20):
            params = "".join(f'<Param name="p{each}" value="1"/>' for each in range(2_000))
            packet = make_event(f"ivo://test.observatory/bursts#{number}").replace(
                b"<What>", f"<What>{params}".encode()
            )
            broker.publish(packet)
    status = broker.stop()
    assert status["received"] == 20


def test_a_port_in_use_is_one_line(configuration: Configuration, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = taken.getsockname()[1]
        config = configuration(receiver_port=str(used), broadcaster_port=str(port))
        ran = subprocess.run(
            [sys.executable, SCRIPT, config], capture_output=True, text=True, timeout=PATIENCE, check=False
        )  # fmt: skip
    error = json.loads(ran.stdout)["error"]
    assert error.startswith(f"{config}: [broker] receiver_port: cannot listen on 127.0.0.1:{used}")
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0


def alert_manager(listener: socket.socket, key: bytes, taken: list[wire.Entry]) -> None:
    """Take the messages of one connection and acknowledge them, as the alert manager does."""
    with listener.accept()[0] as connection:
        decoder = GreetedPeer(connection, "alert_manager", key).decoder
        while data := connection.recv(65536):
            for frame_ in decoder.feed(data):
                assert isinstance(frame_, wire.Frame)
                if frame_.messages:
                    taken += frame_.messages
                    connection.sendall(wire.encode_frame(wire.Frame(ack=frame_.messages[-1].seq)))


def test_the_alert_manager_gets_it_and_the_outbox_is_emptied(start: Start, configuration: Configuration) -> None:
    config = configuration()
    port = int(config.read_text().partition("[alert_manager]\nport = ")[2].partition("\n")[0])
    broker = start(config)
    broker.publish(make_event())
    assert len(broker.outbox()) == 1, "it waits while the alert manager is down"
    taken: list[wire.Entry] = []
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = threading.Thread(target=alert_manager, args=(listener, make_key(load(config).key_file), taken))
        server.start()
        wait_until(lambda: not broker.outbox())
        status = broker.stop()
        server.join()
    assert status["waiting"] == 0
    (entry,) = taken
    assert entry.name == messages.ALERT_RECEIVED
    assert messages.decode_payload(entry.name, bytes(entry.payload)).packet == make_event()


def test_an_author_may_close_its_sending_side(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    with socket.create_connection(("127.0.0.1", broker.receiver), timeout=PATIENCE) as author:
        author.sendall(frame(make_event()))
        author.shutdown(socket.SHUT_WR)
        answer = b""
        while data := author.recv(4096):
            answer += data
    assert b'role="ack"' in answer
    broker.stop()


def test_half_a_packet_is_no_event(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    with socket.create_connection(("127.0.0.1", broker.receiver), PATIENCE) as author:
        author.sendall(frame(make_event())[:-1])
        author.shutdown(socket.SHUT_WR)
        assert closed(author)
    broker.publish(make_event())
    assert broker.stop()["received"] == 1


def test_standard_input_of_pyros_alert(start: Start, configuration: Configuration) -> None:
    config = configuration(receiver_port="8098")
    broker = start(config)
    config.write_text(config.read_text().replace("= 8098", f"= {broker.receiver}"))
    notice = b'{"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/x.schema.json", "id": "1"}'
    told = []
    for packet in (make_event(), notice, b'{"no": "alert"}', b"nothing", notice + b" " * 100_000):
        ran = run("alert", "-", "--no-follow", "--config", config, stdin=packet)
        told.append((ran.exit_code, ran.output.count("\n")))
    assert told == [(0, 1), (0, 1), (1, 1), (1, 1), (1, 1)]
    assert "VTP carries 99999; files may be larger: " in ran.stderr
    assert [alert.packet for alert in broker.outbox()] == [make_event(), notice]


def test_json_that_is_no_alert_is_refused_to_its_author(start: Start, configuration: Configuration) -> None:
    broker = start(configuration())
    for packet in (b'{"a": ', b'{"a": 1}', b"{}"):
        with pytest.raises(MessageRefused, match="rejected: "):
            broker.publish(packet)
    assert broker.stop()["refused"] == 3


def test_a_broker_alone_keeps_events_and_sends_them_on(configuration: Configuration, start: Start) -> None:
    """Without an alert manager nothing waits for one."""
    config = configuration()
    text = config.read_text()
    before, _, after = text.partition("[alert_manager]")
    config.write_text(before + "[" + after.partition("[")[2])
    broker = start(config)
    event = make_event("ivo://test.observatory/bursts#alone")
    broker.publish(event)
    assert broker.rows("SELECT packet FROM events") == [(event,)]
    assert broker.rows("SELECT count(*) FROM outbox") == [(0,)]
    broker.stop()
