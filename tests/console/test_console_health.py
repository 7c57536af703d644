"""The page Health, ``/health`` for load balancers, and Prometheus' figures."""

from __future__ import annotations

import pytest

from pyros.console.roles import Role
from tests.console.conftest import RunningConsole


def test_strangers_get_the_word_alone(console: RunningConsole) -> None:
    answer = console.browser().get("/health")
    assert answer.status == 503  # nothing of it runs
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.json == {"status": "fail", "version": "1"}
    assert console.browser().get("/health/live").json == {"status": "pass"}
    assert console.browser().get("/metrics").status == 401


def test_page_body_and_figures_say_the_same(console: RunningConsole) -> None:
    browser = console.browser(Role.VIEWER)
    body = browser.get("/health").json
    page = browser.get("/checks.json").json
    assert {check["name"]: check["verdict"] for check in page["checks"]} == {
        name.replace(":", ".", 1): found[0]["verdict"] for name, found in body["checks"].items()
    }
    assert body["checks"]["agents:running"][0]["status"] == "fail"
    html = browser.get("/checks").body
    assert "agents.running" in html
    figures = browser.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'pyros_check_status{check="agents.running"} 2.0' in figures.body
    assert 'pyros_agent_up{agent="dome"} 0.0' in figures.body


@pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics"])
def test_nobody_posts_there(console: RunningConsole, path: str) -> None:
    assert console.browser(Role.ADMIN).post(path).status == 405
