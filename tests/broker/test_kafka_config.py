"""The sections [kafka NAME] of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyros import config
from pyros.errors import ConfigError
from tests.broker.conftest import Configuration


def load(path: Path, text: str) -> config.Config:
    with path.open("a") as file:
        file.write(text)
    return config.load(path)


def test_a_whole_section(configuration: Configuration) -> None:
    path = configuration()
    loaded = load(path, "[kafka gcn]\nservers = kafka.gcn.nasa.gov other:9093\ntopics = gcn.notices.*\n igwn.gwalert\n"
                        "login = oidc\nuser = me\nsecret = file:secret.txt\ntoken_url = https://x/token\n"
                        "heartbeat = gcn.heartbeat\nlibrdkafka.Client.Rack = dome\n")  # fmt: skip
    assert loaded.broker is not None
    (gcn,) = loaded.broker.kafka
    assert gcn == config.KafkaConfig(
        name="gcn", servers="kafka.gcn.nasa.gov:9092,other:9093", topics=("gcn.notices.*", "igwn.gwalert"),
        login="oidc", user="me", secret=f"file:{path.parent}/secret.txt", token_url="https://x/token", tls=True,
        heartbeat="gcn.heartbeat", silence=60.0, settings={"client.rack": "dome"},
    )  # fmt: skip


def test_every_mistake_is_told_and_no_secret(configuration: Configuration) -> None:
    path = configuration()
    with pytest.raises(ConfigError) as caught:
        load(path, "[kafka]\nservers =\ntopics = a b/c\n"
                   "[kafka x]\nservers = a:0\ntopics =\nlogin = oidc\nsecret = Top-Secret\nheartbeat = a.*\n"
                   "librdkafka.group.id = 1\nsilence = -1\ncolour = red\nca = nothing.pem\n")  # fmt: skip
    problems = [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]
    assert "Top-Secret" not in str(caught.value)
    assert problems == [
        "[kafka] section: is written [kafka NAME]; a name is a letter, then letters, digits, _ and -",
        "[kafka] servers: '' names no server; give host:port, several separated by blanks",
        "[kafka] topics: 'a b/c' has 'b/c', which is not a topic: letters, digits, dots, - and _"
        " (* stands for anything)",
        "[kafka x] librdkafka.group.id: is set by the broker itself, or by a key of its own in this section",
        "[kafka x] servers: 'a:0' is not a port; give a whole number from 1 to 65535",
        "[kafka x] topics: '' names no topic",
        "[kafka x] user: missing",
        "[kafka x] secret: says not where the secret is: give env:VARIABLE or file:PATH, not the secret itself",
        "[kafka x] token_url: missing",
        f"[kafka x] ca: 'nothing.pem' names no file ({path.parent}/nothing.pem)",
        "[kafka x] silence: '-1' is not a positive number",
        "[kafka x] heartbeat: 'a.*' is not one topic",
        "[kafka x] colour: unknown key (known here: ca, gate, group, heartbeat, login, schema, schema_registry, scope,"
        " secret, servers, silence, start, tls, token_url, topics, user, librdkafka....)",
    ]


def test_it_needs_a_broker(configuration: Configuration) -> None:
    path = configuration()
    path.write_text(path.read_text().partition("[broker]")[0])
    with pytest.raises(ConfigError, match=r"\[kafka gcn\]: needs a \[broker\] section"):
        load(path, "[kafka gcn]\nservers = a\ntopics = b\n")
