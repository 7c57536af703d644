"""The program that is the internet between namespaces: routers translate, and drop what they don't know."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from bench._internet import InternetLine, IpPacket, Router

SYN, ACK = 0x02, 0x10
INSIDE, OUTSIDE, THERE = (int(IPv4Address(each)) for each in ("10.1.0.2", "198.51.100.1", "198.51.100.2"))


def summed(data: bytes) -> int:
    """Return the Internet's checksum; 0 over what has a right one."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(source: tuple[int, int], target: tuple[int, int], flags: int, data: bytes = b"word") -> IpPacket:
    """Return a packet of TCP with right checksums."""
    segment = struct.pack("!HHIIBBHHH", source[1], target[1], 7, 9, 0x50, flags, 1000, 0, 0) + data
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, source[0], target[0])
    pseudo = header[12:20] + struct.pack("!HH", 6, len(segment))
    segment = segment[:16] + struct.pack("!H", summed(pseudo + segment)) + segment[18:]
    return IpPacket(header[:10] + struct.pack("!H", summed(header)) + header[12:] + segment)


def is_right(packet: IpPacket) -> bool:
    segment = bytes(packet.data[20:])
    pseudo = bytes(packet.data[12:20]) + struct.pack("!HH", 6, len(segment))
    return summed(bytes(packet.data[:20])) == 0 and summed(pseudo + segment) == 0


@pytest.fixture
def router() -> Router:
    return Router(INSIDE, OUTSIDE, 5001)


def test_what_goes_out_comes_from_the_router_and_its_answer_comes_in(router: Router) -> None:
    asked = tcp((INSIDE, 33000), (THERE, 5001), SYN)
    assert is_right(asked)
    assert router.goes_out(asked, 0.0)
    assert (asked.address(IpPacket.SOURCE), asked.port(IpPacket.SOURCE), is_right(asked)) == (OUTSIDE, 33000, True)
    answer = tcp((THERE, 5001), (OUTSIDE, 33000), SYN | ACK)
    assert router.comes_in(answer, 0.0)
    assert (answer.address(IpPacket.TARGET), answer.port(IpPacket.TARGET), is_right(answer)) == (INSIDE, 33000, True)


def test_one_port_is_led_inside_and_the_others_are_not(router: Router) -> None:
    assert router.comes_in(tcp((THERE, 40001), (OUTSIDE, 5001), SYN), 0.0)
    assert router.goes_out(tcp((INSIDE, 5001), (THERE, 40001), SYN | ACK), 0.0)
    assert not router.comes_in(tcp((THERE, 40002), (OUTSIDE, 5002), SYN), 0.0)


@pytest.mark.parametrize("loss", ["forgotten", "too long silent"])
def test_what_belongs_to_no_connection_is_dropped_without_a_word(router: Router, loss: str) -> None:
    assert router.goes_out(tcp((INSIDE, 33000), (THERE, 5001), SYN), 0.0)
    router.keep = 60.0
    if loss == "forgotten":
        router.forget()
    after = 59.0 if loss == "forgotten" else 61.0
    assert not router.goes_out(tcp((INSIDE, 33000), (THERE, 5001), ACK), after)
    assert not router.comes_in(tcp((THERE, 5001), (OUTSIDE, 33000), ACK), after)


def test_a_loose_router_goes_on_under_another_port(router: Router) -> None:
    router.loose = True
    packet = tcp((INSIDE, 33000), (THERE, 5001), ACK)
    assert router.goes_out(packet, 0.0)
    assert packet.port(IpPacket.SOURCE) >= 40000
    assert is_right(packet)


def test_a_narrow_line_takes_its_time_and_drops_what_it_has_no_room_for() -> None:
    line = InternetLine()
    line.rate, line.room = 1000.0, 1500
    assert [line.through(1000, 0.0) for _ in range(3)] == [1.0, 2.0, None]
    assert line.through(1000, 2.5) == 3.5
