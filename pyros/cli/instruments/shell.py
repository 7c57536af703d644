"""``pyros instruments shell``: an interactive line to a device, through its driver."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import typer
from twisted.internet.defer import Deferred

from pyros import config as configuration
from pyros.cli.common import ConfigOption, complain, out
from pyros.cli.instruments.device import AnywayOption, DeviceSession, NameArgument, device_session
from pyros.errors import PyrosError
from pyros.instruments import interfaces
from pyros.kinds import KINDS, load

_UNITS = {
    "ra": "degrees, ICRS", "dec": "degrees, ICRS", "azimuth": "degrees", "seconds": "s", "position": "steps",
    "celsius": "degrees Celsius, or off", "channel": "number from 0", "on": "on or off", "dark": "on or off",
}  # fmt: skip
_HISTORY = 1000
_VERBS = ("GET", "SET", "DO", "FAULT")


def shell(name: NameArgument, anyway: AnywayOption = False, config: ConfigOption = None) -> None:
    """Talk to a device, through its driver: one command a line, help for what there is, Ctrl-D to end.

    Commands are the methods of its kind of instrument, such as slew 83.6 22.0;
    a device of the native grammar also takes its lines as they are (GET state).
    Ctrl-C aborts the command that runs, not the shell. Lines may come from a
    pipe; the exit code is then 1 if one of them failed.

    Examples:
      pyros instruments shell telescope
      printf 'state\\nposition\\n' | pyros instruments shell telescope
    """
    loaded = configuration.load(config)
    with device_session(loaded, name, anyway, on_event=lambda text: out.print(f"it says: {text}")) as session:
        line = CommandLine(session)
        failures = 0
        for text in typed_lines(name, loaded.data / "instrument_history"):
            try:
                if not line.obey(text):
                    break
            except (PyrosError, ValueError) as error:
                failures += 1
                complain(f"{type(error).__name__}: {error}" if isinstance(error, PyrosError) else str(error))
            except KeyboardInterrupt:  # between two commands, or a second one
                if not sys.stdin.isatty():
                    raise
                out.print()
    raise typer.Exit(1 if failures and not sys.stdin.isatty() else 0)


class CommandLine:
    """Understands a line and carries it out."""

    def __init__(self, session: DeviceSession) -> None:
        self.session = session
        protocol = load(f"pyros.instruments.{KINDS[session.kind].interface}")
        self.methods: dict[str, Callable[..., Any]] = {
            name: method
            for klass in (protocol, interfaces.Instrument)
            for name, method in vars(klass).items()
            if inspect.isfunction(method) and not name.startswith("_") and name != "disconnect"
        }

    def obey(self, text: str) -> bool:
        """Carry out one line; False at the wish to end. Raises PyrosError or ValueError for what didn't work."""
        words = shlex.split(text, comments=True)
        if not words:
            return True
        command, *rest = words
        if command in ("quit", "exit"):
            return False
        if command == "help":
            self._help(rest)
        elif command in _VERBS:
            self._raw(text.strip())
        elif command not in self.methods:
            raise ValueError(f"no command {command!r}; there are: help, quit, {', '.join(self.methods)}")
        else:
            self._call(command, rest)
        return True

    def _call(self, command: str, words: list[str]) -> None:
        arguments = self._arguments(command, words)
        method = getattr(self.session.device, command)
        if "started" in inspect.signature(self.methods[command]).parameters:
            arguments["started"] = lambda seconds: out.print(f"begun; it thinks that takes {seconds:.3g} s")
        result = self.session.wait(
            lambda: method(**arguments), self._stop if command not in ("stop", "abort") else None
        )
        out.print(in_words(result))

    def _stop(self) -> Any:
        """End the command that runs, as far as the device can be stopped."""
        stop = getattr(self.session.device, "stop", None) or getattr(self.session.device, "abort", None)
        return stop() if stop is not None else None

    def _arguments(self, command: str, words: list[str]) -> dict[str, Any]:
        """Read the words as the method's arguments, by their order or as ``name=value``; raises ValueError."""
        wanted = self._parameters(command)
        names = self.methods[command].__globals__ | {"Deferred": Deferred, "WeatherReading": Any}
        hints = get_type_hints(self.methods[command], names)
        found: dict[str, Any] = {}
        in_order = [each for each in wanted if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        for word in words:
            key, equals, value = word.partition("=")
            named = next((each for each in wanted if equals and each.name == key), None)
            parameter = named or next((each for each in in_order if each.name not in found), None)
            if parameter is None:
                raise ValueError(f"{word}: too much; {self._usage(command)}")
            found[parameter.name] = _value(parameter.name, value if named else word, hints[parameter.name])
        missing = [each.name for each in wanted if each.default is each.empty and each.name not in found]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing; {self._usage(command)}")
        return found

    def _parameters(self, command: str) -> list[inspect.Parameter]:
        parameters = list(inspect.signature(self.methods[command]).parameters.values())
        return [each for each in parameters if each.name not in ("self", "started")]

    def _usage(self, command: str) -> str:
        words = [command]
        for each in self._parameters(command):
            text = f"{each.name} ({_UNITS[each.name]})" if each.name in _UNITS else each.name
            words.append(text if each.default is each.empty else f"[{each.name}={each.default!r}]")
        return f"usage: {' '.join(words)}"

    def _help(self, words: list[str]) -> None:
        for name in words or self.methods:
            if name not in self.methods:
                raise ValueError(f"no command {name!r}; there are: {', '.join(self.methods)}")
            about = inspect.getdoc(self.methods[name]) or ""
            out.print(f"{self._usage(name).removeprefix('usage: ')}")
            for line in about.splitlines() if words else about.splitlines()[:1]:
                out.print(f"    {line}")
        if not words:
            native = hasattr(self.session.device, "raw")
            out.print(
                "help COMMAND tells more; quit ends." + (" GET, SET and DO go to the device as they are." * native)
            )

    def _raw(self, text: str) -> None:
        raw = getattr(self.session.device, "raw", None)
        if raw is None:
            raise ValueError("only a device of the native grammar takes such lines")
        out.print(self.session.wait(lambda: raw(text)))


def in_words(result: Any) -> str:
    """Tell people what a command has measured."""
    if result is None:
        return "OK"
    if isinstance(result, interfaces.Image):
        height, width = result.pixels.shape
        span = f"{result.pixels.min()} to {result.pixels.max()} ADU"
        return f"an image of {width} x {height}, {result.seconds:g} s, {span}"
    if is_dataclass(result):
        return " ".join(f"{each.name}={_plain(getattr(result, each.name))}" for each in fields(result))
    if isinstance(result, msgspec.Struct):
        return " ".join(f"{name}={_plain(value)}" for name, value in msgspec.structs.asdict(result).items())
    if isinstance(result, tuple):
        return "\n".join(in_words(each) for each in result) or "none"
    return _plain(result)


def _plain(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _value(name: str, word: str, hint: Any) -> Any:
    """Read a word as the type that the interface wants; raises ValueError naming the argument."""
    if hint is str:
        return word
    if word == "off" and type(None) in getattr(hint, "__args__", ()):
        return None
    if hint is bool:
        if word not in ("on", "off"):
            raise ValueError(f"{name}: {word!r} is not on or off")
        return word == "on"
    try:
        return int(word) if hint is int else float(word)
    except ValueError:
        raise ValueError(f"{name}: {word!r} is not a {'whole ' if hint is int else ''}number") from None


def typed_lines(prompt: str, history: Path) -> Iterator[str]:
    """Read what is typed, or comes from a pipe, line by line; Ctrl-C at the prompt begins a new line."""
    if not sys.stdin.isatty():
        for text in sys.stdin:  # noqa: UP028  yield from would close it
            yield text
        return
    import readline  # noqa: PLC0415  it takes the terminal

    with suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY)
    try:
        while True:
            try:
                yield input(f"{prompt}> ")
            except KeyboardInterrupt:
                out.print()
            except EOFError:
                out.print()
                return
    finally:
        with suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)
