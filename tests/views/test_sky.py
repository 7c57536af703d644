"""The sky over the site."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros import views
from pyros.agents.alert_manager import AlertManagerState
from pyros.agents.observing import ObservationManagerState
from pyros.alerts import events as table
from pyros.alerts.events import EventTable, Followed, MapFacts, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.map_places import MapPlace
from pyros.alerts.tiling import MapTarget, ObservedField, Tiling
from pyros.config import Config
from pyros.errors import ConfigError
from pyros.journal import Journal
from pyros.messages import Exposures, Observation
from pyros.planning.visibility import place_overhead
from pyros.site import Site
from pyros.stars.brightest import brightest
from pyros.views.sky import sky
from tests.views.written import SITE, commit, configuration, write


def test_the_brightest_stars_are_where_they_are() -> None:
    stars = brightest()
    assert 300 < len(stars) < 400
    assert [magnitude for _, _, magnitude in stars] == sorted(magnitude for _, _, magnitude in stars)
    assert stars[0] == (101.287, -16.716, -1.44)  # Sirius


def test_the_target_is_shown_with_its_way(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    observed = views.observed(config)
    ra, dec = place_overhead(Site.load(SITE), observed.clock.now(), 60.0, 120.0)
    target = Observation(id="a", target="A", ra=ra, dec=dec, exposures=(Exposures("r", 1.0),), min_altitude=20.0)
    commit(config, "observation_manager", ObservationManagerState(current=target))
    shown = sky(observed)
    assert shown.target is not None
    assert shown.target.altitude == pytest.approx(60.0, abs=0.1)
    assert shown.target.azimuth == pytest.approx(120.0, abs=0.3)
    assert len(shown.path) > 5
    assert shown.limit == 20.0
    assert all(altitude > 0 and 0 <= azimuth < 360 for altitude, azimuth, _ in shown.stars)
    assert 0 <= shown.sidereal < 24
    observed.close()


@pytest.mark.parametrize("when", ["2026-11-01T00:05", "2026-11-01T00:31"])
def test_a_star_just_west_of_north_stands_at_0_and_one_just_rising_is_not_up(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first of these times one stands at 359.999 degrees, at the second one at a height of 0.004."""
    observed = views.observed(configuration(tmp_path))
    monkeypatch.setattr(observed, "time", datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp)
    assert all(altitude > 0 and 0 <= azimuth < 360 for altitude, azimuth, _ in sky(observed).stars)
    observed.close()


def written_map(config: Config, name: str, ra: float, dec: float) -> None:
    """Write an event whose map is a strip of ten points along declination, with a field observed and one to come."""
    journal = Journal(config.journal("alert_manager"), schema=table.SCHEMA)
    kept = EventTable(journal.rows, list)
    points = tuple((ra, dec + number, round(0.1 * number, 2)) for number in range(10))
    tiling = Tiling(
        targets=(MapTarget("a", "field a", ra, dec, 0.2), MapTarget("b", "field b", ra, dec + 1, 0.1)),
        observed=(ObservedField("a", ra, dec, 1.0, 1.0, 5.0, 1),),
    )
    packet = PacketRecord(id=f"ivo://lvk/{name}", key=name)
    followed = Followed(
        event=Event((packet,)), map=MapFacts(area90=9.0, place=MapPlace(points, 1.0, 9.0)), tiling=tiling
    )
    write(journal, AlertManagerState(), also=[kept.change(StoredEvent(0, name, followed), (packet,))])
    journal.close()


def test_a_sky_maps_region_is_shown_with_its_fields(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    observed = views.observed(config)
    written_map(config, "lvc:S1", *place_overhead(Site.load(SITE), observed.clock.now(), 60.0, 120.0))
    written_map(config, "lvc:S2", *place_overhead(Site.load(SITE), observed.clock.now(), -60.0, 120.0))
    (region,) = sky(observed).regions
    assert (region.name, region.radius, region.area90) == ("lvc:S1", 1.0, 9.0)
    assert region.points[0][:2] == pytest.approx((60.0, 120.0), abs=0.5)
    assert [share for _, _, share in region.points] == [round(0.1 * number, 2) for number in range(10)]
    assert region.fields[0].altitude == pytest.approx(60.0, abs=0.5)
    assert [each.observed for each in region.fields] == [True, False]
    observed.close()


def test_without_a_site_there_is_no_sky(tmp_path: Path) -> None:
    config = configuration(tmp_path, site=Path())
    with pytest.raises(ConfigError, match="site: missing"):
        sky(views.observed(config))
