"""What frames are made of: the view of the night, and its panels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from django.template.loader import render_to_string

from pyros.clock import Clock
from pyros.config import Config
from pyros.errors import DeliveryError
from pyros.hold import Hold, Holds
from pyros.sender import ask

_ASK_SECONDS = 1.0
_PANELS = Path(__file__).parent / "templates" / "panels"


class Frame(msgspec.Struct):
    """Everything that must agree."""

    number: int
    """Its number."""
    observatory: str
    """The observatory's name."""
    now: float
    """The observatory's time, Unix seconds."""
    hold: Hold | None
    """Who holds it."""
    up: int
    """How many agents answer."""
    agents: int
    """How many there are."""


class Night:
    """The source of a console's frames."""

    def __init__(self, config: Config, clock: Clock, holds: Holds) -> None:
        self._config, self._clock, self._holds = config, clock, holds
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="console-ask")
        self._up = 0

    def changed(self) -> bool:
        return False

    def frame(self, number: int) -> Frame:
        config = self._config
        return Frame(number, config.name, self._clock.time(), self._holds.hold, self._up, len(config.agents))

    def panels(self, frame: Any) -> dict[str, str]:
        known = {"frame": frame}
        return {path.stem: _plain(render_to_string(f"panels/{path.name}", known)) for path in _PANELS.glob("*.html")}

    def alive(self) -> bool:
        self._up = sum(self._pool.map(_answers, self._config.agents.values()))
        return self._up > 0

    def stop(self) -> None:
        """End its threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _plain(text: str) -> str:
    """Return Django's SafeString as a str, which JSON is made of."""
    return text[:]


def _answers(section: Any) -> bool:
    try:
        ask(section, "status", _ASK_SECONDS)
    except DeliveryError:
        return False
    return True
