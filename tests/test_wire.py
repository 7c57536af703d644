"""The codec of the wire: every cut of the bytes gives the same events, and bad bytes only ever a WireError."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros import wire
from pyros.errors import WireError
from pyros.wire import Challenge, Decoder, Entry, Frame, Hello, Proof, Refusal, TextLine, Welcome

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
numbers = st.integers(1, 2**63 - 1)
payloads = st.dictionaries(names, st.integers() | st.text() | st.none() | st.lists(st.booleans()), max_size=3)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    payload = msgspec.Raw(msgspec.json.encode(draw(payloads)))
    return Entry(draw(numbers), draw(names), draw(names), draw(st.floats(0, 4e9)), payload)


frames = st.one_of(
    st.builds(Frame, hello=st.builds(Hello, protocol=st.integers(0, 9), sender=names, to=names, epoch=names)),
    st.builds(Frame, challenge=st.builds(Challenge, names)),
    st.builds(Frame, proof=st.builds(Proof, st.floats(0, 4e9), names)),
    st.builds(Frame, welcome=st.builds(Welcome, numbers, names)),
    st.builds(Frame, messages=st.lists(entries(), max_size=4)),
    st.builds(Frame, ack=numbers, refused=st.lists(st.builds(Refusal, numbers, names), min_size=1, max_size=2)),
    st.builds(Frame, query=names),
    st.builds(Frame, error=names),
)
lines = st.binary(max_size=40).filter(lambda text: b"\n" not in text and not text.endswith(b"\r"))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks)]


def read(decoder: Decoder, chunks: list[bytes]) -> list[object]:
    found: list[object] = []
    for chunk in chunks:
        found += decoder.feed(chunk)
    return found + list(decoder.finish())


def plain(frame: object) -> bytes:
    """Return a frame as something that compares (Raw does not)."""
    return msgspec.json.encode(frame)


@given(st.lists(frames, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_survive_every_cut(sent: list[Frame], places: list[int]) -> None:
    data = b"".join(wire.encode_frame(frame) for frame in sent)
    got = read(Decoder(), cut(data, places))
    assert [plain(frame) for frame in got] == [plain(frame) for frame in sent]


@given(st.lists(frames, min_size=1, max_size=2))
def test_frames_survive_byte_by_byte(sent: list[Frame]) -> None:
    data = b"".join(wire.encode_frame(frame) for frame in sent)
    got = read(Decoder(), [data[place : place + 1] for place in range(len(data))])
    assert [plain(frame) for frame in got] == [plain(frame) for frame in sent]


@given(
    st.lists(lines, min_size=1, max_size=6).filter(lambda some: some[0][:1] not in (b"\x00", b"\x01")),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_lines_survive_every_cut(sent: list[bytes], end: bytes, ended: bool, places: list[int]) -> None:
    data = end.join(sent) + (end if ended else b"")
    expected = sent if ended or sent[-1].strip() else sent[:-1]
    assert read(Decoder(), cut(data, places)) == [TextLine(text) for text in expected]


def outcome(data: bytes, places: list[int]) -> tuple[list[object], bool]:
    """Return the events, and whether it ended in a WireError. Events of the chunk with the error are lost with it."""
    decoder = Decoder()
    found: list[object] = []
    try:
        for chunk in cut(data, places):
            found += [plain(event) for event in decoder.feed(chunk)]
        found += [plain(event) for event in decoder.finish()]
    except WireError:
        return found, True
    return found, False


nearly_frames = st.builds(
    lambda frame, place, byte: b"".join((frame[: place % len(frame)], byte, frame[place % len(frame) + 1 :])),
    frames.map(wire.encode_frame),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=1),
)


@given(st.binary(max_size=300) | nearly_frames, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_bytes_give_events_or_a_wire_error(data: bytes, places: list[int]) -> None:
    whole, whole_failed = outcome(data, [])
    parts, parts_failed = outcome(data, places)
    assert whole_failed == parts_failed
    assert parts[: len(whole)] == whole


@given(st.binary(max_size=200) | names.map(str.encode))
def test_any_line_is_a_message_or_a_wire_error(line: bytes) -> None:
    try:
        name, payload = wire.parse_line(line)
    except WireError:
        return
    assert 0 < len(name) <= 200
    assert isinstance(msgspec.json.decode(payload), dict)


@pytest.mark.parametrize(
    ("line", "name", "payload"),
    [
        (b"Observation finished", "Observation finished", b"{}"),
        (b"Observation finished\t", "Observation finished", b"{}"),
        (b'Open\t {"reason": "clear"} ', "Open", b'{"reason": "clear"}'),
        ("Étoile trouvée".encode(), "Étoile trouvée", b"{}"),
    ],
)
def test_a_line(line: bytes, name: str, payload: bytes) -> None:
    assert wire.parse_line(line) == (name, payload)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"caf\xe9", "not valid UTF-8"),
        (b"Open\t\xff", "not valid UTF-8"),
        (b"", "1 to 200 printable"),
        (b"x" * 201, "1 to 200 printable"),
        (b"a\x07b", "1 to 200 printable"),
        (b"Open\t[1]", "JSON object is expected: Expected `object`, got `array`"),
        (b"Open\t{", "JSON object is expected"),
        (b"Open\t" + b'{"a":' * 20_000, "JSON object is expected"),
    ],
)
def test_a_bad_line_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        wire.parse_line(line)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad frame"),
        (b"[1]", "Expected `object`, got `array`"),
        (b'{"ack": "7"}', r"Expected `int.*`\$.ack`"),
        (b'{"ack": 18446744073709551615}', r"\$.ack"),
        (b'{"welcome": {"last_seq": -1}}', r"\$.welcome.last_seq"),
        (b'{"messages": [{"seq": 1.5, "id": "a", "name": "b", "sent": 1}]}', r"\$.messages\[0\].seq"),
        (b'{"messages": [{"seq": 9223372036854775808, "id": "a", "name": "b", "sent": 1}]}', r"\$.messages\[0\].seq"),
        (b'{"messages": [{"seq": 0, "id": "a", "name": "b", "sent": 1}]}', r"\$.messages\[0\].seq"),
        (b'{"messages": [{"seq": 1, "id": "' + b"a" * 300 + b'", "name": "b", "sent": 1}]}', r"\$.messages\[0\].id"),
        (b'{"messages": [{"seq": 1, "id": "a", "name": "' + b"b" * 300 + b'", "sent": 1}]}', r"\[0\].name"),
        (b'{"messages": [{"seq": 1, "id": "a", "sent": 1}]}', "missing required field `name`"),
        (b'{"messages": [{"seq": 1, "id": "a", "name": "b", "sent": 1e999}]}', "out of range"),
        (b'{"query": "caf\xe9"}', "bad frame"),
        (b'{"error": "\\ud800"}', "bad frame"),
        (b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
        (b'{"status": {"a": ' + b'{"b":' * 100_000, "bad frame"),
        (
            b'{"messages": [{"seq": 1, "id": "a", "name": "b", "sent": 1, "payload": '
            + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
            "recursion",
        ),
        (
            b'{"messages": [' + b",".join([b'{"seq":1,"id":"a","name":"b","sent":1}'] * 4097) + b"]}",
            r"length <= 4096 - at `\$.messages`",
        ),
    ],
)  # fmt: skip
def test_a_bad_frame_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        wire.decode_frame(body)


def test_the_size_of_a_frame_is_refused_before_its_bytes_come() -> None:
    for decoder in (Decoder(frames=True), Decoder()):
        good = wire.encode_frame(Frame(query="status"))
        if decoder.frames is None:
            assert len(decoder.feed(good)) == 1
        with pytest.raises(WireError, match="frame of 2147483648 bytes; the limit is 16777216"):
            decoder.feed((2**31).to_bytes(4, "big"))


def test_the_largest_frame_passes_and_a_larger_one_is_not_made() -> None:
    empty = len(wire.encode_frame(Frame(error=""))) - 4
    largest = Frame(error="x" * (wire.MAX_FRAME - empty))
    data = wire.encode_frame(largest)
    assert len(data) == wire.MAX_FRAME + 4
    assert Decoder().feed(data) == [largest]
    with pytest.raises(WireError, match="the limit is"):
        wire.encode_frame(Frame(error="x" * (wire.MAX_FRAME - empty + 1)))


def test_the_longest_line_passes_and_a_longer_one_is_refused_with_or_without_its_end() -> None:
    longest = b"x" * wire.MAX_LINE
    assert Decoder().feed(longest + b"\n") == [TextLine(longest)]
    with pytest.raises(WireError, match="line of more than 65536 bytes"):
        Decoder().feed(longest + b"x\n")
    decoder = Decoder()
    assert decoder.feed(longest) == []
    with pytest.raises(WireError, match="line of more than 65536 bytes"):
        decoder.feed(b"x")


def test_half_a_frame_at_the_end_is_an_error() -> None:
    decoder = Decoder()
    decoder.feed(wire.encode_frame(Frame(ack=1))[:-1])
    assert len(decoder) > 0
    with pytest.raises(WireError, match="in the middle of a frame"):
        decoder.finish()


def test_a_client_of_frames_is_told_what_a_port_says_in_text() -> None:
    with pytest.raises(WireError, match=r"^ERR connections from 10\.0\.0\.1 are not allowed here$"):
        Decoder(frames=True).feed(b"ERR connections from 10.0.0.1 are not allowed here\n")


def test_a_long_stream_does_not_gather_in_the_buffer() -> None:
    frame = wire.encode_frame(Frame(error="x" * 1000))
    stream = frame * 100
    decoder = Decoder()
    decoder.feed(frame[:7])
    tracemalloc.start()
    for _ in range(200):  # 20 MB, and never a whole number of frames in the buffer
        assert len(decoder.feed(stream[7:] + stream[:7])) == 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert len(decoder) == 7
