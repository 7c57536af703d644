"""What the tests of planning share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def astropy_offline() -> Iterator[None]:
    """Keep astropy from downloading tables."""
    from astropy.utils import iers

    table = iers.IERS_A.open(iers.IERS_A_FILE)
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.earth_orientation_table.set(table),
    ):
        yield
