"""The sky over the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyros import views
from pyros.agents._observing import ObservationManagerState
from pyros.errors import ConfigError
from pyros.messages import Exposures, Observation
from pyros.planning.visibility import place_overhead
from pyros.site import Site
from pyros.stars.brightest import brightest
from pyros.views.sky import sky
from tests.views.written import SITE, commit, configuration


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


def test_without_a_site_there_is_no_sky(tmp_path: Path) -> None:
    config = configuration(tmp_path, site=Path())
    with pytest.raises(ConfigError, match="site: missing"):
        sky(views.observed(config))
