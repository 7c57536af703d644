"""Who is signed in by which session: asked of the database once for each change of it, not once for each request."""

from __future__ import annotations

import copy
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.http import HttpRequest

from pyros.clock import system_time
from pyros.files import read_only_database

_MAX_KEPT = 1000
_Version = tuple[int, int, int]


class _KnownSession(NamedTuple):
    version: _Version
    """The database's, from before it was asked."""
    until: float
    """When the session ends, Unix seconds."""
    user: Any


class KnownSessions:
    """The people of the sessions that were shown last. Any thread that may wait for the database.

    What is kept counts only while nobody has committed to the database since: a session that was ended, a password, a
    role or a switch that was changed is seen by the next request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: tuple[tuple[int, int], sqlite3.Connection] | None = None
        """The file's place, and a connection that only asks whether others have changed it."""
        self._watches = 0
        self._kept: dict[str, _KnownSession] = {}

    def user(self, request: HttpRequest) -> Any:
        """Return the `User` who is signed in, a copy; None for nobody. Raises DatabaseError."""
        key = str(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))
        version = self._version(Path(settings.CONSOLE.database))
        known = self._kept.get(key)
        if known is not None and known.version == version and system_time() < known.until:
            request.user = copy.copy(known.user)  # what changes the password looks for it there, too
            return request.user
        user: Any = request.user
        if not user.is_authenticated:
            return None
        ends = Session.objects.filter(pk=key).values_list("expire_date", flat=True).first()
        if ends is not None:
            with self._lock:
                if len(self._kept) >= _MAX_KEPT:
                    self._kept.clear()
                self._kept[key] = _KnownSession(version, ends.timestamp(), copy.copy(user))
        return user

    def _version(self, path: Path) -> _Version:
        """Return what is another one after every commit to the database, and for another file in its place."""
        with self._lock:
            try:
                found = os.stat(path)
                place = found.st_dev, found.st_ino
                if self._watched is not None and self._watched[0] != place:
                    self._watched[1].close()
                    self._watched = None
                if self._watched is None:
                    db = sqlite3.connect(read_only_database(path), uri=True, check_same_thread=False)
                    self._watched, self._watches = (place, db), self._watches + 1
                ((version,),) = self._watched[1].execute("PRAGMA data_version").fetchall()
            except (OSError, sqlite3.Error) as error:
                raise DatabaseError(str(error)) from None
            return self._watches, found.st_ino, version
