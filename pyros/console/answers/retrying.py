"""Failed messages: an agent is told to handle one again."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from pyros.agents import Agent
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.errors import DeliveryError
from pyros.sender import Sender

_SECONDS = 10.0


def retry(request: HttpRequest) -> HttpResponse:
    """Have a running agent handle a failed message again, and show what has failed still."""
    caller, console = caller_of(request), settings.CONSOLE
    agent, number = str(request.POST.get("agent", "")), str(request.POST.get("number", ""))
    if agent not in console.config.agents or not number.isascii() or not number.isdecimal():
        return problem(request, 404, "there is no such message")
    try:
        Sender.send_to(agent, Agent.RETRY_FAILED, {"number": int(number)}, config=console.config, timeout=_SECONDS)
    except DeliveryError as error:
        note(caller, "retry message", f"{agent} {number}: {error}", ok=False)
        return problem(request, 503, f"{agent} does not answer: a message can only be retried by a running agent",
                       str(error))  # fmt: skip
    note(caller, "retry message", f"{agent} {number}")
    return HttpResponseRedirect("/messages?failed=yes", status=303)
