"""What frames are made of: the views' frame of the night, and its panels."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string

from pyros import views
from pyros.journal import running
from pyros.views import Observed

_PANELS = Path(__file__).parent / "templates" / "panels"


class NightFrames:
    """The source of a console's frames."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._seen: Hashable = None
        self._up: Hashable = None
        """Which agents ran when `alive` was called last; asking the kernel costs too much for five times a second."""

    def changed(self) -> bool:
        """Whether anything has changed that a frame shows; an agent's end is seen by `alive`."""
        now = (views.changes(self._observed), self._up)
        seen, self._seen = self._seen, now
        return now != seen

    def frame(self, number: int) -> views.ObservatoryFrame:
        """Return the frame of now."""
        return views.frame(self._observed, number)

    def panels(self, frame: Any) -> dict[str, str]:
        """Return the HTML of each template in ``panels/``."""
        known = {"frame": frame, "night": frame.night}
        return {path.stem: _plain(render_to_string(f"panels/{path.name}", known)) for path in _PANELS.glob("*.html")}

    def alive(self) -> bool:
        """Whether any agent runs, by the locks that go with their processes; True if nobody knows."""
        up = tuple(running(self._observed.path(name) for name in self._observed.names).values())
        self._up = up
        return any(each is not False for each in up)


def _plain(text: str) -> str:
    """Return Django's SafeString as a str, which JSON is made of."""
    return text[:]
