"""The page Tonight: the newest frame."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def tonight(request: HttpRequest) -> Any:
    """Return the newest frame, which the page's panels were made from. Raises PyrosError."""
    return settings.CONSOLE.feed.latest.frame
