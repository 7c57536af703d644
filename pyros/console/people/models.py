"""People, their invitations and tokens, and what they have written about devices and events.

Each has a natural key, by which fixtures name it: numbers of rows differ from database to database.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from pyros.console.roles import Role

_ROLES = [(int(role), role.word) for role in Role if role]
_NAME = RegexValidator(r"^[a-z][a-z0-9._-]{0,31}\Z", "a name is a letter, then letters, digits, . _ and - (all small)")
TOKEN_PREFIX = "pyros_"


class UserManager(BaseUserManager):
    """Users, found by their names."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(name=username)

    def make(self, name: str, role: Role, *, password: str | None = None, email: str = "") -> User:
        """Make a user; without a password one who comes in by links alone. Raises ValidationError."""
        user = self.model(name=name, role=int(role), email=email)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save()
        return user


class User(AbstractBaseUser):
    """A person."""

    name = models.CharField(max_length=32, unique=True, validators=[_NAME])
    email = models.EmailField(blank=True)
    role = models.PositiveSmallIntegerField(choices=_ROLES, default=int(Role.VIEWER))
    is_active = models.BooleanField(default=True)
    since = models.DateTimeField(auto_now_add=True)

    objects = UserManager()
    USERNAME_FIELD = "name"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: tuple[str, ...] = ()

    class Meta:
        ordering = ("name",)

    def natural_key(self) -> tuple[str]:
        return (self.name,)

    @property
    def rank(self) -> Role:
        """The person's role; nobody's while it is switched off."""
        return Role(self.role) if self.is_active else Role.NOBODY


class Invitation(models.Model):
    """Somebody is invited, and may choose a name and a password once."""

    role = models.PositiveSmallIntegerField(choices=_ROLES)
    note = models.CharField(max_length=100, blank=True)
    by = models.ForeignKey(User, on_delete=models.CASCADE)
    made = models.DateTimeField(auto_now_add=True)
    used = models.BooleanField(default=False)

    class Meta:
        ordering = ("-made",)


class TokenManager(models.Manager):
    """Tokens, found by what a program shows."""

    def make(self, user: User, name: str, scope: Role, days: int | None) -> tuple[Token, str]:
        """Make a token; returns it and its text, which is kept nowhere and shown once."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        until = None if days is None else timezone.now() + timedelta(days=days)
        token = self.model(user=user, name=name, scope=int(scope), digest=digest(text), until=until)
        token.full_clean()
        token.save()
        return token, text

    def shown(self, text: str) -> Token | None:
        """Return the token of that text, while it counts."""
        if not text.startswith(TOKEN_PREFIX) or len(text) > 100:
            return None
        token = self.select_related("user").filter(digest=digest(text), revoked=False).first()
        return token if token is not None and (token.until is None or timezone.now() < token.until) else None


class Token(models.Model):
    """What a program shows instead of a person's password; only its hash is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=50)
    scope = models.PositiveSmallIntegerField(choices=_ROLES)
    digest = models.CharField(max_length=64, unique=True)
    made = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField(null=True, blank=True)
    revoked = models.BooleanField(default=False)

    objects = TokenManager()

    class Meta:
        ordering = ("-made",)

    @property
    def rank(self) -> Role:
        """What its program may: never more than its person."""
        return min(Role(self.scope), self.user.rank)


class NamedManager(models.Manager):
    """What has a name, found by it."""

    def get_by_natural_key(self, name: str) -> Any:
        return self.get(name=name)


class Device(models.Model):
    """What people know of a device; its name is its section in the configuration."""

    name = models.CharField(max_length=64, unique=True)
    maker = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100, blank=True)
    serial = models.CharField(max_length=100, blank=True)
    since = models.DateField(null=True, blank=True)
    notes = models.TextField(blank=True)

    objects = NamedManager()

    class Meta:
        ordering = ("name",)

    def natural_key(self) -> tuple[str]:
        return (self.name,)


class NoteManager(models.Manager):
    """Notes, found by event, person and time."""

    def get_by_natural_key(self, event: str, by: str, made: Any) -> Note:
        return self.get(event=event, by__name=by, made=made)


class Note(models.Model):
    """What a person has written about an event, and its tags."""

    event = models.CharField(max_length=400)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="notes")
    made = models.DateTimeField()
    text = models.TextField(blank=True)
    tags = models.JSONField(default=list, blank=True)

    objects = NoteManager()

    class Meta:
        ordering = ("event", "made")
        constraints = (models.UniqueConstraint(fields=("event", "by", "made"), name="one_note_at_a_time"),)
        indexes = (models.Index(fields=("event",)),)

    def save(self, *args: Any, **how: Any) -> None:
        """Keep the time to the millisecond, as fixtures have it: it is a part of the note's name."""
        self.made = self.made.replace(microsecond=self.made.microsecond // 1000 * 1000)
        super().save(*args, **how)

    def natural_key(self) -> tuple[str, str, Any]:
        return (self.event, self.by.name, self.made)

    natural_key.dependencies = ("people.user",)  # type: ignore[attr-defined]


class Request(models.Model):
    """Which person has asked for an observation: the request itself is the scheduler's."""

    name = models.CharField(max_length=200, unique=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="requests")
    made = models.DateTimeField()
    note = models.TextField(blank=True)

    objects = NamedManager()

    class Meta:
        ordering = ("name",)

    def natural_key(self) -> tuple[str]:
        return (self.name,)


def digest(text: str) -> str:
    """Return the hash of a token's text: it has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(text.encode()).hexdigest()
