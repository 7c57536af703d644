"""GCN's notices and circulars in text, written for these tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros.alerts import Alert, parse
from pyros.errors import AlertError

SAMPLE = (Path(__file__).parent / "samples" / "final_position.txt").read_text(encoding="utf-8")


def changed(*changes: tuple[str, str], topic: str = "") -> Alert:
    """Return what the sample says after literal replacements, each of which must change something."""
    text = SAMPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text.encode(), topic=topic)


def test_a_notice_in_text_is_understood() -> None:
    assert changed() == Alert(
        stream="fermi",
        id="gcn.classic.text.FERMI_GBM_FIN_POS:925970700:1:2030-05-06T07:20:11Z",
        event="fermi:925970700",
        notice_type="FERMI_GBM_FIN_POS",
        time=datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC),
        sent=datetime(2030, 5, 6, 7, 20, 11, tzinfo=UTC),
        ra=120.25,
        dec=-12.5,
        error_radius=2.4,
        containment=0.68,
        measured={"snr": 12.3},
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_notice_in_another_encoding_is_the_same(encoding: str) -> None:
    assert parse(SAMPLE.encode(encoding)) == changed()


def test_the_topic_tells_the_type_as_well() -> None:
    topic = "gcn.classic.text.FERMI_GBM_FIN_POS"
    assert changed(topic=topic) == changed(("Fermi-GBM Final Position", "Fermi-GBM new words"), topic=topic)


def test_what_a_notice_in_text_measured_is_that_of_its_voevent() -> None:
    lines = """INTEG_TIME:      0.064 [sec]
HARD_RATIO:      3.18
MOST_LIKELY:      67%  Below horizon
2nd_MOST_LIKELY:  32%  Local Particles
"""
    alert = changed(("COMMENTS:         Fermi", f"{lines}COMMENTS:         Fermi"))
    assert alert.measured == {"snr": 12.3, "timescale": 0.064, "hardness": 3.18}
    assert alert.classification == {"BELOWHZ": 0.67, "LOCLPAR": 0.32}


@pytest.mark.parametrize("likely", ["GRB", "167%  GRB", "0%  GRB", "67%"])
def test_what_is_no_class_with_its_probability_is_none(likely: str) -> None:
    assert changed(("COMMENTS:         Fermi", f"MOST_LIKELY: {likely}\nCOMMENTS:         Fermi")).classification == {}


def test_a_neutrino_in_text_is_that_of_its_voevent() -> None:
    alert = parse(
        b"""TITLE:           GCN/AMON NOTICE
NOTICE_DATE:     Mon 06 May 30 07:31:00 UT
NOTICE_TYPE:     ICECUBE Astrotrack Gold
STREAM:          24
RUN_NUM:         150001
EVENT_NUM:       7654321
SRC_RA:          45.5000d {+03h 02m 00s} (J2000),
SRC_DEC:         +9.2500d {+09d 15' 00"} (J2000),
SRC_ERROR:       45.00 [arcmin radius, stat-only, 90% containment]
SRC_ERROR50:     20.00 [arcmin radius, stat-only, 50% containment]
DISCOVERY_DATE:  22627 TJD;   126 DOY;   30/05/06 (yy/mm/dd)
DISCOVERY_TIME:  27000 SOD {07:30:00.25} UT
REVISION:        1
FAR:             0.50 [yr^-1]
SIGNALNESS:      6.1e-01 [dn]
"""
    )
    assert (alert.stream, alert.event, alert.kind) == ("icecube", "icecube:150001_7654321", "update")
    assert (alert.notice_type, alert.importance) == ("ICECUBE_ASTROTRACK_GOLD", 0.61)
    assert (alert.error_radius, alert.containment) == (0.75, 0.9)
    assert alert.far == pytest.approx(0.5 / 31_557_600)


def test_a_coincidence_in_text_has_the_number_of_its_voevent() -> None:
    text = b"TITLE: GCN/AMON NOTICE\nNOTICE_TYPE: AMON Neutrino-EM Coincidence\nEVENT_NUM: 4321\n"
    assert parse(text).event == "amon:4321"


@pytest.mark.parametrize(
    ("change", "role", "kind"),
    [
        (("This notice is from the ground", "This is a test notice"), "test", "initial"),
        (("This notice is from the ground", "This Notice is a TEST"), "test", "initial"),
        (("This notice is from the ground", "TEST of the coincidence server"), "test", "initial"),
        (("This notice is from the ground", "This is not a TEST"), "observation", "initial"),
        (("Final Position", "Test Position"), "test", "initial"),
        (("This notice is from the ground", "This is definitely not a GRB"), "observation", "retraction"),
        (("Fermi-GBM Final Position", "Fermi-GBM Retraction"), "observation", "retraction"),
        (("This notice is from the ground", "It has not been retracted"), "observation", "initial"),
    ],
)
def test_what_marks_tests_and_retractions_in_text(change: tuple[str, str], role: str, kind: str) -> None:
    alert = changed(change)
    assert (alert.role, alert.kind, alert.event) == (role, kind, "fermi:925970700")


@pytest.mark.parametrize(
    "change",
    [
        ("120.250d", "Undefined"),
        ("GRB_RA", "NEXT_POINT_RA"),
        ("(J2000)", "(B1950)"),
        ("120.250d", "920.250d"),
    ],
)
def test_no_place_is_made_up_in_text(change: tuple[str, str]) -> None:
    assert changed(change).target is None


@pytest.mark.parametrize(
    ("unit", "degrees"), [("deg", 2.4), ("arcmin", 0.04), ("arcsec", 2.4 / 3600), ("mas", None), ("", None)]
)
def test_error_radii_in_text_have_their_unit(unit: str, degrees: float | None) -> None:
    assert changed(("[deg radius", f"[{unit} radius")).error_radius == (degrees and pytest.approx(degrees))


@pytest.mark.parametrize(("unit", "seconds"), [("[sec]", 64), ("[msec]", 0.064), ("orbit", 355_840), ("[cnts]", None)])
def test_durations_in_text_have_their_unit(unit: str, seconds: float | None) -> None:
    measured = changed(("COMMENTS:         Fermi", f"INTEG_TIME: 64 {unit} (=1.1 [min])\nCOMMENTS: Fermi")).measured
    assert measured.get("timescale") == seconds


@pytest.mark.parametrize(
    ("key", "unit", "containment"),
    [("90", "stat+sys, 90% containment", 0.9), ("68", "stat+sys", 0.68), ("50", "stat", 0.5), ("_INNER", "", None)],
)
def test_the_only_radius_may_be_under_the_key_of_its_containment(
    key: str, unit: str, containment: float | None
) -> None:
    alert = changed(("GRB_ERROR: ", f"GRB_ERROR{key}: "), ("statistical plus systematic", unit))
    assert (alert.error_radius, alert.containment) == (2.4 if containment else None, containment)


@pytest.mark.parametrize(
    ("clock", "micro"), [("07:08:09.50", 500_000), ("07:08:09.75", 750_000), ("03:08:09.75", 500_000)]
)
def test_the_finer_of_two_clocks_counts_where_they_agree(clock: str, micro: int) -> None:
    alert = changed(("07:08:09.50", clock)) if clock != "07:08:09.50" else changed()
    assert alert.time == datetime(2030, 5, 6, 7, 8, 9, micro, UTC)


@pytest.mark.parametrize(
    ("comment", "known", "kind"),
    [
        ("This matches a source in the on-board catalog: Cyg X-1", True, "initial"),
        ("This does not match any source in the ground catalog.", False, "initial"),
        ("This trigger occured while the StarTracker had lost lock, so it is possibly bogus.", False, "retraction"),
    ],
)
def test_what_comments_in_text_say_of_the_source(comment: str, known: bool, kind: str) -> None:
    alert = changed(("This notice is from the ground", comment))
    assert (alert.known_source, alert.kind) == (known, kind)


def test_a_wave_in_text_is_that_of_its_voevent() -> None:
    alert = parse(
        b"""TITLE:            GCN/LVC NOTICE
NOTICE_DATE:      Mon 06 May 30 07:31:00 UT
NOTICE_TYPE:      LVC Initial
TRIGGER_NUM:      S300506b
TRIGGER_DATE:     22627 TJD;   126 DOY;   2030/05/06 (yyyy/mm/dd)
TRIGGER_TIME:     25689.500000 SOD {07:08:09.500000} UT
GROUP_TYPE:       1 = CBC
SEARCH_TYPE:      1 = AllSky
PIPELINE_TYPE:    4 = gstlal
FAR:              4.5e-13 [Hz]  (one per 25504660.2 days)
PROB_NS:          1.00 [range is 0.0-1.0]
PROB_BNS:         0.75 [range is 0.0-1.0]
PROB_MassGap:     0.05 [range is 0.0-1.0]
PROB_TERRES:      0.20 [range is 0.0-1.0]
SKYMAP_FITS_URL:  https://example.org/S300506b/bayestar.multiorder.fits,1
"""
    )
    assert (alert.event, alert.notice_type, alert.far) == ("lvc:S300506b", "LVC_INITIAL", 4.5e-13)
    assert (alert.group, alert.pipeline, alert.search) == ("CBC", "gstlal", "AllSky")
    assert alert.classification == {"HasNS": 1.0, "BNS": 0.75, "MassGap": 0.05, "Terrestrial": 0.2}
    assert alert.skymap == "https://example.org/S300506b/bayestar.multiorder.fits,1"
    assert alert.time == datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC)


def test_without_a_number_the_event_is_its_time() -> None:
    assert changed(("TRIGGER_NUM:      925970700\n", "")).event == "fermi:2030-05-06T07:08:09.500000Z"


def test_a_circular_in_text_is_that_in_json() -> None:
    alert = parse(b"TITLE:   GCN CIRCULAR\nNUMBER:  99001\nSUBJECT: GRB 300506A: observations\n\nWe observed ...\n")
    assert (alert.stream, alert.role, alert.id) == ("gcn.circulars", "utility", "gcn.circulars:99001")


@pytest.mark.parametrize("text", ["TITLE: my thesis\n", "TITLE:", "TITLE: GCN/FERMI NOTICE\nCOMMENTS: none\n"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(AlertError, match="no notice or circular of GCN"):
        parse(text.encode())
