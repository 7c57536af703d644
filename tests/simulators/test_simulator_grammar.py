from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.simulators.grammar import MAX_LINE, BadRequest, DeviceRequest, RequestParser, busy, error, event, ok, parse


def requests(parser: RequestParser) -> list[DeviceRequest | BadRequest]:
    found = []
    while (request := parser.next()) is not None:
        found.append(request)
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET position", ("", "GET", "position", (), {})),
        ("#7 GET  position ", ("7", "GET", "position", (), {})),
        ("#000000012 GET id", ("000000012", "GET", "id", (), {})),
        ("SET tracking on", ("", "SET", "tracking", ("on",), {})),
        (r'SET name "a \"b\" \\ c" d ""', ("", "SET", "name", (r'a "b" \ c', "d", ""), {})),
        ("DO stop", ("", "DO", "stop", (), {})),
        ("DO slew ra=10.5  dec=-3 tag=a:1", ("", "DO", "slew", (), {"ra": "10.5", "dec": "-3", "tag": "a:1"})),
        ('DO say what="two words" x=""', ("", "DO", "say", (), {"what": "two words", "x": ""})),
    ],
)
def test_requests(line: str, expected: tuple[object, ...]) -> None:
    request = parse(line)
    assert isinstance(request, DeviceRequest), request
    assert (request.number, request.verb, request.name, request.values, request.arguments) == expected
    assert request.line == line


@pytest.mark.parametrize(
    ("line", "number", "reason"),
    [
        ("", "", "is not GET, SET, DO or FAULT"),
        ("get id", "", "is not GET, SET, DO or FAULT"),
        ("#5", "5", "is not GET"),
        ("#5GET id", "", "is not GET"),
        ("#1234567890 GET id", "", "is not GET"),
        ("#٣ GET id", "", "is not GET"),
        ("GET", "", "takes a property"),
        ("#3 GET Position", "3", "takes a property"),
        ("GET id x", "", "one property only"),
        ("SET tracking", "", "takes a value"),
        ("SET tracking on=1", "", "no name=value"),
        ("DO slew 10 20", "", "name=value"),
        ("DO slew ra=1 ra=2", "", "each name once"),
        ("DO slew ra=", "", "is not a word"),
        ('SET name "open', "", "is not a word"),
        ('SET name "a"b', "", "is not a word"),
        (r'SET name "\n"', "", "is not a word"),
        ("SET name a\tb", "", "is not a word"),
        ("GET\tid", "", "is not GET"),
    ],
)
def test_bad_requests_say_why_and_keep_their_number(line: str, number: str, reason: str) -> None:
    bad = parse(line)
    assert isinstance(bad, BadRequest), bad
    assert bad.number == number
    assert reason in bad.reason
    assert not bad.fatal


def test_a_carriage_return_is_ignored() -> None:
    parser = RequestParser()
    parser.feed(b"GET id\r\nGET state\n")
    assert [request.line for request in requests(parser)] == ["GET id", "GET state"]


def test_invalid_utf8_is_one_bad_line() -> None:
    parser = RequestParser()
    parser.feed(b"#1 GET \xff\xfe\nGET id\n")
    bad, good = requests(parser)
    assert isinstance(bad, BadRequest)
    assert "UTF-8" in bad.reason
    assert not bad.fatal
    assert isinstance(good, DeviceRequest)


def test_the_longest_line_is_taken_and_one_byte_more_is_the_end() -> None:
    parser = RequestParser()
    parser.feed(b"SET x " + b"a" * (MAX_LINE - 6) + b"\n")
    (request,) = requests(parser)
    assert isinstance(request, DeviceRequest)
    parser.feed(b"SET x " + b"a" * (MAX_LINE - 5))
    (bad,) = requests(parser)
    assert isinstance(bad, BadRequest)
    assert bad.fatal
    parser.feed(b"GET id\n" * 1000)
    assert requests(parser) == []
    assert len(parser) == 0


def test_a_last_line_without_newline_counts() -> None:
    parser = RequestParser()
    parser.feed(b"GET id")
    assert requests(parser) == []
    parser.end()
    assert [request.line for request in requests(parser)] == ["GET id"]
    parser.end()
    assert requests(parser) == []


def test_answers() -> None:
    assert ok().encode() == b"OK\n"
    assert ok("a b", 5, x="", tag=None).encode("12") == b'#12 OK "a b" 5 x=""\n'
    assert ok("#3", "g#3", "EVT", "EVTs").line == 'OK "#3" "g#3" "EVT" EVTs'
    assert ok('q"\\=').line == r'OK "q\"\\="'
    assert busy(2.5).line == "BUSY 2.500"
    assert error("VALUE", "no\nsecond\x00line").line == "ERR VALUE no?second?line"
    assert event("slew_finished", ra="1", tag="t").line == "EVT slew_finished ra=1 tag=t"


lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"GET id\n",
                b"#1 GET position\r\n",
                b'SET name "a \\" b" c\n',
                b"DO slew ra=1 dec=2 tag=x\n",
                b"\n",
                "SET name \u00e9\u2028\n".encode(),
                b"\xff\xfe\n",
                b"SET x " + b"y" * 4200 + b"\n",
                b"#",
                b'"',
                b"\r",
            ]
        ),
        st.binary(max_size=40),
        st.text(alphabet='GETSDO #01ax_="\\ \t\r\n', max_size=40).map(str.encode),
    ),
    max_size=12,
).map(b"".join)


@given(lines, st.data())
def test_every_way_to_cut_the_bytes_gives_the_same_requests(data: bytes, draw: st.DataObject) -> None:
    whole = RequestParser()
    whole.feed(data)
    expected = requests(whole)

    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=20)))
    parser, found = RequestParser(), []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        parser.feed(data[begin:end])
        if draw.draw(st.booleans()):
            found += requests(parser)
            assert len(parser) <= MAX_LINE
    found += requests(parser)
    assert found == expected


@given(st.binary(max_size=300))
def test_byte_by_byte_is_the_same_too(data: bytes) -> None:
    whole, single, found = RequestParser(), RequestParser(), []
    whole.feed(data)
    for byte in data:
        single.feed(bytes([byte]))
        found += requests(single)
    assert found == requests(whole)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n"), max_size=200))
def test_any_text_is_a_request_or_a_bad_one_whose_answer_is_one_line(line: str) -> None:
    parsed = parse(line)
    assert parsed.line == line
    if isinstance(parsed, BadRequest):
        answer = error("SYNTAX", parsed.reason).encode(parsed.number)
        assert answer.count(b"\n") == 1
        assert len(answer) <= MAX_LINE


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=30), min_size=1))
def test_values_survive_the_way_there_and_back(values: list[str]) -> None:
    line = ok(*values).line
    request = parse(re.sub("^OK", "SET x", line))
    assert isinstance(request, DeviceRequest), request
    assert list(request.values) == values
