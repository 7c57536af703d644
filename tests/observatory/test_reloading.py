"""The site is read again in the middle of a night, in rehearsed nights."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros import messages
from pyros.errors import ConfigError
from tests.observatory.conftest import Night


def test_every_agent_goes_on_with_the_site_as_it_is_now(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    file = night.config.site
    file.write_text(file.read_text() + "dome_sun_limit: -5\ntwilight: -14\n")
    night.observatory.reload()
    night.until(lambda: len(night.said("site.yaml is read again")) == len(night.config.agents))
    for name in ("alert_manager", "scheduler", "majordome", "telescope", "camera", "dome"):
        assert night.agent(name).site.twilight == -14, name
    assert night.agent("alert_manager").sky.site.twilight == -14
    assert night.agent("dome").guard.sun_limit == -5
    assert night.said("rules", "alert_manager")
    night.publish(night.packet())
    night.until(night.images)


def test_a_site_with_a_mistake_changes_nothing(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    file = night.config.site
    file.write_text(file.read_text().replace("latitude: ", "latitude: 1"))
    with pytest.raises(ConfigError, match="latitude"):
        night.observatory.reload()
    night.person("scheduler", messages.RELOAD_SITE)
    night.until(lambda: night.said("the site is as before", "scheduler"))
    assert night.agent("scheduler").site == night.site
