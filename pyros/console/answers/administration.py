"""The page Admin: what is switched on and off."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.console.switches import Switches

_MEANING = {
    "read_only": "Nothing can be changed here, but the observatory stopped, held and released",
    "requests": "Requests can be made and changed",
    "sign_in": "People can sign in (who is in stays in)",
    "jobs": "Jobs can be begun and ended",
}


class SwitchSetting(msgspec.Struct):
    """A switch, and what it means."""

    name: str
    on: bool
    meaning: str


class Administration(msgspec.Struct):
    """What is switched on and off."""

    switches: list[SwitchSetting]


def administration(request: HttpRequest) -> Administration:
    """Return the switches."""
    now = settings.CONSOLE.switches.read()
    return Administration(
        [SwitchSetting(name, getattr(now, name), _MEANING[name]) for name in Switches.__struct_fields__]
    )


def switch(request: HttpRequest) -> HttpResponse:
    """Switch one of them, at once."""
    name, on = str(request.POST.get("name", "")), request.POST.get("on") == "yes"
    try:
        settings.CONSOLE.switches.set(name, on)
    except ValueError as error:
        return problem(request, 400, str(error))
    note(caller_of(request), "switch", f"{name} {'on' if on else 'off'}")
    return HttpResponseRedirect("/administration", status=303)
