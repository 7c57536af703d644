"""Shows what happens to an alert: a line for each step, bars for what takes time, and a table of the times.

Where the output is no terminal there are lines only, without any control character.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pyros.cli.common import plain_table
from pyros.clock import Deadline
from pyros.views.timeline import LOOK_EVERY, Follower
from pyros.views.timeline_steps import (
    Arrived,
    Decided,
    DomeOpened,
    Ended,
    ImageOnDisk,
    OnTarget,
    Planned,
    Published,
    ShutterOpened,
    SlewCommanded,
    SourceDetected,
    TakenBack,
    TelescopeAsked,
    TimelineStep,
    Trouble,
)

_LAST = ("finished", "stopped")
_STYLES = {Decided: "bold", ImageOnDisk: "green", SourceDetected: "green", Trouble: "yellow", Ended: "bold"}


class AlertTimeline:
    """The steps of one alert, shown while they happen; use it in a ``with`` statement."""

    def __init__(self, console: Console) -> None:
        self.steps: list[TimelineStep] = []
        self._console = console
        self._progress: Progress | None = None
        self._task: tuple[TaskID, Deadline, float] | None = None
        if console.is_terminal:
            columns = (TextColumn("             {task.description:<14}"), BarColumn(40), TimeRemainingColumn())
            self._progress = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> AlertTimeline:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar_ends()
        if self._progress:
            self._progress.stop()

    def watch(self, follower: Follower, seconds: float, *, patient: bool = True) -> Ended | Planned | None:
        """Show what the follower sees until the alert's end, which is returned, or for so many seconds.

        Who isn't ``patient`` also ends when the alert has to wait: a plan that doesn't start it is returned.
        """
        deadline = Deadline(seconds)
        while True:
            end: Ended | Planned | None = None
            for step in follower.look():
                self.show(step)
                if isinstance(step, Ended) or (isinstance(step, Planned) and not (patient or step.starts)):
                    end = end or step
            if end is not None:
                return end
            if not deadline.left():
                return None
            self._advance()
            deadline.pause(LOOK_EVERY)

    def linger(self, follower: Follower, seconds: float) -> None:
        """After the alert's end, and for so many seconds: the VOEvent that tells others of the end comes after it."""
        self._go_on(follower, seconds, lambda: any(isinstance(s, Published) and s.what in _LAST for s in self.steps))

    def linger_for_sources(self, follower: Follower, seconds: float) -> None:
        """After the alert's end, and for so many seconds: until something was found in as many images as there are."""

        def count(kind: type[TimelineStep]) -> int:
            return sum(isinstance(step, kind) for step in self.steps)

        self._go_on(follower, seconds, lambda: count(SourceDetected) >= count(ImageOnDisk))

    def _go_on(self, follower: Follower, seconds: float, done: Callable[[], bool]) -> None:
        deadline = Deadline(seconds)
        while not done() and deadline.left():
            for step in follower.look():
                self.show(step)
            deadline.pause(LOOK_EVERY)

    def show(self, step: TimelineStep) -> None:
        """Show one step, and begin or end its bar."""
        self.steps.append(step)
        what, text = in_words(step)
        where = f"{step.unit}: " if step.unit else ""
        line = f"{_seconds(step.at - self.arrival)}  {what:<16}{where}{text}".rstrip(" :")
        if not (isinstance(step, Ended) and step.how == "refused"):  # the decision has said it
            self._console.print(Text(line, _STYLES.get(type(step), "")))
        match step:
            case SlewCommanded():
                self._bar_begins(f"{where}slewing", step.seconds)
            case ShutterOpened():
                self._bar_begins(f"{where}exposing {step.number}/{step.of}", step.seconds)
            case OnTarget() | ImageOnDisk() | Trouble() | Ended():
                self._bar_ends()

    @property
    def arrival(self) -> float:
        """When the alert arrived, on the observatory's clock; 0 before it has."""
        return self.steps[0].at if self.steps else 0.0

    def times(self) -> Table:
        """How long each part took, from the alert's arrival and from the step before, in seconds."""
        table = plain_table("step", "from arrival", "its part", right=("from arrival", "its part"))
        before = self.arrival
        for name, at in self.milestones().items():
            table.add_row(name, _seconds(at - self.arrival), _seconds(at - before))
            before = at
        return table

    def milestones(self) -> dict[str, float]:
        """When each step first happened, of several telescopes at each: Unix seconds of the observatory's clock."""
        wanted: tuple[tuple[str, type[TimelineStep]], ...] = (
            ("received", Arrived),
            ("decided", Decided),
            ("asked", TelescopeAsked),
            ("planned", Planned),
            ("slew commanded", SlewCommanded),
            ("dome open", DomeOpened),
            ("on target", OnTarget),
            ("shutter opened", ShutterOpened),
            ("image on disk", ImageOnDisk),
            ("source found", SourceDetected),
        )
        found: dict[str, float] = {}
        for name, kind in wanted:
            for step in self.steps:
                if type(step) is kind:
                    found.setdefault(f"{step.unit}: {name}" if step.unit else name, step.at)
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _bar_begins(self, what: str, seconds: float) -> None:
        self._bar_ends()
        if self._progress and seconds > 0:
            self._task = (self._progress.add_task(what, total=seconds), Deadline(seconds), seconds)

    def _advance(self) -> None:
        if self._progress and self._task:
            task, deadline, seconds = self._task
            self._progress.update(task, completed=seconds - deadline.left())

    def _bar_ends(self) -> None:
        if self._progress and self._task:
            self._progress.remove_task(self._task[0])
        self._task = None


def in_words(step: TimelineStep) -> tuple[str, str]:
    """Tell what happened, in two words and in more."""
    match step:
        case Arrived():
            words = "alert received", f"by the broker, from {step.source}"
        case Decided():
            where = f"; ra {step.ra:.4f}°, dec {step.dec:+.4f}°" if step.ra is not None and step.dec is not None else ""
            words = "accepted" if step.accepted else "refused", step.reason + (where if step.accepted else "")
        case Planned():
            words = "planned" if step.starts else "waits", step.reason
        case DomeOpened() | TelescopeAsked():
            words = "asked" if isinstance(step, TelescopeAsked) else "dome open", ""
        case SlewCommanded():
            words = "slew commanded", f"the mount needs {step.seconds:.1f} s"
        case OnTarget():
            words = (
                "on target",
                f'ra {step.ra:.4f}°, dec {step.dec:+.4f}°, {step.error:.1f}" from the position asked for',
            )
        case ShutterOpened():
            words = (
                "shutter opened",
                f"image {step.number} of {step.of}, filter {step.filter}; ready in {step.seconds:.1f} s",
            )
        case ImageOnDisk():
            words = "image on disk", Path(step.path).name
        case SourceDetected() | Published():
            words = _what_came_of_it(step)
        case Trouble() | TakenBack():
            words = "trouble" if isinstance(step, Trouble) else "taken back", step.reason
        case Ended():
            words = step.how, step.reason or (f"{len(step.images)} images" if step.images else "")
        case _:
            words = type(step).__name__, ""
    return words


def _what_came_of_it(step: SourceDetected | Published) -> tuple[str, str]:
    if isinstance(step, Published):
        return "published", f"{step.what}: {step.ivorn}"
    error = "" if step.error is None else f" ± {step.error:.2f}"
    where = f"ra {step.ra:.4f}°, dec {step.dec:+.4f}°"
    return "source found", f"{step.filter} = {step.magnitude:.2f}{error} mag at {where}"


def _seconds(seconds: float) -> str:
    return f"{seconds:8.3f} s"
