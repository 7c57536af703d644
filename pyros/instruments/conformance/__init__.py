"""What every driver must do, whatever it drives: for each kind of instrument a list of checks, in words.

The tests run them over every driver and every backend; ``pyros instruments test`` runs them on the real device, there
only the *gentle* ones unless it is told otherwise. A check assumes nothing of the state in which it finds the device,
and `tidy` leaves the device as a night's end would. Everything here runs in the reactor's thread.
"""

from __future__ import annotations

from importlib import import_module

from pyros.instruments.conformance._check import Check, CheckFailed, Context, Outcome, Result, run
from pyros.instruments.conformance._shared import remember, tidy
from pyros.instruments.interfaces import Kind
from pyros.kinds import KINDS

__all__ = ["CHECKS", "Check", "CheckFailed", "Context", "Outcome", "Result", "remember", "run", "tidy"]

CHECKS: dict[Kind, tuple[Check, ...]] = {kind: import_module(f"{__name__}.{kind}").CHECKS for kind in KINDS}
"""The checks of each kind, in the order in which they are best run on one device: the last one disconnects it."""
