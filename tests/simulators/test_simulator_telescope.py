from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.celestial import Ground, Sky, separation

Rigs = Callable[..., Any]


@pytest.fixture
def mount(rig: Rigs) -> Any:
    """Unparked, precise, at its own speed: 2 degrees and 1 second per second, 3 seconds to settle."""
    return rig("telescope", speed=1, parked=False, pointing_noise=0, slew_rate=2, settle=3, altitude_limit=10)


def high(mount: Any, alt: float = 70, az: float = 180) -> Sky:
    """Return what stands there now."""
    sky: Sky = mount.device.site.sky(Ground(alt, az), mount.clock.time())
    return sky


def slew(client: Any, sky: Sky, tag: str = "a") -> str:
    answer: str = client.ask(f"DO slew ra={sky.ra:.8f} dec={sky.dec:.8f} tag={tag}")
    return answer


def where(client: Any) -> Sky:
    return Sky(*client.numbers("GET position"))


def test_who_it_is(mount: Any) -> None:
    assert mount.ask("GET id") == 'OK "Demo telescope" telescope'
    assert mount.ask("#4 GET state") == "#4 OK idle"
    assert mount.ask("GET target").startswith("ERR STATE")


def test_a_slew_takes_its_time_and_then_tracks(mount: Any) -> None:
    client, other = mount.client(), mount.client()
    start, target = where(client), high(mount)
    seconds = separation(start, target) / 2 + 3
    answer = slew(client, target)
    assert answer.startswith("BUSY ")
    assert float(answer.split()[1]) == pytest.approx(seconds, abs=0.01)
    assert client.ask("GET state") == "OK slewing"
    assert client.numbers("GET target") == pytest.approx([target.ra, target.dec], abs=1e-6)

    mount.advance((seconds - 3) / 2)
    half = where(client)
    assert separation(start, half) == pytest.approx(separation(half, target), abs=0.05)
    mount.advance((seconds - 3) / 2 + 2)
    assert client.ask("GET state") == "OK slewing"
    mount.advance(1.1)
    (event,) = [line for line in client.read() if line.startswith("EVT")]
    found = re.fullmatch(r"EVT slew_finished ra=(\S+) dec=(\S+) tag=a", event)
    assert found
    assert separation(Sky(float(found[1]), float(found[2])), target) < 1e-6
    assert other.read() == [event]

    assert client.ask("GET state") == "OK tracking"
    mount.advance(600)
    assert separation(where(client), target) < 1e-6
    altitude = client.numbers("GET altitude")[0]
    assert altitude == pytest.approx(mount.device.site.ground(target, mount.clock.time()).alt, abs=1e-3)


def test_durations_pass_faster_and_busy_tells_the_clients_seconds(rig: Rigs) -> None:
    fast = rig("telescope", speed=10, parked=False, slew_rate=2, settle=3)
    client = fast.client()
    target = high(fast)
    seconds = (separation(where(client), target) / 2 + 3) / 10
    assert float(slew(client, target).split()[1]) == pytest.approx(seconds, abs=0.01)
    fast.advance(seconds + 0.01)
    assert client.ask("GET state") == "OK tracking"


def test_when_idle_the_sky_drifts_past(mount: Any) -> None:
    before = where(mount)
    mount.advance(239.345)  # one degree of sidereal time
    after = where(mount)
    assert (after.ra - before.ra) % 360 == pytest.approx(1.0, abs=0.01)
    assert after.dec == pytest.approx(before.dec, abs=0.01)
    assert mount.numbers("GET altitude") == pytest.approx([80, 0], abs=1e-3)


def test_below_the_limit_it_refuses(mount: Any) -> None:
    client = mount.client()
    answer = slew(client, high(mount, alt=5))
    assert answer.startswith("ERR LIMIT the target is at altitude 5.0")
    assert client.ask("GET state") == "OK idle"


def test_tracking_into_the_limit_stops(mount: Any) -> None:
    client = mount.client()
    slew(client, high(mount, alt=11, az=270))
    mount.advance(120)
    assert client.ask("GET state") == "OK tracking"
    client.read()
    for _ in range(100):
        mount.advance(10)
    assert client.read() == ["EVT limit_reached limit=altitude"]
    assert client.ask("GET state") == "OK idle"
    assert client.numbers("GET altitude")[0] == pytest.approx(10, abs=0.1)
    assert client.ask("SET tracking on").startswith("ERR LIMIT")


def test_a_target_that_sets_on_the_way_is_a_failed_slew(rig: Rigs) -> None:
    slow = rig("telescope", speed=1, parked=False, slew_rate=0.05, pointing_noise=0, altitude_limit=10)
    client = slow.client()
    assert slew(client, high(slow, alt=12, az=270), "late").startswith("BUSY")
    slow.advance(3600)
    (event,) = client.read()
    assert event.startswith("EVT slew_failed tag=late reason=")
    assert client.ask("GET state") == "OK idle"


def test_a_new_slew_replaces_a_running_one(mount: Any) -> None:
    client = mount.client()
    slew(client, high(mount), "old")
    mount.advance(5)
    here = where(client)
    client.read()
    target = high(mount, alt=60, az=90)
    assert slew(client, target, "new").startswith("BUSY")
    assert client.read() == ["EVT slew_aborted tag=old"]
    assert separation(where(client), here) < 1e-6
    mount.advance(200)
    assert [line.split()[1] for line in client.read()] == ["slew_finished"]
    assert separation(where(client), target) < 1e-6


def test_stop_leaves_it_where_it_is(mount: Any) -> None:
    client = mount.client()
    slew(client, high(mount), "x")
    mount.advance(5)
    here = where(client)
    assert client.ask("DO stop") == "OK"
    assert client.read() == ["EVT slew_aborted tag=x"]
    assert client.ask("GET state") == "OK idle"
    assert separation(where(client), here) < 1e-5
    assert client.ask("GET target").startswith("ERR STATE")
    mount.advance(300)
    assert client.read() == []
    assert mount.timers() == 0
    assert client.ask("DO stop") == "OK"
    assert client.read() == []


def test_park_and_unpark(mount: Any) -> None:
    client = mount.client()
    slew(client, high(mount, alt=40), "x")
    mount.advance(5)
    client.read()
    assert client.ask("DO park").startswith("BUSY")
    assert client.read() == ["EVT slew_aborted tag=x"]
    assert client.ask("GET state") == "OK parking"
    assert slew(client, high(mount)).startswith("ERR BUSY")
    assert client.ask("DO unpark").startswith("ERR BUSY")
    assert client.ask("DO park").startswith("BUSY")
    mount.advance(200)
    assert client.read() == ["EVT park_finished"]
    assert client.ask("GET state") == "OK parked"
    assert client.numbers("GET altitude") == pytest.approx([80, 0], abs=1e-3)
    assert client.ask("DO park") == "OK"
    assert slew(client, high(mount)).startswith("ERR STATE the telescope is parked")
    assert client.ask("SET tracking on").startswith("ERR STATE")
    assert client.ask("DO unpark") == "OK"
    assert client.ask("GET state") == "OK idle"
    assert slew(client, high(mount)).startswith("BUSY")


def test_stopping_a_park_is_told(mount: Any) -> None:
    client = mount.client()
    slew(client, high(mount, alt=40))
    mount.advance(200)
    client.read()
    client.ask("DO park")
    mount.advance(2)
    assert client.ask("DO stop") == "OK"
    assert client.read() == ["EVT park_aborted"]
    assert client.ask("GET state") == "OK idle"


def test_it_starts_parked_unless_told_otherwise(rig: Rigs) -> None:
    assert rig("telescope").client().ask("GET state") == "OK parked"


def test_tracking_can_be_switched(mount: Any) -> None:
    client = mount.client()
    assert client.ask("GET tracking") == "OK off"
    assert client.ask("SET tracking on") == "OK"
    here = where(client)
    mount.advance(300)
    assert separation(where(client), here) < 1e-6
    assert client.ask("GET tracking") == "OK on"
    assert client.ask("SET tracking off") == "OK"
    assert client.ask("GET state") == "OK idle"
    assert client.ask("SET tracking off") == "OK"
    assert client.ask("DO track on=1") == "OK"
    assert client.ask("GET tracking") == "OK on"
    assert client.ask("DO track on=0") == "OK"
    assert client.ask("GET tracking") == "OK off"
    slew(client, high(mount))
    assert client.ask("SET tracking off").startswith("ERR BUSY")
    assert client.ask("DO track on=1").startswith("ERR BUSY")


def test_pointing_errors_are_seeded_and_of_the_right_size(rig: Rigs) -> None:
    errors = []
    for seed in (1, 1, 2):
        each = rig("telescope", parked=False, pointing_noise=10, seed=seed)
        client = each.client()
        target = high(each)
        slew(client, target)
        each.advance(60)
        errors.append(separation(where(client), target) * 3600)
    assert errors[0] == errors[1] != errors[2]
    assert all(0.1 < error < 60 for error in errors)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("DO slew ra=10", "ERR VALUE slew takes dec=<a number from -90 to 90>"),
        ("DO slew ra=400 dec=0", "ERR VALUE ra must be a number from 0 to 360, not '400'"),
        ("DO slew ra=nan dec=0", "ERR VALUE ra must be a number from 0 to 360, not 'nan'"),
        ("DO slew ra=1_0 dec=0", "ERR VALUE ra must be a number"),
        ("DO slew ra=1 dec=2 speed=3", "ERR VALUE slew takes no speed="),
        (f"DO slew ra=1 dec=2 tag={'x' * 101}", "ERR VALUE tag must have at most 100 characters"),
        ("DO stop now=1", "ERR VALUE stop takes no now="),
        ("DO track", "ERR VALUE track takes on=<one of 0, 1>"),
        ("DO track on=0.5", "ERR VALUE on must be one of 0, 1, not '0.5'"),
        ("DO sync ra=1", "ERR VALUE sync takes dec=<a number from -90 to 90>"),
        ("DO move first=1", "ERR VALUE move takes second=<a number from -360 to 360>"),
        ("SET tracking maybe", "ERR VALUE tracking must be one of on, off, not 'maybe'"),
        ("GET colour", "ERR UNKNOWN there is no property 'colour'; there is id, state"),
        ("SET position 1", "ERR UNKNOWN"),
        ("DO dance", "ERR UNKNOWN there is no action 'dance'; there is slew"),
        ("hello", "ERR SYNTAX 'hello' is not GET, SET, DO or FAULT"),
    ],
)
def test_mistakes_are_answered_with_what_would_be_right(mount: Any, request_: str, answer: str) -> None:
    assert mount.ask(f"#9 {request_}").startswith(f"#9 {answer}")
    assert mount.ask("GET state") == "OK idle"
