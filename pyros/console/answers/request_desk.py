"""Requests as the form and the API have them: checked as the command line does, and told to the scheduler."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from pyros import config as configuration
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import Caller, caller_of
from pyros.console.people.models import Request
from pyros.console.request_form import may_be_changed
from pyros.console.roles import Role
from pyros.errors import DeliveryError, PlanningError, PyrosError
from pyros.messages import Observation
from pyros.planning.intake import simbad
from pyros.planning.intake.amending import amended
from pyros.planning.intake.draft import Draft
from pyros.planning.intake.names import NamedPosition, TargetNames
from pyros.planning.intake.validation import Reviewer
from pyros.planning.next_up import NextUp, next_up
from pyros.sender import Sender
from pyros.views.observed import site_of
from pyros.views.requests import request as request_view
from pyros.views.states import SeenScheduler

MAX_KEY = 200
_SIMBAD_SECONDS = 5.0
_SEND_SECONDS = 5.0
_KEY_DIGITS, _ASKED_DIGITS = 10, 6
"""Hexadecimal digits at the end of the id of a request that is asked for under a key."""


class Reviewed(msgspec.Struct, frozen=True):
    """A request that somebody asks for, checked."""

    request: Observation | None
    """The request; None with problems."""
    problems: tuple[str, ...] = ()
    """What is wrong with it, each in a line."""
    next_up: NextUp | None = None
    """When it is up next; None with problems."""

    @property
    def words(self) -> str:
        """When it is up next, in a sentence; '' with problems."""
        return "" if self.next_up is None else _words(self.next_up)


def review(
    where: str, values: dict[str, Any], owner: str, known: Observation | None = None, keys: Iterable[str] = ()
) -> Reviewed:
    """Check what somebody asks for, by the keys of `pyros.planning.intake`; ``where`` begins each problem.

    With ``known`` some ``keys`` of that request are given anew, and the rest of it stays.
    """
    observed = settings.CONSOLE.observed
    state = observed.state("scheduler", SeenScheduler)
    filters = state.filters.filters if state.filters is not None else ()
    try:
        reviewer = Reviewer(_find, observed.time(), owner, {"filter": filters},
                            () if known is not None else state.requests)  # fmt: skip
        found = reviewer.review(Draft(where, values))
    except PyrosError as error:
        return Reviewed(None, tuple(str(error).splitlines()))
    if found is None or reviewer.problems:
        return Reviewed(None, tuple(reviewer.problems))
    if known is not None:
        found = amended(known, found, keys)
    try:
        return Reviewed(found, (), next_up(found, site_of(observed), observed.time()))
    except PlanningError as error:
        return Reviewed(None, (str(error),))


def marked(found: Observation, caller: Caller, key: str, values: Mapping[str, Any]) -> Observation:
    """Return a request whose id ends with marks: of who asks for it under which key, and of what is asked for."""
    asked = msgspec.json.encode(values, order="deterministic")
    mark = f"{_mark(f'{caller.name} {key}'.encode(), _KEY_DIGITS)}{_mark(asked, _ASKED_DIGITS)}"
    return msgspec.structs.replace(found, id=f"{found.id}-{mark}")


def asked_before(request: HttpRequest, found: Observation) -> Observation | HttpResponse | None:
    """Return the request that was asked for under the same key, or the refusal; None where there was none.

    It is found by the mark in its id. Refused is another request under the same key, and one that has ended since.
    """
    observed = settings.CONSOLE.observed
    mark = found.id.rpartition("-")[2]
    begin = mark[:_KEY_DIGITS]
    requests: Mapping[str, Observation] = observed.state("scheduler", SeenScheduler).requests
    known = next((each for name, each in requests.items() if name.rpartition("-")[2].startswith(begin)), None)
    if known is None:
        ended = request_view(observed, found.id)
        if ended is None and not _is_kept(begin):
            return None
        why = f": {ended.state}" if ended is not None else ""
        return problem(request, 409, f"what this key has asked for has ended{why}")
    return (
        known if known.id.endswith(mark) else problem(request, 422, f"this key has asked for {known.id}: not for this")
    )


def _mark(content: bytes, digits: int) -> str:
    return hashlib.blake2b(content, digest_size=digits // 2).hexdigest()


def own_request(request: HttpRequest, key: str, what: str) -> Observation | HttpResponse:
    """Return a request that the caller may change: the own one, or, for operators, anybody's; or the refusal."""
    caller = caller_of(request)
    requests: Mapping[str, Observation] = settings.CONSOLE.observed.state("scheduler", SeenScheduler).requests
    known = requests.get(key)
    if known is None:
        return problem(request, 404, "there is no such request")
    if known.owner != caller.name and caller.role < Role.OPERATOR:
        note(caller, what, f"{key}: of somebody else", ok=False)
        return problem(request, 409, f"the request is somebody else's; an operator may {what.partition(' ')[0]} it")
    return known


def changeable(request: HttpRequest, key: str) -> Observation | HttpResponse:
    """Return a request whose values the caller may give anew; or the refusal."""
    known = own_request(request, key, "change request")
    if isinstance(known, Observation) and not may_be_changed(known):
        return problem(request, 409, "an alert asks for it: its rule would change it back")
    return known


def tell(request: HttpRequest, name: str, payload: Any, what: str, about: str) -> HttpResponse | None:
    """Tell the scheduler, and write it down; returns the refusal where it doesn't answer."""
    try:
        Sender.send_to("scheduler", name, payload, config=settings.CONSOLE.config, timeout=_SEND_SECONDS)
    except DeliveryError as error:
        note(caller_of(request), what, f"{about}: {error}", ok=False)
        return problem(request, 503, "the scheduler does not answer: nothing was changed", str(error))
    note(caller_of(request), what, about)
    return None


def keep(caller: Caller, name: str, why: str = "") -> None:
    """Keep who has asked for what, for fixtures; while the database is busy it is only in the audit."""
    if caller.user is not None:
        with suppress(DatabaseError):
            told = {"by": caller.user, "made": timezone.now(), "note": why}
            Request.objects.update_or_create(name=name, defaults=told)


def _is_kept(mark: str) -> bool:
    with suppress(DatabaseError):
        return Request.objects.filter(name__contains=f"-{mark}").exists()
    return False


def _find(name: str) -> NamedPosition:
    """Return where a name is, by the observatory's own file, then by SIMBAD; raises ValueError."""
    config = settings.CONSOLE.config
    own = TargetNames.load(config.targets) if config.targets != configuration.NOWHERE else TargetNames()
    if (found := own.get(name)) is not None:
        return found
    if config.simbad == configuration.NO:
        raise ValueError(f"{name!r} is not in the observatory's names; give ra and dec")
    now = datetime.fromtimestamp(settings.CONSOLE.observed.time(), UTC)
    year = 2000.0 + (now - datetime(2000, 1, 1, 12, tzinfo=UTC)).days / 365.25
    try:
        known = simbad.resolve(name, year, url=config.simbad or simbad.URL, seconds=_SIMBAD_SECONDS)
    except PlanningError as error:
        raise ValueError(f"{name!r} is not in the observatory's names, and {error}; give ra and dec") from None
    if known is None:
        raise ValueError(f"{name!r} is not in the observatory's names, and SIMBAD does not know it; give ra and dec")
    return known


def _words(coming: NextUp) -> str:
    if coming.begin is None:
        return f"It would be taken, but cannot be observed within a year: {coming.reason}"
    when = datetime.fromtimestamp(coming.begin, UTC)
    reason = f" ({coming.reason})" if coming.reason else ""
    return f"It can be made: next up {when:%Y-%m-%d %H:%M} UTC, at {coming.altitude:.0f}°{reason}"
