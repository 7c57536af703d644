"""Who asks: a person by session, a program by token; while the database can't be asked, a person by a signed pass."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from pyros.console.actions import ORDERS
from pyros.console.feed import PublishedFrame
from pyros.console.people.models import Token
from pyros.console.roles import Role
from pyros.console.sealed import Pass, unseal
from pyros.console.sessions import KnownSessions

PASS_SECONDS = 12 * 3600.0
PASS_RENEWED_SECONDS = 600.0
_SCHEMES = ("bearer ", "token ")
"""Before a token in the header Authorization: ours, and that of the OCS dialect."""
_ASKING = 8
_PATIENCE, _ORDER_PATIENCE = 1.0, 0.15
"""Seconds for which the database is asked who it is before the pass counts: by a page, and by an order."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and what that caller may."""

    name: str = ""
    """The person's name; '' for nobody."""
    role: Role = Role.NOBODY
    """What the caller may."""
    address: str = ""
    """An IP address."""
    token: str = ""
    """The name of the token, of a program."""
    user: Any = None
    """The person's `User`; None for nobody, and while the database can't be asked."""

    @property
    def full_name(self) -> str:
        """The person's name, and the token's after a slash."""
        return f"{self.name}/{self.token}" if self.token else self.name


class _Database:
    """Asks the database in threads of its own: whatever holds it up, STOP waits for a moment only.

    SQLite's own time-out is not enough: a reader of a WAL that it cannot lock waits for ten seconds (walTryBeginRead).
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=_ASKING, thread_name_prefix="console-who")
        self._free = BoundedSemaphore(_ASKING)

    def ask(self, question: Callable[[], Any], patience: float) -> Any:
        """Return the answer. Raises TimeoutError after ``patience`` seconds, or when too many wait already."""
        if not self._free.acquire(timeout=patience):
            raise TimeoutError
        asked = self._pool.submit(question)
        asked.add_done_callback(lambda _: self._free.release())
        return asked.result(patience)


_database = _Database()
_sessions = KnownSessions()


def caller_of(request: HttpRequest) -> Caller:
    """Return who asks. The database is asked once a request."""
    found: Caller | None = getattr(request, "caller", None)
    if found is None:
        found = _find(request)
        request.caller = found
    return found


def published_for(request: HttpRequest, *, whole: bool = False) -> PublishedFrame:
    """Return the frame that all of an answer shows, asked for once a request; the head of it, if not the ``whole``.

    Raises PyrosError.
    """
    found: PublishedFrame | None = getattr(request, "published", None)
    if found is None:
        feed = settings.CONSOLE.feed
        found = feed.latest if whole else feed.head
        request.published = found
    return found


def has_token(request: HttpRequest) -> bool:
    """Whether a program shows a token: no browser does that for another site's page."""
    return str(request.headers.get("Authorization", "")).lower().startswith(_SCHEMES)


def address_of(request: HttpRequest) -> str:
    """Return where the caller is: as the proxy says that stands before the console, where one does."""
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.CONSOLE.section.behind_proxy else ""
    return str(forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", ""))[:45]


def pass_of(request: HttpRequest) -> Pass | None:
    """Return the pass that a browser shows."""
    return unseal(settings.CONSOLE.secret, Pass, str(request.COOKIES.get(settings.PASS_COOKIE_NAME, "")))


def may_listen(headers: dict[str, str]) -> bool:
    """Whether who sends these headers (lower case) may see the observatory. In a thread of Django's."""
    request = HttpRequest()
    request.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    request.COOKIES = parse_cookie(headers.get("cookie", ""))
    session: Any = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    request.session = session
    try:
        if not has_token(request):
            request.user = get_user(request)
    except DatabaseError:
        shown = pass_of(request)
        return shown is not None and shown.role >= Role.VIEWER
    return caller_of(request).role >= Role.VIEWER


def _find(request: HttpRequest) -> Caller:
    address = address_of(request)
    if has_token(request):
        return _program(request, address)
    patience = _ORDER_PATIENCE if request.path in ORDERS else _PATIENCE
    try:
        user = _database.ask(lambda: _sessions.user(request), patience)
    except (DatabaseError, TimeoutError):
        return _by_pass(request, address)
    return Caller(address=address) if user is None else Caller(user.name, user.rank, address, user=user)


def _program(request: HttpRequest, address: str) -> Caller:
    token = Token.objects.shown(request.headers["Authorization"].partition(" ")[2].strip())
    if token is None:
        return Caller(address=address)
    return Caller(token.user.name, token.rank, address, token.name, token.user)


def _by_pass(request: HttpRequest, address: str) -> Caller:
    shown = pass_of(request)
    if shown is None or shown.role not in set(Role):
        return Caller(address=address)
    return Caller(shown.name, Role(shown.role), address)
