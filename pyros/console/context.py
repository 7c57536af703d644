"""What every template knows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from pyros.console.caller import caller_of, published_for
from pyros.console.console import Console
from pyros.console.roles import Role
from pyros.errors import PyrosError


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """Return the console's name and menu, who asks, and the newest frame with its panels."""
    console: Console = settings.CONSOLE
    caller, switches = caller_of(request), console.switches.read()
    may_write = caller.role >= Role.OBSERVER and not switches.read_only
    known: dict[str, Any] = {
        "request": request,
        "observatory": console.config.name,
        "telescopes": console.config.telescopes,
        "caller": caller,
        "operator": caller.role >= Role.OPERATOR,
        "may_command": caller.role >= Role.OPERATOR and not switches.read_only,
        "may_write": may_write,
        "may_ask": may_write and switches.requests,
        "switches": switches,
        "names": {page.name for page in console.pages},
        "published": None,
        "problem": "",
    }
    if caller.role >= Role.VIEWER:
        try:
            known["published"] = published_for(request)
        except PyrosError as error:
            known["problem"] = str(error) if caller.role >= Role.ADMIN else "its journals cannot be read"
    return known
