"""The telescope's second port: the LX200 language, its codec, and how badly clients may behave."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport

from pyros.simulators.celestial import OfDate, Sky, from_date, of_date, separation
from pyros.simulators.lx200.codec import ALIGNMENT_QUERY, MAX_COMMAND, CommandParser, degrees, hours, sexagesimal
from tests.simulators.test_simulator_telescope import high

Rigs = Callable[..., Any]
_Transport: Any = StringTransport


@given(st.lists(st.sampled_from(["GR", "Sr 12:34:56", "MS", "Sd -12*34:56", "U"]), max_size=8), st.randoms())
def test_commands_come_out_however_they_are_cut(commands: list[str], chance: random.Random) -> None:
    noise = ["", "#", "\r\n", "junk", "##"]
    data = "".join(chance.choice(noise) + f":{command}#" for command in commands).encode()
    parser, found, rest = CommandParser(), [], data
    while rest:
        size = chance.randint(1, len(rest))
        found += parser.feed(rest[:size])
        rest = rest[size:]
    assert found == commands


@given(st.binary(max_size=2000))
def test_anything_is_passed_over_and_the_next_command_found(data: bytes) -> None:
    parser = CommandParser()
    for command in parser.feed(data):
        assert len(command) <= MAX_COMMAND
    assert parser.feed(b"#:GD#")[-1] == "GD"


def test_a_command_without_end_is_not_kept() -> None:
    parser = CommandParser()
    assert parser.feed(b":S" + b"r" * 100_000) == []
    assert len(cast("Any", parser).pending) == MAX_COMMAND
    assert parser.feed(b"#\x06:GR#") == [ALIGNMENT_QUERY, "GR"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:34:56", 12 + 34 / 60 + 56 / 3600),
        (" 12:34.5", 12 + 34.5 / 60),
        ("-00*30", -0.5),
        ("+05\xdf30:36", 5.51),
        ("-12*34'56", -(12 + 34 / 60 + 56 / 3600)),
        ("10:20:30.25", 10 + 20 / 60 + 30.25 / 3600),
        ("045", 45),
        *((bad, None) for bad in ("", "north", "12:60", "12:34:60", "1e3", "12:34:56:78", "-", "--5", "٣")),
    ],
)
def test_angles_are_read_as_clients_write_them(text: str, value: float | None) -> None:
    assert sexagesimal(text) == (None if value is None else pytest.approx(value))


@given(st.floats(-90, 90), st.floats(0, 360), st.booleans())
def test_angles_are_written_so_that_they_can_be_read(dec: float, ra: float, precise: bool) -> None:
    back = sexagesimal(degrees(dec, precise))
    assert back is not None
    assert abs(back - dec) * 3600 <= (0.51 if precise else 30.1)
    back = sexagesimal(hours(ra, precise))
    assert back is not None
    assert back < 24
    assert abs((back * 15 - ra + 180) % 360 - 180) * 3600 <= (7.6 if precise else 45.1)


class PlanetariumClient:
    """A planetarium program at the second port."""

    def __init__(self, rig: Any) -> None:
        self.protocol = rig.simulator.second.buildProtocol(None)
        self.transport = _Transport()
        self.protocol.makeConnection(self.transport)

    def ask(self, *commands: str) -> str:
        self.transport.clear()
        self.protocol.dataReceived("".join(f":{command}#" for command in commands).encode("latin-1"))
        answer: str = self.transport.value().decode("latin-1")
        return answer


@pytest.fixture
def mount(rig: Rigs) -> Any:
    return rig("telescope", speed=1, parked=False, pointing_noise=0, slew_rate=4, settle=1, lx200="tcp:0")


@pytest.fixture
def client(mount: Any) -> Any:
    made = PlanetariumClient(mount)
    yield made
    made.protocol.connectionLost()


def of_date_now(mount: Any, sky: Sky) -> OfDate:
    return of_date(sky, mount.clock.time())


def send_to(client: PlanetariumClient, mount: Any, sky: Sky) -> str:
    place = of_date_now(mount, sky)
    return client.ask(f"Sr {hours(place.ra, True)}", f"Sd {degrees(place.dec, True).replace(chr(39), ':')}", "MS")


def position(client: PlanetariumClient, mount: Any) -> Sky:
    """In high precision."""
    ra, dec = (sexagesimal(text) for text in client.ask("GR", "GD").rstrip("#").split("#"))
    assert ra is not None
    assert dec is not None
    return from_date(OfDate(ra * 15, dec), mount.clock.time())


def test_who_it_is(mount: Any, client: PlanetariumClient) -> None:
    assert client.ask("GVP") == "PYROS LX200#"
    client.transport.clear()
    client.protocol.dataReceived(b"\x06")
    assert client.transport.value() == b"P"
    assert client.ask("GW") == "PN1#"
    assert client.ask("XY", "FQ", "B+") == ""


def test_it_begins_in_low_precision(mount: Any, client: PlanetariumClient) -> None:
    assert [len(text) for text in client.ask("GR", "GD").split("#")] == [7, 6, 0]
    assert client.ask("P") == "LOW PRECISION"
    assert client.ask("U", "P") == "HIGH PRECISION"
    assert [len(text) for text in client.ask("GR", "GD", "GA", "GZ").split("#")] == [8, 9, 9, 9, 0]
    assert client.ask("U", "P") == "LOW PRECISION"


def test_a_slew_and_what_is_said_meanwhile(mount: Any, client: PlanetariumClient) -> None:
    client.ask("U")
    native = mount.client()
    target = high(mount)
    assert send_to(client, mount, target) == "110"
    assert client.ask("D") == "\x7f#"
    mount.advance(60)
    assert client.ask("D", "GW") == "#PT1#"
    assert separation(position(client, mount), target) * 3600 < 8  # a second of right ascension is 15 arcseconds
    assert [line.split()[1] for line in native.read()] == ["slew_finished"]
    assert client.ask("Gr", "Gd") == client.ask("GR", "GD")


def test_its_coordinates_are_of_date(mount: Any, client: PlanetariumClient) -> None:
    """A quarter of a degree from ICRS by now."""
    client.ask("U")
    here = mount.device.pointing()
    ra = sexagesimal(client.ask("GR").rstrip("#"))
    assert ra is not None
    assert 0.2 < abs(ra * 15 - here.ra) < 0.6


def test_what_it_cannot_reach_is_refused_with_a_text(mount: Any, client: PlanetariumClient) -> None:
    answer = send_to(client, mount, high(mount, alt=5))
    assert answer.startswith("111the target is at altitude 5.0")
    assert answer.endswith("#")
    assert client.ask("hP") == ""
    assert client.ask("D") == "\x7f#"
    assert send_to(client, mount, high(mount)) == "115the telescope is parking; wait, or DO stop#"
    mount.advance(60)
    assert send_to(client, mount, high(mount)) == "114the telescope is parked; DO unpark first#"
    assert client.ask("hW") == ""
    assert send_to(client, mount, high(mount)) == "110"


def test_q_stops_and_tracks(mount: Any, client: PlanetariumClient) -> None:
    client.ask("U")
    native = mount.client()
    send_to(client, mount, high(mount, alt=30, az=120))
    mount.advance(3)
    assert client.ask("Q") == ""
    assert client.ask("D", "GW") == "#PT1#"
    here = position(client, mount)
    mount.advance(100)
    assert separation(position(client, mount), here) * 3600 < 16
    assert [line.split()[1] for line in native.read()] == ["slew_aborted"]


def test_a_sync_makes_the_target_its_position(mount: Any, client: PlanetariumClient) -> None:
    client.ask("U")
    target = high(mount)
    send_to(client, mount, target)
    mount.advance(60)
    beside = of_date_now(mount, Sky(target.ra + 0.5, target.dec - 0.25))
    assert client.ask(f"Sr {hours(beside.ra, True)}", f"Sd {degrees(beside.dec, True)}") == "11"
    assert client.ask("CM") == "Coordinates     matched.        #"
    assert separation(position(client, mount), Sky(target.ra + 0.5, target.dec - 0.25)) * 3600 < 16
    client.ask("hP")
    assert client.ask("CM").startswith("Not matched: the telescope is parking")


def test_the_keypad_pushes_it_along(mount: Any, client: PlanetariumClient) -> None:
    client.ask("U")
    target = high(mount)
    send_to(client, mount, target)
    mount.advance(60)
    before = position(client, mount)
    client.ask("RM", "Mn")
    mount.advance(2)
    client.ask("Me")
    mount.advance(2)
    client.ask("Qn", "Qe")
    mount.advance(5)
    after = position(client, mount)
    degree = 128 * 360 / 86164.0905
    assert after.dec - before.dec == pytest.approx(4 * degree, abs=0.02)
    assert after.ra - before.ra == pytest.approx(2 * degree, abs=0.02)
    client.ask("Mgn1000")
    mount.advance(3)
    assert (position(client, mount).dec - after.dec) * 3600 == pytest.approx(7.5, abs=1.5)
    assert client.ask("D", "GW") == "#PT1#"
    client.ask("RS", "Ms")
    mount.advance(60)
    assert mount.device.state == "idle"  # at the altitude limit


def test_time_and_place_are_taken_and_repeated(mount: Any, client: PlanetariumClient) -> None:
    assert client.ask("GL", "GC", "GG", "Gt", "Gg", "Gc") == "23:30:00#03/20/26#+00.0#+43*56#354*17#24#"
    assert client.ask("SG-02.0", "SL 01:31:00", "SC 03/21/26") == "111Updating Planetary Data#" + " " * 30 + "#"
    assert client.ask("GL", "GC", "GG") == "01:31:00#03/21/26#-02.0#"
    mount.advance(60)
    assert client.ask("GL", "Ga") == "01:32:00#01:32:00#"
    assert client.ask("St+44*00", "Sg 005*30", "Gt", "Gg") == "11+44*00#005*30#"
    assert client.ask("SL 25:00:00", "SC 02/30/26", "SG 99", "St+91*00", "Sr 24:00:00", "Sd+99*00") == "000000"
    assert mount.device.site.latitude == 43.9308


def test_local_sidereal_time(mount: Any, client: PlanetariumClient) -> None:
    """The almanac's formula for Greenwich mean sidereal time (USNO), and the equation of the equinoxes is a second."""
    greenwich = 18.697374558 + 24.06570982441908 * (2461120.4791666667 - 2451545)
    here = sexagesimal(client.ask("GS").rstrip("#"))
    assert here is not None
    assert here == pytest.approx((greenwich + mount.device.site.longitude / 15) % 24, abs=2 / 3600)


def test_a_client_that_never_reads_is_cut_off(mount: Any, client: PlanetariumClient) -> None:
    client.protocol.pauseProducing()
    assert not client.transport.disconnecting
    mount.advance(121)
    assert client.transport.disconnected or client.transport.disconnecting


def test_clients_are_counted(mount: Any) -> None:
    clients = [PlanetariumClient(mount) for _ in range(32)]
    assert mount.simulator.second.buildProtocol(None) is None
    for each in clients:
        each.protocol.connectionLost()


@given(st.binary(max_size=400))
def test_nothing_that_is_sent_breaks_it(data: bytes) -> None:
    rig = _RIG
    client = PlanetariumClient(rig)
    client.protocol.dataReceived(data + b"#:GVP#")
    assert client.transport.value().endswith(b"PYROS LX200#")
    client.protocol.connectionLost()


COMMANDS = st.sampled_from(
    ["MS", "MA", "Q", "hP", "hW", "CM", "Mn", "Me", "Qn", "Qe", "RS", "D", "GR", "AL", "AP", "U", "Mgs0200",
     "Sr 08:00:00", "Sr 12:00:00", "Sd+40*00", "Sd-20*00", "Sa+50*00", "Sz 120*00"]
)  # fmt: skip


@given(st.lists(st.tuples(COMMANDS, st.floats(0, 30)), max_size=30))
def test_any_order_of_commands_is_survived(steps: list[tuple[str, float]]) -> None:
    client = PlanetariumClient(_RIG)
    for command, seconds in steps:
        client.ask(command)
        _RIG.advance(seconds)
    client.ask("Q")
    client.protocol.connectionLost()
    sky = _RIG.device.pointing()
    assert 0 <= sky.ra < 360
    assert -90 <= sky.dec <= 90
    assert _RIG.device.state in ("idle", "tracking", "slewing", "parking", "parked")


def _make_rig() -> Any:
    from tests.simulators.conftest import SimulatorRig

    return SimulatorRig("telescope", speed=1, parked=False, lx200="tcp:0", mount="german", slew_acceleration=2.0)


_RIG = _make_rig()


# What goes wrong, which is ordered in the other language.


def test_a_fault_names_what_a_command_means(mount: Any, client: PlanetariumClient) -> None:
    hand = mount.client()
    hand.ask('FAULT no_answer request="DO slew"')
    assert send_to(client, mount, high(mount)) == "11"
    assert mount.device.state == "idle", "and nothing was done"
    assert client.ask("GVP", "D") == "PYROS LX200##"
    hand.ask("FAULT clear")
    hand.ask("FAULT no_answer request=position")
    assert client.ask("GR", "GD", "D") == "#"
    hand.ask("FAULT clear")
    hand.ask("FAULT no_answer")
    assert client.ask("GR", "GVP", "Sr 01:00:00", "D") == ""
    hand.ask("FAULT clear")
    assert send_to(client, mount, high(mount)) == "110"


def test_a_late_answer_holds_up_those_after_it_also_of_a_client_that_has_said_all(
    mount: Any, client: PlanetariumClient
) -> None:
    mount.client().ask("FAULT late_answer seconds=7 request=position for=5")
    assert client.ask("GR", "GVP") == ""
    client.protocol.readConnectionLost()
    mount.advance(6.9)
    assert client.transport.value() == b""
    assert not client.transport.disconnecting
    mount.advance(0.2)
    assert client.transport.value().endswith(b"#PYROS LX200#")
    assert client.transport.disconnecting


def test_who_leaves_before_a_late_answer_leaves_nothing(mount: Any, client: PlanetariumClient) -> None:
    mount.client().ask("FAULT late_answer")
    client.ask("GR")
    client.protocol.connectionLost()
    assert mount.timers() == 0


def test_commands_without_end_behind_a_late_answer_are_not_kept(mount: Any, client: PlanetariumClient) -> None:
    mount.client().ask("FAULT late_answer")
    client.ask(*["GR"] * 10_002)
    assert client.transport.disconnecting or client.protocol.leaving


def test_garbage_half_an_answer_and_a_dropped_connection(mount: Any, client: PlanetariumClient) -> None:
    hand = mount.client()
    hand.ask("FAULT garbage")
    answer = client.ask("GR").encode("latin-1")
    assert answer.startswith(b"\xff")
    assert answer.endswith(b"#")
    assert client.ask("Q") == "", "nothing where there is no answer"
    hand.ask("FAULT clear")
    whole = client.ask("GVP")
    hand.ask("FAULT half_line")
    assert client.ask("GVP") == whole[: len(whole) // 2]
    assert client.ask("Sr 01:00:00") == "", "half of one byte"
    hand.ask("FAULT clear")
    hand.ask("FAULT drop")
    assert client.ask("Q", "GVP") == ""
    assert client.transport.disconnecting or client.protocol.leaving


def test_a_refusal_in_the_mounts_own_words(mount: Any, client: PlanetariumClient) -> None:
    hand = mount.client()
    hand.ask("FAULT refuse code=LIMIT")
    assert client.ask("Sr 01:00:00") == "0"
    assert client.ask("MS") == "1a fault makes it refuse#"
    assert client.ask("CM") == "Not matched: a fault makes it refuse#"
    assert client.ask("Mn", "hP") == ""
    assert mount.device.state == "idle"
    assert client.ask("GVP") == "PYROS LX200#", "no question is refused"


def test_the_position_is_wrong_or_frozen_in_both_languages(mount: Any, client: PlanetariumClient) -> None:
    client.ask("U")
    hand = mount.client()
    before, altitude = position(client, mount), client.ask("GA", "GZ")
    hand.ask("FAULT wrong_position by=-1.5")
    off = position(client, mount)
    assert separation(off, before) == pytest.approx(1.5, abs=0.01)
    assert separation(off, Sky(*hand.numbers("GET position"))) < 0.01
    hand.ask("FAULT clear")
    hand.ask("FAULT frozen")
    send_to(client, mount, high(mount))
    mount.advance(60)
    assert separation(position(client, mount), before) < 0.01
    assert client.ask("GA", "GZ") == altitude
    hand.ask("FAULT clear")
    assert separation(position(client, mount), before) > 5


def test_a_stuck_mount_goes_on_saying_that_it_slews(mount: Any, client: PlanetariumClient) -> None:
    hand = mount.client()
    hand.ask("FAULT stuck")
    assert send_to(client, mount, high(mount)) == "110"
    mount.advance(600)
    assert client.ask("D") == "\x7f#"
    hand.ask("FAULT clear")
    mount.advance(60)
    assert client.ask("D") == "#"
