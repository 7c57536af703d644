"""A map is observed field by field, told to subscribers, and stopped by a retraction; what else is wanted goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from pyros.alerts.events import with_packet
from pyros.journal import SQLITE, JournalReader
from tests.builders import voevent
from tests.maps import drawn_map
from tests.observatory.conftest import Night
from tests.observatory.test_publishing import BROKER, ListeningSubscriber, understood
from tests.web import WebAnswer, web_server

RULES = """
rules:
  - {name: area, when: {stream: "*area*", max_area90: 5000}, priority: 50, observe: [{filter: r, seconds: 20}]}
  - {name: urgent, when: {stream: "*urgent*"}, priority: 90, observe: [{filter: r, seconds: 20}]}
"""


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Serve bytes by their paths."""
    files: dict[str, bytes] = {}

    with web_server(lambda request: WebAnswer(files[request.path])) as port:
        yield f"http://127.0.0.1:{port}", files


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    options = {"broker": BROKER, "alert_manager": {"option_field": "5", "option_most": "4"}}
    made = rehearsal(options=options, rules=RULES, journals=SQLITE)
    made.until(lambda: made.said("the weather is safe"))
    return made


def notice(night: Night, number: int, url: str = "", cites: tuple[str, int] | None = None) -> bytes:
    params = f'<Param name="skymap_fits" value="{url}"/>' if url else ""
    citations = [(cites[0], f"ivo://pyros.test/area#{cites[1]}")] if cites else []
    date = night.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
    return voevent(f"ivo://pyros.test/area#{number}", date=date, ra=None, params=params, citations=citations)


def of(subscriber: ListeningSubscriber, name: str) -> list[float]:
    return [
        float(str(each.get("value")))
        for root in subscriber.own()
        if understood(root)
        for each in root.iter("Param")
        if each.get("name") == name
    ]


def test_fields_in_order_with_an_urgent_point_between_them(night: Night, served: tuple[str, dict[str, bytes]]) -> None:
    url, files = served
    files["/map"] = drawn_map(*night.place())
    subscriber = ListeningSubscriber(night)
    night.publish(notice(night, 1, f"{url}/map"))
    night.until(lambda: len(night.images()) == 2)
    night.until(lambda: night.state("camera") == "exposing")
    night.run(5)
    began = night.now
    elsewhere = night.place(55, 140)
    night.publish(night.packet("pyros.test/urgent#1", elsewhere))
    night.until(lambda: night.slews(began), 1)
    assert night.slews(began)[0][1] == pytest.approx(elsewhere, abs=1e-3), "a point goes first"
    night.until(lambda: night.state("dome") == "closed")
    assert len(night.images()) == 5
    chances = of(subscriber, "Field_Probability")[::2]
    assert len(set(chances)) == 4
    assert chances == sorted(chances, reverse=True)
    covered = [each for each in of(subscriber, "Covered_Probability") if each]
    assert covered[-1] == pytest.approx(sum(set(chances)), abs=1e-4)
    with closing(JournalReader(night.config.journal("alert_manager"))) as reader:
        with_fields = with_packet(reader, "ivo://pyros.test/area#1")
    assert with_fields is not None
    tiling = with_fields.followed.tiling
    assert tiling is not None
    assert len(tiling.observed) == 4


def test_a_retraction_in_the_middle_of_a_field_stops_all(night: Night, served: tuple[str, dict[str, bytes]]) -> None:
    url, files = served
    files["/map"] = drawn_map(*night.place())
    night.publish(notice(night, 1, f"{url}/map"))
    night.until(lambda: len(night.images()) == 1)
    night.until(lambda: night.state("camera") == "exposing")
    night.run(5)
    began = night.now
    night.publish(notice(night, 2, cites=("retraction", 1)))
    night.until(lambda: night.requests("camera", since=began), 1)
    assert night.requests("camera", since=began)[0] == (began, "DO abort")
    night.until(lambda: night.state("dome") == "closed")
    night.run(600)
    assert len(night.images()) == 1
    assert night.slews(began) == []
    assert night.agent("scheduler").state.requests == {}
