"""A configuration of agents without programs, and what is kept of their journals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros import views
from pyros.config import Config
from pyros.views import Observed
from tests.views.written import configuration


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


@pytest.fixture
def observed(config: Config) -> Iterator[Observed]:
    made = views.observed(config)
    yield made
    made.close()
