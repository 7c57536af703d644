"""Every simulated device under every kind of line, cut anywhere.

Each line is answered once and in order, whatever it says, and nothing is ever raised.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulators.conftest import LineClient, SimulatorRig

DEVICES: dict[str, dict[str, Any]] = {
    "telescope": {},
    "camera": {"width": 16, "height": 16},
    "filter_wheel": {},
    "focuser": {},
    "dome": {"rotation_rate": 5.0},
    "weather": {},
    "safety": {},
    "switch": {},
    "cover": {},
    "rotator": {},
    "guider": {},
    "mirror_cover": {},
}
KEYS = (
    "ra",
    "dec",
    "seconds",
    "tag",
    "filter",
    "position",
    "azimuth",
    "on",
    "first",
    "second",
    "angle",
    "dark",
    "brightness",
    "arcsec",
    "timeout",
    "by",
)
WORDS = st.one_of(
    st.sampled_from(
        ["0", "1", "-1", "45", "359.9999", "1e999", "nan", "r", "i", "on", "off", "auto", '""', '"a b"', "é", "9" * 400]
    ),
    st.floats(-400, 60_000).map(lambda number: f"{number:.6f}"),
    st.integers(-10, 60_000).map(str),
    st.text(st.characters(exclude_characters='\n\r"= ', codec="utf-8"), min_size=1, max_size=8),
)
JUNK = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=40)
NUMBERED = re.compile(r"#(\d+) (OK|BUSY \d+\.\d{3}|ERR [A-Z_]+ )")


@st.composite
def lines(draw: st.DrawFn, rig: SimulatorRig) -> str:
    """Draw a request that is likely to mean something to this device, or anything."""
    device = rig.device
    kind = draw(st.sampled_from(["GET", "SET", "DO", "DO", "junk"]))
    if kind == "junk":
        return draw(JUNK)
    table = {"GET": device.properties, "SET": device.settable, "DO": device.actions}[kind]
    name = draw(st.sampled_from([*table, "nothing"]))
    if kind == "GET":
        return f"GET {name}"
    words = draw(st.lists(WORDS, max_size=3))
    if kind == "DO":
        keys = draw(st.permutations(KEYS))
        words = [f"{key}={word}" for key, word in zip(keys, words, strict=False)]
    return " ".join([kind, name, *words])


def received(data: bytes) -> list[str]:
    """Return the lines that a client reads, without the blocks of images."""
    found = []
    while data:
        line, _, data = data.partition(b"\n")
        found.append(line.decode())
        if block := re.search(r" block=(\d+)$", found[-1]):
            data = data[int(block[1]) :]
    return found


def close(rig: SimulatorRig) -> None:
    connections = list(rig.simulator.connections)
    stopped = rig.simulator.stop()
    for connection in connections:
        connection.connectionLost()
    assert stopped.called
    assert rig.timers() == 0


def send_in_pieces(client: LineClient, data: bytes, source: st.DataObject) -> None:
    cuts = sorted(source.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        client.connection.dataReceived(data[begin:end])


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40)
@given(data=st.data())
def test_every_line_is_answered_once_and_in_order(device: str, data: st.DataObject) -> None:
    rig = SimulatorRig(device, **DEVICES[device])
    client = rig.client()
    asked = 0
    for _ in range(data.draw(st.integers(1, 4))):
        batch = data.draw(st.lists(lines(rig), min_size=1, max_size=6))
        client.transport.clear()
        text = "".join(f"#{asked + index} {line}\n" for index, line in enumerate(batch))
        send_in_pieces(client, text.encode(), data)
        said = received(client.transport.value())
        answers = [line for line in said if not line.startswith("EVT ")]
        assert len(answers) == len(batch), (batch, said)
        for index, answer in enumerate(answers):
            match = NUMBERED.match(answer)
            assert match, answer
            assert int(match[1]) == asked + index
        asked += len(batch)
        rig.advance(data.draw(st.sampled_from([0.0, 0.01, 1.0, 20.0, 1000.0])))
    close(rig)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_goes_wrong_it_is_well_again_after_the_faults_are_cleared(device: str, data: st.DataObject) -> None:
    rig = SimulatorRig(device, **DEVICES[device])
    kinds = [
        "no_answer",
        "late_answer",
        "garbage",
        "half_line",
        "refuse",
        *type(rig.simulator.description.settings).can_have,
    ]
    client = rig.client()
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(kinds))
        length = data.draw(st.sampled_from(["", " for=5", " at=3 for=5", " probability=0.5"]))
        other = rig.client()
        assert other.ask(f"FAULT {kind}{length}") == "OK"
        text = "".join(f"{line}\n" for line in data.draw(st.lists(lines(rig), max_size=4)))
        send_in_pieces(client, text.encode(), data)
        rig.advance(data.draw(st.sampled_from([0.0, 1.0, 20.0, 1000.0])))
    fresh = rig.client()
    assert fresh.ask("FAULT clear") == "OK"
    assert fresh.ask("GET faults") == "OK"
    assert fresh.ask("GET state").startswith("OK ")
    rig.advance(10_000)
    assert fresh.ask("GET state") not in ("OK slewing", "OK moving", "OK exposing", "OK opening")
    close(rig)
