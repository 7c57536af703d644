"""Whether the table of the Earth's rotation is new enough: a task that a queue does every week.

The table (IERS Bulletin A, finals2000A.all) comes with the package astropy-iers-data and is not fetched by itself: an
observatory may have no network. Beyond its end UT1-UTC counts as zero, which is up to 0.9 s, or 13 arcseconds of hour
angle; planning can bear that, the pointing of an equatorial mount by UT1 can not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyros.angles import unix_of_mjd
from pyros.clock import system_time
from pyros.errors import PlanningError
from pyros.planning.visibility import ut1_minus_utc_table

MIN_LEFT = timedelta(days=60)
"""The table should reach so far ahead."""


def table_ends() -> datetime:
    """Return when (UTC) the table of the Earth's rotation ends, predictions included."""
    days, _ = ut1_minus_utc_table()
    return datetime.fromtimestamp(unix_of_mjd(float(days[-1])), UTC)


def check_table(now: float | None = None) -> str:
    """Return until when the table reaches, in words; ``now`` is Unix seconds, by default the computer's.

    Raises PlanningError where less than sixty days of it are left, saying what to do.
    """
    ends, today = table_ends(), datetime.fromtimestamp(system_time() if now is None else now, UTC)
    told = f"the table of the Earth's rotation ends on {ends:%Y-%m-%d}"
    if ends - today < MIN_LEFT:
        raise PlanningError(f"{told}: pip install --upgrade astropy-iers-data brings a new one")
    return told
