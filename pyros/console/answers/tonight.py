"""The page Tonight: the newest frame."""

from __future__ import annotations

from django.http import HttpRequest

from pyros.console.caller import published_for
from pyros.views import ObservatoryFrame


def tonight(request: HttpRequest) -> ObservatoryFrame:
    """Return the newest frame, which the page's panels were made from. Raises PyrosError."""
    frame: ObservatoryFrame = published_for(request, whole=True).frame
    return frame
