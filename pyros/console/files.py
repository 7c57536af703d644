"""Static files under names that change with their content, so that browsers may keep them for ever; no build step."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from twisted.web.http import NOT_FOUND
from twisted.web.resource import Resource

_FOR_EVER = b"public, max-age=31536000, immutable"
_ASK_AGAIN = b"no-cache"
_PACKED = ("text/", "application/javascript", "text/javascript", "image/svg+xml", "application/json")


class HashedFiles(StaticFilesStorage):
    """Gives each file's URL: ``console.css`` is ``/static/console.1f0c2b3a.css``. Files are read when it is made."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.files: dict[str, Path] = {}
        """Every file, by its name and by its hashed name."""
        self._hashed: dict[str, str] = {}
        for finder in get_finders():
            for name, storage in finder.list([]):
                if name not in self._hashed:
                    path = Path(storage.path(name))
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                    stem, dot, end = name.rpartition(".")
                    hashed = f"{stem}.{digest}.{end}" if dot else f"{name}.{digest}"
                    self.files[name] = self.files[hashed] = path
                    self._hashed[name] = hashed

    def url(self, name: str | None) -> str:
        """Return a file's URL. Raises ValueError for a file that there isn't."""
        try:
            return f"{self.base_url}{self._hashed[name or '']}"
        except KeyError:
            raise ValueError(f"no static file {name!r}") from None

    def is_hashed(self, name: str) -> bool:
        """Whether a name is a hashed one."""
        return name in self.files and name not in self._hashed


class StaticFiles(Resource):
    """The resource ``/static/``: what the table has, from memory once it was asked for, packed where that helps."""

    isLeaf = True

    def __init__(self, storage: HashedFiles) -> None:
        super().__init__()
        self._storage = storage
        self._read: dict[str, tuple[bytes, bytes, bytes]] = {}

    def render_GET(self, request: Any) -> bytes:
        """Answer with a file, or that there is none."""
        name = b"/".join(request.postpath or []).decode("utf-8", "replace")
        if name not in self._storage.files:
            request.setResponseCode(NOT_FOUND)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return b"no such file\n"
        kind, content, packed = self._read.get(name) or self._load(name)
        request.setHeader(b"content-type", kind)
        request.setHeader(b"cache-control", _FOR_EVER if self._storage.is_hashed(name) else _ASK_AGAIN)
        if packed:
            request.setHeader(b"vary", b"accept-encoding")
            if "gzip" in (request.getHeader("accept-encoding") or ""):
                request.setHeader(b"content-encoding", b"gzip")
                return packed
        return content

    def _load(self, name: str) -> tuple[bytes, bytes, bytes]:
        path = self._storage.files[name]
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        content = path.read_bytes()
        packed = gzip.compress(content, mtime=0) if kind.startswith(_PACKED) else b""
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        self._read[name] = f"{kind}{charset}".encode(), content, packed
        return self._read[name]
