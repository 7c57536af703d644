"""The client's codec of the native grammar, over every way to cut its bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import DeviceRefused, WireError
from pyros.instruments.native import grammar
from pyros.instruments.native.grammar import Busy, Err, NativeAnswer, NativeDecoder, NativeEvent, Ok

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.none() | st.integers(0, 999_999_999)
NAMED = st.dictionaries(NAMES.filter(lambda name: name != "block"), VALUES, max_size=3)
MESSAGES = st.one_of(
    st.builds(Ok, NUMBERS, st.lists(VALUES, max_size=4).map(tuple), NAMED, st.none() | st.binary(max_size=60)),
    st.builds(Busy, NUMBERS, st.integers(0, 10**9).map(lambda ms: ms / 1000)),
    st.builds(Err, NUMBERS, st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True), VALUES.map(str.strip)),
    st.builds(NativeEvent, NAMES, st.lists(VALUES, max_size=4).map(tuple), NAMED),
)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def encoded(message: NativeAnswer | NativeEvent) -> bytes:
    """Write a device's bytes for a message, without the code under test."""
    prefix = "" if isinstance(message, NativeEvent) or message.number is None else f"#{message.number} "
    if isinstance(message, Busy):
        return f"{prefix}BUSY {message.seconds:.3f}\n".encode()
    if isinstance(message, Err):
        return f"{prefix}ERR {message.code} {message.text}\n".encode()
    words = [quoted(value) for value in message.values]
    words += [f"{key}={quoted(value)}" for key, value in message.named.items()]
    if isinstance(message, NativeEvent):
        return " ".join(["EVT", message.name, *words]).encode() + b"\r\n"
    if message.block is None:
        return " ".join([prefix + "OK", *words]).encode() + b"\n"
    return " ".join([prefix + "OK", *words, f"block={len(message.block)}"]).encode() + b"\n" + message.block


def decoded(pieces: list[bytes]) -> list[NativeAnswer | NativeEvent]:
    decoder = NativeDecoder()
    found = []
    for piece in pieces:
        decoder.feed(piece)
        while (message := decoder.next()) is not None:
            found.append(message)
    return found


@given(st.lists(MESSAGES, max_size=5), st.data())
def test_messages_survive_every_cut(messages: list[NativeAnswer | NativeEvent], data: st.DataObject) -> None:
    stream = b"".join(map(encoded, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    for way in (pieces, [stream], [bytes([byte]) for byte in stream]):
        found = decoded(way)
        for message in found:
            if isinstance(message, Ok) and message.block is not None:
                assert message.named.pop("block") == str(len(message.block))
        assert found == messages


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_messages_or_a_typed_error(pieces: list[bytes]) -> None:
    with contextlib.suppress(WireError):
        decoded(pieces)


@given(st.text(alphabet='OKBUSYERREVT#0123 ="\\abc_=.', max_size=40))
def test_lines_near_the_grammar(line: str) -> None:
    with contextlib.suppress(WireError):
        grammar.parse(line)


@given(NAMES, st.lists(VALUES, min_size=1, max_size=3), st.integers(1, 999_999_999))
def test_a_value_is_written_so_that_it_is_read_again(name: str, values: list[str], number: int) -> None:
    line = grammar.request(number, "SET", name, *values)
    assert line.startswith(f"#{number} SET {name} ".encode())
    assert line.count(b"\n") == 1
    echo = line.replace(f"SET {name}".encode(), b"OK", 1)
    assert decoded([echo]) == [Ok(number, tuple(values))]


def test_requests() -> None:
    assert grammar.request(7, "GET", "id") == b"#7 GET id\n"
    assert grammar.request(8, "DO", "slew", ra=83.6331, dec=-1e-7, tag="m1") == (
        b"#8 DO slew ra=83.6331 dec=-0.0000001 tag=m1\n"
    )
    assert grammar.request(9, "SET", "filter", 'a"\\ b') == b'#9 SET filter "a\\"\\\\ b"\n'
    assert grammar.request(9, "DO", "expose", seconds=30.0, tag="") == b'#9 DO expose seconds=30 tag=""\n'


@pytest.mark.parametrize(
    ("verb", "name", "values"),
    [("GET", "Id", ()), ("PUT", "id", ()), ("SET", "filter", ()), ("SET", "f", ("a\nb",)), ("SET", "f", ("x" * 4096,))],
)
def test_what_is_no_request_is_refused(verb: str, name: str, values: tuple[str, ...]) -> None:
    with pytest.raises(DeviceRefused):
        grammar.request(1, verb, name, *values)


def test_the_example_in_the_grammars_own_documentation() -> None:
    assert grammar.parse("OK 83.633083 22.014500") == Ok(None, ("83.633083", "22.014500"))
    assert grammar.parse("#7 BUSY 12.5") == Busy(7, 12.5)
    assert grammar.parse("EVT slew_finished ra=83.6 dec=22.01 tag=crab") == NativeEvent(
        "slew_finished", (), {"ra": "83.6", "dec": "22.01", "tag": "crab"}
    )
    assert grammar.parse("ERR LIMIT altitude -31.2 is below the limit of 10 degrees") == Err(
        None, "LIMIT", "altitude -31.2 is below the limit of 10 degrees"
    )
    assert grammar.RULES["request"].fullmatch("DO slew ra=83.6 dec=-80")
    assert grammar.RULES["request"].fullmatch("#7 DO slew ra=83.6 dec=22.01 tag=crab")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ok",
        "OK a=",
        'OK "',
        "OK a=b=c",
        "#x OK",
        "#1 EVT up",
        "BUSY",
        "BUSY -1",
        "ERR low x",
        "OKAY",
        "OK\t1",
        "#2 OK #3 OK idle",
        "#2 OK r g#3 OK idle",
        "OK EVT slew_finished ra=1",
    ],
)
def test_what_is_not_in_the_grammar(line: str) -> None:
    with pytest.raises(WireError, match="not a line of the native grammar"):
        grammar.parse(line)


def test_a_line_is_bounded_also_before_its_end() -> None:
    longest = b"ERR X " + b"x" * (grammar.MAX_LINE_BYTES - 6)
    assert len(decoded([longest + b"\r\n"])) == 1
    for stream in (longest + b"x\n", longest + b"xx", b"x" * 10**6):
        with pytest.raises(WireError, match="more than 4096 bytes"):
            decoded([stream])


@pytest.mark.parametrize("size", ["-1", "1e3", "536870913", "99999999999999", "", "٣", "0x10"])
def test_a_block_is_bounded_before_its_bytes_come(size: str) -> None:
    with pytest.raises(WireError, match="is not a number of bytes up to 536870912"):
        decoded([f'OK 1 1 16 block="{size}"\n'.encode()])


def test_what_came_before_an_error_is_still_given() -> None:
    decoder = NativeDecoder()
    decoder.feed(b"#1 OK\ngarbage\n")
    assert decoder.next() == Ok(1)
    with pytest.raises(WireError):
        decoder.next()


@pytest.mark.timeout(30)
def test_a_large_block_in_small_pieces_ends_soon() -> None:
    size, piece = 64 << 20, bytes(4096)
    decoder = NativeDecoder()
    decoder.feed(f"OK block={size}\n".encode())
    for _ in range(size // len(piece)):  # 16,384; a quadratic reader takes minutes
        decoder.feed(piece)
        found = decoder.next()
    assert isinstance(found, Ok)
    assert found.block is not None
    assert len(found.block) == size


def test_the_longest_line_may_come_byte_by_byte() -> None:
    line = b"EVT x " + b"a " * 2040 + b"\n"
    assert len(decoded([bytes([byte]) for byte in line])) == 1
