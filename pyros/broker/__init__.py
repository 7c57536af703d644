"""The VOEvent broker, built on Comet's protocols; it keeps an event before it acknowledges it.

`Broker` is the service, `publish` sends an event to one as an author does.
"""

from __future__ import annotations

from pyros.broker.broker import Broker
from pyros.broker.vtp.publish import publish, publish_async

__all__ = ["Broker", "publish", "publish_async"]
