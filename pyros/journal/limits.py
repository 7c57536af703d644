"""How much a journal keeps of what is over: its writer forgets the rest, a part at a time."""

from __future__ import annotations

HISTORY = 50_000
"""Received messages kept for people to look at; failed ones are kept beyond that."""
MAX_FAILED = 10_000
MAX_FAILED_BYTES = 256 * 1024 * 1024
MAX_REFUSED = 1_000
MAX_SENDERS = 1_000
"""Of agents that the observatory knows, and as many of other names."""
PROGRAM_MEMORY = 86_400.0
"""Seconds after which a program that said nothing more is forgotten."""
FORGET_CHUNK = 500
PRUNE_CHUNK = 5_000
"""The most rows, and messages, that are forgotten at once."""
