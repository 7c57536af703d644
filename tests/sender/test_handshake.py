"""How a connection begins, both sides in memory: proofs, forgeries, rivals for one name, and clocks that differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros import wire
from pyros.errors import WireError
from pyros.sender import inbound
from pyros.sender.handshake import SenderHandshake
from pyros.sender.inbound import MAX_DRIFT, PING_SECONDS, REMEASURE_SECONDS, InboundPort
from tests.builders import InlineReactor

KEY = bytes(range(32))
ALLOWANCE = MAX_DRIFT * REMEASURE_SECONDS


class HandshakeReceiver:
    """A receiver called dome, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = InlineReactor()
        self.clock.advance(1000.0)
        self.receiver = InboundPort("dome", KEY, ["majordome", "monitoring"], self.clock)

    def connect(self, sender: str = "majordome", key: bytes | None = KEY, epoch: str = "e") -> HandshakeConnection:
        return HandshakeConnection(self, SenderHandshake(sender, "dome", epoch, key))


class HandshakeConnection:
    """One connection; ``sender`` is its far end, which says only what a test lets it say."""

    def __init__(self, place: HandshakeReceiver, sender: SenderHandshake) -> None:
        self.place = place
        self.sender = sender
        self.unread = False
        self.certified: str | None = None
        self.said: list[wire.Frame] = []
        self.dropped = ""
        self.side = inbound.InboundHandshake(place.receiver, self)

    def send(self, frame: wire.Frame) -> None:
        assert not self.dropped
        wire.encode_frame(frame)
        self.said.append(frame)

    def welcomed(self) -> int:
        return 7

    def drop(self, reason: str) -> None:
        self.dropped = reason
        self.side.on_closed()

    @property
    def asked(self) -> wire.Challenge:
        asked = self.said[-1].challenge
        assert asked is not None
        return asked

    @property
    def welcome(self) -> wire.Welcome | None:
        return self.said[-1].welcome if self.said else None

    def hello(self) -> HandshakeConnection:
        self.side.on_hello(self.sender.hello)
        return self

    def answer(self, now: float | None = None) -> HandshakeConnection:
        proof = self.sender.prove(self.asked, self.place.clock.seconds() if now is None else now).proof
        assert proof is not None
        self.side.on_proof(proof)
        return self

    def greet(self) -> HandshakeConnection:
        return self.hello().answer()


@pytest.fixture
def place() -> HandshakeReceiver:
    return HandshakeReceiver()


def test_who_knows_the_key_is_proved_and_knows_the_receiver(place: HandshakeReceiver) -> None:
    connection = place.connect().hello()
    assert connection.side.peer is None, "a hello alone says nothing"
    connection.answer()
    assert connection.side.peer == ("majordome", "e")
    assert connection.side.proved
    assert connection.welcome is not None
    assert connection.welcome.last_seq == 7
    connection.sender.check(connection.welcome)


@pytest.mark.parametrize("name", ["majordome", "monitoring", "broker"])
def test_an_agents_name_is_not_for_who_lacks_the_key(place: HandshakeReceiver, name: str) -> None:
    with pytest.raises(WireError, match=f"'{name}' is an agent of this observatory, and must prove its key"):
        place.connect(name, key=None).hello()
    stranger = place.connect(name, key=b"x" * 32).hello()
    with pytest.raises(WireError, match=f"the proof of '{name}' is wrong: it has another key than dome"):
        stranger.answer()
    assert not stranger.side.proved
    assert stranger.side.peer is None


def test_a_program_without_the_key_is_welcome_unproved(place: HandshakeReceiver) -> None:
    connection = place.connect("program:x", key=None).hello()
    assert connection.side.peer == ("program:x", "e")
    assert not connection.side.proved
    assert connection.welcome == wire.Welcome(7)
    connection.sender.check(connection.welcome)


def test_a_receiver_without_the_key_is_not_believed(place: HandshakeReceiver) -> None:
    sender = SenderHandshake("majordome", "dome", "e", KEY)
    for mac in ("", "0" * 64):
        with pytest.raises(WireError, match="does not prove the observatory's key"):
            sender.check(wire.Welcome(7, mac))
    place.receiver.key = b"y" * 32
    connection = place.connect("program:x", key=KEY).hello()
    with pytest.raises(WireError, match="has another key"):
        connection.answer()


def test_a_welcome_fits_its_number_and_its_connection_only(place: HandshakeReceiver) -> None:
    one, other = place.connect().greet(), place.connect("monitoring").greet()
    assert one.welcome
    assert other.welcome
    for welcome in (wire.Welcome(8, one.welcome.mac), other.welcome):
        with pytest.raises(WireError, match="does not prove"):
            one.sender.check(welcome)


def test_an_old_proof_is_worth_nothing_on_another_connection(place: HandshakeReceiver) -> None:
    heard = place.connect().hello()
    proof = heard.sender.prove(heard.asked, 1000.0).proof
    assert proof is not None
    heard.side.on_proof(proof)
    heard.drop("gone")
    replay = place.connect()
    replay.sender.hello = heard.sender.hello
    replay.hello()
    with pytest.raises(WireError, match="proof of 'majordome' is wrong"):
        replay.side.on_proof(proof)


def test_a_proof_is_worth_nothing_twice_or_before_it_was_asked_for(place: HandshakeReceiver) -> None:
    connection = place.connect()
    proof = wire.Proof(0.0, "")
    with pytest.raises(WireError, match="a proof answers a challenge"):
        connection.side.on_proof(proof)
    connection.hello()
    proof = connection.sender.prove(connection.asked, 0.0).proof or proof
    connection.side.on_proof(proof)
    with pytest.raises(WireError, match="a proof answers a challenge"):
        connection.side.on_proof(proof)


def test_what_a_receiver_signs_is_no_sender_s_proof(place: HandshakeReceiver) -> None:
    """Or who is asked for a proof could have it made by another agent, by asking that one."""
    connection = place.connect().greet()
    mirror = place.connect("monitoring")
    mirror.hello()
    assert connection.welcome is not None
    with pytest.raises(WireError, match="is wrong"):
        mirror.side.on_proof(wire.Proof(1000.0, connection.welcome.mac))


@given(st.sampled_from(["from", "to", "epoch", "nonce", "boot", "now", "mac", "challenge"]), st.text(max_size=3))
def test_every_word_of_it_is_signed(word: str, other: str) -> None:
    place = HandshakeReceiver()
    connection = place.connect("program:x").hello()
    hello, asked, now = connection.sender.hello, connection.asked, 1000.0
    if word == "now":
        now += len(other) + 1
    proof = connection.sender.prove(wire.Challenge(other) if word == "challenge" else asked, 1000.0).proof
    assert proof is not None
    field = {"from": "sender"}.get(word, word)
    if hasattr(hello, field):
        setattr(hello, field, getattr(hello, field) + other + "x")
    with pytest.raises(WireError, match="is wrong"):
        connection.side.on_proof(wire.Proof(now, proof.mac + other + "x" if word == "mac" else proof.mac))
    assert connection.side.peer is None


# Two that call themselves the same ------------------------------------------------------------------------------


def test_another_process_of_the_same_name_is_refused_while_the_first_lives(place: HandshakeReceiver) -> None:
    first = place.connect(epoch="a").greet()
    second = place.connect(epoch="b").greet()
    assert second.welcome is None
    first.answer()
    assert "another process is majordome already" in second.dropped
    assert not first.dropped
    place.clock.advance(10 * PING_SECONDS)
    assert not first.dropped
    assert place.connect("monitoring").greet().welcome, "others are not concerned"


def test_a_restarted_agent_takes_the_place_of_a_dead_connection(place: HandshakeReceiver) -> None:
    first = place.connect().greet()
    second = place.connect().greet()
    place.clock.advance(PING_SECONDS - 0.1)
    assert second.welcome is None
    place.clock.advance(0.2)
    assert first.dropped
    assert second.welcome
    assert second.side.peer == ("majordome", "e")


def test_it_comes_in_at_once_when_the_old_connection_ends(place: HandshakeReceiver) -> None:
    first = place.connect().greet()
    second = place.connect().greet()
    third = place.connect().greet()
    first.side.on_closed()
    assert second.side.peer
    assert third.side.peer is None, "it waits for the word of the new one"
    second.answer()
    assert "another process" in third.dropped
    assert not place.clock.getDelayedCalls()


def test_one_that_has_gone_while_it_waited_is_not_welcomed(place: HandshakeReceiver) -> None:
    first = place.connect().greet()
    second = place.connect().greet()
    second.side.on_closed()
    first.side.on_closed()
    assert second.welcome is None
    assert place.connect().greet().welcome


def test_a_holder_that_is_not_read_keeps_its_name(place: HandshakeReceiver) -> None:
    first = place.connect().greet()
    first.unread = True  # the mailbox is full: its answer cannot be heard
    second = place.connect().greet()
    place.clock.advance(PING_SECONDS)
    assert second.dropped
    assert not first.dropped


def test_programs_may_share_a_name(place: HandshakeReceiver) -> None:
    assert place.connect("program:x").greet().welcome
    assert place.connect("program:x").greet().welcome


# Clocks ---------------------------------------------------------------------------------------------------------


def elsewhere(monkeypatch: pytest.MonkeyPatch, connection: HandshakeConnection) -> HandshakeConnection:
    connection.sender.hello.boot = "another computer's"
    return connection


def test_on_one_computer_the_clocks_are_one(place: HandshakeReceiver) -> None:
    connection = place.connect().hello()
    place.clock.advance(0.5)
    connection.answer(now=1000.3)
    assert (connection.side.ahead, connection.side.doubt) == (0.0, 0.0)
    place.clock.advance(10 * REMEASURE_SECONDS)
    assert len(connection.said) == 2, "there is nothing to measure again"


@pytest.mark.parametrize(("now", "boot", "local"), [(1000.0, None, True), (999.9, None, False), (1000.0, "x", False)])
def test_a_sender_hears_whether_it_is_on_this_computer(
    place: HandshakeReceiver, now: float, boot: str | None, local: bool
) -> None:
    connection = place.connect()
    connection.sender.hello.boot = connection.sender.hello.boot if boot is None else boot
    connection.hello().answer(now)
    assert connection.welcome is not None
    assert connection.welcome.local is local


@pytest.mark.parametrize("now", [999.9, 1000.6])
def test_a_clock_that_cannot_be_ours_is_measured(place: HandshakeReceiver, now: float) -> None:
    """Two containers of one computer may count from different moments."""
    connection = place.connect().hello()
    place.clock.advance(0.5)
    connection.answer(now=now)
    assert connection.side.ahead == pytest.approx(1000.0 - now - ALLOWANCE)


@given(offset=st.floats(-1e6, 1e6), there=st.floats(0.0, 5.0), back=st.floats(0.0, 5.0), age=st.floats(0.0, 100.0))
def test_nothing_looks_younger_than_it_is(offset: float, there: float, back: float, age: float) -> None:
    """Nor older than by the round trip, whatever the clock of the other computer shows."""
    place = HandshakeReceiver()
    connection = place.connect()
    connection.sender.hello.boot = "another computer's"
    connection.hello()
    place.clock.advance(there)
    now = place.clock.seconds() - offset
    place.clock.advance(back)
    connection.answer(now)
    ahead = connection.side.ahead
    assert ahead is not None
    said = now - age  # by the sender's clock; by ours it was then:
    truth = said + offset
    assert truth - there - ALLOWANCE - 1e-6 <= said + ahead <= truth + 1e-6
    assert truth <= said + ahead + connection.side.doubt + 1e-6, "and it may have been said no later than by the doubt"


def test_a_clock_elsewhere_is_measured_again_since_clocks_drift(place: HandshakeReceiver) -> None:
    connection = place.connect()
    connection.sender.hello.boot = "another computer's"
    connection.hello().answer(now=400.0)
    assert connection.side.ahead == pytest.approx(600.0 - ALLOWANCE)
    place.clock.advance(REMEASURE_SECONDS)
    connection.answer(now=400.0 + REMEASURE_SECONDS + 0.1)
    assert connection.side.ahead == pytest.approx(599.9 - ALLOWANCE)
    assert connection.side.peer == ("majordome", "e")
    place.clock.advance(2 * REMEASURE_SECONDS)
    place.clock.advance(REMEASURE_SECONDS)
    assert "not answered" in connection.dropped


def test_a_rival_in_the_middle_of_a_measurement_changes_no_question(place: HandshakeReceiver) -> None:
    first = place.connect()
    first.sender.hello.boot = "another computer's"
    first.hello().answer(now=400.0)
    place.clock.advance(REMEASURE_SECONDS)
    asked = len(first.said)
    second = place.connect().greet()
    assert len(first.said) == asked
    first.answer(now=400.0)
    assert second.dropped


def test_a_program_elsewhere_without_the_key_has_no_age(place: HandshakeReceiver) -> None:
    here, there = place.connect("program:x", key=None), place.connect("program:y", key=None)
    there.sender.hello.boot = ""
    assert here.hello().side.ahead == 0.0
    assert there.hello().side.ahead is None


# Nonsense -------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["hello", "proof", "bad proof", "no key", "closed"]), max_size=6), st.randoms())
def test_no_order_of_words_gets_past_it_without_a_proof(words: list[str], random: Any) -> None:
    place = HandshakeReceiver()
    connection = place.connect()
    good = False
    try:
        for word in words:
            if word == "hello":
                connection.hello()
            elif word == "no key":
                connection.side.on_hello(wire.Hello(1, random.choice(["majordome", "broker"]), "dome", "e"))
            elif word == "closed":
                connection.side.on_closed()
            elif word == "bad proof":
                connection.side.on_proof(wire.Proof(random.random(), f"{random.getrandbits(256):064x}"))
            else:
                connection.answer()
                good = True
    except (WireError, AssertionError, IndexError):
        pass
    assert connection.side.proved == good
    assert good or connection.side.peer is None
