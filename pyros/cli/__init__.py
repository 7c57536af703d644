"""The ``pyros`` command."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the ``pyros`` command line."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: no traceback of theirs
    from pyros.cli.app import app  # noqa: PLC0415

    try:
        signal.signal(signal.SIGINT, before)
        app()
    except KeyboardInterrupt:
        sys.exit(130)
