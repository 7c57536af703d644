"""Requests by programs, as JSON with the keys of ``pyros request import``: made, changed, withdrawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse

from pyros import messages
from pyros.console.answers.errors import problem
from pyros.console.answers.request_desk import (
    MAX_KEY,
    Reviewed,
    asked_before,
    changeable,
    keep,
    marked,
    own_request,
    review,
    tell,
)
from pyros.console.caller import caller_of
from pyros.messages import Observation, Withdrawal
from pyros.planning.intake.amending import AMENDABLE
from pyros.planning.next_up import NextUp
from pyros.printable import printable

_WHOSE = "owner: a request is of who asks; leave it out"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been asked for or changed, or could be."""

    request: Observation
    """As the scheduler has it now, or would have it."""
    sent: bool
    """Whether the scheduler has it: not with ``check``."""
    next_up: NextUp
    """When it can begin, alone; without a ``begin`` not within a year, and why."""
    words: str
    """The same in a sentence."""


class Withdrawn(msgspec.Struct, frozen=True):
    """A request that the scheduler was told to forget."""

    key: str
    """Its id."""


def make(request: HttpRequest) -> HttpResponse:
    """Check a request, and send it to the scheduler unless ``check`` is true.

    Under an ``Idempotency-Key`` it is sent once: who asks again, because the answer was lost, gets the same one.
    """
    caller = caller_of(request)
    try:
        check, values = _body(request)
        if "owner" in values:
            raise ValueError(_WHOSE)
        key = _once(request, values)
    except ValueError as error:
        return problem(request, 400, str(error))
    checked = review("request", values, caller.name)
    if checked.request is not None and key:
        checked = msgspec.structs.replace(checked, request=marked(checked.request, caller, key, values))
    if checked.request is None or check:
        return _answer(checked, sent=False)
    before = asked_before(request, checked.request) if key else None
    if isinstance(before, HttpResponse):
        return before
    if before is not None:
        return _answer(msgspec.structs.replace(checked, request=before), sent=True, status=201)
    refused = tell(request, messages.OBSERVATION_REQUESTED, checked.request, "make request", checked.request.id)
    if refused is None:
        keep(caller, checked.request.id, checked.request.reason)
    return refused or _answer(checked, sent=True, status=201)


def change(request: HttpRequest) -> HttpResponse:
    """Check the values that a request is given anew, null for none, and send it unless ``check`` is true."""
    try:
        check, given = _body(request)
        key = _key_of(given)
        if "owner" in given:
            raise ValueError(_WHOSE)
        if unknown := [name for name in given if name not in AMENDABLE]:
            raise ValueError(f"{unknown[0][:60]}: cannot be changed; what can: {', '.join(AMENDABLE)}")
    except ValueError as error:
        return problem(request, 400, str(error))
    known = changeable(request, key)
    if not isinstance(known, Observation):
        return known
    checked = review("request", _as_it_is(known, given) | given, known.owner, known, given)
    if checked.request is None or check:
        return _answer(checked, sent=False)
    refused = tell(request, messages.OBSERVATION_REQUEST_CHANGED, checked.request, "change request", key)
    return refused or _answer(checked, sent=True)


def cancel(request: HttpRequest) -> HttpResponse:
    """Withdraw a request, ``why`` if it is said."""
    try:
        _, given = _body(request)
        key, why = _key_of(given), given.pop("why", "")
        if given or not isinstance(why, str):
            raise ValueError("a withdrawal has a key, and why as a text; nothing else")
    except ValueError as error:
        return problem(request, 400, str(error))
    known = own_request(request, key, "cancel request")
    if not isinstance(known, Observation):
        return known
    order = Withdrawal(observation=key, reason=why.strip()[:MAX_KEY] or f"cancelled by {caller_of(request).name}")
    refused = tell(request, messages.OBSERVATION_REQUEST_WITHDRAWN, order, "cancel request", key)
    return refused or JsonResponse(msgspec.to_builtins(Withdrawn(key)))


def _body(request: HttpRequest) -> tuple[bool, dict[str, Any]]:
    """Return whether it is to be checked alone, and the rest of what was sent; raises ValueError."""
    try:
        content = _cleaned(msgspec.json.decode(request.body))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"no JSON that can be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError('an object is wanted, such as {"target": "M 31", "exposures": "r:60x3"}')
    check = content.pop("check", False)
    if not isinstance(check, bool):
        raise ValueError("check: true or false")
    return check, content


def _once(request: HttpRequest, values: Mapping[str, Any]) -> str:
    """Return the key under which it is asked for once; '' without one. Raises ValueError.

    It is as in draft-ietf-httpapi-idempotency-key-header: a text in quotation marks; bare, it is taken, too.
    """
    key = str(request.headers.get("Idempotency-Key", "")).strip().strip('"')
    if not key.isprintable() or len(key) > MAX_KEY:
        raise ValueError(f"Idempotency-Key: at most {MAX_KEY} characters that can be printed")
    if key and "id" in values:
        raise ValueError("id: a request under an Idempotency-Key gets its id; leave one out")
    return key


def _cleaned(value: Any) -> Any:
    """Return what was decoded with texts that can be printed; raises ValueError for a number of another world."""
    match value:
        case str():
            return printable(value)
        case list():
            return [_cleaned(each) for each in value]
        case dict():
            return {printable(str(key)): _cleaned(each) for key, each in value.items()}
        case int() if not -(1 << 63) <= value < 1 << 63:
            raise ValueError("a number is too large")
        case float() if not math.isfinite(value):
            raise ValueError("a number is not finite")
    return value


def _key_of(given: dict[str, Any]) -> str:
    key = given.pop("key", "")
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
        raise ValueError("key: the id of the request is wanted")
    return key


def _as_it_is(known: Observation, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every request must have, of a known one, as it is asked for: it is given anew, or not looked at."""
    exposures = [{key: value for key, value in msgspec.structs.asdict(each).items() if value not in (None, "")}
                 for each in known.exposures]  # fmt: skip
    place = {} if {"position", "orbit"} & set(given) else {"ra": known.ra, "dec": known.dec}
    return {"target": known.target, "exposures": exposures} | place


def _answer(checked: Reviewed, *, sent: bool, status: int = 200) -> JsonResponse:
    if checked.request is None or checked.next_up is None:
        return JsonResponse({"error": "; ".join(checked.problems), "problems": checked.problems}, status=400)
    made = Asked(request=checked.request, sent=sent, next_up=checked.next_up, words=checked.words)
    return JsonResponse(msgspec.to_builtins(made), status=status)
