"""Every check of every kind, over the native driver and the simulators of the demo, on virtual time.

Each has its own codec of the grammar, and the bytes between them come in pieces of 7.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from pyros import instruments
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.conformance import CHECKS, Check, Context, Result, run, tidy
from pyros.kinds import KINDS
from tests.instruments.conftest import DeviceWorld, Simulate

DEVICES = (*KINDS, "roof")
CHANGED: dict[str, dict[str, Any]] = {
    "camera": {"width": 48, "height": 32, "filter_wheel": ""},
    "dome": {"rotation_rate": 6.0},
}
ROOF = "it is a roof: its slit does not turn"
LACKS: dict[str, dict[str, str]] = {
    "roof": {
        "turns its slit and back, and measures it": ROOF,
        "a newer turn takes the place of the older, which ends with CommandAborted": ROOF,
        "stop ends a turn with CommandAborted": ROOF,
        "an azimuth beyond 360 degrees is refused, or taken round the circle": ROOF,
    }
}
"""What the devices don't have, in their own words."""


def kind_of(name: str) -> Any:
    return "dome" if name == "roof" else name


CASES = [pytest.param(name, check, id=f"{name}: {check}") for name in DEVICES for check in CHECKS[kind_of(name)]]


@pytest.fixture
def connect(simulate: Simulate, world: DeviceWorld) -> Callable[[str], Any]:
    world.cut = 7
    return lambda name: simulate(kind_of(name), **CHANGED.get(name, {}))


@pytest.mark.parametrize(("name", "check"), CASES)
def test_the_native_driver_conforms(
    name: str, check: Check, connect: Callable[[str], Any], world: DeviceWorld, context: Context
) -> None:
    result: Result = world.result(Deferred.fromCoroutine(run(check, connect(name), context)), 3000)
    lacks = LACKS.get(name, {}).get(check.name, "")
    assert (result.outcome, result.reason) == ("not supported" if lacks else "passed", lacks)


@pytest.mark.parametrize("name", DEVICES)
def test_all_checks_in_a_row_and_the_device_is_left_in_order(
    name: str, connect: Callable[[str], Any], world: DeviceWorld, context: Context
) -> None:
    kind, device = kind_of(name), connect(name)
    for check in CHECKS[kind][:-1]:
        result = world.result(Deferred.fromCoroutine(run(check, device, context)), 3000)
        assert result.outcome in ("passed", "not supported"), result
    assert world.result(Deferred.fromCoroutine(tidy(kind, device)), 60) == ""
    if kind in ("telescope", "dome"):
        assert world.result(device.state()) == {"telescope": "parked", "dome": "closed"}[kind]


class AnsweringDevice:
    """A device that answers what a test wants, at once or never."""

    connected = True
    name = "Wrong"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        return partial(self._answer, name)

    def _answer(self, name: str, *_: Any, **__: Any) -> Deferred[Any]:
        answer = self.answers[name]
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


@pytest.mark.parametrize(
    ("read", "outcome", "reason"),
    [
        (instruments.Safety(True), "passed", ""),
        (instruments.Safety("yes"), "failed", "it says 'yes', not True or False"),  # type: ignore[arg-type]
        (DeviceFailed("broken"), "failed", "DeviceFailed: broken"),
        (DeviceRefused("UNSUPPORTED", "no"), "not supported", "DeviceRefused: UNSUPPORTED: no"),
        (DeviceRefused("STATE", "no"), "failed", "DeviceRefused: STATE: no"),
        (KeyError("x"), "failed", "an error that no driver may end with: KeyError: 'x'"),
    ],
)
def test_a_result_says_what_was_wrong(
    read: Any, outcome: str, reason: str, world: DeviceWorld, context: Context
) -> None:
    check = CHECKS["safety"][0]
    result = world.result(Deferred.fromCoroutine(run(check, AnsweringDevice(read=read), context)))
    assert (result.check, result.outcome, result.reason) == (check, outcome, reason)


def test_what_never_ends_has_failed(world: DeviceWorld, context: Context) -> None:
    result = world.result(
        Deferred.fromCoroutine(run(CHECKS["safety"][0], AnsweringDevice(read=Deferred()), context)), context.limit + 1
    )
    assert (result.outcome, result.reason) == ("failed", "no end within 900 s")
    assert result.seconds == pytest.approx(900)


def test_a_wheel_that_turns_the_wrong_filter_in_is_found_out(world: DeviceWorld, context: Context) -> None:
    wheel = AnsweringDevice(filters=("g", "r"), select="g", filter="g", state="idle")
    results = {
        str(check): world.result(Deferred.fromCoroutine(run(check, wheel, context)))
        for check in CHECKS["filter_wheel"][1:4]
    }
    assert [(each.outcome, each.reason) for each in results.values()] == [
        ("failed", "told to select 'r', it ended with 'g'"),
        ("passed", ""),
        ("not supported", "this device is too quick to be interrupted"),
    ]


def test_names_are_unique_and_the_last_check_disconnects() -> None:
    for kind, checks in CHECKS.items():
        assert len({check.name for check in checks}) == len(checks), kind
        assert "disconnected" in checks[-1].name
        assert all(check.gentle for check in checks[:1])
