"""What Prometheus scrapes: its own tool is content, the figures are right, and labels are bounded."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from pyros import health, messages, views
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.health.figures import Figures
from pyros.health.metrics import metrics_text
from pyros.health.running import look
from tests.health.rig import HealthRig
from tests.views.written import received, write

pytest.importorskip("prometheus_client", reason="needs the extra [console]")
DASHBOARD = Path(health.__file__).with_name("grafana.json")


def samples(text: bytes) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def _decide(rig: HealthRig, count: int, *, observation: str = "", stream: str = "") -> None:
    def store(db: sqlite3.Connection) -> None:
        decisions.prepare(db)
        for number in range(count):
            record = DecisionRecord(
                alert="ivo://pyros.test/x#1", event="e", decided=rig.now, accepted=bool(observation), rule="",
                reason="", outcome="requested" if observation else "nothing", observation=observation,
                looked_at={"stream": stream or f"stream{number}"},
            )  # fmt: skip
            decisions.write(db, record)

    write(rig.journals["alert_manager"], also=[store])


def test_promtool_is_content_and_the_figures_are_right(rig: HealthRig) -> None:
    observed = views.observed(rig.file)
    rig.add_event(rig.now - 0.5)
    figures = Figures(observed)
    _decide(rig, 1, observation="o1", stream="swift")
    _decide(rig, 80)
    write(rig.journals["telescope"], messages=[received(messages.SLEW, {"id": "o1"}, taken=rig.now + 0.1)])
    write(rig.journals["camera"], messages=[received(messages.EXPOSE, {"filter": "r"}, taken=rig.now)] * 2)
    rig.add_job(rig.now)
    text = metrics_text(observed, look(observed), figures)
    observed.close()
    found = samples(text)
    assert found["pyros_safe"] == 1
    assert found["pyros_held"] == 0
    assert found['pyros_agent_up{agent="dome"}'] == 1
    assert found["pyros_weather_humidity_ratio"] == pytest.approx(0.55)
    assert found['pyros_alerts_total{decision="accepted",stream="swift"}'] == 1
    assert found['pyros_images_total{filter="r"}'] == 2
    assert found["pyros_alert_to_slew_seconds_count"] == 1
    assert found["pyros_alert_to_slew_seconds_sum"] == pytest.approx(0.6, abs=0.01)
    assert found['pyros_alert_to_slew_seconds_bucket{le="0.5"}'] == 0
    assert found['pyros_alert_to_slew_seconds_bucket{le="1.0"}'] == 1
    assert found['pyros_jobs{queue="jobs",state="pending"}'] == 1
    assert found['pyros_check_status{check="disk.dome"}'] == 0
    assert sum(name.startswith("pyros_alerts_total") for name in found) <= 52
    if (promtool := shutil.which("promtool")) is not None:
        said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
        assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_an_observatory_that_never_ran_has_figures(rig: HealthRig, tmp_path: Path) -> None:
    file = tmp_path / "empty.ini"
    file.write_text(rig.file.read_text().replace("data = var", "data = elsewhere"))
    observed = views.observed(file)
    found = samples(metrics_text(observed, None, Figures(observed)))
    observed.close()
    assert found['pyros_agent_up{agent="dome"}'] == 0
    assert "pyros_safe" not in found


def test_the_dashboard_shows_what_there_is(rig: HealthRig) -> None:
    observed = views.observed(rig.file)
    text = metrics_text(observed, look(observed), Figures(observed)).decode()
    observed.close()
    known = set(re.findall(r"(?m)^# TYPE (\w+)", text))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {name for panel in panels for each in panel["targets"] for name in re.findall(r"pyros_\w+", each["expr"])}
    assert asked
    assert {
        name for name in asked if name not in known and re.sub("_(bucket|sum|count)$", "", name) not in known
    } == set()
