"""Names and payloads of messages."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros import messages
from pyros.messages import Message, Payload, Slew, WeatherReading, decode_payload, encode_payload, register
from pyros.wire import valid_name


def test_a_typed_payload_goes_there_and_back() -> None:
    slew = Slew(observation="1", ra=83.6, dec=22.0)
    json = encode_payload(messages.SLEW, slew)
    assert decode_payload(messages.SLEW, json) == slew
    assert (
        decode_payload(messages.SLEW, encode_payload(messages.SLEW, {"observation": "1", "ra": 83.6, "dec": 22}))
        == slew
    )


def test_bytes_of_a_packet_survive() -> None:
    packet = bytes(range(256))
    alert = messages.AlertReceived(packet=packet, source="test", received=1.0)
    assert decode_payload(messages.ALERT_RECEIVED, encode_payload(messages.ALERT_RECEIVED, alert)) == alert


def test_a_name_that_nobody_registered_carries_any_object() -> None:
    assert encode_payload("Mine") == b"{}"
    assert decode_payload("Mine", encode_payload("Mine", {"a": [1, None]})) == {"a": [1, None]}


@pytest.mark.parametrize(
    ("name", "payload", "told"),
    [
        (messages.SLEW, {"observation": "1", "ra": 360.0, "dec": 0.0}, r"Expected `float` < 360.0 - at `\$.ra`"),
        (messages.SLEW, {"observation": "1", "ra": 1.0, "dec": "north"}, r"\$.dec"),
        (messages.SLEW, {"observation": "1", "ra": 1.0}, "missing required field `dec`"),
        (messages.SLEW, {"observation": "1", "ra": 1.0, "dec": 1.0, "epoch": 2000}, "unknown field `epoch`"),
        (messages.SLEW, None, "missing required field"),
        (messages.SLEW, WeatherReading(1.0, 1.0, 1.0, False), "payload of 'Slew'"),
        (messages.PARK_FINISHED, {"x": 1}, "unknown field `x`"),
        ("Mine", [1], "must be a JSON object, not list"),
        ("Mine", "text", "must be a JSON object, not str"),
        ("Mine", {"a": object()}, "cannot be written as JSON"),
        ("Mine", {"a": "\ud800"}, "cannot be written as JSON"),
    ],
)  # fmt: skip
def test_a_payload_that_does_not_fit_is_refused_where_it_is_sent(name: str, payload: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        encode_payload(name, payload)


def test_a_payload_that_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        encode_payload("Mine", endless)


@pytest.mark.parametrize(
    ("json", "told"),
    [
        (b'{"observation": "1", "ra": -1, "dec": 0}', r"\$.ra"),
        (b"{", "truncated"),
        (b'{"observation": "\xff"}', "utf-8"),
        (b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "payload of 'Slew'"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_where_it_arrives(json: bytes, told: str) -> None:
    message = Message("1", messages.SLEW, "x", 0.0, json)
    with pytest.raises(ValueError, match=told):
        message.check()
    assert message.unreadable


@pytest.mark.parametrize(("json", "told"), [(b"[1]", "must be a JSON object"), (b'{"a": "\xff"}', "not valid UTF-8")])
def test_even_an_untyped_payload_is_an_object(json: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Message("1", "Mine", "x", 0.0, json).check()


def test_a_message_shows_its_payload_typed() -> None:
    message = Message("1", messages.KEEP_OPEN, "majordome", 0.0, b'{"seconds": 30}')
    message.check()
    assert not message.unreadable
    assert message.payload == messages.KeepOpen(30.0)
    assert repr(message) == "<Message 'Keep open' 1 from majordome>"
    assert Message("2", "Mine", "x", 0.0).payload == {}


@pytest.mark.parametrize("name", ["Open", "É", "x" * 200, "Observation finished"])
def test_names(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize("name", ["", " Open", "Open ", "a\nb", "a\tb", "a\x00", "x" * 201, "\ud800", "\u2028"])
def test_what_is_no_name(name: str) -> None:
    assert not valid_name(name)


def test_a_type_of_ones_own(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: messages.PAYLOADS.pop("Counted"))

    class Count(msgspec.Struct, forbid_unknown_fields=True):
        count: int

    assert register("Counted", Count) == "Counted"
    assert register("Counted", Count) == "Counted"
    assert decode_payload("Counted", b'{"count": 3}') == Count(3)
    with pytest.raises(ValueError, match=r"\$.count"):
        encode_payload("Counted", {"count": "three"})
    with pytest.raises(ValueError, match="message 'Slew' already carries Slew"):
        register(messages.SLEW, Count)


def test_the_catalogue_has_every_name_and_payload_of_its_modules() -> None:
    """Agents that were imported have registered names of their own; those have their constants there."""
    names: dict[str, str] = {}
    payloads: set[str] = set()
    for found in pkgutil.iter_modules(messages.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"pyros.messages.{found.name}")
            said = {key: value for key, value in vars(module).items() if key.isupper() and isinstance(value, str)}
            assert set(said.values()) <= messages.PAYLOADS.keys()
            if said.keys().isdisjoint(messages.__all__):
                continue  # of a kind of instrument that only its agent and people speak to
            names |= said
            payloads |= {
                key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Payload)
            }
    assert len(set(names.values())) == len(names)
    others = {
        "BULK", "FLEETING", "GUARDED", "LARGEST_PACKET", "PATIENT", "PAYLOADS", "Message", "decode_payload",
        "encode_payload", "guard", "register", "unproved",
    }  # fmt: skip
    assert sorted(messages.__all__) == sorted(names.keys() | payloads | others)


def test_a_request_of_an_older_journal_is_read() -> None:
    old = b'{"ra":10.0,"dec":20.0,"id":"a","target":"T","exposures":[{"filter":"r","seconds":30.0,"count":2}]}'
    request = decode_payload(messages.OBSERVATION_REQUESTED, old)
    assert request == messages.Observation("a", "T", (messages.Exposures("r", 30.0, 2),), ra=10.0, dec=20.0)
    plan = b'{"observations":[{"observation":%s,"altitude":50.0,"reason":"up"}],"start_now":"a"}' % old
    assert decode_payload(messages.PLAN_UPDATED, plan).observations[0] == messages.PlannedObservation(
        request, 50.0, "up"
    )


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 25))
def test_what_remains_is_what_has_not_been_taken(counts: list[int], taken: int) -> None:
    exposures = tuple(messages.Exposures(str(number), 1.0 + number, count) for number, count in enumerate(counts))
    request = messages.Observation("a", "T", exposures, taken=taken, ra=1.0, dec=2.0)

    def one_by_one(of: tuple[messages.Exposures, ...]) -> list[str]:
        return [each.filter for each in of for _ in range(each.count)]

    assert one_by_one(request.remaining()) == one_by_one(exposures)[taken:]
