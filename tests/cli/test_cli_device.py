"""Ctrl-C at any moment of a command to a device."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import Any

import pytest
import typer
from twisted.internet.defer import Deferred

from pyros.cli.instruments import shell
from pyros.cli.instruments.device import DeviceSession
from pyros.config import Config
from pyros.errors import CommandAborted
from tests.builders import InlineReactor


class InterruptedReactor(InlineReactor):
    """Does at once what it is given; the first time, Ctrl-C is pressed before the caller goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.pressed = False

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:  # noqa: A002  Twisted's name
        callable(*args, **kwargs)
        if not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def session() -> DeviceSession:
    nothing: Any = None
    return DeviceSession("camera", nothing, InterruptedReactor(), nothing, nothing)


def test_ctrl_c_just_after_a_command_was_given_ends_the_command(session: DeviceSession) -> None:
    command: Deferred[str] = Deferred()
    with pytest.raises(CommandAborted, match="as asked"):
        session.wait(lambda: command, lambda: command.errback(CommandAborted("as asked")))


def test_ctrl_c_on_what_cannot_be_stopped_is_raised_when_it_is_under_way(session: DeviceSession) -> None:
    given: list[Deferred[str]] = []

    def give() -> Deferred[str]:
        given.append(Deferred())
        return given[-1]

    with pytest.raises(KeyboardInterrupt):
        session.wait(give)
    assert given


@pytest.mark.parametrize("somebody", [True, False])
def test_ctrl_c_between_two_commands_ends_a_script_and_not_a_person_s_shell(
    config: Config, monkeypatch: pytest.MonkeyPatch, somebody: bool
) -> None:
    heard = []

    class HeardCommandLine:
        def __init__(self, _: object) -> None: ...

        def obey(self, text: str) -> bool:
            heard.append(text)
            if text == "first":
                raise KeyboardInterrupt
            return True

    class Stdin:
        def isatty(self) -> bool:
            return somebody

    monkeypatch.setattr(shell, "CommandLine", HeardCommandLine)
    monkeypatch.setattr(shell, "device_session", lambda *_, **__: nullcontext())
    monkeypatch.setattr(shell, "typed_lines", lambda *_: iter(["first", "second"]))
    monkeypatch.setattr("sys.stdin", Stdin())
    with pytest.raises(typer.Exit if somebody else KeyboardInterrupt):
        shell.shell("camera", config=config.path)
    assert heard == (["first", "second"] if somebody else ["first"])
