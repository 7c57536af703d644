"""The alert manager as author of VOEvents: what it gives to the broker, under which name, and in which role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.alerts import parse
from pyros.broker.packet import check_schema
from pyros.broker.packet import parse as parse_xml
from pyros.config import BrokerConfig
from pyros.messages import AlertReceived, Exposures, FollowUp, Observation, SourceFound, encode_payload
from tests.agents.test_alert_manager import packet

REPOSITORY = Path(__file__).parents[2]
BROKER = BrokerConfig(port=5011, ivo="ivo://my.observatory/telescope", publish=True)
REQUEST = Observation("obs-1", "a:1", (Exposures("r", 1),), ra=10.0, dec=20.0, alert="ivo://a/b#1", event="a:1")
STARTED = FollowUp(what="started", request=REQUEST, time=1.7e9)
FOUND = SourceFound(
    observation="obs-1", alert="ivo://a/b#1", event="a:1", ra=10, dec=20, magnitude=17, filter="r", time=1.7e9
)
Said = tuple[str, Any]


@pytest.fixture
def manager(inline: Callable[..., Any]) -> Callable[..., Any]:
    def make(broker: BrokerConfig | None = BROKER, **changes: Any) -> Any:
        rules, site = (REPOSITORY / "observatory" / name for name in ("alert_rules.yaml", "site.yaml"))
        return inline(AlertManagerAgent(), "scheduler", broker=broker, alert_rules=rules, site=site, **changes)

    return make


def published(host: Any, *said: Said) -> list[bytes]:
    outcome = host.turn(*[(name, encode_payload(name, payload)) for name, payload in said])
    assert host.turns.failed == 0
    assert {each.name for each in outcome.outgoing if each.agent == "broker"} <= {messages.PUBLISH}
    return [
        messages.decode_payload(each.name, each.payload).packet for each in outcome.outgoing if each.agent == "broker"
    ]


def test_each_is_valid_cites_what_it_follows_and_has_a_name_of_its_own(manager: Callable[..., Any]) -> None:
    host = manager()
    said = [(messages.FOLLOW_UP, STARTED), (messages.SOURCE_FOUND, FOUND), (messages.FOLLOW_UP, STARTED)]
    packets = published(host, *said)
    for each in packets:
        check_schema(parse_xml(each))
    alerts = [parse(each) for each in packets]
    assert [alert.citations for alert in alerts] == 3 * [(("ivo://a/b#1", "followup"),)]
    assert [alert.role for alert in alerts] == 3 * ["observation"]
    names = [str(alert.ivorn) for alert in alerts]
    assert all(name.startswith("ivo://my.observatory/telescope/followup#obs-1/") for name in names)
    assert len(set(names)) == 3, "the same said twice in one second is two events"


def test_names_go_on_after_a_restart(manager: Callable[..., Any]) -> None:
    before = published(manager(), (messages.FOLLOW_UP, STARTED))
    host = manager()
    assert host.agent.state.published == 1
    after = published(host, (messages.FOLLOW_UP, STARTED))
    assert parse(before[0]).ivorn != parse(after[0]).ivorn


@pytest.mark.parametrize(
    ("changes", "alert", "role"),
    [
        ({}, "ivo://a/b#1", "observation"),
        ({"clock": "night"}, "ivo://a/b#1", "test"),
        ({"simulators": (Path("camera.yaml"),)}, "ivo://a/b#1", "test"),
        ({}, "ivo://pyros.observatory/demo#burst-1", "test"),
    ],
)
def test_what_is_not_of_the_sky_is_a_test(
    manager: Callable[..., Any], changes: dict[str, Any], alert: str, role: str
) -> None:
    found = SourceFound(**{name: getattr(FOUND, name) for name in FOUND.__struct_fields__} | {"alert": alert})
    (one,) = published(manager(**changes), (messages.SOURCE_FOUND, found))
    assert parse(one).role == role


@pytest.mark.parametrize(("observation", "count"), [("obs-1", 0), ("by-hand", 1)])
def test_what_is_found_after_its_event_was_retracted_is_not_published(
    manager: Callable[..., Any], observation: str, count: int
) -> None:
    host = manager()
    alerts = [packet("1"), packet("2", 2), packet("r", 3, cites=(("1", "retraction"),))]
    host.turn(*[(messages.ALERT_RECEIVED, encode_payload(messages.ALERT_RECEIVED, AlertReceived(each, "t", 1.0)))
                for each in alerts])  # fmt: skip
    found = SourceFound(
        **{name: getattr(FOUND, name) for name in FOUND.__struct_fields__} | {"observation": observation}
    )
    assert len(published(host, (messages.SOURCE_FOUND, found))) == count
    standing = SourceFound(
        **{name: getattr(FOUND, name) for name in FOUND.__struct_fields__} | {"alert": "ivo://a/b#2"}
    )
    assert len(published(host, (messages.SOURCE_FOUND, standing))) == 1


@pytest.mark.parametrize("broker", [None, BrokerConfig(port=5011)])
def test_nothing_is_published_unless_it_is_wanted(manager: Callable[..., Any], broker: BrokerConfig | None) -> None:
    assert published(manager(broker), (messages.FOLLOW_UP, STARTED), (messages.SOURCE_FOUND, FOUND)) == []


def test_what_follows_up_no_alert_is_not_published(manager: Callable[..., Any]) -> None:
    by_hand = FollowUp(what="started", request=Observation("o", "m", (Exposures("r", 1),), ra=1.0, dec=2.0), time=1.7e9)
    assert published(manager(), (messages.FOLLOW_UP, by_hand)) == []


def test_our_own_follow_up_is_never_followed_up_whatever_way_it_comes(manager: Callable[..., Any]) -> None:
    host = manager()
    (own,) = published(host, (messages.SOURCE_FOUND, FOUND))
    received = encode_payload(messages.ALERT_RECEIVED, AlertReceived(own, "broker other", 1.0))
    outcome = host.turn((messages.ALERT_RECEIVED, received))
    assert [each.agent for each in outcome.outgoing] == []
    assert host.rows("SELECT * FROM alert_events") == []
    ((reason,),) = host.rows("SELECT reason FROM decisions")
    assert reason == "our own follow-up, which is never followed up"


def test_a_turn_that_fails_publishes_nothing(manager: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    host = manager()
    bad = encode_payload(messages.ALERT_RECEIVED, AlertReceived(packet("x"), "t", 1.0))

    def breaks(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(host.agent.rules, "decide", breaks)
    outcome = host.turn(
        (messages.ALERT_RECEIVED, bad), (messages.FOLLOW_UP, encode_payload(messages.FOLLOW_UP, STARTED))
    )
    assert host.turns.failed == 1
    assert host.agent.state.published == 1
    assert [each.name for each in outcome.outgoing] == [messages.PUBLISH]
