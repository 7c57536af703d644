"""The sky map that a packet carries within: igwn.gwalert's ``event.skymap``, the unified schema's ``healpix_file``."""

from __future__ import annotations

import base64
import binascii

from pyros.alerts.formats.avro import read_avro
from pyros.alerts.formats.gcn import map_within, read_json
from pyros.alerts.parse import form_of
from pyros.errors import AlertError


def embedded_skymap(packet: bytes) -> bytes | None:
    """Return the FITS file within a packet, or None where there is none.

    Raises:
        AlertError: the packet, or the map's base64, is damaged.
    """
    form = form_of(packet)
    if form not in {"json", "avro"}:
        return None
    found = map_within(read_json(packet) if form == "json" else read_avro(packet))
    if not isinstance(found, str):
        return found if isinstance(found, bytes) else None
    try:
        return base64.b64decode(found, validate=False)
    except (binascii.Error, ValueError) as error:
        raise AlertError(f"the sky map in the packet is no base64: {error}") from None
