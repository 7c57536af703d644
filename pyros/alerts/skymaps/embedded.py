"""The sky map that a packet carries within: igwn.gwalert's ``event.skymap``, the unified schema's ``healpix_file``."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pyros.alerts.formats.avro import read_avro
from pyros.alerts.formats.gcn import read_json
from pyros.alerts.parse import form_of
from pyros.errors import AlertError

_PLACES = (("event", "skymap"), ("healpix_file",), ("content", "event", "skymap"), ("content", "healpix_file"))


def embedded_skymap(packet: bytes) -> bytes | None:
    """Return the FITS file within a packet, or None where there is none.

    Raises:
        AlertError: the packet, or the map's base64, is damaged.
    """
    form = form_of(packet)
    if form not in {"json", "avro"}:
        return None
    notice: Any = read_json(packet) if form == "json" else read_avro(packet)
    if isinstance(notice, list) and len(notice) == 1:
        notice = notice[0]
    for place in _PLACES:
        value = notice
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bytes):
            return value
        if isinstance(value, str) and value:
            try:
                return base64.b64decode(value, validate=False)
            except (binascii.Error, ValueError) as error:
                raise AlertError(f"the sky map in the packet is no base64: {error}") from None
    return None
