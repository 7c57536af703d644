"""Avro packets that only name their schema: each gets it, so that it can be kept and read like any other.

Fink's packets have their schema as the message's key; Rubin's have its number in a registry (Confluent's wire format).
For the thread of one consumer, which it may hold while the registry is asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pyros.alerts.formats import avro
from pyros.config import KafkaConfig
from pyros.errors import ConfigError
from pyros.outgoing import NotThere, get

_SECONDS = 10.0
"""How long the registry may take."""
_LARGEST = 4 * 1024 * 1024
"""Bytes of a registry's answer; Rubin's schema has 60,000."""
_MAX_SCHEMAS = 100


class Schemas:
    """The schemas of one section's packets."""

    def __init__(self, config: KafkaConfig, path: object) -> None:
        """Read the section's own schema; ``path`` is the configuration file, for errors.

        Raises ConfigError when the schema cannot be read.
        """
        self._registry = config.schema_registry.rstrip("/")
        self._known: dict[int, bytes] = {}
        self._own: bytes | None = None
        if config.schema is not None and not config.gate:  # a gate decodes by it, without the packet made anew
            try:
                self._own = config.schema.read_bytes()
                msgspec.json.decode(self._own)
            except (OSError, msgspec.DecodeError) as error:
                where = f"{path}: [{config.section}]"
                raise ConfigError([f"{where} schema: {config.schema} cannot be read: {error}"]) from None

    def packet(self, key: Any, value: bytes) -> bytes:
        """Return a message's packet with its schema, where that came beside it or is known by its number.

        Raises OSError when the registry has to be asked and cannot be: the message is to be taken again.
        """
        number = avro.number_of_schema(value)
        if number is not None and (schema := self._of_number(number)) is not None:
            return avro.container(schema, avro.record_of(value))
        return avro.container(key if isinstance(key, bytes) else None, value)

    def _of_number(self, number: int) -> bytes | None:
        if not self._registry:
            return self._own
        if number not in self._known:
            schema = self._ask(number)
            if schema is None:
                return None
            if len(self._known) >= _MAX_SCHEMAS:
                del self._known[next(iter(self._known))]
            self._known[number] = schema
        return self._known[number]

    def _ask(self, number: int) -> bytes | None:
        """Return a schema of the registry; None where that has none of the number."""
        try:
            answer = get(f"{self._registry}/schemas/ids/{number}", seconds=_SECONDS, largest=_LARGEST)
        except NotThere:
            return None
        except OSError as error:
            raise OSError(f"schema {number} is not known: {self._registry} {error}") from None
        return _schema_in(answer)


def _schema_in(answer: bytes) -> bytes | None:
    """Return the schema in a registry's answer, ``{"schema": "..."}``."""
    try:
        said = msgspec.json.decode(answer)
        schema = said["schema"].encode()
        msgspec.json.decode(schema)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None
    return bytes(schema)
