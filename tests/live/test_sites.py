"""Three sites as network namespaces, with routers, a server of names and an internet that breaks between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench._sites import why_not
from bench.internet import (
    SITES,
    InternetSites,
    after_outage,
    after_silent_change,
    behind_bulk,
    narrow,
    steady,
    until_quiet,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[InternetSites]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = InternetSites(tmp_path / "sites")
    yield made
    made.close()


def test_messages_of_an_outage_come_after_it(sites: InternetSites) -> None:
    for seconds in (3, 12, 27):
        assert len(after_outage(sites, seconds)) >= 12
    assert until_quiet(sites) == [], "some came twice"


def test_messages_come_though_a_router_forgets_and_addresses_change(sites: InternetSites) -> None:
    assert len(after_silent_change(sites, "forget")) == 4
    assert len(after_silent_change(sites, "loose yes", "forget west")) == 4
    assert len(after_silent_change(sites, "loose no", "move west 198.51.100.99")) == 4
    sites.network.readdress("west", "10.1.0.9")
    assert len(after_silent_change(sites)) == 4
    sites.network.readdress("west", SITES["west"].inside)
    assert len(after_silent_change(sites, f"move west {SITES['west'].outside}")) == 4
    assert until_quiet(sites) == [], "some came twice"


def test_partitions_of_three_sites_lose_and_double_nothing(sites: InternetSites) -> None:
    counted = steady(sites, 150, 14)
    assert counted == {"said": counted["said"], "lost": 0, "doubled": 0, "disordered": 0}


def test_what_is_urgent_overtakes_pictures(sites: InternetSites) -> None:
    late, all_there = behind_bulk(sites, 4, 250_000, 256 * 1024)
    assert len(late) >= 3
    assert max(late) < all_there / 4


def test_a_line_of_64_kilobits_a_second_is_no_dead_one(sites: InternetSites) -> None:
    for room in (16 * 1024, 64 * 1024):
        assert narrow(sites, 90, room) == (3, 0)
