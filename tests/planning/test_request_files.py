"""Files of requests from people: the observatory's own, POCS's fields, Ekos's schedules."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.files import read_yaml
from pyros.messages import Cadence, Constraints, Exposures, Observation, Window
from pyros.planning.intake.draft import Draft, Drafts, exposure
from pyros.planning.intake.ekos import read_ekos
from pyros.planning.intake.names import NamedPosition
from pyros.planning.intake.pocs import looks_like_pocs, read_pocs
from pyros.planning.intake.request_file import read_requests_csv, read_requests_yaml
from pyros.planning.intake.validation import KEYS, Reviewer, moment

NOW = moment("2026-11-29T00:00")
M31 = NamedPosition("M 31", 10.684583, 41.269167, "names.csv")


def find(name: str) -> NamedPosition:
    if name == "M 31":
        return M31
    raise ValueError(f"{name!r} is in no list")


def review(drafts: Drafts, **how: object) -> tuple[list[Observation], list[str]]:
    reviewer = Reviewer(find, NOW, "anna", **how)  # type: ignore[arg-type]
    requests = [reviewer.review(draft) for draft in drafts.drafts]
    return [each for each in requests if each is not None], [*drafts.problems, *reviewer.problems]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


WHOLE = """\
defaults:
  proposal: 2026B-07
requests:
  - target: M 31
    exposures:
      - {filter: L, seconds: 120, count: 20, gain: 100, binning: 2, dither: 5, readout_mode: Low noise}
      - {filter: R, seconds: 2 min}
  - id: rx-and
    target: RX And
    ra: 01:04:35.5
    dec: +41:17:57.8
    priority: 30
    exposures: [{filter: V, seconds: 60}]
    min_altitude: 30
    max_airmass: 1.8
    moon_distance: 40
    moon_illumination: 0.5
    sun_altitude: -18
    windows:
      - {from: 2026-12-01, until: 2026-12-10T06:00+01:00}
      - {from: 2026-12-20}
    cadence: {every: 3 d, tolerance: 6 h, start: 2026-12-01T20:00, count: 5}
    interruptible: no
    owner: ben
    comment: an outburst is expected
"""


def test_the_observatorys_yaml_says_all_that_a_request_has(tmp_path: Path) -> None:
    (first, second), problems = review(read_requests_yaml(written(tmp_path, "requests.yaml", WHOLE)))
    assert problems == []
    assert (first.id, first.ra, first.dec, first.owner, first.proposal) == ("m-31", M31.ra, M31.dec, "anna", "2026B-07")
    assert first.exposures == (
        Exposures("L", 120.0, 20, gain=100.0, binning=2, dither=5.0, readout_mode="Low noise"), Exposures("R", 120.0),
    )  # fmt: skip
    assert (second.id, second.priority, second.min_altitude, second.interruptible) == ("rx-and", 30, 30.0, False)
    assert [second.ra, second.dec] == pytest.approx([16.147917, 41.299389], abs=1e-6)
    assert second.constraints == Constraints(
        max_airmass=1.8, moon_distance=40.0, moon_illumination=0.5, sun_altitude=-18.0
    )
    assert second.windows[0] == Window(moment("2026-12-01"), moment("2026-12-10T05:00"))
    assert second.windows[1].begin == moment("2026-12-20")
    assert second.cadence == Cadence(period=259_200, tolerance=21_600, start=moment("2026-12-01T20:00"), count=5)
    assert (second.owner, second.reason, second.requested) == ("ben", "an outburst is expected", NOW)


def test_a_right_ascension_of_yaml_is_never_a_number_of_base_60(tmp_path: Path) -> None:
    text = "requests:\n  - {target: X, ra: 0:05:20.5, dec: -0:30:00, exposures: 'R:60'}\n"
    (request,), problems = review(read_requests_yaml(written(tmp_path, "r.yaml", text)))
    assert problems == []
    assert [request.ra, request.dec] == pytest.approx([1.3354167, -0.5])


MISTAKES = [
    ("targett: M 31", "targett: unknown key; did you mean target?"),
    ("target: M 999", "target: 'M 999' is in no list"),
    ("{target: X, ra: east, dec: 1}", "ra: must be a right ascension"),
    ("{target: X, ra: 1}", "dec: missing: both ra and dec are needed"),
    ("{target: X, position: north}", "position: must be right ascension and declination"),
    ("{target: M 31, priority: high}", "priority: must be a whole number from -100 to 1000; not 'high'"),
    ("{target: M 31, min_altitude: 95}", "min_altitude: must be a number of degrees from 0 to 89; not 95"),
    ("{target: M 31, max_airmass: 0.5}", "max_airmass: must be a number from 1 to 40; not 0.5"),
    ("{target: M 31, interruptible: sometimes}", "interruptible: must be yes or no; not 'sometimes'"),
    ("{target: M 31, exposures: 'R60'}", "exposures: must be FILTER:SECONDS"),
    ("{target: M 31, exposures: [{filter: R}]}", "exposures 1 seconds: missing"),
    ("{target: M 31, exposures: [{seconds: 5}]}", "exposures 1 filter: missing"),
    ("{target: M 31, exposures: [{filter: R, seconds: 0}]}", "exposures 1 seconds: must be a number of s"),
    ("{target: M 31, exposures: [{filter: R, seconds: 5, gian: 1}]}", "exposures 1 gian: unknown key; known are"),
    ("{target: M 31, exposures: [{filter: U, seconds: 5}]}", "exposures 1 filter: 'U' is not there; there are R, V"),
    ("{target: M 31, exposures: []}", "exposures: must be a list of mappings"),
    ("{target: M 31, until: 2026-01-01}", "until: is before its beginning"),
    ("{target: M 31, from: soon}", "from: must be a time such as"),
    ("{target: M 31, windows: [{from: 2026-01-01, until: 2026-01-02}]}", "windows 1 until: is over already"),
    ("{target: M 31, cadence: 3 d}", "cadence: must be a mapping with every"),
    ("{target: M 31, cadence: {every: 3 d, tolerance: 2 d}}", "cadence tolerance: is more than half of every"),
    ("{target: X, orbit: {q: 1}}", "orbit e: missing: it must be a mapping with q (au)"),
    ("{target: X, orbit: {a: 1, e: 1.2, i: 1, node: 1, peri: 1, M: 1, epoch: 61000}}", "orbit e: must be below 1"),
    ("{target: X, ra: 1, orbit: {}}", "orbit: and ra: a body that moves has no fixed place"),
    ("{id: M 31, target: M 31}", "id: must be letters, digits and"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "mistake"), MISTAKES, ids=[mistake for _, mistake in MISTAKES])
def test_a_mistake_is_told_with_file_line_entry_and_key(tmp_path: Path, entry: str, mistake: str) -> None:
    path = written(tmp_path, "r.yaml", f"requests:\n  - {entry}\n")
    drafts = read_requests_yaml(path)
    drafts.drafts[0].values.setdefault("exposures", [{"filter": "R", "seconds": 1}])
    _, problems = review(drafts, limits={"filter": ("R", "V")})
    assert [each for each in problems if mistake in each], problems
    assert all(each.startswith(f"{path}: line 2 (") for each in problems)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "r.yaml", "requests:\n  - target: A\n    ra: x\n    exposures: 1\n  - 5\nmore: 1\n")
    _, problems = review(read_requests_yaml(path))
    assert problems == [
        f"{path}: more: unknown key; known are requests, defaults",
        f"{path}: request 2: must be a mapping with target, exposures ...",
        f"{path}: line 2 (A) ra (line 3): must be a right ascension: 05h35m17.3s, 05:35:17.3, or degrees such as "
        "83.822, not 'x'",
        f"{path}: line 2 (A) dec: missing: both ra and dec are needed",
        f"{path}: line 2 (A) exposures (line 4): must be a list of mappings, such as "
        "[{filter: R, seconds: 60, count: 3}]",
    ]


def test_two_requests_for_one_target_get_ids_of_their_own(tmp_path: Path) -> None:
    text = "requests:\n" + 2 * "  - {target: M 31, exposures: 'R:60'}\n"
    requests, problems = review(read_requests_yaml(written(tmp_path, "r.yaml", text)))
    assert ([each.id for each in requests], problems) == (["m-31", "m-31-2"], [])


def test_an_asteroids_orbit_may_be_given_by_its_mean_anomaly(tmp_path: Path) -> None:
    orbit = "{a: 2.7656, e: 0.0794, i: 10.588, node: 80.25, peri: 73.4, M: 188.7, epoch: 2025-11-21}"
    text = f"requests:\n  - {{target: Ceres, orbit: {orbit}, exposures: 'R:60'}}\n"
    (request,), problems = review(read_requests_yaml(written(tmp_path, "r.yaml", text)))
    assert problems == []
    assert request.orbit is not None
    assert request.orbit.perihelion_distance == pytest.approx(2.7656 * (1 - 0.0794))
    assert request.orbit.perihelion == pytest.approx(61000 + 171.3 / 360 * 1679.9, abs=0.5)  # its period: 4.6 years


def test_csv_has_a_row_for_each_request(tmp_path: Path) -> None:
    text = (
        "# tonight\ntarget,exposures,priority,every,times,ra,dec\n"
        'M 31,"R:60x3,gain=10; V:90",20,1 d,3,,\n\nX,R:5,,,,1:00:00,+2\n'
    )
    (first, second), problems = review(read_requests_csv(written(tmp_path, "r.csv", text)))
    assert problems == []
    assert first.exposures == (Exposures("R", 60.0, 3, gain=10.0), Exposures("V", 90.0))
    assert first.cadence == Cadence(period=86_400, tolerance=21_600, start=NOW, count=3)
    assert (second.ra, second.dec, second.priority, second.cadence) == (15.0, 2.0, 0, None)


def test_a_mistake_in_csv_is_told_with_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "r.csv", "target,exposures,every\nM 31,R:60,now and then\n,R:60,\n")
    _, problems = review(read_requests_csv(path))
    assert problems[0].startswith(f"{path}: line 2 (M 31) every: must be a number of s, or one with a unit")
    assert problems[1] == f"{path}: line 3 (a request) target: missing: the name of what is to be observed"


@given(st.text("RV:x;,=gain60 .", max_size=20))
def test_any_text_for_exposures_is_read_or_refused(text: str) -> None:
    reviewer = Reviewer(find, NOW)
    request = reviewer.review(Draft("there", {"target": "M 31", "exposures": text}))
    assert (request is None) == bool(reviewer.problems)


@given(st.dictionaries(st.sampled_from(KEYS), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(("filter", "seconds", "every", "from", "q", "T", "x")), inner, max_size=3), max_leaves=6,
), max_size=6))  # fmt: skip
def test_whatever_a_file_holds_is_a_request_or_a_problem(values: dict[str, object]) -> None:
    reviewer = Reviewer(find, NOW)
    request = reviewer.review(Draft("there", values))
    assert (request is None) == bool(reviewer.problems)
    assert all("\n" not in problem and problem.startswith("there ") for problem in reviewer.problems)


def test_an_exposure_of_the_command_line_is_read() -> None:
    assert exposure("R:60x3, gain=100,binning=2") == {
        "filter": "R", "seconds": "60", "count": "3", "gain": "100", "binning": "2",
    }  # fmt: skip
    with pytest.raises(ValueError, match="not 'bining=2'"):
        exposure("R:60,bining=2")


POCS = """\
---
- field:
    name: "Blaze Star"
    position: 239.876deg +25.916deg
  observation:
    priority: 1000
    filter_name: g
- field:
    name: M42
    position: "05h35m17.2992s -05d23m27.996s"
  observation:
    exp_set_size: 5
    min_nexp: 10
    exptime: 30
    priority: 75
    tags: [nebula, test]
- field:
    name: M 31
  observation:
    exptime: ['15', 1/4]
    min_nexp: 5
"""


def test_pocs_fields_become_requests_with_pocs_defaults(tmp_path: Path) -> None:
    (star, nebula, galaxy), problems = review(read_pocs(written(tmp_path, "simple.yaml", POCS), "clear"))
    assert problems == []
    assert (star.target, star.ra, star.dec, star.priority) == ("Blaze Star", 239.876, 25.916, 1000)
    assert star.exposures == (Exposures("g", 120.0, 60),)
    assert [nebula.ra, nebula.dec] == pytest.approx([83.82208, -5.39111])
    assert (nebula.exposures, nebula.priority) == ((Exposures("clear", 30.0, 10),), 75)
    assert nebula.reason == "tags: nebula, test"
    assert (galaxy.ra, galaxy.priority) == (M31.ra, 100)
    assert galaxy.exposures == (Exposures("clear", 15.0, 3), Exposures("clear", 0.25, 2))


def test_older_pocs_fields_are_read_too(tmp_path: Path) -> None:
    text = (
        "- name: HD 189733\n  position: 20h00m43.71s +22d42m39.07s\n  priority: 50\n  exp_time: 90\n  min_nexp: 8\n"
        "- {name: B, position: 1 2, gain: 5}\n"
    )
    path = written(tmp_path, "old.yaml", text)
    assert looks_like_pocs(read_yaml(path))
    (planet, _), problems = review(read_pocs(path, "clear"))
    assert (planet.target, planet.priority, planet.exposures) == ("HD 189733", 50, (Exposures("clear", 90.0, 8),))
    assert problems[0].startswith(f"{path}: line 6 (B) observation gain: unknown key")


def test_a_mistake_in_pocs_fields_is_told_in_pocs_words(tmp_path: Path) -> None:
    text = (
        "- field: {name: A, position: here}\n  observation:\n    priority: 1.5\n    exptime: long\n    gain: 5\n"
        "- field:\n    name: B\n    position: here\n  observation:\n    min_nexp: many\n- {}\n"
    )
    path = written(tmp_path, "f.yaml", text)
    _, problems = review(read_pocs(path))
    assert [each.removeprefix(f"{path}: ").split(";")[0] for each in problems] == [
        "line 1 (A) observation gain: unknown key",
        "line 1 (A) observation exptime: must be seconds, such as 120 or 1/250, or a list of them",
        "line 11 (entry 3) field: must be a mapping with name, position, type ...",
        "line 6 (B) field position (line 8): must be right ascension and declination, such as 05h35m17.3s -05d23m28s "
        "or 83.822 -5.391, not 'here'",
        "line 6 (B) observation filter_name: missing",
        "line 6 (B) observation min_nexp (line 10): must be a whole number from 1 to 10000",
    ]


ESL = """\
<?xml version="1.0" encoding="UTF-8"?>
<SchedulerList version='1.4'>
<Profile>Default</Profile>
<Job>
<Name>Eastern Veil</Name>
<Priority>10</Priority>
<Coordinates>
<J2000RA>20.9453</J2000RA>
<J2000DE>31.5906</J2000DE>
</Coordinates>
<Sequence>/var/tmp/M31 & co.esq</Sequence>
<StartupCondition>
<Condition value='2026-12-01T22:00:00'>At</Condition>
</StartupCondition>
<Constraints>
<Constraint value='35'>MinimumAltitude</Constraint>
<Constraint value='20'>MoonSeparation</Constraint>
<Constraint>EnforceTwilight</Constraint>
</Constraints>
<CompletionCondition>
<Condition value='2'>Repeat</Condition>
</CompletionCondition>
<Steps>
<Step>Track</Step>
</Steps>
</Job>
</SchedulerList>
"""

ESQ = """\
<?xml version="1.0" encoding="UTF-8"?>
<SequenceQueue version='2'>
<Job>
<Exposure>5</Exposure>
<Binning><X>2</X><Y>2</Y></Binning>
<Frame><X>0</X><Y>0</Y><W>1280</W><H>1024</H></Frame>
<Temperature force='true'>-20</Temperature>
<Filter>Luminance</Filter>
<Type>Light</Type>
<Count>5</Count>
<Delay>0</Delay>
<GuideDitherPerJob>1</GuideDitherPerJob>
<Properties><PropertyVector name='CCD_GAIN'><OneElement name='GAIN'>100</OneElement></PropertyVector></Properties>
</Job>
<Job>
<Exposure>10</Exposure>
<Filter>Red</Filter>
<Type>Light</Type>
<Count>2</Count>
</Job>
<Job>
<Exposure>0</Exposure>
<Type>Bias</Type>
<Count>20</Count>
</Job>
</SequenceQueue>
"""


def test_an_ekos_schedule_is_read_with_its_sequences(tmp_path: Path) -> None:
    written(tmp_path, "M31 & co.esq", ESQ)
    drafts = read_ekos(written(tmp_path, "night.esl", ESL), ZoneInfo("Europe/Paris"))
    (request,), problems = review(drafts)
    assert problems == []
    assert request.target == "Eastern Veil"
    assert [request.ra, request.dec] == pytest.approx([314.1795, 31.5906])
    both = (Exposures("Luminance", 5.0, 5, gain=100.0, binning=2), Exposures("Red", 10.0, 2))
    assert request.exposures == both * 2
    assert (request.min_altitude, request.constraints.moon_distance, request.priority) == (35.0, 20.0, 11)
    assert request.windows[0].begin == moment("2026-12-01T21:00")
    assert drafts.drafts[0].notes == [
        "M31 & co.esq: dithering is left out; say dither in arcseconds in a file of ours",
        "M31 & co.esq: Bias frames are left out: the observatory takes its own calibrations",
    ]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("20.9453", "east", "Coordinates: J2000RA must be a number of hours"),
        ("value='35'", "value='up'", "MinimumAltitude: must be a number of degrees from 0 to 89; not 'up'"),
        ("<Condition value='2'>Repeat", "<Condition>Loop", "CompletionCondition: Loop has no end"),
        ("M31 & co.esq", "else.esq", "Sequence: '/var/tmp/else.esq' is not there, nor beside night.esl"),
        ("EnforceTwilight", "FullMoon", "Constraint: 'FullMoon' is not known"),
        ("2026-12-01T22", "1 December", "StartupCondition: must be a time such as"),
    ],
)
def test_a_mistake_in_a_schedule_is_told_in_ekos_words(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    written(tmp_path, "M31 & co.esq", ESQ)
    path = written(tmp_path, "night.esl", ESL.replace(old, new))
    _, problems = review(read_ekos(path, ZoneInfo("UTC")))
    assert [problem.startswith(f"{path}: line 4 (Eastern Veil) {mistake}") for problem in problems] == [True]


def test_ekos_local_times_need_a_time_zone(tmp_path: Path) -> None:
    written(tmp_path, "M31 & co.esq", ESQ)
    _, problems = review(read_ekos(written(tmp_path, "night.esl", ESL)))
    assert problems[0].endswith("is in Ekos's local time; say which with --timezone, such as Europe/Paris")


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("<Y>2</Y>", "<Y>1</Y>", "line 3 (job 1) Binning: 2 by 1 pixels"),
        ("<Frame><X>0", "<Frame><X>9", "line 3 (job 1) Frame: a part of the detector"),
        ("<Count>5", "<Count>V", "line 3 (job 1) Count: must be a whole number, not 'V'"),
        ("Bias", "Video", "line 21 (job 3) Type: 'Video' frames are not known here"),
        ("</SequenceQueue>", "", "line 27: is not XML"),
    ],
)
def test_what_a_sequence_asks_and_we_cannot_is_a_problem(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    sequence = written(tmp_path, "M31 & co.esq", ESQ.replace(old, new))
    _, problems = review(read_ekos(written(tmp_path, "night.esl", ESL), ZoneInfo("UTC")))
    assert [problem.startswith(f"{sequence}: {mistake}") for problem in problems] == [True]
