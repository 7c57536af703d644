"""librdkafka's own mock cluster in a process of its own: a Kafka service for tests, over real sockets.

Prints its address, then obeys lines on its standard input, answering each with a line: ``create TOPIC PARTITIONS``,
``produce TOPIC BASE64 [KEY, BASE64]``, ``flush``, ``down``, ``up``, ``fail APIKEY ERROR COUNT``.
"""

from __future__ import annotations

import base64
import ctypes
import sys
from pathlib import Path

import confluent_kafka

(LIBRARY,) = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka-*.so*")
rd = ctypes.CDLL(str(LIBRARY))
rd.rd_kafka_new.restype = rd.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
rd.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p


def main() -> None:
    reason = ctypes.create_string_buffer(512)
    owner = ctypes.c_void_p(rd.rd_kafka_new(0, None, reason, len(reason)))
    cluster = ctypes.c_void_p(rd.rd_kafka_mock_cluster_new(owner, 1))
    rd.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, ctypes.c_int32(50))
    address = rd.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": address, "message.max.bytes": 100_000_000, "linger.ms": 0, "log_level": 0}
    )
    print(address, flush=True)
    for line in sys.stdin:
        match line.split():
            case ["create", topic, partitions]:
                assert rd.rd_kafka_mock_topic_create(cluster, topic.encode(), int(partitions), 1) == 0
            case ["produce", topic, *texts]:
                value, key = base64.b64decode(texts[0]), base64.b64decode("".join(texts[1:]))
                producer.produce(topic, value, key or None)
            case ["flush"]:
                assert producer.flush(30) == 0
            case ["down"]:
                rd.rd_kafka_mock_broker_set_down(cluster, 1)
            case ["up"]:
                rd.rd_kafka_mock_broker_set_up(cluster, 1)
            case ["fail", api, error, count]:
                errors = [ctypes.c_int(int(error))] * int(count)
                rd.rd_kafka_mock_push_request_errors(
                    cluster, ctypes.c_int16(int(api)), ctypes.c_size_t(int(count)), *errors
                )
            case _:
                raise AssertionError(line)
        print("ok", flush=True)


main()
