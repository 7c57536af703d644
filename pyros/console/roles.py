"""Who may what: four roles, each of which may all that the one before it may."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """A person's, a program's or a page's role."""

    NOBODY = 0
    """Has not signed in."""
    VIEWER = 1
    """Sees the observatory."""
    OBSERVER = 2
    """Asks for observations, and changes the own ones."""
    OPERATOR = 3
    """Stops, holds and releases the observatory, and commands its devices."""
    ADMIN = 4
    """Invites people, changes what they may and lets them choose new passwords; sees tracebacks."""

    @property
    def word(self) -> str:
        """The role as people write it."""
        return self.name.lower()


def role_named(word: str) -> Role:
    """Return the role of that name; raises ValueError saying which there are."""
    for role in Role:
        if role and role.word == word:
            return role
    raise ValueError(f"{word!r} is no role; there are: {', '.join(role.word for role in Role if role)}")
