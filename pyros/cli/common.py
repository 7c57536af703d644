"""What the commands share: how errors are told, the --config option, the two consoles, the programs they start."""

from __future__ import annotations

import errno
import getpass
import os
import shutil
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from typer.core import TyperGroup

from pyros import config as configuration
from pyros.clock import RealClock
from pyros.config import Config
from pyros.errors import ConfigError, PyrosError
from pyros.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from pyros.views.observed import Observed


class PrintableConsole(Console):
    """Writes what is printable, ends of lines, and its own colours: nothing that others have put into a text."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)


# What PYROS prints is full of [sections] and paths: no markup, no guessing of what to colour, no breaking of lines.
out = PrintableConsole(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = PrintableConsole(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The observatory's configuration. Without it: $PYROS_AGENT_CONFIG, else pyros_agent_config.ini here.",
        show_default=False,
    ),
]
UnitOption = Annotated[
    str,
    typer.Option("--unit", metavar="UNIT", help="Of several telescopes, this one alone.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON, one object a line.")]

_YEARS = range(1950, 2151)
"""What a night may be asked for: beyond them nobody knows how the Earth will have turned."""
LONGEST_WAIT = 7 * 86_400.0
"""Seconds that a command may be told to wait: sockets and clocks refuse what is beyond some years."""
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_UsageError: Any = typer.BadParameter.__mro__[1]  # click's, whether typer brings its own click or not


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of a disk, which is full, may only be read, or is broken: none is a mistake of the program."""


class Group(TyperGroup):
    """Commands whose errors are told in one line each on stderr, with exit code 1 and without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PyrosError as error:
            complain(str(error))
            raise typer.Exit(1) from None
        except PermissionError as error:
            complain(f"{error.filename}: this user may not read or write it ({error.strerror})")
            raise typer.Exit(1) from None

    def main(self, *args: Any, **how: Any) -> Any:
        """Run a command line, and end the program with its exit code: 1 an error, 2 wrong usage, 130 Ctrl-C."""
        try:
            code = super().main(*args, **how | {"standalone_mode": False})
        except typer.Abort:
            code = 130
        except _UsageError as error:
            where = error.ctx.command_path if error.ctx else "pyros"
            complain(" ".join(error.format_message().split()) + f" (see {where} --help)")
            code = error.exit_code
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            complain(_disk_error(error))
            code = 1
        sys.exit(_written(code if isinstance(code, int) else 0))


def _disk_error(error: OSError) -> str:
    return f"{error.filename or 'cannot be written'}: {error.strerror}"


def _written(code: int) -> int:
    """Write what waits for standard output, and return the exit code: 1 in the place of 0 where that fails.

    What cannot be written is dropped: Python would try it once more at its end, and complain in words of its own.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if error.errno in _OF_THE_DISK and not code:
            complain(_disk_error(error))
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stdout.fileno())
            os.close(nothing)
        return code or 1
    return code


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Signals that come meanwhile take effect afterwards, when it is known what has to be ended. In the main thread."""
    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    heard = [number for number, handler in before.items() if callable(handler)]
    for number in heard:
        signal.signal(number, lambda number, _frame: waiting.append(number))
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
        if waiting:
            signal.raise_signal(waiting[0])


@contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """End a command at SIGTERM, and when its terminal is closed, as Ctrl-C does: nothing is left running, or as it was.

    Only the first signal counts: ``make`` passes on what the whole group was sent, and a second one in the middle of
    ending the observatory would leave that running. What whoever started us wants ignored stays ignored.
    """
    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in heard:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def complain(text: str) -> None:
    """Tell an error: each line of it is one mistake."""
    for line in text.splitlines():
        err.print(f"pyros: {line}", style="red" if err.is_terminal else "")


def job_progress(percent: float, text: str) -> None:
    """Tell how far a command is, where it runs as a job, whose queue reads it."""
    if "PYROS_JOB" in os.environ:
        from pyros.jobs import progress  # noqa: PLC0415  for jobs alone

        progress(percent, text)


def load_unit(file: Path | None, unit: str) -> Config:
    """Read the configuration as a telescope's unit sees it; of one telescope there is no choice. Raises ConfigError."""
    config = configuration.load(file)
    units = config.telescopes
    if not units and not unit:
        return config
    if (seen := unit or (units[0] if len(units) == 1 else "")) not in units:
        there = ", ".join(units) or "one without a name"
        raise ConfigError([f"{config.path}: name the telescope with --unit (there are: {there})"])
    return config.seen_from(seen)


def load_units(file: Path | None, unit: str) -> Config:
    """Read the configuration as `load_unit` does, or, where there are several telescopes and none is named, whole."""
    config = configuration.load(file)
    return config if len(config.telescopes) > 1 and not unit else load_unit(file, unit)


@contextmanager
def looking(config: Config) -> Iterator[Observed]:
    """Lend the views' way into an observatory; one whose site cannot be read is looked at without a sky.

    Raises JournalError where this user may not look into its folder.
    """
    from pyros.views.observed import Observed  # noqa: PLC0415  commands that look at nothing don't load it

    try:
        observed = Observed(config)
    except ConfigError:
        observed = Observed(msgspec.structs.replace(config, site=configuration.NOWHERE))
    try:
        observed.require_folder()
        yield observed
    finally:
        observed.close()


def plain_table(*headings: str, right: Collection[str] = (), wraps: Collection[str] = ()) -> Table:
    """Make a table without lines.

    The columns of ``right`` stand on the right; only those of ``wraps`` break their text where it is wide.
    """
    made = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        made.add_column(heading, no_wrap=heading not in wraps, justify="right" if heading in right else "left")
    return made


def facts_table() -> Table:
    """Make a table of names and values, without headings."""
    return Table(box=None, show_header=False, pad_edge=False)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a progress bar on standard error, which is shown where that is a terminal."""
    from rich.progress import Progress  # noqa: PLC0415

    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the OSError of a file that cannot be written into a PyrosError that names it."""
    try:
        yield
    except OSError as error:
        raise PyrosError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_evening(text: str) -> date:
    """Read the date of a night's evening, of a year that Sun and Moon are computed for; raises ValueError."""
    found = date.fromisoformat(text)
    if found.year not in _YEARS:
        raise ValueError(f"the year must be from {_YEARS[0]} to {_YEARS[-1]}")
    return found


def evening(text: str, option: str = "") -> date:
    """Read the date of a night's evening; raises PyrosError naming the option."""
    try:
        return read_evening(text)
    except ValueError:
        raise PyrosError(f"{option}{text!r} is no date; give one like 2026-11-29") from None


def user_name(otherwise: str = "") -> str:
    """Return who runs the command; ``otherwise`` for a user id without a name."""
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return otherwise


def observatory_clock(config: Config) -> RealClock:
    """Make the clock as the observatory's agents have set it: with ``clock = night`` it is in its site's night."""
    from twisted.internet.task import Clock  # noqa: PLC0415  commands without a clock don't load it

    return RealClock(Clock(), config.shift_seconds())


def show(table: Table) -> None:
    """Print a table whose rows are never cut: where they are wider than the terminal, it breaks them."""
    wide = PrintableConsole(
        highlight=False, markup=False, emoji=False, width=max(out.width, 400), force_terminal=out.is_terminal
    )
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        out.file.write(f"{line.rstrip()}\n")


def short(path: Path) -> str:
    """Return a path as one would type it here: relative to the working directory if it is in there."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def program(name: str) -> str:
    """Return the path of a program that was installed with PYROS (``twistd``, ``comet-sendvo``).

    Raises PyrosError when it is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise PyrosError(f"{name} is not installed beside {sys.executable}: install PYROS again in this environment")
    return found


def twistd(config: Path) -> list[str]:
    """Return the command that runs a whole observatory in the foreground."""
    return [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros", "--config", str(config)]
