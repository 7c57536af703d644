"""The fault script: what is written is read again, and whatever is wrong with a file is told by its line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.agents.runtime.loop import STEPS
from pyros.errors import ConfigError
from pyros.rehearsal import script
from pyros.rehearsal.draw import Cast, draw
from pyros.rehearsal.script import Fault, parse, write

CAST = Cast(
    ("majordome", "monitoring", "dome", "telescope", "broker", "camera east", "weather", "weather andes"),
    ("guardian",),
    (("majordome", "dome"), ("monitoring", "dome")),
    {"dome": ("frozen", "stuck"), "telescope": (), "weather andes": (), "weather": ()},
)
NUMBERS = st.floats(1, 1000).map(lambda value: f"{value:.1f}")
TIMES = st.integers(0, 60_000_000).map(lambda value: value / 1000)
NAMES = st.lists(st.sampled_from(CAST.processes), min_size=1, max_size=4, unique=True).map(tuple)
FAULTS = st.one_of(
    st.builds(Fault, TIMES, st.just("kill"), NAMES, st.builds(lambda away: {"away": away}, NUMBERS)),
    st.builds(
        Fault, TIMES, st.just("kill"), NAMES,
        st.builds(lambda away, step: {"away": away, "step": step}, NUMBERS, st.sampled_from(STEPS)),
    ),
    st.builds(Fault, TIMES, st.just("power"), st.just(()), st.builds(lambda away: {"away": away}, NUMBERS)),
    st.builds(Fault, TIMES, st.just("partition"), NAMES, st.builds(lambda lasts: {"for": lasts}, NUMBERS)),
    st.builds(Fault, TIMES, st.just("cut"), st.just(("majordome", "dome:device"))),
    st.builds(
        Fault, TIMES, st.just("device"), st.just(("dome", "no_answer")),
        st.builds(lambda lasts: {"for": lasts, "request": "DO close"}, NUMBERS),
    ),
    st.builds(Fault, TIMES, st.just("weather"), st.just(()), st.just({"rain": "1", "for": "60.0"})),
    st.builds(Fault, TIMES, st.just("flicker"), st.just(("weather andes", "weather")),
              st.just({"wind": "1", "to": "20", "every": "30", "for": "60.0"})),
    st.builds(Fault, TIMES, st.just("clock"), st.just(()), st.just({"step": "-3600.0", "for": "60.0"})),
)  # fmt: skip


@given(st.lists(FAULTS))
def test_what_is_written_is_read_again(faults: list[Fault]) -> None:
    faults.sort(key=lambda fault: fault.time)
    assert parse(write(faults), "a file", CAST.nodes) == faults


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        faults = parse(text, "a file", CAST.nodes)
    except ConfigError as error:
        problems = list(error.problems)
    else:
        problems = []
        assert parse(write(faults), "a file") == faults
    assert all(problem.startswith("a file: line ") for problem in problems)


WORDS = st.sampled_from(
    ["kill", "device", "weather", "clock", "dome", "dome,majordome", "stuck", "away=3", "for=", "for=9", "step=taken",
     "step=3", "rain=1", "rain=2", '"', 'request="DO open"', "=", "to=1", "#", "every=0", "drift=0.001", "away=nan"]
)  # fmt: skip


@given(st.lists(st.lists(WORDS, max_size=6).map(lambda words: " ".join(["01:02:03", *words])), max_size=4))
def test_no_line_of_the_scripts_words_breaks_the_parser(lines: list[str]) -> None:
    test_no_text_breaks_the_parser.hypothesis.inner_test("\n".join(lines))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("01:00 kill dome away=3", "must be HH:MM:SS.sss, a kind and what belongs to it"),
        ("01:00:00 explode dome", "there is no kind 'explode'; there are kill, power"),
        ("01:00:00 kill dome", "kill needs away="),
        ("01:00:00 kill away=3", "kill takes 1 or more names, not 0"),
        ("01:00:00 kill dome away=soon", "away must be a number from 0 to"),
        ("01:00:00 kill dome away=3 step=lunch", "step must be one of taken, handled, committed"),
        ("01:00:00 kill kettle away=3", "there is no 'kettle'; there are broker, camera east"),
        ("01:00:00 cut dome", "cut takes 2 names, not 1"),
        ("01:00:00 device dome explode for=3", "kind: must be one of no_answer, late_answer"),
        ('01:00:00 kill "dome west",dome away=3', "there is no 'dome west'; there are broker, camera east, dome"),
        ("01:00:00 weather telescope,kettle rain=1 for=3", "there is no 'kettle:device'"),
        ("01:00:00 weather for=3", "weather needs some of rain, wind"),
        ("01:00:00 weather rain=2 for=3", "rain must be a number from 0 to 1, not '2'"),
        ("01:00:00 clock for=3", "clock needs step= or drift="),
        ("01:00:00 hold for=3 for=4", "a key stands twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"# a comment\n{line}\n", "night.faults", CAST.nodes)
    (problem,) = caught.value.problems
    assert problem.startswith("night.faults: line 2: ")
    assert reason in problem


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("nonsense\n\n00:00:01 kill dome away=2\n00:00:02 kill\n", "f")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["line 1", "line 4"]


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        script.load(tmp_path / "none.faults")


@pytest.mark.parametrize("seed", range(30))
def test_drawn_scripts_can_be_read_and_are_the_same_each_time(seed: int) -> None:
    faults = draw(f"{seed}", "heavy", 36_000, CAST)
    assert parse(write(faults), "drawn", CAST.nodes) == faults
    assert draw(f"{seed}", "heavy", 36_000, CAST) == faults
    assert draw(f"{seed}", "none", 36_000, CAST) == []


def heavy_nights(count: int) -> list[list[Fault]]:
    return [draw(f"{seed}", "heavy", 36_000, CAST) for seed in range(count)]


def test_nights_have_kills_of_several_at_once_and_words_that_wait() -> None:
    nights = heavy_nights(100)
    kills = [[fault for fault in night if fault.kind == "kill"] for night in nights]
    close = [
        sum(0 <= later.time - first.time < 5 and later.names != first.names for first, later in pairwise(some))
        for some in kills
    ]
    assert sum(count > 0 for count in close) > 30
    none = sum(not night for night in kills)
    assert none > 2, "in some nights nothing is killed"


def test_what_was_said_waits_while_its_speaker_dies() -> None:
    for speaker in ("monitoring", "majordome"):
        count = 0
        for night in heavy_nights(100):
            waits = [each for each in night if each.kind == "stall" and each.names == (speaker, "dome")]
            deaths = [each.time for each in night if each.kind == "kill" and speaker in each.names]
            count += any(5 < death - each.time < each.number("for") for each in waits for death in deaths)
        assert count > 15, f"{speaker} says something in these seconds, and is dead when it arrives"


def test_as_weather_turns_bad_the_majordome_is_away_or_cut_off() -> None:
    away = {"kill": 0, "partition": 0}
    for night in heavy_nights(100):
        turns = [each.time for each in night if each.kind in ("weather", "flicker", "safety")]
        for kind in away:
            alone = [each.time for each in night if each.kind == kind and each.names == ("majordome",)]
            away[kind] += any(0 <= turn - time <= 20 for turn in turns for time in alone)
    assert min(away.values()) > 10


def test_the_mean_night_has_the_tables_rates() -> None:
    nights = heavy_nights(400)
    cuts = sum(fault.kind == "cut" for night in nights for fault in night) / len(nights)
    assert cuts == pytest.approx(2 * len(CAST.links) + 4 * len(CAST.devices), rel=0.2)
    kills = sum(fault.kind == "kill" for night in nights for fault in night) / len(nights)
    assert 20 < kills < 40, "20 one by one, and those that come together"


def test_in_a_third_of_the_nights_no_device_fails_of_itself() -> None:
    sound = sum(not any(fault.kind == "device" for fault in night) for night in heavy_nights(300))
    assert 75 < sound < 165  # some of the others have drawn nothing, too
