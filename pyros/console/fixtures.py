"""What people have written, as JSON: by Django's serializers, with names instead of the rows' numbers.

Equal databases give equal bytes. Passwords' hashes are left out unless asked for; tokens, invitations and sessions
always.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.serializers.base import DeserializationError
from django.db import DatabaseError, transaction

from pyros.console.people.models import Device, Note, Request, User
from pyros.errors import PyrosError

_MODELS = (User, Device, Request, Note)
"""In the order in which they refer to each other."""
_NO_PASSWORD = "!"  # Django's mark of one that nobody can have
MAX_BYTES = 50_000_000


def dump(*, with_passwords: bool = False) -> str:
    """Return users with roles, devices, requests and notes as JSON, each model by its names."""
    rows = [row for model in _MODELS for row in model.objects.all()]
    text = serializers.serialize("json", rows, use_natural_foreign_keys=True, use_natural_primary_keys=True)
    objects: list[dict[str, Any]] = msgspec.json.decode(text)
    for each in objects:
        if each["model"] == "people.user":
            each["fields"].pop("last_login")  # that isn't written by anybody
            if not with_passwords:
                each["fields"]["password"] = _NO_PASSWORD
    return msgspec.json.format(msgspec.json.encode(objects), indent=2).decode() + "\n"


def load(path: Path) -> int:
    """Load such a file, all of it or nothing; what has the same name is replaced. Returns how many objects it has.

    A user whose password isn't in it keeps the one there is. Raises PyrosError naming the file and what is wrong.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PyrosError(f"{path}: is larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        with transaction.atomic():
            return sum(_save(each) for each in serializers.deserialize("json", text))
    except OSError as error:
        raise PyrosError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PyrosError(f"{path}: is not UTF-8") from None
    except ValidationError as error:
        raise PyrosError(f"{path}: {'; '.join(error.messages)}") from None
    except (DeserializationError, DatabaseError, AttributeError, TypeError, ValueError) as error:
        raise PyrosError(f"{path}: is no fixture of the console: {' '.join(str(error).split())[:300]}") from None


def _save(found: Any) -> int:
    row = found.object
    if not isinstance(row, _MODELS):
        raise ValueError(f"has a {type(row).__name__}, which is not loaded")
    if isinstance(row, User):
        there = User.objects.filter(name=row.name).first()
        if there is not None:
            row.last_login = there.last_login
            row.password = there.password if row.password == _NO_PASSWORD else row.password
    row.full_clean(validate_unique=False, validate_constraints=False, exclude=["password"])
    found.save()
    return 1
