"""What the agents of all instruments say."""

from __future__ import annotations

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import NoPayload, Payload
from pyros.messages.observations import Abort


class Failure(Payload, frozen=True, kw_only=True):
    """An instrument's agent -> who asked: it did not work, and why.

    ``lost`` means that the device wasn't there or stayed silent: what it did is unknown, and it may be back soon.
    ``for_good`` means that it cannot do what it was asked: asking again is of no use.
    """

    observation: str = ""
    """The observation that it is for; '' for none."""
    reason: str
    """What went wrong, for people."""
    lost: bool = False
    """Whether the device wasn't there or stayed silent."""
    for_good: bool = False
    """Whether it refuses this whenever it is asked."""


class Order(Payload, frozen=True):
    """majordome -> dome, telescope: an order, such as open, close, park."""

    reason: str = ""
    """Why, for a person who reads the journal."""


class Reason(Payload, frozen=True):
    """A report with its cause: the dome opened or closed, the telescope reached a limit."""

    reason: str = ""
    """Why, for a person who reads the journal."""


class InstrumentConnection(Payload, frozen=True):
    """An instrument's agent -> monitoring, and whoever waits for it: the device is there, or not, and why."""

    instrument: str
    """The agent's name."""
    text: str
    """The device and its address, or why it is not connected."""


class Telemetry(Payload, frozen=True):
    """An instrument's agent -> monitoring: what the device says of itself, at a steady pace.

    ``values`` have the units of `pyros.instruments.interfaces`; None for what the device doesn't tell.
    """

    instrument: str
    """The agent's name."""
    state: str
    """The device's state, as in `pyros.instruments.interfaces`."""
    time: float
    """When it was measured, Unix seconds."""
    values: dict[str, float | str | None] = msgspec.field(default_factory=dict)
    """What the device tells, by name."""


class DeviceState(Payload, frozen=True, kw_only=True):
    """An instrument's agent -> who has said *Tell state*: what its device does, asked for this answer."""

    instrument: str
    """The agent's name."""
    state: str
    """As in `pyros.instruments.interfaces`; ``unknown`` when the device did not answer."""
    reason: str = ""
    """Of the dome: why it may not be open now by its agent's leases; '' when it may."""


ABORT = register("Abort", Abort, guarded=True)
INSTRUMENT_CONNECTED = register("Instrument connected", InstrumentConnection, guarded=True)
INSTRUMENT_DISCONNECTED = register("Instrument disconnected", InstrumentConnection)
TELEMETRY = register("Telemetry", Telemetry, guarded=True, fleeting=True, patient=5.0)
TELL_STATE = register("Tell state", NoPayload)
DEVICE_STATE = register("Device state", DeviceState, guarded=True)
