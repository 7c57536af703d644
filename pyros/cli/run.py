"""``pyros run``: the whole observatory in the foreground."""

from __future__ import annotations

import os
import sys

from pyros import config as configuration
from pyros.cli.common import ConfigOption, twistd


def run(config: ConfigOption = None) -> None:
    """Run the whole observatory in the foreground, until Ctrl-C.

    The broker, every agent of the configuration and its simulators, in one
    process: what twistd -n --pidfile= pyros --config FILE does.

    Examples:
      pyros run
      pyros run --config my_observatory.ini
    """
    file = configuration.load(config).path  # a mistake in it is told before twistd begins
    command = twistd(file)
    sys.stdout.flush()
    os.execv(command[0], command)  # twistd is the process then: signals reach it, and nothing stays behind
