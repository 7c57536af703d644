"""What instruments measure, as monitoring hears of it: what is new at once, what is as before now and then."""

from __future__ import annotations

from pathlib import Path

from pyros.rehearsal.rehearsal import Rehearsal


def test_what_a_device_measures_is_told_when_it_has_changed(tmp_path: Path) -> None:
    observatory = Rehearsal(tmp_path / "observatory")
    telemetry = observatory.agent("monitoring").state.telemetry
    told: set[float] = set()
    observatory.watchers.append(lambda: told.add(telemetry["dome"].time) if "dome" in telemetry else None)
    observatory.run(35)
    told.clear()
    observatory.run(300)
    assert 9 <= len(told) <= 11, "a dome that stays closed, each half minute"
    before = telemetry["dome"].state
    observatory.until(lambda: observatory.said("the weather is safe"))
    observatory.publish(observatory.burst("ivo://pyros.test/burst#1"))
    opened = observatory.until(lambda: observatory.state("dome") != before, 1200)
    assert observatory.until(lambda: telemetry["dome"].state != before, 15) <= opened + 11
    observatory.close()


def test_a_station_that_comes_back_is_read_at_its_pace(tmp_path: Path) -> None:
    observatory = Rehearsal(tmp_path / "observatory")
    observatory.run(30)
    observatory.stop_simulator("weather")
    observatory.run(40)
    assert observatory.agent("weather").state.failed_commands >= 2
    observatory.start_simulator("weather")
    back = observatory.now
    read = len(observatory.requests("weather", "GET readings"))
    observatory.run(65)
    assert 5 <= len(observatory.requests("weather", "GET readings")) - read <= 7
    monitoring = observatory.agent("monitoring").state
    assert monitoring.measured is not None
    assert monitoring.measured > back + 40
    observatory.close()
