"""Commands to one device, by its agent: what an operator may ask for on the page Devices."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from pyros import messages
from pyros.agents import Agent
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.errors import DeliveryError, MessageRefused
from pyros.messages import Order
from pyros.sender import Sender

COMMANDS: dict[str, tuple[str, ...]] = {
    Agent.DOME: (messages.CLOSE, messages.OPEN),
    Agent.TELESCOPE: (messages.ABORT, messages.PARK),
    Agent.CAMERA: (messages.ABORT,),
}
"""By kind of instrument, the messages that need no value. The agent itself refuses what isn't safe."""
_SECONDS = 10.0


def command(request: HttpRequest) -> HttpResponse:
    """Give one device a command, exactly as ``pyros send`` does: a *Close* so holds the dome until it is released."""
    caller, console = caller_of(request), settings.CONSOLE
    agent, name = str(request.POST.get("agent", "")), str(request.POST.get("command", ""))
    section = console.config.agents.get(agent)
    if section is None or name not in COMMANDS.get(section.kind, ()):
        return problem(request, 404, "there is no such command")
    payload: Any = None if name == messages.ABORT else Order(reason=f"{caller.full_name}@console")
    try:
        Sender.send_to(agent, name, payload, config=console.config, timeout=_SECONDS)
    except MessageRefused as error:
        note(caller, "command device", f"{agent} {name}: {error}", ok=False)
        return problem(request, 409, f"{agent} refuses {name}: {error.reason}")
    except DeliveryError as error:
        note(caller, "command device", f"{agent} {name}: {error}", ok=False)
        return problem(request, 503, f"{agent} has not taken it: nothing was commanded", str(error))
    console.feed.refresh()
    note(caller, "command device", f"{agent} {name}")
    return HttpResponseRedirect("/devices", status=303)
