"""VOEvents written for these tests: each trap of the real streams, where the corpus is absent too."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pyros.alerts import Alert, parse
from pyros.alerts.formats import measurements, streams
from pyros.errors import AlertError

SAMPLES = Path(__file__).parent / "samples"
BURST = (SAMPLES / "burst.xml").read_text(encoding="utf-8")


def burst(*changes: tuple[str, str]) -> bytes:
    """Return the sample burst with literal replacements, each of which must change something."""
    text = BURST
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def voevent(ivorn: str, what: str = "", rest: str = "", role: str = "observation", where: str = "") -> bytes:
    """Make a small VOEvent around the given sections' content."""
    return (
        f'<v:VOEvent xmlns:v="http://www.ivoa.net/xml/VOEvent/v2.0" ivorn="{ivorn}" role="{role}" version="2.0">'
        f"<Who><Date>2030-01-01T00:10:00</Date></Who><What>{what}</What>{where}{rest}</v:VOEvent>"
    ).encode()


def params(**values: object) -> str:
    return "".join(f'<Param name="{name}" value="{value}"/>' for name, value in values.items())


def group(name: str, **values: object) -> str:
    return f'<Group name="{name}">{params(**values)}</Group>'


def where(ra: str, dec: str, error: str, time: str = "2030-01-01T00:00:00", system: str = "UTC-FK5-GEO") -> str:
    return (
        f"<WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords coord_system_id='{system}'>"
        f"<Time><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time><Position2D unit='deg'><Value2>"
        f"<C1>{ra}</C1><C2>{dec}</C2></Value2><Error2Radius>{error}</Error2Radius></Position2D></AstroCoords>"
        "</ObservationLocation></ObsDataLocation></WhereWhen>"
    )


GCN = "ivo://nasa.gsfc.gcn/"


def test_a_burst_is_understood() -> None:
    assert parse(burst()) == Alert(
        stream="swift",
        id="ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_9000001-100",
        ivorn="ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_9000001-100",
        event="swift:9000001",
        notice_type="SWIFT_BAT_GRB_POS_ACK",
        time=datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC),
        sent=datetime(2030, 5, 6, 7, 8, 20, tzinfo=UTC),
        ra=123.45,
        dec=-45.67,
        error_radius=0.05,
        containment=0.9,
        importance=0.9,
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_encodings_and_line_ends_change_nothing(encoding: str) -> None:
    declared = BURST.replace("UTF-8", "UTF-16") if encoding == "utf-16" else BURST
    packet = declared.replace("\n", "\r\n").encode(encoding)
    assert parse(packet) == parse(burst())
    if encoding != "utf-16":
        assert parse(packet + b"\0") == parse(burst()), "a C string"


def test_default_and_stc_namespaces_of_1_1() -> None:
    alert = parse((SAMPLES / "old_namespaces.xml").read_bytes())
    assert (alert.role, alert.ra, alert.dec, alert.error_radius) == ("test", 268.4, -29.7, None)
    assert alert.time == datetime(2030, 6, 1, tzinfo=UTC)
    assert alert.stream == "survey.example/lensing"
    assert alert.event == alert.ivorn


def test_the_observatory_is_not_the_source() -> None:
    alert = parse((SAMPLES / "observatory_first.xml").read_bytes())
    assert alert.target == (359.5, 12.0)
    assert alert.error_radius == 1.25
    assert alert.time == datetime(2030, 1, 2, 2, 0, 0, tzinfo=UTC)
    assert alert.kind == "initial"  # it supersedes an empty ivorn: nothing
    assert alert.citations == ()


@pytest.mark.parametrize(
    ("ra", "dec", "error", "position", "radius"),
    [
        ("0.0000", "0.0000", "0.0000", None, None),
        ("-1.0000", "-1.0000", "-1.0000", None, None),
        ("-360.0", "91.0", "0.0666", None, None),
        ("12.5", "30", "360.0", None, None),
        ("360.0000", "-50", "0.1", (0.0, -50.0), 0.1),
        ("0.0000", "35.0000", "1.0", (0.0, 35.0), 1.0),
        ("12.5", "30", "0.0000", (12.5, 30.0), None),
        ("12.5", "30", "-0.0508", (12.5, 30.0), None),
        ("12.5", "30", "", (12.5, 30.0), None),
        ("nan", "30", "0.1", None, None),
        ("", "30", "0.1", None, None),
        (" 12.5\n", "30", " 0.1 ", (12.5, 30.0), 0.1),
        ("12:30:00", "30", "0.1", (187.5, 30.0), 0.1),
        ("12:60:00", "30", "0.1", None, None),
    ],
)
def test_positions_and_radii_that_mean_nothing(
    ra: str, dec: str, error: str, position: tuple[float, float] | None, radius: float | None
) -> None:
    alert = parse(voevent("ivo://a.example/b#1", where=where(ra, dec, error)))
    assert alert.target == position
    assert alert.error_radius == radius


@pytest.mark.parametrize("word", ["unavailable/inappropriate", "unavailable/inappropriate."])
def test_coords_string_tells_that_there_is_no_position(word: str) -> None:
    said_in_param = burst(("source_object", word))
    said_in_where = burst(
        ('<Param name="Coords_String" value="source_object"/>', ""),
        ("<WhereWhen>", f"<WhereWhen><Description>The RA,Dec coordinates are of the type: {word}</Description>"),
    )
    assert parse(said_in_param).target is parse(said_in_where).target is None


def test_where_a_spacecraft_points_is_no_target() -> None:
    alert = parse(burst(("source_object", "pointing_direction")))
    assert (alert.ra, alert.dec, alert.pointing, alert.target) == (123.45, -45.67, True, None)


@pytest.mark.parametrize(
    ("number", "target", "pointing"), [(0, None, False), (1, (123.45, -45.67), False), (2, None, True)]
)
def test_the_type_of_the_coordinates_where_only_a_number_tells_it(
    number: int, target: tuple[float, float] | None, pointing: bool
) -> None:
    alert = parse(burst(('<Param name="Coords_String" value="source_object"/>', params(Coords_Type=number))))
    assert (alert.target, alert.pointing) == (target, pointing)


def test_a_system_that_is_not_the_sky_gives_no_position() -> None:
    assert parse(voevent("ivo://a.example/b#1", where=where("10", "20", "1", system="UTC-GEOD-TOPO"))).target is None


@pytest.mark.parametrize(
    ("ivorn", "what", "event"),
    [
        (GCN + "SWIFT#BAT_Known_Pos_-1855464825-063", params(TrigID=-1855464825), "swift:-1855464825"),
        (GCN + "INTEGRAL#Refined_Pos_008214-1-748", params(TrigID=73750), "integral:8214"),
        (GCN + "AMON#ICECUBE_GOLD_Event1", params(run_id=150001, event_id=7654321), "icecube:150001_7654321"),
        ("ivo://amon/icecube_hese#1_150001_7654321_0", params(stream=1), "icecube:150001_7654321"),
        (GCN + "AMON#HAWC_BURST_MONITOR_Event1", params(run_id=1010460, event_id=557), "hawc:1010460_557"),
        (GCN + "AMON#NU_EM_Event1", params(Event_ID=105322, Run_ID=0), "amon:105322"),
        (GCN + "AMON#Event2030-05-29T02:17:28.00_000071-697", params(Packet_Type=157, TrigID=71), "amon:71"),
        (GCN + "Antares_Alert#1438351269", params(TrigID=1438351269), "antares:1438351269"),
        (GCN + "COUNTERPART#Position_1", params(Packet_Type=154, TrigID="S300506b"), "lvc:S300506b"),
        (GCN + "GECAM#FLT_1", params(Trigger_Number=260), "gecam:260"),
        (GCN + "Fermi#GBM_SubThresh_1", params(Trans_Num=595000303), "fermi:595000303"),
        ("ivo://gwnet/LVC#S300506b-1-Preliminary", params(GraceID="S300506b"), "lvc:S300506b"),
        (GCN + "LVC#S300506b-1-Initial", params(GraceID="S300506b"), "lvc:S300506b"),
        (
            "ivo://new.example/wakeup#1",
            group("Svom_Identifiers", Burst_Id="sb30050601"),
            "new.example/wakeup:sb30050601",
        ),
        ("ivo://org.svom/fsc#sb30050601_x", group("Svom_Identifiers", Burst_Id="sb30050601"), "svom:sb30050601"),
        ("ivo://ca.chimenet.frb/FRB-DETECTION-#2030", group("event parameters", event_no=77), "chime:77"),
        ("ivo://gaia.cam.uk/alerts#Gaia30abc", "", "gaia:Gaia30abc"),
        ("ivo://voevent.4pisky.org/GAIA#Gaia30abc", "", "gaia:Gaia30abc"),
        ("ivo://voevent.4pisky.org/ASASSN#2030-06-26.41_ASASSN-30at", "", "asassn:ASASSN-30at"),
        (GCN + "IPN#Raw_2030-01-31T08:20:44.57_-00001-772", params(TrigID=-1), None),
        (GCN + "NEWMISSION#Alert_1", params(Packet_Type=999, TrigID=123456), "newmission:123456"),
        ("ivo://new.example/survey#2030abc", params(TrigID=5), None),
        ("ivo://new.example/survey#2030abc", params(TrigID=54321), "new.example/survey:54321"),
        ("ivo://new.example/frb#1", group("event parameters", event_no=5432198), "new.example/frb:5432198"),
    ],
)
def test_the_event_is_where_its_stream_keeps_it(ivorn: str, what: str, event: str | None) -> None:
    assert parse(voevent(ivorn, what)).event == (event or ivorn)


@pytest.mark.parametrize(
    ("ivorn", "what", "rest", "kind"),
    [
        ("ivo://gwnet/LVC#S300506b-1-Retraction", params(Packet_Type=164, GraceID="S300506b"), "", "retraction"),
        ("ivo://org.svom/fsc#sb30_retraction", params(Packet_Type=219), "", "retraction"),
        (GCN + "INTEGRAL#Offline_Pos_1-1-1", group("Test_mpos", Def_NOT_a_GRB="true"), "", "retraction"),
        (GCN + "INTEGRAL#Offline_Pos_1-1-1", "", '<Why><Inference probability="0.0"/></Why>', "retraction"),
        ("ivo://other.example/x#1", "", '<Why><Inference probability="0.0"/></Why>', "initial"),
        (GCN + "SWIFT#BAT_GRB_Pos_1-1", group("Solution_Status", StarTrack_Lost_Lock="true"), "", "retraction"),
        (GCN + "AMON#ICECUBE_GOLD_1", params(Rev=2), "", "update"),
        (GCN + "AMON#ICECUBE_GOLD_1", params(Rev=0), "", "initial"),
        (GCN + "AMON#NU_EM_Event1", params(Rev=1), "", "update"),
        (GCN + "Antares_Alert#1", "", '<Citations><EventIVORN cite="followup"/></Citations>', "initial"),
        ("ivo://km3net_neutrino#KM3-1", params(Alert_Type="retraction", Event_Name="KM3-1"), "", "retraction"),
        ("ivo://new.example/survey#1", params(event_type="Retraction"), "", "retraction"),
        ("ivo://new.example/survey#1", params(AlertType="withdrawn"), "", "retraction"),
    ],
)
def test_kinds_by_each_streams_own_mark(ivorn: str, what: str, rest: str, kind: str) -> None:
    assert parse(voevent(ivorn, what, rest)).kind == kind


@pytest.mark.parametrize(
    ("cite", "kind"),
    [("followup", "update"), ("supersedes", "update"), ("retraction", "retraction"), ("Retracts", "retraction")],
)
@pytest.mark.parametrize("role", ["observation", "utility"])
def test_kinds_by_citation(cite: str, kind: str, role: str) -> None:
    citing = f'<Citations><EventIVORN cite="{cite}">ivo://a.example/b#first</EventIVORN></Citations>'
    alert = parse(voevent("ivo://a.example/b#second", rest=citing, role=role))
    assert alert.kind == kind
    assert alert.event == "ivo://a.example/b#first"
    assert alert.citations == (("ivo://a.example/b#first", "retraction" if kind == "retraction" else cite),)


@pytest.mark.parametrize(("word", "kind"), [("Retraction", "retraction"), ("update", "update"), ("initial", "initial")])
def test_kinds_by_the_unified_schemas_words(word: str, kind: str) -> None:
    assert parse(voevent("ivo://new.example/survey#1", params(alert_type=word))).kind == kind


def test_a_role_with_a_capital() -> None:
    assert parse(BURST.replace('role="observation"', 'role="Test"').encode()).role == "test"


@pytest.mark.parametrize("cite", ["Supersedes", "supercedes"])
def test_citations_in_other_spellings(cite: str) -> None:
    citing = f'<Citations><EventIVORN cite="{cite}">ivo://a.example/b#first</EventIVORN></Citations>'
    assert parse(voevent("ivo://a.example/b#second", rest=citing)).citations == (
        ("ivo://a.example/b#first", "supersedes"),
    )


def test_a_namespace_with_https() -> None:
    packet = voevent(GCN + "Antares_Alert#1438351269", params(TrigID=1438351269, isRealAlert="true"))
    alert = parse(packet.replace(b"http://www.ivoa", b"https://www.ivoa"))
    assert (alert.event, alert.role) == ("antares:1438351269", "observation")
    with pytest.raises(AlertError, match="namespace"):
        parse(packet.replace(b"http://www.ivoa", b"https://www.voevent"))


def test_a_root_that_lost_its_namespace_is_read_as_before() -> None:
    packet = (SAMPLES / "burst.xml").read_text(encoding="utf-8")
    bare = re.sub(r" xmlns:voe=\S+|voe:", "", packet).replace(
        "</VOEvent>", "<original_prefix>voe</original_prefix></VOEvent>"
    )
    assert "voe:" not in bare
    assert parse(bare.encode()) == parse(packet.encode())


def test_the_probability_of_a_neutrino_is_its_importance() -> None:
    def neutrino(**values: object) -> Alert:
        why = '<Why importance="1.0"/>'
        return parse(voevent("ivo://nasa.gsfc.gcn/AMON#ICECUBE_GOLD_Event_1", params(**values), why))

    assert neutrino(signalness=0.2542).importance == pytest.approx(0.2542)
    assert neutrino(signalness=-1).importance == neutrino().importance == 1.0


def test_what_cites_a_known_stream_belongs_to_its_event() -> None:
    citing = f'<Citations><EventIVORN cite="followup">{GCN}SWIFT#BAT_GRB_Pos_703176-401</EventIVORN></Citations>'
    assert parse(voevent("ivo://my.example/requests#1", rest=citing)).event == "swift:703176"


@pytest.mark.parametrize(
    ("ivorn", "what"),
    [
        (GCN + "AMON#TEST_Event1", params(Packet_Type=159, TrigID=99999)),
        (GCN + "INTEGRAL#Wakeup_Pos_1", group("Test_mpos", Test_Notice="true")),
        (GCN + "SWIFT#BAT_1", group("Solution_Status", Test_Submission="true")),
        (GCN + "CALET#GBM_1", group("Trigger_ID", InternalTest="true")),
        ("ivo://gwnet/LVC#MS300506b-1-Initial", params(GraceID="MS300506b")),
        ("ivo://new.example/survey#1", params(is_test="True")),
        (GCN + "Antares_Alert#1", params(isRealAlert="false")),
        ("ivo://new.example/survey#1", f'<Group name="a">{group("b", is_test="true")}</Group>'),
        ("ivo://new.example/survey#1", params(Alert_Tense="test")),
        ("ivo://new.example/survey#1", params(Notice_Type="Simulated burst")),
        ("ivo://new.example/survey#1", params(is_mock="T")),
        ("ivo://new.example/survey#1", group("flags", Test_Event="1")),
        ("ivo://gwnet/LVC#S300506b-1-Initial", params(GraceID="S300506b", HardwareInj=1)),
    ],
)
def test_tests_sent_as_observations_are_tests(ivorn: str, what: str) -> None:
    alert = parse(voevent(ivorn, what))
    assert alert.role == "test"
    assert not alert.actionable


@pytest.mark.parametrize(
    ("what", "ivorn", "hertz"),
    [
        ('<Param name="FAR" value="1e-9" unit="Hz"/>', "ivo://gwnet/LVC#S300506b-1", 1e-9),
        ('<Param name="FAR" value="2" unit="yr^-1"/>', GCN + "AMON#ICECUBE_BRONZE_1", 2 / 31_557_600),
        ('<Param name="FAR" value="8e-8" unit="yr^-1"/>', "ivo://KM3NeT_Neutrino#KM3-1", 8e-8),
        ('<Param name="far" value="2" unit="1/day"/>', "ivo://new.example/a#1", 2 / 86_400),
        ('<Param name="FAR" value="2" unit="events per year"/>', "ivo://new.example/a#1", 2 / 31_557_600),
        ('<Param name="FAR" value="2" unit="s-1"/>', "ivo://new.example/a#1", 2),
        ('<Param name="FAR" value="2" unit="s"/>', "ivo://new.example/a#1", None),
        ('<Param name="FAR" value="2" unit="fortnight^-1"/>', GCN + "AMON#ICECUBE_BRONZE_1", None),
    ],
)
def test_false_alarm_rates_become_hertz(what: str, ivorn: str, hertz: float | None) -> None:
    assert parse(voevent(ivorn, what)).far == pytest.approx(hertz)


@pytest.mark.parametrize(
    ("ivorn", "what", "error", "radius", "containment"),
    [
        (GCN + "AMON#NU_EM_1", params(Packet_Type=172, src_err_90=15.68), "0.14", 0.14, 0.5),
        (GCN + "AMON#HAWC_1", params(Packet_Type=171, src_err_90=36), "0", 0.6, 0.9),
        (GCN + "AMON#HAWC_1", params(Packet_Type=171, src_err_90=36), "0.5999", 0.5999, 0.9),
        (GCN + "AMON#ICECUBE_EHE_1", params(Packet_Type=169), "0.34", 0.34, 0.5),
        (GCN + "SK_SN#Event_1", params(Src_Error68=0.6, Src_Error90=0.9), "0.0", 0.9, 0.9),
        (GCN + "MOA#1", params(Packet_Type=139), "0.0", None, None),
    ],
)
def test_error_radii_are_degrees_with_their_containment(
    ivorn: str, what: str, error: str, radius: float | None, containment: float | None
) -> None:
    alert = parse(voevent(ivorn, what, where=where("10", "20", error)))
    assert alert.error_radius == pytest.approx(radius)
    assert alert.containment == containment


@pytest.mark.parametrize(
    ("isotime", "tjd", "meant"),
    [
        ("2030-05-06T07:08:09.50", "22627", datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC)),
        ("2030-01--3T07:08:09.50", "22627", datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC)),
        ("2030-05-00T07:08:09.50", "22627", datetime(2030, 5, 6, 7, 8, 9, 500_000, UTC)),
        ("2030-01--9130T00:-24:-54.-77", "10854", None),
        ("", "22627", None),
    ],
)
def test_a_garbled_date_is_taken_from_the_julian_day_if_that_is_near(
    isotime: str, tjd: str, meant: datetime | None
) -> None:
    packet = burst((">2030-05-06T07:08:09.50<", f">{isotime}<"), ('value="22627"', f'value="{tjd}"'))
    assert parse(packet).time == meant


def test_barycentric_dynamical_time_becomes_utc() -> None:
    packet = voevent(
        "ivo://gaia.cam.uk/alerts#Gaia17x", where=where("1", "2", "1", "2017-11-25T21:50:54", "TDB-ICRS-BARY")
    )
    assert parse(packet).time == datetime(2017, 11, 25, 21, 49, 44, 816_000, UTC)


def test_each_param_of_the_tables_is_read() -> None:
    """Only Params that somebody asks for are read: these are."""
    for what, factor, names in measurements.PARAMS:
        for name in names:
            folder, _, bare = name.rpartition("/")
            param = params(**{bare: 3})
            alert = parse(voevent("ivo://a.example/b#1", param if folder in {"", "*"} else group(folder, **{bare: 3})))
            assert alert.measured[what] == pytest.approx(3 * factor), name
    for row in streams.STREAMS:
        for ivorn in row.ivorns[:1]:
            for mark in row.test:
                assert parse(voevent(f"{ivorn}#x-17", params(**{mark: "true"}))).role == "test", (row.name, mark)
            for mark in row.known:
                assert parse(voevent(f"{ivorn}#x-17", params(**{mark: "true"}))).known_source, (row.name, mark)


def test_gravitational_wave_params() -> None:
    what = (
        params(Packet_Type=150, GraceID="S300506b", Significant=0)
        + group("Classification", BNS=0.9, Terrestrial=0.1)
        + '<Group type="GW_SKYMAP"><Param name="skymap_fits" value="https://gw.example/s.fits"/></Group>'
    )
    alert = parse(voevent("ivo://gwnet/LVC#S300506b-1-Preliminary", what))
    assert alert.notice_type == "LVC_PRELIMINARY"
    assert alert.significant is False
    assert alert.classification == {"BNS": 0.9, "Terrestrial": 0.1}
    assert alert.skymap == "https://gw.example/s.fits"
    assert alert.target is None


def test_another_missions_trigger_number_is_told() -> None:
    what = group("Svom_Identifiers", Burst_Id="sb30022203") + params(Swift_Trig_Id=1213880)
    alert = parse(voevent("ivo://org.svom/fsc#sb30022203_eclairs-wakeup", what))
    assert (alert.event, alert.related) == ("svom:sb30022203", ("swift:1213880",))


def test_a_coincidence_with_a_burst_is_told_by_both_numbers() -> None:
    external = group("External", External_GCN_Notice_Id=524666471, External_Observatory="Fermi")
    what = params(GraceID="S300506b") + external
    alert = parse(voevent("ivo://gwnet/LVC#S300506b-2-Update", what))
    assert (alert.event, alert.related) == ("lvc:S300506b", ("fermi:524666471",))
    assert parse(voevent("ivo://gwnet/LVC#S300506b-3-Update", params(GraceID="S300506b"))).related == ()


@pytest.mark.parametrize(
    ("url", "skymap"),
    [
        ("http://gcn.example/gbm_gnd_loc_map_799197847.fits", True),
        ("https://heasarc.example/glg_healpix_all_bn260429975.fit", True),
        ("http://heasarc.example/glg_locplot_all_bn260429975.png", False),
    ],
)
def test_a_location_map_is_a_sky_map_and_no_plot(url: str, skymap: bool) -> None:
    alert = parse(voevent(GCN + "Fermi#GBM_Gnd_Pos_1", params(TrigID=799197847, LocationMap_URL=url)))
    assert alert.skymap == (url if skymap else None)


@pytest.mark.parametrize(
    "what", [group("Solution_Status", Target_in_Flt_Catalog="true"), params(Packet_Type=141), params(Packet_Type=133)]
)
def test_a_catalogued_source_is_told(what: str) -> None:
    assert parse(voevent(GCN + "SWIFT#BAT_1", what)).known_source


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"hello", "neither XML nor JSON"),
        (gzip.compress(b"<a/>", mtime=0), "gzip"),
        (b"<a/>", "not a VOEvent"),
        (BURST.replace("\n", f"\n{BOMB}", 1).encode(), "DOCTYPE"),
        (BURST.replace("\n", f"\n<!-- c --><?x y?>\n{BOMB}", 1).encode(), "DOCTYPE"),
        (BURST.replace("UTF-8", "UTF-16").replace("\n", f"\n{BOMB}", 1).encode("utf-16"), "DOCTYPE"),
        (BURST.replace("UTF-8", "UTF-7").encode(), "encoding utf-7"),
        (BURST.encode("utf-32"), "encoding"),
        (BURST[: len(BURST) // 2].encode(), "not XML"),
        (("\n" + BURST).encode(), "not XML"),
        (BURST.replace("0.90", "&eacute;").encode(), "not XML"),
        (BURST.replace('role="observation"', 'role="ack"').encode(), "role 'ack'"),
        (re.sub(r'ivorn="[^"]*"', "", BURST).encode(), "no ivorn"),
        (re.sub(r'ivorn="[^"]*"', 'ivorn="http://x"', BURST).encode(), "no identifier"),
        (re.sub(r'ivorn="[^"]*"', f'ivorn="ivo://{"x" * 20_000}!"', BURST).encode(), "no identifier"),
        (BURST.replace("VOEvent/v2.0", "VOEvent/v9.9").encode(), "namespace"),
        (BURST.replace('name="Packet_Type" value="61"', 'name="Packet_Type" value="4"').encode(), "transport"),
        (b"<a>" * 10_000, "not XML"),
        (b"<a>" + b"x" * 5_000_000 + b"</a>", "bytes"),
        (voevent("ivo://a.example/b#1", '<Param name="a" value="1"/>' * 10_001), "Params"),
    ],
)
def test_what_is_refused_says_why_in_one_line(packet: bytes, says: str) -> None:
    with pytest.raises(AlertError, match=says) as caught:
        parse(packet)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_doctype_in_a_comment_is_no_doctype() -> None:
    assert parse(burst(("<Who>", "<!-- <!DOCTYPE x> --><Who>"))) == parse(burst())


def test_an_alert_survives_the_wire() -> None:
    alert = parse(burst())
    assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert
