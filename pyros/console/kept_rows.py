"""Rows of lists as HTML: what a row shows is a value, and so a row that was made is not made again.

A template of a row is given the value and what the list says of it, and nothing else of the page: they are the key. The
one thing that differs from answer to answer, the token of a row's forms, is put in its place afterwards.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
from django.template.loader import get_template
from django.utils.html import escape

MAX_ROWS = 2000
_MAX_LENGTH = 4000
"""Characters of a row that is kept: 8 MB for all of them at most."""


class KeptRows:
    """The rows that were made last. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[bytes, str] = OrderedDict()
        self._token = f"token-{secrets.token_hex(16)}"
        """Stands in kept rows where an answer's own token belongs; nobody can know it, and so write it into a value."""

    def html(self, template: str, values: Any, given: Mapping[str, Any], token: object) -> str:
        """Return the rows of ``values``, one after the other.

        Each is made by ``template`` with the value as ``it`` and with ``given``; all of them must be what msgspec
        encodes. ``token`` is that of the answer's forms.
        """
        made, about = get_template(template), msgspec.json.encode((template, given))
        html = "".join(self._row(made, about, value, given) for value in values)
        return html.replace(self._token, escape(str(token))) if self._token in html else html

    def _row(self, template: Any, about: bytes, value: Any, given: Mapping[str, Any]) -> str:
        key = hashlib.blake2b(about + msgspec.json.encode(value), digest_size=20).digest()
        with self._lock:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
                return row
        row = str(template.render({"it": value, "csrf_token": self._token, **given}))
        if len(row) <= _MAX_LENGTH:
            with self._lock:
                self._rows[key] = row
                while len(self._rows) > MAX_ROWS:
                    self._rows.popitem(last=False)
        return row
