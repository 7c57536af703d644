"""The analyzer: makes a preview of every image, with the target marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.threads import deferToThreadPool

from pyros import messages
from pyros.agents.base import Agent
from pyros.instruments.preview import write_preview
from pyros.messages import ImageTaken, Message


class AnalyzerState(msgspec.Struct):
    """How many images there were."""

    images: int = 0


class AnalyzerAgent(Agent):
    """Takes *Image taken*; puts a PNG beside the FITS file."""

    state: AnalyzerState

    def __init__(self) -> None:
        super().__init__(Agent.ANALYZER)
        self.actions_by_message[messages.IMAGE_TAKEN] = self.image_taken

    def attach(self, reactor: Any) -> None:
        self._reactor = reactor

    def image_taken(self, message: Message) -> None:
        self.state.images += 1
        self.after_commit(self._preview, message.payload)

    def _preview(self, image: ImageTaken) -> None:
        """In the reactor's thread: drawing takes a while, so a thread of the pool does it."""
        path = Path(image.path)
        drawn = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), write_preview, path, path.with_suffix(".png"),
            image.ra, image.dec,
        )  # fmt: skip
        drawn.addCallbacks(
            lambda png: self.log.info("preview {png}", png=png),
            lambda failure: self.log.error("no preview: {reason}", reason=failure.getErrorMessage()),
        )
