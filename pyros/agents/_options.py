"""How the agents' own options are written."""

from __future__ import annotations


def yes_or_no(text: str) -> bool:
    """Convert an option's ``yes`` or ``no``; raises ValueError for anything else."""
    if text not in ("yes", "no"):
        raise ValueError("is neither yes nor no")
    return text == "yes"
