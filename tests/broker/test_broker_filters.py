from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros.broker.filters import compile_filter, matches
from pyros.broker.packet import parse


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], True),
        (["//Param[@name='importance' and @value > 0.4]"], True),
        (["//Param[@name='importance' and @value > 0.6]"], False),
        (["/*[@role='observation']", "/*[@role='test']"], True),
        (["//What//Param[@name='importance'] and //Who"], True),
        (["unknown-function()"], False),
        (["$variable"], False),
        (["re:test(., 'a')"], False),
        (["count(//Param)"], True),
    ],
)
def test_an_event_passes_if_one_filter_says_so(event: Callable[..., bytes], texts: list[str], wanted: bool) -> None:
    assert matches([compile_filter(text) for text in texts], parse(event())) is wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("//*[", "not an XPath"),
        ("", "not an XPath"),
        ("//Param[" + "1=1 and " * 200 + "1=1]", "characters; the limit is 1024"),
        ("//*[//*]", "'//' is not allowed in a predicate"),
        ("//*[count(/*/*/*) > 0]", "'/' is not allowed in a predicate"),
        ("//*[../*[@name='x']]", "'..' is not allowed in a predicate"),
        ("//*[parent::*]", "'parent::' is not allowed in a predicate"),
        ("//*[count(* | *) > 0]", "'|' is not allowed in a predicate"),
        ("//*/following::*", "the axis following:: is not allowed"),
        ("/*/*/*/preceding-sibling :: *", "the axis preceding-sibling :: is not allowed"),
        ("//*/../*/../*", "more than 2 searches"),
        ("//*//*//*", "more than 2 searches"),
        ("(//*//*)//*", "more than 2 searches"),
        ("//*[.//*[.//*]]", "more than 2 searches"),
        ("contains(., substring(., 2))", r"contains\(...\) must look for a text in quotes"),
        ("contains(., concat(substring(., 1, 48000), 'b'))", "must look for a text in quotes"),
        ("translate(., ., '') = 'b'", r"translate\(...\) must look for a text in quotes"),
        (f"//*[contains(., '{'a' * 200}')]", "searched for too long a text"),
        ("//*[.//*[contains(., 'some words')]]", "searched for too long a text"),
        ("//*[* < *] or //*[* > *]", "more than 1 comparison of two paths"),
        ("//a = //b and //c != //d", "more than 1 comparison of two paths"),
    ],
)
def test_what_could_stop_the_broker_is_not_taken(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "//Param[@name='//[//[..|following:://']",
        "//a or //b or //c or //d",
        "//Param[@name='a']/@value > 1 and //Param[@name='b']/@value < 2 | //Who",
        "//Group[@name='a']//Param[@name='b' and @value > 3]",
        "/*/What/Group[@name='a']/Param[@name='b']/@value > 3 and /*/Who[Author[contactName]]",
        "/*[@role='observation' and .//Param[@name='a']]",
        "//*[local-name()='VOEvent' and starts-with(@ivorn, 'ivo://nasa.gsfc.gcn/')]",
        "not(//Param[@name='a']) and count(//Param) > 3",
        "//Param[contains(translate(@name, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'), 'GRB')]",
        "contains(//Description, 'gamma-ray burst') or starts-with(/*/@ivorn, 'ivo://nasa')",
        "//Param[@name='a']/@value > //Param[@name='b']/@value and //c = 'x' and 3 < //d and //e[number(@f) >= -1]",
    ],
)
def test_what_people_write_is_taken(text: str) -> None:
    compile_filter(text)


@pytest.mark.parametrize(
    "text", ["//*//*", "//*[count(.//*) > 9]", "//*/../*", "//*[contains(., 'nothing')]", "//Param | //Group | //*"]
)
@pytest.mark.timeout(60)
def test_the_costliest_that_are_taken_end_soon_on_the_largest_event(event: Callable[..., bytes], text: str) -> None:
    root = parse(event().replace(b"<Param ", b"<Param/>" * 12_000 + b"<Param ", 1))
    matches([compile_filter(text)], root)  # what isn't taken needs minutes
