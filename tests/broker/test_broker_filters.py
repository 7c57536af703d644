from __future__ import annotations

import random

import pytest
from lxml import etree

from pyros.alerts.formats.xml import MAX_DEPTH
from pyros.broker.packet import parse
from pyros.broker.vtp.filters import compile_filter, matches
from tests.broker.conftest import make_event

LARGEST = 99_000


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], True),
        (["//Param[@name='importance' and @value > 0.4]"], True),
        (["//Param[@name='importance' and @value > 0.6]"], False),
        (["/*[@role='observation']", "/*[@role='test']"], True),
        (["//What//Param[@name='importance'] and //Who"], True),
        (["//What//Param/@value > 0.4"], True),
        (["0.4 < //What//Param/@value"], True),
        (["0.6 < //What//Param/@value"], False),
        (["//Nothing | //Who"], True),
        (["//Nothing | //Neither"], False),
        (["/undeclared:VOEvent"], False),
        (["count(//Param)"], True),
        (["//AstroCoords[Position2D[@unit='deg']/Value2[C1 > 80]]"], True),
    ],
)
def test_an_event_passes_if_one_filter_says_so(texts: list[str], wanted: bool) -> None:
    assert matches([compile_filter(text) for text in texts], parse(make_event())) is wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("//*[", "not an XPath"),
        ("", "not an XPath"),
        ("//Param[" + "1=1 and " * 200 + "1=1]", "characters; the limit is 1024"),
        ("//*[//*]", "'//' is not allowed in a predicate"),
        ("//*[count(/*/*/*) > 0]", "'/' is not allowed in a predicate"),
        ("//*[../*[@name='x']]", "'..' is not allowed in a predicate"),
        ("//*[parent::*]", "'..' is not allowed in a predicate"),
        ("//Param/parent::*[.//b]", "'\\[' does not stand after '..'"),
        ("//Param/..//b", "'//' does not stand after '..'"),
        ("/*/..", "'..' leads out of the event"),
        ("//*[count(* | *) > 0]", "'|' is taken only where nothing but its truth is asked for"),
        ("count(//*|//@*)>1", "'|' is taken only where nothing but its truth is asked for"),
        ("//*/following::*", "the axis following:: is not allowed"),
        ("/*/*/*/preceding-sibling :: *", "the axis preceding-sibling:: is not allowed"),
        ("//*[namespace::*]", "the axis namespace:: is not allowed"),
        ("//comment()", "comment\\(\\) is not looked at"),
        ("processing-instruction()", "processing-instruction\\(\\) is not looked at"),
        ("//*[ancestor::*]", "the axis ancestor:: is not allowed"),
        ("//*/../*/../*", "could take more than"),
        ("//*//*//*", "could take more than"),
        ("count(//What//Param) > 3", "more than whether it finds is asked for"),
        ("//Group//Param = //Param", "could take more than"),
        ("(//*//*)//*", "'//' does not stand after brackets"),
        ("//*[.//*[.//*]]", "could take more than"),
        ("contains(., substring(., 2))", r"contains\(...\) must look for a text in quotes"),
        ("contains(., concat(substring(., 1, 48000), 'b'))", "must look for a text in quotes"),
        ("translate(., ., '') = 'b'", r"translate\(...\) must look for a text in quotes"),
        (f"//*[contains(., '{'a' * 200}')]", "could take more than"),
        ("//*[.//*[contains(., 'some words')]]", "could take more than"),
        ("//*[translate(., 'abcdefghij', 'klm') = 'x']", "could take more than"),
        (f"//*[concat({','.join(['.'] * 60)}) = 'x']", "could take more than"),
        (f"string-length(concat({','.join(['.'] * 480)})) > 1", "takes 2 to 64 arguments"),
        ("//*[" + " and ".join(["string(.)!='x'"] * 50) + "]", "could take more than"),
        ("//a != //a", "could take more than"),
        ("//a = //b", "could take more than"),
        ("//*[* != *]", "could take more than"),
        ("string(/) < //*", "could take more than"),
        ("id(//a)", r"there is no function id\(\)"),
        ("unknown-function()", r"there is no function unknown-function\(\)"),
        ("re:test(., 'a')", r"there is no function re:test\(\)"),
        ("$variable", r"a name is missing before '\$'"),
        ("(" * 30 + "1" + ")" * 30, "more than 24 brackets inside one another"),
    ],
)
def test_what_could_take_long_is_not_taken(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        '//Param[@name="SC_Lat"]',
        '//Who/Author[shortName="Swift"]',
        'starts-with("ivo://nasa.gsfc", ./@ivorn)',
        "//Param[@name='//[//[..|following:://']",
        "//a or //b or //c or //d",
        "//Param[@name='a']/@value > 1 and //Param[@name='b']/@value < 2 or //Who",
        "//Group[@name='a']//Param[@name='b' and @value > 3]",
        "//Group[@name='a']//Param[@name='b']/@value > 3",
        "//Group[.//Param[@name='b']]",
        "//Param[@name='a']/../Param[@name='b']/@value > 3",
        "/*/What/Group[@name='a']/Param[@name='b']/@value > 3 and /*/Who[Author[contactName]]",
        "/*[@role='observation' and .//Param[@name='a']]",
        "//*[local-name()='VOEvent' and starts-with(@ivorn, 'ivo://nasa.gsfc.gcn/')]",
        "not(//Param[@name='a']) and count(//Param) > 3",
        "//Param[contains(translate(@name, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'), 'GRB')]",
        "contains(//Description, 'gamma-ray burst') or starts-with(/*/@ivorn, 'ivo://nasa')",
        "//Param[@name='a']/@value > //Param[@name='b']/@value and //c = 'x' and 3 < //d and //e[number(@f) >= -1]",
        "number(//Param[@name='a']/@value) * 2 div 3 mod 5 - 1 > 0",
        " //Param [ @name = 'a' ] / @value ",
    ],
)
def test_what_people_write_is_taken(text: str) -> None:
    compile_filter(text)


def large(begin: str, leaf: str, end: str, deep: int = 0) -> bytes:
    """Return the largest event of its kind: leaves inside ``deep`` elements."""
    inside = LARGEST - deep * len(begin + end)
    return f"<V>{begin * deep}{leaf * (inside // len(leaf))}{end * deep}</V>".encode()


DEEP = MAX_DEPTH - 2
LARGE = [
    large("", "<a/>", ""),
    large("<a>", "<a/>", "</a>", DEEP),
    large("<a>", "x", "</a>", DEEP),
    large("<Group name='a'>", "<Param name='b'/>", "</Group>", DEEP),
    large("", "<a>1</a>", ""),
    large("", "<a>" * DEEP + "</a>" * DEEP, ""),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "//*//*", "//*[count(.//*) > 9]", "//Group[.//Param[@name='x']]", "//*[contains(., 'nothing')]",
        "//Param | //Group | //*", "//Group[@name='a']//Param[@name='c' and @value > 3]", "//*[concat(., .) = 'x']",
        "//Param[@name='a']/../Param[@name='b']/@value > 3", "//*[normalize-space(normalize-space(.)) = 'x']",
    ],
)  # fmt: skip
def test_the_costliest_that_are_taken_end_soon(text: str) -> None:
    filter_ = compile_filter(text)
    for _ in range(10):
        for packet in LARGE:  # what isn't taken needs many seconds for one of them
            filter_(parse(packet))


def test_what_is_evaluated_means_what_was_written() -> None:
    """Random filters on small events."""
    chance = random.Random(1)

    def element(depth: int) -> str:
        name = chance.choice("abc")
        given = "".join(f" {key}='{chance.choice('123')}'" for key in "xy" if chance.random() < 0.4)
        inner = "".join(element(depth - 1) for _ in range(chance.randint(0, 3)) if depth)
        return f"<{name}{given}>{inner}{chance.choice(['', '1', '3'])}</{name}>"

    def path() -> str:
        tests = [f"{chance.choice('abc*')}{chance.choice(['', '', '[@x]', '[2]', '[.//c]', '[b|c]'])}" for _ in "123"]
        start = f"//{tests[0]}{chance.choice(['/', '//'])}{tests[1]}"
        return start + chance.choice(["", f"/{tests[2]}", "/@x"])

    events = [parse(f"<v>{element(4)}{element(4)}</v>".encode()) for _ in range(20)]
    said = []
    for _ in range(300):
        text = chance.choice(
            [path(), f"{path()} > 2", f"2 >= {path()}", f"{path()} | {path()}", f"not({path()}) or {path()} = 1"]
        )
        try:
            filter_ = compile_filter(text)
        except ValueError:
            continue
        for event in events:
            said.append(filter_(event))
            assert said[-1] is bool(etree.XPath(text)(event)), text
    assert {True, False} == set(said)
    assert len(said) > 1000
