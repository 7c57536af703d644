"""What simulated devices share whose state follows a script until somebody sets it by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pyros.clock import Clock
from pyros.simulators.device import SimulatedDevice, one_of
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.settings import Settings

State = TypeVar("State")


class ScriptedDevice(SimulatedDevice, Generic[State]):
    """A device whose state changes at the script's times. ``SET script auto`` ends what was set by hand.

    ``first`` is its state at the start; each of ``steps`` is seconds after the start, and the state from then on.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        emit: Callable[[DeviceAnswer], None],
        first: State,
        steps: Sequence[tuple[float, State]],
    ) -> None:
        super().__init__(settings, clock, emit)
        self._scripted = first
        self._by_hand: State | None = None
        self._steps = list(steps)
        self._start = self.device_clock.monotonic()
        self.properties["script"] = lambda: ok("auto" if self._by_hand is None else "manual")
        self.settable["script"] = self._follow_script
        self._await_step()

    @property
    def busy(self) -> bool:
        return False  # the script's timers are nobody's command

    @property
    def current(self) -> State:
        """The state that was set by hand, else the script's."""
        return self._scripted if self._by_hand is None else self._by_hand

    def set_by_hand(self, state: State) -> None:
        """Overrule the script."""
        self._change(self._scripted, state)

    def before_change(self) -> None:
        """Do what needs the state as it was; by default nothing."""

    def after_change(self, before: State) -> None:
        """Tell every client what is new, if anything is."""
        raise NotImplementedError

    def _follow_script(self, values: tuple[str, ...]) -> DeviceAnswer:
        one_of("script", values, ["auto"])
        self._change(self._scripted, None)
        return ok()

    def _await_step(self) -> None:
        """Wait for the next step of the script, if there is one."""
        if not self._steps:
            return
        at, state = self._steps.pop(0)

        def due() -> None:
            self._change(state, self._by_hand)
            self._await_step()

        self.later("script", max(0.0, self._start + at - self.device_clock.monotonic()), due)

    def _change(self, scripted: State, by_hand: State | None) -> None:
        self.before_change()
        before = self.current
        self._scripted, self._by_hand = scripted, by_hand
        self.after_change(before)
