"""Each kind of team's rules accept what such a team observes, and nothing else: over made packets and the corpus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.alerts import Alert, parse
from pyros.alerts.events import MapFacts
from pyros.alerts.rules import templates
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.lint import never_fitting, unknown_notice_types, unknown_streams
from pyros.alerts.rules.rules import Rules
from pyros.errors import AlertError

NOW = datetime(2026, 5, 6, 8, tzinfo=UTC)
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
BASE = Alert(
    stream="swift", id="one", event="swift:1", time=NOW - timedelta(minutes=5), ra=190.0, dec=25.0, error_radius=0.03
)
WAVE = {
    "stream": "lvc", "notice_type": "LVC_INITIAL", "ra": None, "dec": None, "error_radius": None, "group": "CBC",
    "significant": True, "far": 1e-9, "classification": {"BNS": 0.9, "Terrestrial": 0.1}, "skymap": "embedded",
}  # fmt: skip
BAT = {"notice_type": "SWIFT_BAT_GRB_POS_ACK", "measured": {"image_snr": 9.0}}
GBM = {"stream": "fermi", "notice_type": "FERMI_GBM_FIN_POS", "error_radius": 2.5, "classification": {"GRB": 0.97}}
NEUTRINO = {"stream": "icecube", "notice_type": "ICECUBE_ASTROTRACK_GOLD", "error_radius": 0.8}
ZTF = {"stream": "ztf", "notice_type": "ztf.alert", "measured": {"magnitude": 17.5, "real_bogus": 0.95}}
FRB = {"stream": "chime", "error_radius": 0.4, "measured": {"snr": 14.0}}
XRAY = {"stream": "einstein_probe", "notice_type": "einstein_probe.wxt.alert", "measured": {"image_snr": 8.0}}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("grb-robotic", BAT, "prompt position"),
    ("grb-robotic", {**BAT, "measured": {"image_snr": 6.0}}, "not a burst"),
    ("grb-robotic", {**BAT, "known_source": True}, "not a burst"),
    ("grb-robotic", GBM, ""),
    ("grb-afterglow", {"notice_type": "SWIFT_XRT_POSITION", "error_radius": 0.001}, "afterglow"),
    ("grb-afterglow", {"error_radius": 0.001, "ra": 266.4, "dec": -28.9}, ""),
    ("grb-short", {**GBM, "measured": {"timescale": 0.128}}, "short burst with a position"),
    ("grb-short", {**GBM, "measured": {"timescale": 8.0}}, ""),
    ("grb-short", {**GBM, "measured": {"timescale": 0.1}, "classification": {"TGF": 0.9}}, ""),
    ("grb-wide", GBM, "burst, most likely"),
    ("grb-wide", {**GBM, "classification": {"SFL": 0.97}}, ""),
    ("gw-wide", WAVE, "neutron stars, not too wide"),
    ("gw-wide", {**WAVE, "classification": {"BBH": 0.99, "BNS": 0.0}}, "well placed black holes or bursts"),
    ("gw-wide", {**WAVE, "significant": False}, ""),
    ("gw-galaxies", WAVE, "near enough for galaxies"),
    ("gw-galaxies", {**WAVE, "group": "Burst"}, ""),
    ("neutrino", {**NEUTRINO, "measured": {"signalness": 0.6}}, "probably cosmic"),
    ("neutrino", {**NEUTRINO, "measured": {"signalness": 0.3}}, ""),
    ("neutrino", {**NEUTRINO, "related": ("lvc:S1a",)}, "with another messenger"),
    ("x-ray", XRAY, "X-ray transient"),
    ("x-ray", {**XRAY, "known_source": True}, "catalogued source"),
    ("x-ray", {**XRAY, "error_radius": 0.3}, ""),
    ("x-ray", {"stream": "maxi", "notice_type": "maxi.gsc.unknown", "error_radius": 0.3}, "X-ray transient"),
    ("x-ray", {"stream": "maxi", "notice_type": "maxi.gsc.unknown", "error_radius": 1.5}, ""),
    ("flares", {"stream": "maxi", "notice_type": "MAXI_KNOWN", "known_source": True}, "flare of a catalogued source"),
    ("flares", BAT, ""),
    ("fast-radio-bursts", FRB, "fast radio burst"),
    ("fast-radio-bursts", {**FRB, "known_source": True}, "repeater that is known"),
    ("fast-radio-bursts", {**FRB, "measured": {"snr": 8.0}}, ""),
    ("supernova-neutrinos", {"stream": "snews"}, "galactic supernova"),
    ("supernova-neutrinos", NEUTRINO, ""),
    ("survey-transients", ZTF, "supernova that is bright enough"),
    ("survey-transients", {**ZTF, "measured": {"magnitude": 17.5, "real_bogus": 0.2}}, "bad subtraction"),
    ("survey-transients", {**ZTF, "measured": {"magnitude": 19.9, "real_bogus": 0.95}}, ""),
]  # fmt: skip


class DarkSky:
    """A site where everything is up, by night, without the Moon."""

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        return 60.0

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        return 7200.0

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        return 90.0

    def moon_light(self, when: datetime) -> float:
        return 0.0

    def sun_altitude(self, when: datetime) -> float:
        return -20.0


def load(kind: str, folder: Path) -> Rules:
    file = folder / "rules.yaml"
    file.write_text(templates.template(kind))
    return Rules.load(file)


@pytest.mark.parametrize(("kind", "fields", "rule"), CASES)
def test_a_template_fits_its_own_alerts_and_no_others(
    kind: str, fields: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    alert = msgspec.structs.replace(BASE, **fields)
    event = EventFacts(alert, map=MapFacts(area50=20.0, area90=80.0, distance=90.0))
    assert load(kind, tmp_path).fitting(alert, NOW, DarkSky(), event) == rule


def test_there_are_templates_for_twelve_kinds_of_team_and_all_are_tried(tmp_path: Path) -> None:
    assert set(templates.KINDS) == {kind for kind, *_ in CASES}
    assert len(templates.KINDS) == 12
    for kind in templates.KINDS:
        rules = load(kind, tmp_path)
        lints = [each for lint in (unknown_streams, never_fitting, unknown_notice_types) for each in lint(rules)]
        assert lints == [], kind
        assert templates.purpose(kind).endswith("."), kind


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real packets is not here")
def test_what_the_templates_make_of_the_corpus(tmp_path: Path) -> None:
    """A test, a retraction and a utility notice are never observed; each template but few finds something real."""
    alerts = []
    for path in sorted((*CORPUS.glob("voevent/**/*.xml"), *CORPUS.glob("gcn-json/**/*.json"))):
        try:
            alerts.append(parse(path.read_bytes()))
        except AlertError:
            continue
    accepted: dict[str, set[str]] = {}
    for kind in templates.KINDS:
        rules = load(kind, tmp_path)
        for alert in alerts:
            now = (alert.time or alert.sent or NOW) + timedelta(minutes=1)
            event = EventFacts(alert, map=MapFacts(area50=20.0, area90=80.0, distance=90.0))
            decision = rules.decide(alert, now, DarkSky(), event)
            assert not decision.accepted or alert.actionable
            if decision.accepted:
                accepted.setdefault(kind, set()).add(alert.stream)
    assert accepted["grb-robotic"] >= {"swift", "svom"}
    assert accepted["grb-wide"] >= {"fermi"}
    assert accepted["neutrino"] >= {"icecube"}
    assert "lvc" not in set().union(*(found for kind, found in accepted.items() if not kind.startswith("gw")))
