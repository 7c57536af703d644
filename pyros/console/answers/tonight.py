"""The page Tonight: the newest frame."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from pyros.console.caller import published_for


def tonight(request: HttpRequest) -> Any:
    """Return the newest frame, which the page's panels were made from. Raises PyrosError."""
    return published_for(request).frame
