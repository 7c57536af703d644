"""The VOEvent broker, built on Comet's protocols; it keeps an event before it acknowledges it.

`Broker` is the service, `send_event` sends an event to one as an author does.
"""

from __future__ import annotations

from pyros.broker.broker import Broker
from pyros.broker.vtp.author import send_event, send_event_async

__all__ = ["Broker", "send_event", "send_event_async"]
