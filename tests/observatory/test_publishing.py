"""The observatory tells others what it does about an alert: valid VOEvents, each once, to whoever subscribes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from lxml import etree

from pyros.alerts import Alert, parse
from pyros.broker.packet import check_schema
from pyros.broker.packet import parse as parse_xml
from pyros.messages import SOURCE_FOUND, SourceFound
from tests.observatory.conftest import Night

BROKER = {"port": 5090, "ivo": "ivo://rehearsal.observatory/telescope", "publish": "yes"}
FIRST = "ivo://pyros.test/first#1"


class ListeningSubscriber:
    """One that listens to the broker, and acknowledges what it gets."""

    def __init__(self, night: Night) -> None:
        assert night.config.broker is not None
        self._night = night
        self._line = night.connect(night.config.broker.broadcaster_port, b"")

    def documents(self) -> list[etree._Element]:
        data, found = self._line.answer, []
        while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "big"):
            length = int.from_bytes(data[:4], "big")
            found.append(etree.fromstring(data[4 : 4 + length]))
            data = data[4 + length :]
        return found

    def own(self) -> list[etree._Element]:
        """Return what the observatory wrote itself."""
        return [root for root in self.documents() if "/followup#" in str(root.get("ivorn"))]

    def status(self) -> list[str]:
        return [_param(root, "Observation_Status") for root in self.own()]


def _param(root: etree._Element, name: str) -> str:
    return next(str(each.get("value")) for each in root.iter("Param") if each.get("name") == name)


def understood(root: etree._Element) -> Alert:
    packet = etree.tostring(root)
    check_schema(parse_xml(packet))
    return parse(packet)


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    night = rehearsal(options={"broker": BROKER})
    night.until(lambda: night.said("the weather is safe"))
    return night


def test_begun_ended_and_found(night: Night) -> None:
    subscriber = ListeningSubscriber(night)
    place = night.place()
    night.publish(night.packet(place=place))
    night.until(lambda: subscriber.status() == ["started"])
    night.until(lambda: subscriber.status() == ["started", "finished"])
    found = SourceFound(
        observation="obs-ivo-pyros.test-first-1", alert=FIRST, event=FIRST, ra=place[0], dec=place[1], magnitude=17.5,
        magnitude_error=0.1, filter="r", time=night.clock.time(), error_radius=0.0004,
    )  # fmt: skip
    night.person("alert_manager", SOURCE_FOUND, **msgspec.structs.asdict(found))
    night.until(lambda: len(subscriber.own()) == 3)

    alerts = [understood(root) for root in subscriber.own()]
    assert [alert.citations for alert in alerts] == 3 * [((FIRST, "followup"),)]
    assert {alert.role for alert in alerts} == {"test"}, "what simulators see is no news"
    assert [alert.target for alert in alerts[:2]] == [None, None]
    assert alerts[2].target == pytest.approx(place, abs=1e-6)
    finished = subscriber.own()[1]
    assert _param(finished, "Images") == "3"
    assert len(list(finished.iter("TR"))) == 3
    assert finished.findtext("Who/AuthorIVORN") == BROKER["ivo"]
    night.until(lambda: night.state("dome") == "closed")
    night.run(1800)
    assert len(subscriber.own()) == 3, "and nothing comes twice"
    assert len(night.received("alert_manager", "Alert received")) == 1, "what we say is no alert to us"
    assert len(night.slews()) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_source_is_told_once_and_its_light_curve_in_the_end(night: Night, restarted: bool) -> None:
    subscriber = ListeningSubscriber(night)
    ra, dec = night.place()
    night.publish(night.packet(place=(ra, dec)))
    night.until(lambda: subscriber.status() == ["started"])
    for number in range(5):
        found = SourceFound(
            observation="obs-ivo-pyros.test-first-1", alert=FIRST, event="ivo://pyros.test/first#1", ra=ra, dec=dec,
            magnitude=17.5 + 0.1 * number, magnitude_error=0.05, filter="r", time=night.clock.time(),
        )  # fmt: skip
        night.person("alert_manager", SOURCE_FOUND, **msgspec.structs.asdict(found))
        night.run(5)
    assert subscriber.status() == ["started", "detection", "detection"], "it has faded by 0.4 magnitudes"
    night.until(lambda: "finished" in subscriber.status())
    if restarted:
        night.restart("alert_manager")
    night.run(150)
    assert subscriber.status() == ["started", "detection", "detection", "finished", "photometry"]
    alert = understood(subscriber.own()[-1])
    assert alert.target == pytest.approx((ra, dec), abs=1e-6)
    rows = [[cell.text for cell in row] for row in subscriber.own()[-1].iter("TR")]
    assert [float(str(magnitude)) for _, _, magnitude, _ in rows] == pytest.approx([17.5, 17.6, 17.7, 17.8, 17.9])


def test_the_telescope_is_on_its_way_before_anything_is_written(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: bool(night.slews()))
    assert night.received("observation_manager", "Slew started") == []
    assert night.received("alert_manager", "Follow-up") == []
    night.until(lambda: bool(night.received("alert_manager", "Follow-up")))
    assert night.received("observation_manager", "Slew started")


def test_what_never_began_is_not_said_to_have_stopped(night: Night) -> None:
    subscriber = ListeningSubscriber(night)
    night.fault("telescope", 'refuse request="DO slew" code=HARDWARE for=3600')
    night.publish(night.packet())
    night.until(lambda: bool(night.received("majordome", "Observation failed")))
    night.run(60)
    assert subscriber.status() == []


def test_one_that_was_withdrawn_is_said_to_have_stopped(night: Night) -> None:
    subscriber = ListeningSubscriber(night)
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    night.publish(night.packet("pyros.test/first#2", cites=("retraction", "pyros.test/first#1")))
    night.until(lambda: subscriber.status() == ["started", "stopped"])
    assert "withdrawn" in _param(subscriber.own()[1], "Reason")


@pytest.mark.parametrize("who", ["alert_manager", "observation_manager"])
def test_each_is_said_once_though_agents_are_restarted(night: Night, who: str) -> None:
    subscriber = ListeningSubscriber(night)
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.restart(who)
    night.until(lambda: len(night.images()) == 2)
    night.restart(who)
    night.until(lambda: "finished" in subscriber.status())
    night.restart(who)
    night.run(300)
    assert subscriber.status() == ["started", "finished"]


def test_what_comes_back_from_another_broker_is_not_followed_up(night: Night) -> None:
    """As after the loss of the broker's journal: its own event is new to it."""
    subscriber = ListeningSubscriber(night)
    night.publish(night.packet())
    night.until(lambda: "finished" in subscriber.status())
    night.until(lambda: night.state("dome") == "closed")
    began = night.now
    packet = etree.tostring(subscriber.own()[0]).replace(b"/started-", b"/other-").replace(b'"test"', b'"observation"')
    assert night.publish(packet.replace(b"pointing_direction", b"source_object")) == "ack"
    night.run(600)
    assert night.slews(began) == []
    assert night.said("our own follow-up")


def test_nothing_is_said_where_it_is_not_wanted(ready: Night) -> None:
    subscriber = ListeningSubscriber(ready)
    ready.publish(ready.packet())
    ready.until(lambda: len(ready.images()) == 3)
    ready.until(lambda: ready.state("dome") == "closed")
    assert subscriber.own() == []
    assert len([root for root in subscriber.documents() if "VOEvent" in str(root.tag)]) == 1
