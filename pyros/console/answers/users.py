"""The page Users: who may what, and invitations."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.answers.signing import password_mark
from pyros.console.audit import Act
from pyros.console.caller import caller_of
from pyros.console.people.models import Invitation as InvitationRow
from pyros.console.people.models import User
from pyros.console.roles import Role, role_named
from pyros.console.sealed import InvitationLink, PasswordLink, seal

INVITATION_SECONDS = 7 * 86400.0
PASSWORD_LINK_SECONDS = 86400.0
_ACTS = 100


class Person(msgspec.Struct):
    """A person, for the list."""

    name: str
    email: str
    role: str
    active: bool
    since: float
    seen: float | None


class Users(msgspec.Struct):
    """Who may what, and who did what of late."""

    people: list[Person]
    acts: list[Act]
    roles: tuple[str, ...] = tuple(role.word for role in Role if role)


def users(request: HttpRequest) -> Users:
    """Return everybody, and the newest acts."""
    people = [
        Person(user.name, user.email, Role(user.role).word, user.is_active, user.since.timestamp(),
               user.last_login.timestamp() if user.last_login else None)
        for user in User.objects.all()
    ]  # fmt: skip
    return Users(people, settings.CONSOLE.audit.newest(_ACTS))


def invite(request: HttpRequest) -> HttpResponse:
    """Make an invitation, and show its link once."""
    caller = caller_of(request)
    try:
        role = role_named(str(request.POST.get("role", "")))
    except ValueError as error:
        return problem(request, 400, str(error))
    row = InvitationRow(role=int(role), note=str(request.POST.get("note", ""))[:100], by=caller.user)
    row.save()
    sealed = seal(settings.CONSOLE.secret, InvitationLink(row.id), INVITATION_SECONDS)
    note(caller, "invite", f"{role.word}: {row.note}")
    link = request.build_absolute_uri(f"/invitation/{sealed}")
    return render(request, "invited.html", {"link": link, "role": role.word, "days": INVITATION_SECONDS / 86400})


def change(request: HttpRequest, name: str) -> HttpResponse:
    """Change a person's role, or switch the person off or on; nobody does that to oneself."""
    caller = caller_of(request)
    user = User.objects.filter(name=name).first()
    if user is None:
        raise Http404
    if user.name == caller.name:
        return problem(request, 400, "nobody changes what oneself may: ask another admin")
    try:
        if "role" in request.POST:
            user.role = int(role_named(str(request.POST["role"])))
        if "active" in request.POST:
            user.is_active = request.POST["active"] == "yes"
        user.full_clean(exclude=["password"])
    except (ValueError, ValidationError) as error:
        return problem(request, 400, str(error))
    user.save()
    note(caller, "change user", f"{name}: {Role(user.role).word}, {'on' if user.is_active else 'off'}")
    return HttpResponseRedirect("/users", status=303)


def make_password_link(request: HttpRequest, name: str) -> HttpResponse:
    """Make a link by which a person chooses a new password, and show it once.

    A program makes none: a stolen token would take over whoever it names.
    """
    caller = caller_of(request)
    if caller.token:
        return problem(request, 403, "links for passwords are made by people who have signed in")
    user = User.objects.filter(name=name, is_active=True).first()
    if user is None:
        raise Http404
    entry = PasswordLink(user.name, password_mark(user), caller.name)
    link = request.build_absolute_uri(f"/password/{seal(settings.CONSOLE.secret, entry, PASSWORD_LINK_SECONDS)}")
    note(caller, "make password link", name)
    return render(request, "password_link.html", {"link": link, "name": name, "hours": PASSWORD_LINK_SECONDS / 3600})
