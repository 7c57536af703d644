"""The page You: one's own tokens and password."""

from __future__ import annotations

import msgspec
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.console.people.models import Token
from pyros.console.roles import Role, role_named

_DAYS = (1, 30, 365)


class Shown(msgspec.Struct):
    """A token, for the list; its text is known to its program alone."""

    number: int
    name: str
    scope: str
    made: float
    until: float | None
    revoked: bool


class Account(msgspec.Struct):
    """Oneself."""

    name: str
    role: str
    tokens: list[Shown]
    scopes: tuple[str, ...]
    days: tuple[int, ...] = _DAYS


def account(request: HttpRequest) -> Account:
    """Return who asks, and the tokens."""
    caller = caller_of(request)
    tokens = [
        Shown(token.id, token.name, Role(token.scope).word, token.made.timestamp(),
              token.until.timestamp() if token.until else None, token.revoked)
        for token in Token.objects.filter(user__name=caller.name)
    ]  # fmt: skip
    return Account(caller.name, caller.role.word, tokens, tuple(role.word for role in Role if 0 < role <= caller.role))


def make_token(request: HttpRequest) -> HttpResponse:
    """Make a token, and show its text once. A program makes none: a token that was stolen could make others."""
    caller = caller_of(request)
    if caller.token or caller.user is None:
        return problem(request, 403, "tokens are made by people who have signed in")
    try:
        scope = role_named(str(request.POST.get("scope", "viewer")))
        days = int(str(request.POST.get("days", 0) or 0)) or None
        if scope > caller.role or (days is not None and not 0 < days <= 3660):
            raise ValueError("that is more than you may, or longer than ten years")
        token, text = Token.objects.make(caller.user, str(request.POST.get("name", "")).strip(), scope, days)
    except (ValueError, ValidationError) as error:
        return problem(request, 400, "; ".join(getattr(error, "messages", [str(error)])))
    note(caller, "make token", f"{token.name}: {scope.word}")
    return render(request, "token.html", {"token": token, "text": text, "scope": scope.word})


def revoke_token(request: HttpRequest, number: int) -> HttpResponse:
    """Revoke one's own token; an admin also another's. It counts from the next request on."""
    caller = caller_of(request)
    mine = {} if caller.role >= Role.ADMIN else {"user__name": caller.name}
    token = Token.objects.filter(id=number, **mine).first()
    if token is None:
        raise Http404
    token.revoked = True
    token.save(update_fields=["revoked"])
    note(caller, "revoke token", f"{token.user.name}: {token.name}")
    return HttpResponseRedirect("/you", status=303)


@sensitive_post_parameters("old", "new")
def change_password(request: HttpRequest) -> HttpResponse:
    """Change one's own password, which ends one's other sessions. Who came by a link has no old one."""
    caller = caller_of(request)
    user = caller.user
    if caller.token or user is None:
        return problem(request, 403, "passwords are changed by people who have signed in")
    if user.has_usable_password() and not user.check_password(str(request.POST.get("old", ""))[:1000]):
        note(caller, "change password", "wrong old one", ok=False)
        return problem(request, 403, "the old password is another one")
    new = str(request.POST.get("new", ""))[:1000]
    try:
        validate_password(new, user)
    except ValidationError as error:
        return problem(request, 400, "; ".join(error.messages))
    user.set_password(new)
    user.save()
    update_session_auth_hash(request, user)
    note(caller, "change password")
    return HttpResponseRedirect("/you", status=303)
