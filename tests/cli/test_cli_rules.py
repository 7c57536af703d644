"""``pyros rules template`` and ``reload``, and what ``pyros check`` says of rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyros.alerts import Rules
from pyros.alerts.rules import templates
from pyros.sender import Sender
from tests.cli.conftest import fails, run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_template_is_listed_and_is_a_file_of_rules(tmp_path: Path) -> None:
    listed = run("rules", "template").stdout
    for kind in templates.KINDS:
        assert kind in listed
        (tmp_path / "rules.yaml").write_text(run("rules", "template", kind).stdout)
        assert Rules.load(tmp_path / "rules.yaml").rules
    refused = run("rules", "template", "astrology")
    assert refused.exit_code == 2
    assert "there is no template 'astrology'" in refused.output


def test_rules_are_checked_before_the_agent_is_told(observatory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Sender, "send_to", lambda *args, **_: told.append(args))
    done = run("rules", "reload", "--config", observatory)
    assert done.exit_code == 0, done.output
    assert "rules are in force" in done.stdout
    assert told == [("alert_manager", "Reload rules")]
    edit(observatory.parent / "observatory" / "alert_rules.yaml", "priority: 100", "priority: high")
    fails(["rules", "reload", "--config", observatory], "priority: must be a whole number")
    assert len(told) == 1


def test_a_reload_without_an_alert_manager_says_so(observatory: Path) -> None:
    fails(["rules", "reload", "--config", observatory, "--timeout", "1"], "alert_manager")


def test_check_names_what_can_never_fit_and_what_is_missing_on_an_alerts_way(observatory: Path) -> None:
    rules = observatory.parent / "observatory" / "alert_rules.yaml"
    edit(rules, "      stream: fermi\n", "      stream: fermi\n      min_declination: 50\n      max_declination: 10\n")
    edit(observatory, "[majordome]", "[another]")
    result = run("check", "--config", observatory)
    assert "can never fit: min_declination 50 is above max_declination 10" in result.stderr
    assert "[majordome]: no such section, but there is [scheduler]: nobody carries its plan out" in result.stderr
