"""What the notifier has told and what waits, for people and programs: read from its journal."""

from __future__ import annotations

from contextlib import closing

import msgspec

from pyros.config import Config, StandardAgents
from pyros.errors import JournalError
from pyros.journal import JournalReader
from pyros.notices.notice import NoticeBook
from pyros.prepared import prepared


def read_book(config: Config) -> NoticeBook:
    """Return the notifier's state as it was last committed; raises JournalError where it has not run. Any thread."""
    with closing(JournalReader(config.journal(StandardAgents.NOTIFIER))) as reader:
        state = reader.state()
    try:
        return NoticeBook() if state is None else msgspec.json.decode(state, type=prepared(NoticeBook))
    except msgspec.DecodeError as error:
        raise JournalError(f"{reader.path}: holds no state of this version's notifier: {error}") from None
