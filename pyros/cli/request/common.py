"""What the commands of requests share: where names are found, how requests are checked, told, sent and looked up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import LONGEST_WAIT, complain, err, looking, observatory_clock, out
from pyros.config import Config
from pyros.coordinates import sexagesimal
from pyros.errors import AgentUnreachable, ConfigError, DeliveryError, PlanningError, PyrosError
from pyros.instruments.interfaces import MAX_BINNING
from pyros.messages import Exposures, Observation
from pyros.planning import Site
from pyros.planning.intake import simbad
from pyros.planning.intake.draft import Drafts
from pyros.planning.intake.names import NamedPosition, TargetNames
from pyros.planning.intake.validation import Reviewer
from pyros.planning.next_up import NextUp, next_up
from pyros.printable import instant
from pyros.sender import Sender, ask
from pyros.views.states import SeenScheduler

MAX_REQUESTS = 1000
"""How many the scheduler keeps."""
_SETTINGS = ("gain", "binning", "readout_mode")

SimbadOption = Annotated[
    bool, typer.Option("--simbad", help="Ask SIMBAD for names, and not first the observatory's own file.")
]
CheckOption = Annotated[bool, typer.Option("--check", help="Only check it: nothing is sent.")]
TimeoutOption = Annotated[
    float,
    typer.Option(
        min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for the scheduler, and for SIMBAD."
    ),
]


class Names:
    """Where targets are: by the observatory's file, then by SIMBAD unless the configuration forbids that."""

    def __init__(self, config: Config, year: float, seconds: float, simbad_first: bool = False) -> None:
        """``year`` is the Julian year for which SIMBAD's positions are wanted. Raises ConfigError for a bad file."""
        if simbad_first and config.simbad == configuration.NO:
            raise ConfigError([f"{config.path}: [observatory] simbad = no: SIMBAD is not asked here"])
        self._own = TargetNames.load(config.targets) if config.targets != configuration.NOWHERE else TargetNames()
        self._config, self._year, self._seconds = config, year, seconds
        self._simbad_first = simbad_first
        self._asked: dict[str, NamedPosition | None] = {}
        self._away = ""
        """Why SIMBAD cannot be asked: it is not tried again for each name of a file."""

    def find(self, name: str) -> NamedPosition:
        """Return where a name is; raises ValueError that says where it was looked for."""
        own = self._own.get(name)
        if own is not None and not self._simbad_first:
            return own
        if self._config.simbad != configuration.NO:
            found = self._ask_simbad(name)
            if found is not None:
                err.print(f"{name}: {sexagesimal(found.ra, found.dec)} by SIMBAD, as {found.name}")
                return found
        if self._away:
            raise ValueError(f"{name!r} is not in {self._own_words()}, and {self._away}; give ra and dec")
        asked = "" if self._config.simbad == configuration.NO else ", and SIMBAD does not know it"
        near = self._own.like(name)
        hint = f"did you mean {near}?" if near else "give ra and dec"
        raise ValueError(f"{name!r} is not in {self._own_words()}{asked}; {hint}")

    def _own_words(self) -> str:
        return str(self._own.path) if self._own.path else "a file of names (the configuration names none: targets)"

    def _ask_simbad(self, name: str) -> NamedPosition | None:
        if name not in self._asked and not self._away:
            url = self._config.simbad or simbad.URL
            try:
                self._asked[name] = simbad.resolve(name, self._year, url=url, seconds=self._seconds)
            except PlanningError as error:
                self._away = str(error)
        return self._asked.get(name)


class RequestDesk:
    """One command's view of the observatory: what the scheduler has, and what the instruments can."""

    def __init__(self, config: Config, timeout: float, simbad_first: bool = False) -> None:
        self.config = config
        self.timeout = timeout
        self.now = observatory_clock(config).time()
        self.site = Site.load(config.required("site", "pyros request"))
        self.state = scheduler_state(config)
        year = 2000.0 + (datetime.fromtimestamp(self.now, UTC) - datetime(2000, 1, 1, 12, tzinfo=UTC)).days / 365.25
        self.names = Names(config, year, timeout, simbad_first)

    def review(self, drafts: Drafts, owner: str) -> list[Observation]:
        """Return the requests that drafts mean; raises ConfigError with every mistake in them."""
        filters = self.state.filters.filters if self.state.filters else ()
        reviewer = Reviewer(self.names.find, self.now, owner, {"filter": filters}, self.state.requests)
        requests = [reviewer.review(draft) for draft in drafts.drafts]
        problems = [*drafts.problems, *reviewer.problems]
        good = [each for each in requests if each is not None]
        problems += self._what_the_camera_cannot(good)
        if len(good) + len(self.state.requests) > MAX_REQUESTS and not problems:
            problems.append(f"{len(self.state.requests)} requests are there already, and at most {MAX_REQUESTS} may be")
        if problems:
            raise ConfigError(problems)
        return good

    def tell(self, request: Observation, coming: NextUp) -> None:
        """Print when a request is up next, or why it is not."""
        out.print(f"{request.id}: {self.words(coming)}")

    def words(self, coming: NextUp) -> str:
        """Return when a request is up next, for people."""
        if coming.begin is None:
            return f"never up within a year: {coming.reason}"
        if coming.begin <= self.now:
            return f"next up: now, at {coming.altitude:.0f}°"
        about = "" if coming.exact else "about "
        later = f" ({coming.reason})" if coming.reason else ""
        return f"next up: {about}{instant(coming.begin)[:16]} UTC, at {coming.altitude:.0f}°{later}"

    def coming(self, request: Observation) -> NextUp:
        """Return when a request is up next."""
        return next_up(request, self.site, self.now)

    def send(self, requests: Iterable[Observation]) -> None:
        """Send requests to the scheduler, each until it is committed, and look whether the scheduler has kept them.

        Raises DeliveryError as `Sender` does, and PyrosError for one that the scheduler has not kept.
        """
        sent: list[str] = []
        waiting = iter(requests)
        for request in waiting:
            try:
                Sender.send_to(
                    "scheduler", messages.OBSERVATION_REQUESTED, request, config=self.config, timeout=self.timeout
                )
            except DeliveryError as error:
                raise _broken_off(error, sent, request.id, [each.id for each in waiting]) from None
            sent.append(request.id)
        kept = scheduler_state(self.config).requests
        if kept and (lost := [each for each in sent if each not in kept]):
            raise PyrosError(f"the scheduler has not kept {', '.join(lost)}: see pyros messages failed scheduler")

    def _what_the_camera_cannot(self, requests: list[Observation]) -> list[str]:
        asked = {each.id: names for each in requests if (names := settings_asked(each.exposures))}
        if not asked or "camera" not in self.config.agents:
            return []
        try:
            said = ask(self.config.agent("camera"), "status", self.timeout)
        except DeliveryError as error:
            complain(f"whether the camera has {', '.join(sorted(set().union(*asked.values())))} is not known: {error}")
            return []
        can, most = said.get("can_set", []), said.get("max_binning") or MAX_BINNING
        cannot = [
            f"{id_} exposures: {name}: this camera's driver cannot set it; leave it out"
            for id_, names in asked.items()
            for name in names
            if name not in can
        ]
        modes = said.get("readout_modes")
        if modes is not None and "readout_mode" in can:
            cannot += [
                f"{each.id} exposures: readout_mode: the camera has no {exposure.readout_mode!r}; "
                f"there are: {', '.join(modes) or 'none'}"
                for each in requests
                for exposure in each.exposures
                if exposure.readout_mode and exposure.readout_mode not in modes
            ]
        return cannot + [
            f"{each.id} exposures: binning: {largest} is more than the camera has, {most}"
            for each in requests
            if "binning" in can and (largest := max(exposure.binning for exposure in each.exposures)) > most
        ]


def _broken_off(error: DeliveryError, sent: list[str], this: str, rest: list[str]) -> PyrosError:
    """Return the error of a delivery that broke off, which says what has become of each request."""
    if not sent:
        return error
    has_not = ", ".join(rest) if isinstance(error, AgentUnreachable) else ", ".join([this, *rest])
    parts = [f"it has: {', '.join(sent)}"]
    parts += [f"it may have: {this}"] if isinstance(error, AgentUnreachable) else []
    parts += [f"it has not: {has_not}"] if has_not else []
    return PyrosError(f"{error}\n{'; '.join(parts)} (pyros request list)")


def settings_asked(exposures: Iterable[Exposures]) -> list[str]:
    """Return which settings of the camera exposures ask for."""
    default = Exposures("", 1.0)
    return [name for name in _SETTINGS if any(getattr(each, name) != getattr(default, name) for each in exposures)]


def scheduler_state(config: Config) -> SeenScheduler:
    """Read what the scheduler has, also while it does not run; an empty one where it has not run yet.

    Raises PyrosError where its journal cannot be read.
    """
    with looking(config) as observed:
        state = observed.state("scheduler", SeenScheduler)
        if problem := observed.problems.get("scheduler"):
            raise PyrosError(problem)
    return state


def no_such_request(ids: list[str], known: Iterable[str]) -> PyrosError:
    """Return the error of ids that the scheduler doesn't have, with the one that was likely meant."""
    near = get_close_matches(ids[0], known, 1)
    hint = f"did you mean {near[0]}?" if near else "pyros request list shows them all"
    return PyrosError(f"there is no request {', '.join(ids)}; {hint}")


def exposures_words(exposures: Iterable[Exposures]) -> str:
    """Return exposures as ``--expose`` takes them."""
    words = []
    for each in exposures:
        word = f"{each.filter}:{each.seconds:g}" + (f"x{each.count}" if each.count > 1 else "")
        fields: dict[str, Any] = {
            "gain": each.gain, "binning": each.binning if each.binning > 1 else None, "dither": each.dither or None,
            "readout_mode": each.readout_mode or None,
        }  # fmt: skip
        word += "".join(
            f",{key}={value:g}" if isinstance(value, float) else f",{key}={value}"
            for key, value in fields.items()
            if value is not None
        )
        words.append(word)
    return "; ".join(words)
