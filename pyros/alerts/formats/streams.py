"""What is particular to each stream: one row a stream, and no stream's name anywhere else.

A row says where that stream keeps what VOEvent and GCN's schema leave open. A stream without a row is read by
`UNKNOWN`: what the standards say, and the marks of tests and retractions that all GCN streams share.

Params are named ``Name`` (top level of What), ``Group/Name``, or ``*/Name`` (any Group, or the top level).
Marks are Param names, in lower case, whose value ``true`` or ``1`` anywhere in What means it, however they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from pyros.alerts.formats import marks

_RETRACTION = marks.RETRACTION | {"def_not_a_grb", "definite_not_grb"}
_SAYING = ("Alert_Tense", "AlertTense", "alert_tense", "Alert_Type", "AlertType", "alert_type", "Notice_Type", "status")
"""Params in which a packet says what it is, beside its notice type."""
_CLOCKS = ("Burst", "Event", "Trans", "Trigger", "Outburst", "Source", "Slew", "Start", "Detection", "Pkt")
_EVENT_PARAMS = (
    *("TrigID", "Trigger_ID", "TriggerID", "Trigger_Number"),
    *("GraceID", "Burst_Id", "Event_Name", "Event_ID", "event_no"),
)
_NO_EVENT = frozenset({"", "0", "-1", "None", "null"})


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. Of several names in a tuple the first that the packet has counts."""

    name: str
    ivorns: tuple[str, ...] = ()
    """How its ivorns begin, lower case; the longest match in the table wins."""
    schemas: tuple[str, ...] = ()
    """Its folders under gcn/notices/ in GCN's schema, which begin its topics too (``einstein_probe``)."""
    namespace: str = ""
    """Whose numbers its event identifiers are, where they are another stream's."""

    event: tuple[tuple[str, ...], ...] = ()
    """Params that name the event; several in one tuple are joined with ``_``."""
    event_shortest: int = 1
    """How many characters such an identifier has at least."""
    event_mask: int | None = None
    """Bits of a numeric identifier that name the event; the rest counts the notices about it."""
    no_event: frozenset[str] = _NO_EVENT
    """Identifiers that mean "none"; they must not join what has nothing in common."""
    event_in_ivorn: str = ""
    """A regular expression whose first group is the event's identifier, for ivorns (own and cited)."""
    related: tuple[tuple[str, str], ...] = ()
    """(Param, Param): another mission, and its identifier of the same event."""
    others: tuple[tuple[str, str], ...] = ()
    """(Param, the mission whose identifier of the same event it has)."""
    event_by_day: bool = False
    """Whether the day names the event, as nothing else does in all of its packets; such events are rare enough."""
    wide: bool = False
    """Whether many candidates are looked for in each of its events: what only follows one up is another event."""
    counterpart_types: frozenset[str] = frozenset()
    """Notices about one candidate of many in an event: each candidate is an event of its own."""
    counterpart_numbers: tuple[str, ...] = ("Source_SerNum", "SourceSerNum", "Source_Ser_Num", "SOURCE_SERNUM")
    """Params that number such candidates."""
    json_event: tuple[str, ...] = ("id", "event_name")
    """Fields that name the event, the first that there is before the others, which are its further names."""
    json_id_parts: bool = False
    """Whether a list of numbers under ``id`` is one identifier in parts, not several names of the event."""
    json_id_also: str = ""
    """A regular expression for such an identifier, whose first group is how the same event's VOEvents write it."""
    json_rows: tuple[tuple[str, str, str], ...] = ()
    """(field, regular expression, row): notices of other streams that go out under this one's schema."""
    json_places: tuple[tuple[str, str, str], ...] = ()
    """(RA, Dec, error radius): fields in degrees that have the source's position before ``ra`` and ``dec`` do."""
    json_pointing: bool = False
    """Whether ``ra`` and ``dec`` of its JSON notices are where an instrument looked, not where the source is."""
    revision: tuple[str, int] | None = None
    """A Param that counts the notices about an event, and its first value."""

    saying: tuple[str, ...] = _SAYING
    test: frozenset[str] = marks.TEST
    test_values: tuple[tuple[str, str], ...] = ()
    """(Param, regular expression): a value that marks a test."""
    retraction: frozenset[str] = _RETRACTION
    json_retraction: tuple[tuple[str, bool], ...] = ()
    """(field, its value), beside the marks of all streams."""
    retraction_probability: bool = False
    """Whether Why/Inference/@probability 0.0 takes the event back."""
    revives: bool = False
    """Whether a notice that is written after a retraction makes the event stand again."""
    pointing_is_source: bool = False
    """Whether ``pointing_direction`` means the direction to the source here, not where an instrument looked."""
    known: frozenset[str] = frozenset()
    """Marks of a source that was known before."""
    known_values: tuple[tuple[str, str], ...] = ()
    known_types: frozenset[str] = frozenset()

    containment: float | None = None
    containments: dict[str, float] = {}
    """By notice type, where they differ."""
    errors: tuple[tuple[str, float, float], ...] = ()
    """(Param, its unit in degrees, containment) for where Error2Radius says nothing."""
    clocks: tuple[tuple[str, str], ...] = tuple((f"{name}_TJD", f"{name}_SOD") for name in _CLOCKS)
    """(truncated Julian day, seconds of day), for where ISOTime is no date."""
    far: tuple[str, ...] = ("FAR", "far")
    far_unit: str = ""
    """The true unit of FAR where the packets' label is wrong."""
    skymap: tuple[str, ...] = ("*/skymap_fits", "*/HealPix_URL", "*/healpix_url", "*/skymap_fits_basic")
    maps: tuple[str, ...] = ()
    """Params with the URL of a sky map, where it ends as a FITS file does, or of a plot."""
    importance: tuple[str, ...] = ()
    """Params that say it where Why/@importance is the same in every packet."""
    instruments: tuple[str, ...] = ("Instruments", "Instrument", "*/Instrument")
    """Params that name the instruments or detectors, which commas divide."""
    group: tuple[str, ...] = ("Group",)
    pipeline: tuple[str, ...] = ("Pipeline", "*/pipeline_name")
    search: tuple[str, ...] = ("Search",)
    significant: str = ""
    classes: tuple[str, ...] = ()
    """Groups that hold probabilities by class."""


_ARCMIN = 1 / 60
_TRIG_ID = (("TrigID",),)
_GCN = "ivo://nasa.gsfc.gcn/"
_4PISKY = ("ivo://voevent.4pisky.org/", "ivo://voevent.phys.soton.ac.uk/", "ivo://voevent.soton.ac.uk/")

UNKNOWN = Stream(
    name="",
    event=tuple((f"*/{name}",) for name in _EVENT_PARAMS),
    event_shortest=4,  # nobody's table says that they are the event's: what counts 1, 2, 3 joins what is not one event
)

GCN = Stream(
    name="",
    ivorns=(_GCN,),
    event=(*_TRIG_ID, ("Trigger_Number",), ("run_id", "event_id"), ("Event_ID",), ("Trans_Num",)),
    test_values=(("TrigID", "0*99999"),),
)
"""A GCN stream without a row of its own; its name is taken from the ivorn."""

STREAMS = (
    Stream(
        name="swift",
        ivorns=(_GCN + "swift",),
        schemas=("swift",),
        event=_TRIG_ID,
        event_in_ivorn=r"#(?:BAT|XRT|UVOT)_[A-Za-z_]+_([1-9]\d{4,})-\d+$",
        test_values=(("TrigID", "0*99999"),),
        retraction=_RETRACTION | {"startrack_lost_lock"},
        json_retraction=(("star_tracker_locked", False),),
        known=frozenset({"target_in_flt_catalog", "target_in_gnd_catalog", "target_in_blk_catalog"}),
        known_types=frozenset({"SWIFT_BAT_KNOWN_SRC", "SWIFT_BAT_MONITOR"}),
        containment=0.9,
        clocks=(
            *UNKNOWN.clocks,
            ("ExpoStart_TJD", "ExpoStart_SOD"),
            ("SpecStart_TJD", "SpecStart_SOD"),
            ("Data_TJD", "Data_SOD"),
        ),
    ),
    Stream(
        name="fermi",
        ivorns=(_GCN + "fermi",),
        schemas=("fermi",),
        event=(*_TRIG_ID, ("Trans_Num",)),
        event_in_ivorn=r"#(?:GBM|LAT)_[A-Za-z_]+_?\d{4}-[\d:T.-]+_(\d{6,})[_-]",
        test_values=(("TrigID", "0*99999"),),
        maps=("LocationMap_URL",),
        known_types=frozenset({"FERMI_LAT_MONITOR", "fermi.lat.flare", "fermi.lat.flare.flare"}),
        containments={
            "FERMI_GBM_FLT_POS": 0.68,
            "FERMI_GBM_GND_POS": 0.68,
            "FERMI_GBM_FIN_POS": 0.68,
            "FERMI_GBM_FIN_INTERNAL": 0.68,
            "FERMI_GBM_SUBTHRESH": 0.68,
        },
    ),
    Stream(
        name="integral",
        ivorns=(_GCN + "integral",),
        event=_TRIG_ID,
        event_mask=0xFFFF,
        event_in_ivorn=r"#(?:Wakeup_Pos|Refined_Pos|Offline_Pos|Weak_Pos|SPIACS)_0*([1-9]\d*)-",
        retraction_probability=True,
        containment=0.9,
    ),
    Stream(
        name="lvc",
        ivorns=("ivo://gwnet/", _GCN + "lvc"),
        schemas=("lvc", "lvk"),
        event=(("GraceID",),),
        event_in_ivorn=r"#([A-Z]{1,2}\d{6}[a-z]*\d*)-\d+-",
        test_values=(("GraceID", r"[MT]S.*|M\d.*"), ("Search", ".*MDC.*")),
        revives=True,
        wide=True,
        counterpart_types=frozenset({"LVC_COUNTERPART"}),
        related=(("*/External_Observatory", "*/External_GCN_Notice_Id"),),
        significant="Significant",
        classes=("Classification", "Properties"),
    ),
    Stream(
        name="svom",
        ivorns=("ivo://org.svom/", "ivo://lvk.internal/svom"),
        schemas=("svom",),
        others=(("*/Swift_Trig_Id", "swift"),),
        event=(("Svom_Identifiers/Burst_Id",), ("*/Burst_Id",)),
        event_in_ivorn=r"#(sb\d+)_",
        known_types=frozenset({"SVOM_ECLAIRS_CATALOG"}),
        known_values=(("event_name", r"(?i)(?!sb\d|grb|svom).*\S.*"),),  # bursts have other names
        containment=0.9,
    ),
    Stream(
        name="icecube",
        ivorns=(_GCN + "amon#icecube", _GCN + "amon#test_event", "ivo://amon/icecube"),
        schemas=("icecube",),
        event=(("run_id", "event_id"), ("AMON_ID",), ("ID",), *_TRIG_ID),
        event_in_ivorn=r"_(?:\d\d_)?(\d{6}_0*\d{4,})[_-]\d+$",
        json_id_parts=True,
        importance=("signalness",),
        json_id_also=r"(\d{6}_\d+)_\d+",  # of run, event and part of the event the VOEvents have the first two
        test_values=(("TrigID", "0*99999"), ("event_id", "0*99999")),
        revision=("Rev", 0),
        containment=0.9,
        containments={"AMON_ICECUBE_EHE": 0.5},
    ),
    Stream(
        name="amon",
        ivorns=(_GCN + "amon#",),
        event=(("Event_ID",), ("run_id", "event_id"), *_TRIG_ID),
        json_id_also=r"0+_(\d+)",
        json_rows=(
            ("notice_type", "Astrotrack.*|Cascade|EHE|HESE", "icecube"),
            ("notice_type", "Burst", "hawc"),
        ),
        test_values=(("TrigID", "0*99999"),),
        revision=("Rev", 0),
        containments={"AMON_NU_EM_COINC": 0.5},
    ),
    Stream(
        name="hawc",
        ivorns=(_GCN + "amon#hawc",),
        event=(("run_id", "event_id"),),
        revision=("rev", 0),
        containment=0.9,
        errors=(("src_err_90", _ARCMIN, 0.9),),
    ),
    Stream(
        name="gecam",
        ivorns=(_GCN + "gecam",),
        event=(("Trigger_Number",),),
        containment=0.68,
        known_values=(("SRC_CLASS", "KNOWN_SOURCE"),),
        clocks=(("EVENT_DATE", "EVENT_TIME"),),
    ),
    Stream(
        name="sk_sn",
        ivorns=(_GCN + "sk_sn",),
        schemas=("superk", "super_kamiokande"),
        event=(("Trigger_Number",),),
        json_event=("id", "trigger_number", "event_name"),
        pointing_is_source=True,
        errors=(("Src_Error90", 1.0, 0.9), ("Src_Error68", 1.0, 0.68), ("Src_Error95", 1.0, 0.95)),
        clocks=(("Discovery_date", "Discovery_time"), ("Pkt_TJD", "Pkt_SOD")),
    ),
    Stream(
        name="maxi",
        ivorns=(_GCN + "maxi",),
        schemas=("maxi",),
        event=_TRIG_ID,
        known_types=frozenset({"MAXI_KNOWN", "maxi.gsc.known"}),
        known_values=(("notice_type", "Known"),),
    ),
    Stream(
        name="calet",
        ivorns=(_GCN + "calet",),
        schemas=("calet_gbm",),
        event=GCN.event,
        test_values=GCN.test_values,
        json_pointing=True,
    ),
    Stream(
        name="hete",
        ivorns=(_GCN + "hete",),
        event=GCN.event,
        test_values=GCN.test_values,
        json_places=(("sxc_ra", "sxc_dec", "sxc_ra_dec_error"), ("wxm_ra", "wxm_dec", "wxm_ra_dec_error")),
        json_pointing=True,  # away from the Sun
    ),
    Stream(
        name="antares",
        ivorns=(_GCN + "antares_alert",),
        event=_TRIG_ID,
        test_values=(("isRealAlert", "(?i)false|0"),),
    ),
    Stream(
        name="snews",
        ivorns=(_GCN + "snews",),
        schemas=("snews", "snews2"),
        event=_TRIG_ID,
        event_by_day=True,
    ),
    Stream(
        name="chime",
        ivorns=("ivo://ca.chimenet.frb/",),
        schemas=("chime",),
        event=(("event parameters/event_no",), ("*/event_no",)),
        known_values=(("*/known_source_name", r"\S.*"),),
        containment=0.95,
    ),
    Stream(
        name="km3net",
        ivorns=("ivo://km3net",),
        schemas=("km3net",),
        event=(("Event_Name",),),
        json_event=("event_name", "id"),
        revision=("record_number", 1),
        containment=0.9,
        far_unit="Hz",
    ),
    Stream(
        name="einstein_probe",
        ivorns=("ivo://lvk.internal/einsteinprobe",),
        schemas=("einstein_probe", "ep"),
        event=_TRIG_ID,
    ),
    Stream(
        name="gaia",
        ivorns=("ivo://gaia.cam.uk/", *(author + "gaia" for author in _4PISKY)),
        event_in_ivorn=r"#(Gaia\w+)",
        # Param "alerting timestamp" is TCB; ISOTime is TDB, as its coordinate system says: they differ by 20 seconds.
    ),
    Stream(
        name="asassn",
        ivorns=tuple(author + "asassn" for author in _4PISKY),
        event_in_ivorn=r"#\d{4}-\d\d-\d\d\.\d+_(.+)",
    ),
    Stream(name="crts", ivorns=("ivo://nvo.caltech/voeventnet/",), event=(("*/ID",),), event_in_ivorn=r"#(\d{12,})$"),
    Stream(name="heasarc", schemas=("heasarc",), json_event=("id", "event_name", "obs_id")),
    Stream(name="boom", schemas=("boom",), json_event=("event_name", "name", "id")),
)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | frozenset):
        for each in value:
            yield from _texts(each)


def bare_names(names: Iterable[str]) -> frozenset[str]:
    """Return names of Params as they stand in a packet, in lower case: without the groups that the table writes."""
    return frozenset(bare.lower() for name in names for bare in (name, name.rpartition("/")[2]))


PARAM_NAMES = bare_names(text for row in (UNKNOWN, GCN, *STREAMS) for text in _texts(msgspec.structs.astuple(row)))
"""The names of all Params that a row asks for, as `bare_names` gives them, among other words of the table."""
CLASS_GROUPS = frozenset(group for row in STREAMS for group in row.classes)
"""The groups of which each Param is asked for."""


@lru_cache(maxsize=256)
def pattern(expression: str) -> re.Pattern[str]:
    """Compile a regular expression of the table, once."""
    return re.compile(expression)


_BY_IVORN = sorted(((prefix, row) for row in (GCN, *STREAMS) for prefix in row.ivorns), key=lambda item: -len(item[0]))
_PREFIXES = tuple(prefix for prefix, _ in _BY_IVORN)
_BY_SCHEMA = {folder: row for row in STREAMS for folder in row.schemas}
BY_NAME = {row.name: row for row in STREAMS}
_MAX_AUTHORS = 256
_authors: dict[tuple[tuple[str, ...], str], Stream] = {}


def of_ivorn(ivorn: str) -> Stream:
    """Return the stream's row by an ivorn; `GCN` or `UNKNOWN` with the author's name where the table has none."""
    lower = ivorn[:200].lower()
    for prefix, row in _BY_IVORN if lower.startswith(_PREFIXES) else ():
        if lower.startswith(prefix):
            if row.name:
                return row
            path = lower.removeprefix(prefix)
            return _named(row, path.partition("#")[0] or "gcn")
    author = lower.removeprefix("ivo:").lstrip("/")
    author = (author.partition("#")[0] if "#" in author else author.rpartition("/")[0]).strip("/")
    return _named(UNKNOWN, author or "unknown")


def _named(row: Stream, name: str) -> Stream:
    """Return a row without a name of its own under an author's; few come, and they come again and again."""
    found = _authors.get((row.ivorns, name))
    if found is None:
        found = msgspec.structs.replace(row, name=name)
        if len(_authors) >= _MAX_AUTHORS:
            _authors.clear()
        _authors[row.ivorns, name] = found
    return found


def of_schema(folder: str) -> Stream:
    """Return the row of a folder of GCN's schema, or that of the stream's VOEvents, or `UNKNOWN` with that name."""
    row = _BY_SCHEMA.get(folder) or BY_NAME.get(folder)
    return row or msgspec.structs.replace(UNKNOWN, name=folder or "gcn")


def of_mission(mission: str) -> Stream:
    """Return the row of a mission by the name that a packet gives it: ``Fermi-GBM``, ``Einstein Probe``."""
    words = re.sub(r"[^a-z0-9]+", "_", mission.strip().lower()[:200]).strip("_")
    row = of_schema(words)
    return row if row.name in BY_NAME else of_schema(words.partition("_")[0])


def revives(event: str) -> bool:
    """Tell whether the stream of an identity key takes retractions back by going on."""
    row = BY_NAME.get(event.partition(":")[0])
    return row is not None and row.revives


def revises(event: str) -> bool:
    """Tell whether the stream of an identity key counts its notices about an event: each replaces the one before."""
    row = BY_NAME.get(event.partition(":")[0])
    return row is not None and row.revision is not None


def wide(event: str) -> bool:
    """Tell whether many candidates are looked for in an event of the stream of an identity key."""
    row = BY_NAME.get(event.partition(":")[0])
    return row is not None and row.wide
