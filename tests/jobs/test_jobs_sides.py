"""The same fifteen tests against our queue and Celery on three transports: their findings are docs/jobs.md's table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.rabbit import RABBIT, rabbit
from tests.jobs.sides import FIFTEEN, Celerys, Ours
from tests.jobs.test_jobs_document import TEXT

SIDES = ("ours", "transport", "filesystem", "rabbitmq")
QUICK = ("transport-result", "transport-priority", "transport-kill", "transport-revoked", "rabbitmq-kill")


def table() -> dict[str, list[str]]:
    """Return the page's table: a row's words by its title."""
    text = TEXT.partition("## Celery itself")[2].partition("## How fast")[0]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows if len(row) == len(SIDES) + 1}


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the sides' brokers; RabbitMQ runs while its tests do, where it is installed."""
    brokers = {"filesystem": "filesystem://", "transport": ""}
    wanted = any(item.path == request.path and "[rabbitmq-" in item.name for item in request.session.items)
    with ExitStack() as stack:
        if wanted and RABBIT.exists():
            brokers["rabbitmq"] = stack.enter_context(rabbit(tmp_path_factory.mktemp("rabbit")))
        yield brokers


def cases() -> list[Any]:
    return [
        pytest.param(
            side, title, id=f"{side}-{test.__name__}",
            marks=[] if f"{side}-{test.__name__}" in QUICK else [pytest.mark.long],
        )
        for side in SIDES for title, test in FIFTEEN.items()
    ]  # fmt: skip


@pytest.mark.parametrize(("side", "title"), cases())
def test_the_table_says_what_each_loses(side: str, title: str, broker: dict[str, str], tmp_path: Path) -> None:
    if side == "rabbitmq" and side not in broker:
        pytest.skip(f"RabbitMQ is not installed: there is no {RABBIT}")
    here = Ours(tmp_path) if side == "ours" else Celerys(tmp_path, broker[side])
    try:
        found = FIFTEEN[title](here, tmp_path)
    finally:
        here.close()
    assert found == table()[title][SIDES.index(side)]


def test_the_table_has_fifteen_rows() -> None:
    assert list(FIFTEEN) == [row for row in table() if row not in ("", "---")]
