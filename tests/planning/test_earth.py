"""The table of the Earth's rotation is old before it ends."""

from __future__ import annotations

import pytest

from pyros.errors import PlanningError
from pyros.planning.earth import check_table, table_ends


def test_an_old_table_is_told_with_what_to_do() -> None:
    ends = table_ends().timestamp()
    assert check_table(ends - 61 * 86_400).startswith("the table of the Earth's rotation ends on 2")
    with pytest.raises(PlanningError, match="pip install --upgrade astropy-iers-data"):
        check_table(ends - 59 * 86_400)
