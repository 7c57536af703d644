"""The walk of one alert as it happens: what runs of PYROS from an alert's last byte to its image on disk.

In a rehearsal every call of the timeline was asked for in another one. The calls that lead from the alert to the call
in which the FITS file is written are its walk; all else that happens meanwhile is not. The alert is the night's second:
connections stand, and the dome is open, so that the telescope is what the camera waits for.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pyros
from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.rehearsal import Rehearsal
from pyros.rehearsal.timeline import Call, Timeline

_PACKAGE = f"{Path(pyros.__file__).parent}/"
_FIRST, _SECOND = "ivo://pyros.observatory/demo#burst-1", "ivo://pyros.observatory/demo#burst-2"


@dataclass
class TracedStep:
    """A call of the timeline, and what ran in it."""

    cause: TracedStep | None
    """The call in which it was asked for."""
    lines: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The lines that ran, by files of the package."""
    messages: list[tuple[str, str]] = field(default_factory=list)
    """The messages that agents handled in it: (agent, name)."""

    def way(self) -> Iterator[TracedStep]:
        """Yield what led to it, itself first."""
        step: TracedStep | None = self
        while step is not None:
            yield step
            step = step.cause


class _Tracer:
    """Has each call of the timeline know its cause, and keeps the lines that run in calls that the alert has caused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: TracedStep | None = None
        self.asked: dict[Call, TracedStep] = {}
        self.made: list[TracedStep] = []
        call_at, run_call = Timeline.call_at, MemoryReactor.run_call

        def asked(timeline: Timeline, *arguments: Any) -> Call:
            call = call_at(timeline, *arguments)
            if self.now is not None:
                self.asked[call] = TracedStep(self.now)
            return call

        def made(reactor: MemoryReactor, call: Call) -> None:
            step = self.asked.pop(call, None)
            with self.during(step):
                run_call(reactor, call)
            if step is not None:
                self.made.append(step)

        monkeypatch.setattr(Timeline, "call_at", asked)
        monkeypatch.setattr(MemoryReactor, "run_call", made)

    def during(self, step: TracedStep | None) -> Any:
        return _During(self, step)

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        step, code = self.now, frame.f_code
        if step is None or not code.co_filename.startswith(_PACKAGE) or code.co_name == "<module>":
            return None
        file = f"pyros/{code.co_filename[len(_PACKAGE) :]}"
        lines = step.lines[file]
        if code.co_qualname == "Agent.analyze_message":
            step.messages.append((frame.f_locals["self"].name, frame.f_locals["message"].name))

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return line

        return line


class _During:
    def __init__(self, tracer: _Tracer, step: TracedStep | None) -> None:
        self._tracer, self._step, self._before = tracer, step, tracer.now

    def __enter__(self) -> None:
        self._tracer.now = self._step
        self._trace = sys.gettrace()
        sys.settrace(self._tracer.trace if self._step is not None else None)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._trace)
        self._tracer.now = self._before


def walk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[TracedStep]:
    """Rehearse it in a new folder, and return its steps in their order; what simulators do is not among them."""
    tracer = _Tracer(monkeypatch)
    night = Rehearsal(folder)
    try:
        night.until(lambda: night.said("the weather is safe"))
        night.publish(night.burst(_FIRST, night.place(55, 140)))
        night.until(lambda: night.said("Observation finished"))
        night.run(5)
        images, packet = len(night.images()), night.burst(_SECOND)
        with tracer.during(TracedStep(None)):
            night.publish(packet)
        night.until(lambda: len(night.images()) > images)
    finally:
        night.close()
    last = next(step for step in tracer.made if "pyros/instruments/fits.py" in step.lines)
    steps = [step for step in last.way() if not any("/simulators/" in file for file in step.lines)]
    return steps[::-1]
