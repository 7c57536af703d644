"""``pyros run``: the whole observatory in the foreground."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, twistd


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


def run(
    log_format: Annotated[LogFormat, typer.Option(help="The log as text, or JSON, an object a line.")] = LogFormat.TEXT,
    log_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the log there; rotated, 100 MB at most.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run the whole observatory in the foreground, until Ctrl-C.

    The broker, every agent of the configuration and its simulators, in one
    process: what twistd -n --pidfile= pyros --config FILE does.

    Examples:
      pyros run
      pyros run --config my_observatory.ini
      pyros run --log-format json --log-file pyros.log
    """
    file = configuration.load(config).path  # a mistake in it is told before twistd begins
    command = [*twistd(file), "--log-format", log_format.value]
    if log_file is not None:
        at = command.index("--pidfile=")
        command[at:at] = ["--logfile", str(log_file.absolute())]
    sys.stdout.flush()
    os.execv(command[0], command)  # twistd is the process then: signals reach it, and nothing stays behind
