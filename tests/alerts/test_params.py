"""Params read from What as it is written, and from the tree: the same of every packet, or the same refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import Alert, parse
from pyros.alerts.formats.params import read_plain
from pyros.errors import AlertError

SAMPLE = (Path(__file__).parent / "samples" / "burst.xml").read_bytes()
FROM_THE_TREE = b"<!-- -->"
"""A packet with a comment is read from its tree alone."""
TOKENS = (
    *(b"<", b">", b"&", b'"', b"'", b" ", b"=", b"/>", b"</What>", b"<What>", b"<?a b?>", b"<![CDATA[", b"]]>"),
    *(b'<Param name="TrigID" value="7"/>', b'<Param name="dec" ucd="a" value="1"/>', b'<Group name="x">', b"</Group>"),
    *(
        b"<Description>a</Description>",
        b' name="TrigID"',
        b' value="1"',
        b' unit="s"',
        b"<Value>3</Value>",
        b"\xc3\xa9",
    ),
)


def packet(what: str) -> bytes:
    """Make a VOEvent with that content of What."""
    return (
        '<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" version="2.0" role="observation"'
        f' ivorn="ivo://nasa.gsfc.gcn/SWIFT#x_1"><What>{what}</What></voe:VOEvent>'
    ).encode()


def read(data: bytes) -> Alert | str:
    """Return what a packet says, or why it is refused."""
    try:
        return parse(data)
    except AlertError as error:
        return str(error)


def test_a_sample_is_read_without_a_tree_of_its_params() -> None:
    plain = read_plain(SAMPLE)
    assert plain is not None
    assert plain.params
    assert b"<Param" not in plain.rest
    assert read_plain(SAMPLE + FROM_THE_TREE) is None
    assert parse(SAMPLE) == parse(SAMPLE + FROM_THE_TREE)


@pytest.mark.parametrize(
    "what",
    [
        '<Param name="TrigID" value="123456" unit="s" ucd="a"/>',
        '<Param dataType="int" name="TrigID" ucd="a" unit="s" value="123456"> <Description>of</Description> </Param>',
        '<Param name=" TrigID " value=" 123456 "/><Param name="trigid" value="7"/>',
        '<Group type="a"><Group name="b"><Param name="TrigID" value="123456"/></Group></Group>',
        '<Group name="x"/><Param name="TrigID" value="123456"/>',
        '<Param name="TrigID"/><Param name="TrigID" value="123456"/>',
        '<Param name="Test_Notice" value="true"/><Param name="Packet_Type" value="61"/>',
        "<Description>Nothing else.</Description>",
    ],
)
def test_both_ways_read_the_same(what: str) -> None:
    assert read(packet(what)) == read(packet(what) + FROM_THE_TREE)


@pytest.mark.parametrize(
    "what",
    [
        '<Param name="a" value="1" name="b"/>',
        '<Param name="a" ucd="1" value="1" ucd="2"/>',
        '<Param name="a" unit="1" value="1" unit="2"/>',
        '<Param name="a" dataType="1" value="1" dataType="2"/>',
        '<Param name="a" value="&b;"/>',
        '<Group name="x"><Param name="a" value="1"/>',
        '</Group><Group name="x">',
        "<Description>a ]]> b</Description>",
        '<Param name="a" value="\x01"/>',
    ],
)
def test_what_is_not_well_formed_is_refused(what: str) -> None:
    refusal = read(packet(what))
    assert isinstance(refusal, str)
    assert refusal.startswith("not XML")


@settings(max_examples=150)
@given(st.data())
def test_mutated_packets_are_read_the_same(data: st.DataObject) -> None:
    mutated = SAMPLE
    for _ in range(data.draw(st.integers(1, 3))):
        begin = mutated.find(b"<What>")
        at = data.draw(st.integers(max(0, begin - 20), min(len(mutated), begin + 1500)))
        gone = data.draw(st.sampled_from((0, 0, 1, 8)))
        mutated = mutated[:at] + data.draw(st.sampled_from(TOKENS)) + mutated[at + gone :]
    plainly, from_the_tree = read(mutated), read(mutated.rstrip() + FROM_THE_TREE)
    if isinstance(plainly, str):  # where the end is missing, the words tell of another line
        assert isinstance(from_the_tree, str)
    else:
        assert plainly == from_the_tree
