"""The page of a device: what it says of itself, and what people know of it, which operators write down."""

from __future__ import annotations

from datetime import date

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import caller_of
from pyros.console.people.models import Device
from pyros.printable import printable
from pyros.views.devices import DeviceView, devices

_MAX_NOTES = 4000


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What people know of a device."""

    maker: str = ""
    """Who made it."""
    model: str = ""
    """Which of the maker's it is."""
    serial: str = ""
    """Its serial number."""
    since: date | None = None
    """Since when it is here."""
    notes: str = ""
    """What else is known: repairs, quirks, where its manual is."""


class DeviceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A device."""

    device: DeviceView
    """What it says, and whether its agent reaches it."""
    known: DeviceFacts | None = None
    """What people know of it; None while the console's database is busy."""


def device(request: HttpRequest, key: str = "") -> DeviceDetail | None:
    """Return a device by its agent's name; None for no such device."""
    found = next((each for each in devices(settings.CONSOLE.observed) if each.name == key), None)
    if found is None:
        return None
    try:
        row = Device.objects.filter(name=key).first() or Device(name=key)
    except DatabaseError:
        return DeviceDetail(device=found)
    facts = DeviceFacts(maker=row.maker, model=row.model, serial=row.serial, since=row.since, notes=row.notes)
    return DeviceDetail(device=found, known=facts)


def describe(request: HttpRequest) -> HttpResponse:
    """Keep what an operator writes down about a device of the configuration; a field left empty is forgotten."""
    caller = caller_of(request)
    given = {name: printable(str(request.POST.get(name, "")).replace("\r\n", "\n").strip(), lines=name == "notes")
             for name in ("key", "maker", "model", "serial", "since", "notes")}  # fmt: skip
    key = given.pop("key")
    if key not in {each.name for each in devices(settings.CONSOLE.observed)}:
        return problem(request, 404, "there is no such device")
    row = Device.objects.filter(name=key).first() or Device(name=key)
    row.maker, row.model, row.serial, row.notes = (given[name] for name in ("maker", "model", "serial", "notes"))
    if len(row.notes) > _MAX_NOTES:
        return problem(request, 400, f"notes have at most {_MAX_NOTES} characters")
    try:
        row.since = date.fromisoformat(given["since"]) if given["since"] else None
    except ValueError:
        return problem(request, 400, "here since: a date is written as 2026-03-01")
    try:
        row.full_clean()
    except ValidationError as error:
        return problem(request, 400, "; ".join(f"{name}: {' '.join(why)}" for name, why in error.message_dict.items()))
    row.save()
    note(caller, "describe device", f"{key}: {' '.join(filter(None, (row.maker, row.model, row.serial)))}")
    return HttpResponseRedirect(f"/device?{urlencode({'key': key})}", status=303)
