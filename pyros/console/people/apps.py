"""The app, for Django. It starts nothing."""

from __future__ import annotations

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """Users, invitations, tokens, and what people know of devices and events."""

    name = "pyros.console.people"
    label = "people"
    default_auto_field = "django.db.models.BigAutoField"
