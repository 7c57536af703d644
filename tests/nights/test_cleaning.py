"""Old nights go by age and by space, whole, the oldest first; the newest stay."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyros.cli.app import app
from pyros.nights.cleaning import clean_nights

TODAY = date(2026, 3, 20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give nights from the 1st to the 19th, two of them reduced, and what is not a night."""
    for name in ("images/keep", "images/2026-02-31", "masters/2026-03-01", "lightcurves", "reduced/2026-03-01",
                 *(f"images/2026-03-{day:02}" for day in range(1, 20)), "reduced/2026-03-15"):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(bytes(1000))
    return tmp_path


def names(nights: list[object]) -> list[str]:
    return [f"{night.folder.parent.name}/{night.folder.name} {night.why}" for night in nights]  # type: ignore[attr-defined]


def test_nights_go_by_their_age(data: Path) -> None:
    would = clean_nights(data, TODAY, older_days=17, dry=True)
    assert names([*would]) == ["reduced/2026-03-01 age", "images/2026-03-01 age", "images/2026-03-02 age"]
    assert (data / "images/2026-03-01").exists()
    assert clean_nights(data, TODAY, older_days=17) == would
    assert sorted(path.name for path in (data / "images").iterdir())[:3] == ["2026-02-31", "2026-03-03", "2026-03-04"]
    assert (data / "masters/2026-03-01").exists()
    assert clean_nights(data, TODAY, older_days=17) == []


def test_nights_go_until_enough_is_free_but_not_the_newest(data: Path) -> None:
    def free(_: Path) -> int:
        return 21_000 - 1000 * sum(1 for room in ("images", "reduced") for _ in (data / room).glob("2026-03-*"))

    assert names([*clean_nights(data, TODAY, free_bytes=3000, free_now=free)]) == [
        "reduced/2026-03-01 space", "images/2026-03-01 space", "images/2026-03-02 space",
    ]  # fmt: skip
    clean_nights(data, TODAY, free_bytes=1e9, free_now=free, keep=7)
    left = sorted(path.name for path in (data / "images").glob("2026-03-*"))
    assert left == [f"2026-03-{day}" for day in range(13, 20)]


def test_the_command_line_tells_what_goes(data: Path, tmp_path: Path) -> None:
    ini = tmp_path / "pyros_agent_config.ini"
    ini.write_text("[observatory]\nname = t\ndata = .\n[jobs]\nport = 5020\napp = pyros.agents.jobs\n")
    done = CliRunner().invoke(app, ["clean", "--older", "1 d", "--keep", "17", "--dry-run", "--config", str(ini)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("would remove") == 3
    done = CliRunner().invoke(app, ["clean", "--older", "soon", "--config", str(ini)])
    assert (done.exit_code, "give 365 d" in done.stderr) == (1, True)
    assert CliRunner().invoke(app, ["clean", "--config", str(ini)]).exit_code == 2
