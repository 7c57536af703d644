"""An agent's journal: one SQLite file that holds received messages, outbox, timers and state.

It is the only durable thing an agent has. A turn is written by one call of `Journal.commit`, in one transaction with
``synchronous=FULL``: after a crash at any instant either nothing of the turn is there or all of it.

One connection writes and checkpoints (SQLite below 3.51.3 can corrupt a WAL file otherwise), and a lock file keeps a
second process away; everybody else uses `JournalReader`, which is read-only.
"""

from __future__ import annotations

from pyros.journal._reader import JournalReader
from pyros.journal._rows import PROGRAM, Effects, Outgoing, Peer, Received, StoredTimer
from pyros.journal._writer import Journal, insert

__all__ = [
    "PROGRAM",
    "Effects",
    "Journal",
    "JournalReader",
    "Outgoing",
    "Peer",
    "Received",
    "StoredTimer",
    "insert",
]
