"""Signing in by password or by a link, accepting an invitation, signing out."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import Caller, address_of, caller_of
from pyros.console.people.models import Invitation as InvitationRow
from pyros.console.people.models import User
from pyros.console.roles import Role
from pyros.console.sealed import InvitationLink, PasswordLink, SignInLink, unseal
from pyros.keys import sign

_BACKEND = "django.contrib.auth.backends.ModelBackend"
_OVER = "this link has been used, is too old, or is not one of ours; ask for another"
_CLOSED = "signing in is switched off now"
_READ_ONLY = "the console is read-only now: open the link again when it no longer is"


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password, and take them; after too many failures it has to be waited."""
    after = _own(request, request.POST.get("next") or request.GET.get("next") or "/")
    shown = {"next": after, "mistake": ""}
    if request.method != "POST":
        return render(request, "sign-in.html", shown)
    if not settings.CONSOLE.switches.read().sign_in:
        return problem(request, 403, _CLOSED)
    name, address = str(request.POST.get("name", "")).strip()[:32], address_of(request)
    attempts = settings.CONSOLE.attempts
    if wait := attempts.wait(name, address):
        note(Caller(name, address=address), "sign in", "too many attempts", ok=False)
        answer = problem(request, 429, f"too many attempts; try again in {wait / 60:.0f} minutes")
        answer["Retry-After"] = str(int(wait) + 1)
        return answer
    user = authenticate(request, username=name, password=str(request.POST.get("password", ""))[:1000])
    if user is None:
        attempts.failed(name, address)
        note(Caller(name, address=address), "sign in", "wrong name or password", ok=False)
        return render(request, "sign-in.html", shown | {"mistake": "This name and password don't fit."}, status=401)
    attempts.succeeded(name, address)
    login(request, user)
    note(Caller(name, address=address), "sign in")
    return HttpResponseRedirect(after)


@require_safe
def enter(request: HttpRequest, sealed: str) -> HttpResponse:
    """Sign in by a link that somebody has made who can read the console's secret; makes the person if need be."""
    entry = unseal(settings.CONSOLE.secret, SignInLink, sealed)
    if entry is None or entry.role not in set(Role) - {Role.NOBODY}:
        return problem(request, 403, _OVER)
    user = User.objects.filter(name=entry.name).first() or User.objects.make(entry.name, Role(entry.role))
    if not user.is_active:
        return problem(request, 403, f"{entry.name} is switched off")
    login(request, user, backend=_BACKEND)
    note(Caller(entry.name, address=address_of(request)), "sign in", "by link")
    return HttpResponseRedirect("/")


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def accept(request: HttpRequest, sealed: str) -> HttpResponse:
    """Have an invited person choose a name and a password; once."""
    invitation = unseal(settings.CONSOLE.secret, InvitationLink, sealed)
    row = None if invitation is None else InvitationRow.objects.filter(id=invitation.id, used=False).first()
    if row is None:
        return problem(request, 403, _OVER)
    if refused := _closed(request):
        return refused
    shown = {"role": Role(row.role).word, "mistakes": []}
    if request.method != "POST":
        return render(request, "invitation.html", shown)
    name, password = str(request.POST.get("name", "")).strip(), str(request.POST.get("password", ""))[:1000]
    try:
        validate_password(password, User(name=name))
        with transaction.atomic():
            if not InvitationRow.objects.filter(id=row.id, used=False).update(used=True):
                return problem(request, 403, _OVER)
            user = User.objects.make(name, Role(row.role), password=password, email=str(request.POST.get("email", "")))
    except ValidationError as error:
        return render(request, "invitation.html", shown | {"mistakes": error.messages, "name": name}, status=400)
    login(request, user, backend=_BACKEND)
    note(Caller(name, address=address_of(request)), "accept invitation", f"from {row.by.name}")
    return HttpResponseRedirect("/")


def password_mark(user: User) -> str:
    """Return what a link for a new password says of the old one, which nobody learns from it."""
    return sign(settings.CONSOLE.secret, "password link", user.name, user.password)[:32]


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def choose_password(request: HttpRequest, sealed: str) -> HttpResponse:
    """Have who has forgotten the password choose a new one, once: it ends all sessions of that person."""
    entry = unseal(settings.CONSOLE.secret, PasswordLink, sealed)
    user = None if entry is None else User.objects.filter(name=entry.name, is_active=True).first()
    if entry is None or user is None or password_mark(user) != entry.mark:
        return problem(request, 403, _OVER)
    if refused := _closed(request):
        return refused
    shown = {"name": user.name, "mistakes": []}
    if request.method != "POST":
        return render(request, "choose_password.html", shown)
    old, password = user.password, str(request.POST.get("password", ""))[:1000]
    try:
        validate_password(password, user)
    except ValidationError as error:
        return render(request, "choose_password.html", shown | {"mistakes": error.messages}, status=400)
    user.set_password(password)
    if not User.objects.filter(pk=user.pk, password=old, is_active=True).update(password=user.password):
        return problem(request, 403, _OVER)
    settings.CONSOLE.attempts.succeeded(user.name, address_of(request))
    login(request, user, backend=_BACKEND)
    note(Caller(user.name, address=address_of(request)), "choose password", f"by a link of {entry.by}")
    return HttpResponseRedirect("/")


def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    caller = caller_of(request)
    logout(request)
    note(caller, "sign out")
    request.caller = Caller(address=caller.address)
    answer = HttpResponseRedirect("/sign-in", status=303)
    answer.delete_cookie(settings.PASS_COOKIE_NAME, samesite="Lax")
    return answer


def _closed(request: HttpRequest) -> HttpResponse | None:
    """Refuse a link that would change who may come in, while that is switched off or nothing is to be changed."""
    switches = settings.CONSOLE.switches.read()
    if not switches.sign_in:
        return problem(request, 403, _CLOSED)
    return problem(request, 403, _READ_ONLY) if switches.read_only else None


def _own(request: HttpRequest, url: str) -> str:
    """Return where to go after signing in: a page of ours."""
    fine = url_has_allowed_host_and_scheme(url, {request.get_host()}) and url.startswith("/")
    return url if fine else "/"
