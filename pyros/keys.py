"""The observatory's key: a small secret file, by which its agents and its people know each other.

Each start of an agent makes the file where there is none yet, for its owner alone. Who can read it can prove it on the
wire (`pyros.sender.handshake`) and may then command; the key itself never leaves its file.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from pyros.errors import ConfigError
from pyros.unique import new_name

FILE = "observatory.key"
_BYTES = 32
_KEY = "the observatory's key"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_key(path: Path, what: str = _KEY) -> bytes:
    """Return the key in that file, which is made where there is none; of several processes at once one makes it.

    ``what`` it is, stands in the errors.

    Raises ConfigError when others may read it, when it holds no key, or when it cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise ConfigError([f"{path}: {what} cannot be made: {error.strerror}"]) from None
    return read_key(path, what)


def read_key(path: Path, what: str = _KEY) -> bytes:
    """Return the key in that file.

    Raises ConfigError when it is not there, cannot be read, holds no key, or when others may read it, too.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1000).strip()
    except FileNotFoundError:
        raise ConfigError([
            f"{path}: no such file; copy {FILE} there from the data folder of the observatory's first computer"
        ]) from None  # fmt: skip
    except OSError as error:
        raise ConfigError([f"{path}: {what} cannot be read: {error.strerror}"]) from None
    if mode & _OTHERS:
        raise ConfigError([
            f"{path}: others may read {what} (mode {stat.S_IMODE(mode):04o});"
            f" run: chmod 600 {path}, or, if somebody may have read it, remove it and start every agent again"
        ])  # fmt: skip
    if not re.fullmatch(rb"[0-9a-f]{%d}" % (2 * _BYTES), text):
        raise ConfigError([f"{path}: holds no key ({2 * _BYTES} hexadecimal digits); remove it to have a new one made"])
    return bytes.fromhex(text.decode())


def find_key(path: Path) -> bytes | None:
    """Return the key, or None for a person or program that has none: no such file, or not theirs to read.

    Raises ConfigError as `read_key` does for a file that is wrong.
    """
    return read_key(path) if os.access(path, os.R_OK) else None


def sign(key: bytes, *words: str | float) -> str:
    """Return the HMAC-SHA256 (hexadecimal) of some words, which can be cut in no other way."""
    return hmac.digest(key, msgspec.json.encode(words), "sha256").hex()


def is_signed(signature: str, key: bytes, *words: str | float) -> bool:
    """Return whether `sign` gives that signature; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(signature.encode(errors="replace"), sign(key, *words).encode())


def nonce() -> str:
    """Return a word that was never used before."""
    return new_name()


def _make(path: Path) -> None:
    """Write a new key beside it and link it to its name, which fails for all processes but the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    partial.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
