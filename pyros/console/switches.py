"""Parts of the console that are switched while it runs: one small file, which every request looks at."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from pyros.files import atomic_write
from pyros.prepared import prepared

FILE = "switches.json"


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is switched on and off. STOP, hold and release are no part that can be."""

    read_only: bool = False
    """Nothing can be changed through the console, but the observatory stopped, held and released."""
    requests: bool = True
    """Requests can be made and changed."""
    sign_in: bool = True
    """People can sign in; who is signed in stays so."""
    jobs: bool = True
    """Jobs can be begun and ended."""


class SwitchFile:
    """The switches in their file. Any thread may ask; a look costs one ``stat``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._switches = Switches()

    def read(self) -> Switches:
        """Return the switches; read-only where the file is there and cannot be understood."""
        with self._lock:
            try:
                there = self.path.stat()
                if (key := (there.st_mtime_ns, there.st_ino)) != self._seen:
                    self._switches = msgspec.json.decode(self.path.read_bytes(), type=prepared(Switches))
                    self._seen = key
            except FileNotFoundError:
                self._switches, self._seen = Switches(), None
            except (OSError, msgspec.DecodeError):
                self._switches, self._seen = Switches(read_only=True), None
            return self._switches

    def set(self, name: str, on: bool) -> Switches:
        """Switch one of them. Raises ValueError for a name that is none, and OSError."""
        if name not in Switches.__struct_fields__:
            raise ValueError(f"{name!r} is no switch; there are: {', '.join(Switches.__struct_fields__)}")
        switches = msgspec.structs.replace(self.read(), **{name: on})
        with atomic_write(self.path, shared=True) as partial:
            partial.write_bytes(msgspec.json.encode(switches))
            partial.chmod(0o600)
        return switches
