"""Alerts: packets of any stream understood, and the rules that decide what to observe."""

from __future__ import annotations

from pyros.alerts.alert import Alert, Kind, Role
from pyros.alerts.parse import form_of, parse, parse_all
from pyros.alerts.rules.rules import Decision, Rules

__all__ = ["Alert", "Decision", "Kind", "Role", "Rules", "form_of", "parse", "parse_all"]
