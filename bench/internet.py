"""Messages between three sites over an internet that breaks: how late an urgent one comes, and whether any is lost.

Each site is a network namespace behind a router that translates addresses; TLS is spoken, and names are asked of a
server in the same network. What is measured is the time from when the network is whole again, or, where nothing tells
of the trouble, from when the message was said, until its receiver has stored and handled it. Needs root and
/dev/net/tun.
"""

from __future__ import annotations

import itertools
import queue
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench._common import PATIENCE, BenchReport, arguments
from bench._sites import Heard, SiteAgent, SiteComputers, SitePlace, host_of, why_not
from pyros.authority import make_authority, make_certificate
from pyros.keys import make_key

URGENT, PICTURE = "Urgent", "Picture"
PORT = 5001
SITES = {
    name: SitePlace(f"10.{at}.0.2", f"198.51.100.{at}", PORT) for at, name in enumerate(("west", "east", "south"), 1)
}
WAYS = list(itertools.permutations(SITES, 2))
OUTAGES = (3, 10, 30, 60, 120, 300, 600)
PICTURE_BYTES = 250_000
SPREAD = (0.0, 0.3, 1.1, 2.3, 3.7)
"""How long before its end an outage's messages are said, seconds; others at its beginning."""


class InternetSites:
    """Three sites that speak with each other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.network = SiteComputers(folder, **SITES)
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.agents: dict[str, SiteAgent] = {}
        try:
            self._prepare(folder)
            for name in SITES:
                self.agents[name] = SiteAgent(self.network, name, folder / name / "sites.ini", self.heard)
            for agent in self.agents.values():
                agent.up()
            self.everywhere()
        except BaseException:
            self.close()
            raise

    def _prepare(self, folder: Path) -> None:
        """Write one configuration, certificates and a key, the same for all."""
        now = datetime.now(UTC)
        make_authority(folder / "tls", "sites", now)
        for name in (*SITES, "program"):
            make_certificate(folder / "tls", name, now)
        make_key(folder / "observatory.key")
        lines = ["[observatory]", "name = sites", "tls = tls"]
        for name in SITES:
            lines += [f"[{name}]", "app = bench._site", f"listen = 0.0.0.0:{PORT}", f"at = {host_of(name)}"]
            lines += ["allow = 0.0.0.0/0"]
        for name in SITES:
            (folder / name / "var").mkdir(parents=True, mode=0o700)
            (folder / name / "sites.ini").write_text("\n".join([*lines, ""]))
            shutil.copytree(folder / "tls", folder / name / "tls")
            shutil.copy2(folder / "observatory.key", folder / name / "var" / "observatory.key")

    def everywhere(self) -> float:
        """Say something on each way; returns when the last of it came."""
        for source, target in WAYS:
            self.agents[source].say(target, URGENT)
        return max(each.instant for each in self.take(len(WAYS)))

    def take(self, count: int, seconds: float = PATIENCE) -> list[Heard]:
        """Wait for so many messages."""
        return [self.heard.get(timeout=seconds) for _ in range(count)]

    def close(self) -> None:
        self.network.close()


def after_outage(sites: InternetSites, seconds: float) -> list[float]:
    """How late messages come, on every way, that were said in an outage: seconds after its end."""
    network, said = sites.network, 0
    network("outage west")
    begin = time.monotonic()
    for before in (seconds, *reversed([each for each in SPREAD if each < seconds])):
        time.sleep(max(0.0, begin + seconds - before - time.monotonic()))
        for source, target in WAYS:
            if "west" in (source, target):
                sites.agents[source].say(target, URGENT)
                said += 1
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    network("heal")
    healed = time.monotonic()
    return [each.instant - healed for each in sites.take(said)]


def after_silent_change(sites: InternetSites, *changes: str) -> list[float]:
    """How late messages come that are said after something has changed of which nobody hears."""
    for change in changes:
        sites.network(change)
    said = time.monotonic()
    ways = [way for way in WAYS if "west" in way]
    for source, target in ways:
        sites.agents[source].say(target, URGENT)
    return [each.instant - said for each in sites.take(len(ways))]


def behind_bulk(sites: InternetSites, megabytes: int, rate: float, room: float) -> tuple[list[float], float]:
    """How late urgent messages come that are said behind pictures; and how long these take, in seconds."""
    network, count = sites.network, megabytes * 1_000_000 // PICTURE_BYTES
    network(f"rate {rate} west")
    network(f"room {room} west")
    begin = time.monotonic()
    sites.agents["west"].say("east", PICTURE, count, PICTURE_BYTES)
    said: dict[int, float] = {}
    late: list[float] = []
    pictures, at = 0, begin
    while pictures < count or said:
        if pictures < count and time.monotonic() - begin > 1.3 * (len(late) + len(said) + 1):
            at = time.monotonic()
            said[sites.agents["west"].say("east", URGENT)] = at
        try:
            came = sites.heard.get(timeout=0.1)
        except queue.Empty:
            continue
        if came.name == PICTURE:
            pictures, at = pictures + 1, came.instant
        else:
            late.append(came.instant - said.pop(came.n))
    network("reset")
    return late, at - begin


def narrow(sites: InternetSites, seconds: float, room: float) -> tuple[int, int]:
    """Send pictures over 64 kbit/s for so long; returns how many came, and how many connections were made."""
    network = sites.network
    sites.agents["west"].say("east", PICTURE)  # so that the pictures' connection is there
    sites.take(1)
    network("rate 8000 west")
    network(f"room {room} west")
    before = int(network("count"))
    count = max(1, round(seconds * 8000 / PICTURE_BYTES))
    sites.agents["west"].say("east", PICTURE, count, PICTURE_BYTES)
    pictures = 0
    while pictures < count:
        sites.agents["east"].say("west", URGENT)
        sites.agents["west"].say("east", URGENT)
        time.sleep(2.0)
        while not sites.heard.empty():
            pictures += sites.heard.get().name == PICTURE
    made = int(network("count")) - before
    until_quiet(sites)
    network("reset")
    return pictures, made


def until_quiet(sites: InternetSites) -> list[Heard]:
    """Wait until no message waits anywhere; returns what has come meanwhile."""
    end = time.monotonic() + PATIENCE
    while any(agent.waiting() for agent in sites.agents.values()):
        if time.monotonic() > end:
            raise SystemExit("waited in vain: " + str({name: each.waiting() for name, each in sites.agents.items()}))
        time.sleep(0.1)
    came = []
    while not sites.heard.empty():
        came.append(sites.heard.get())
    return came


def steady(sites: InternetSites, seconds: float, partitions: int) -> dict[str, int]:
    """Say messages on all ways through partitions, over 200 ms and 5 % of loss; counts what went wrong."""
    network = sites.network
    network("delay 0.1")
    network("loss 0.05")
    said = dict.fromkeys(WAYS, 0)
    first = {(source, target): sites.agents[source].say(target, URGENT) for source, target in WAYS}
    begin = time.monotonic()
    breaks = _breaks(partitions)
    came: list[Heard] = []
    due, heal = begin + seconds / (partitions + 1), float("inf")
    while time.monotonic() - begin < seconds:
        for source, target in WAYS:
            sites.agents[source].say(target, URGENT, 1, 200)
            said[source, target] += 1
        time.sleep(0.1)
        if time.monotonic() > heal:
            network("heal")
            heal = float("inf")
        elif time.monotonic() > due:
            command, lasts = next(breaks, ("heal", 0.0))
            network(command)
            due, heal = due + seconds / (partitions + 1), time.monotonic() + lasts
        while not sites.heard.empty():
            came.append(sites.heard.get())
    network("heal")
    came += until_quiet(sites)
    network("reset")
    lost = doubled = disordered = 0
    for source, target in WAYS:
        numbers = [each.n for each in came if (each.sender, each.at) == (source, target)]
        wanted = range(first[source, target], first[source, target] + said[source, target] + 1)
        lost += len(set(wanted) - set(numbers))
        doubled += len(numbers) - len(set(numbers))
        disordered += numbers != sorted(numbers)
    return {"said": sum(said.values()) + len(WAYS), "lost": lost, "doubled": doubled, "disordered": disordered}


def _breaks(partitions: int) -> Any:
    """So many breaks of every sort, and how long each lasts."""
    kinds = ("outage west", "forget", "part west east", "outage", "forget east", "part east south")
    addresses = itertools.cycle(["198.51.100.77", "198.51.100.1"])
    for number in range(partitions):
        if number % 7 == 6:
            yield f"move west {next(addresses)}", 0.0
        else:
            yield kinds[number % 7], (1.0, 4.0, 8.0, 15.0)[number % 4]


def _measure(sites: InternetSites, options: Any, report: BenchReport, rows: list[tuple[str, str, str]]) -> None:
    network = sites.network

    def told(title: str, bar: str, text: str, **figures: Any) -> None:
        rows.append((title, text, bar))
        report.figures(title, **figures)
        report.doing(f"{title}: {text}")

    def late(title: str, bar: str, seconds: list[float]) -> None:
        told(title, bar, f"{min(seconds):.2f} to {max(seconds):.2f} s", worst=max(seconds), seconds=seconds)

    def wanted(part: str) -> bool:
        return part in options.part

    network("delay 0.02")
    for _ in range(options.rounds):
        for seconds in options.outages if wanted("outages") else ():
            late(f"after {seconds:g} s of outage", "5 s", after_outage(sites, seconds))
        if wanted("changes"):
            late("all routers have forgotten", "15 s", after_silent_change(sites, "forget"))
            late("the sender's or receiver's router has forgotten", "15 s", after_silent_change(sites, "forget west"))
            late("the same, new ports without a word", "15 s", after_silent_change(sites, "loose yes", "forget"))
            network("loose no")
            for address in ("198.51.100.99", SITES["west"].outside):
                late("outer address changed", "15 s", after_silent_change(sites, f"move west {address}"))
            for address in ("10.1.0.9", SITES["west"].inside):
                network.readdress("west", address)
                late("inner address changed", "15 s", after_silent_change(sites))
        network("reset")
        if wanted("bulk"):
            for room in (256 * 1024,) if options.quick else (64 * 1024, 256 * 1024):
                seconds, all_there = behind_bulk(sites, 1 if options.quick else 8, 250_000, room)
                late(f"behind pictures at 2 Mbit/s, {room // 1024} KiB in the line ({all_there:.0f} s)", "2 s", seconds)
        if wanted("narrow"):
            for room in (16 * 1024,) if options.quick else (16 * 1024, 64 * 1024):
                came, made = narrow(sites, options.seconds, room)
                told(f"pictures at 64 kbit/s, {room // 1024} KiB in the line", "0",
                     f"{came} came, {made} reconnections", came=came, reconnections=made)  # fmt: skip
        if wanted("steady"):
            counted = steady(sites, options.seconds, options.partitions)
            told(f"200 ms, 5 % lost, {options.partitions} partitions", "0, 0, 0",
                 ", ".join(f"{number} {word}" for word, number in counted.items()), **counted)  # fmt: skip


PARTS = ("outages", "changes", "bulk", "narrow", "steady")


def main() -> None:
    """Measure, and print what was found."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--rounds", type=int, default=2, help="how often everything is measured")
    parser.add_argument("--outages", nargs="*", type=float, default=OUTAGES, help="seconds that outages last")
    parser.add_argument("--seconds", type=float, default=600, help="how long the narrow line and the partitions last")
    parser.add_argument("--partitions", type=int, default=20, help="how many, in that time")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.outages, options.seconds, options.partitions = 1, (3,), 20, 3
    report = BenchReport("internet", options.json)
    reason = why_not()
    if reason:
        report.figures("not measured", sites=0, reason=reason)
        report.note(reason)
        return
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-internet-") as folder:
        sites = InternetSites(Path(folder) / "sites")
        try:
            _measure(sites, options, report, rows)
        finally:
            sites.close()
    report.table("Between three sites", ("", "", "wanted"), rows)
    report.ends()


if __name__ == "__main__":
    main()
