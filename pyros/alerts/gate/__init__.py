"""The gate before the alert manager: of a survey's millions of packets only those pass that some rule may want."""

from __future__ import annotations

from pyros.alerts.gate.gate import Gate
from pyros.alerts.gate.projection import Projection

__all__ = ["Gate", "Projection"]
