"""The named messages that agents exchange, and what each carries.

Every name and every payload type of the standard agents stands here. A payload that does not fit its name is refused
where it arrives, with an error that names the field. An agent of one's own may add its types with `register`; a
name nobody registered carries any JSON object.

Angles are ICRS degrees, durations seconds, times seconds since 1970-01-01 UTC, unless a field says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

LARGEST_PACKET = 1024 * 1024
"""Bytes of a packet that travels in a message; JSON makes them a third longer, and a frame has 16 MiB at most."""

Degrees = Annotated[float, msgspec.Meta(ge=0, lt=360)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of all payload types."""


class NoPayload(Payload, frozen=True):
    """A message whose name says it all."""


class AlertReceived(Payload, frozen=True):
    """broker -> alert_manager. ``packet`` are the bytes as they came; ``kept`` is the store's number for them.

    A packet too large for a message (`LARGEST_PACKET`) is left out: the broker's journal has it under its number.
    """

    packet: bytes
    source: str
    received: float
    kept: int | None = None
    topic: str = ""
    """The Kafka topic it came on, if it did."""


class AlertDecided(Payload, frozen=True):
    """alert_manager -> monitoring: what was decided about an alert, and why, in words."""

    alert: str
    event: str
    accepted: bool
    reason: str
    rule: str = ""
    ra: float | None = None
    dec: float | None = None
    error_radius: float | None = None
    observation: str = ""


class Exposures(Payload, frozen=True):
    """``count`` exposures of ``seconds`` each through ``filter``."""

    filter: str
    seconds: Positive
    count: Count = 1


class Observation(Payload, frozen=True):
    """A request to observe: alert_manager -> scheduler -> majordome -> observation_manager."""

    id: str
    target: str
    ra: Degrees
    dec: Latitude
    exposures: Annotated[tuple[Exposures, ...], msgspec.Meta(min_length=1, max_length=100)]
    priority: int = 0
    alert: str = ""
    event: str = ""
    error_radius: float | None = None
    event_time: float | None = None
    """When it happened in the sky."""
    min_altitude: float = 10.0
    expires: float | None = None
    requested: float = 0.0
    reason: str = ""
    repeat: Annotated[tuple[float, ...], msgspec.Meta(max_length=100)] = ()
    """When the same is to be observed again. The scheduler makes an observation of each."""
    not_before: float | None = None
    """When it may begin, where that is later than now: one of the repeats."""
    repeats: str = ""
    """The id of the observation that it repeats."""


class Withdrawal(Payload, frozen=True):
    """alert_manager -> scheduler: an observation is not wanted any more."""

    observation: str
    reason: str


class Planned(Payload, frozen=True):
    """One line of the plan: an observation and what was computed for it."""

    observation: Observation
    altitude: float
    reason: str


class Plan(Payload, frozen=True):
    """scheduler -> majordome: tonight in order. ``start_now`` is the id of the observation to run at this moment."""

    observations: tuple[Planned, ...]
    start_now: str | None = None
    withdrawn: tuple[str, ...] = ()


class Abort(Payload, frozen=True):
    """Stop what is being done for this observation ('' means whatever is being done)."""

    observation: str = ""
    reason: str = ""


class ObservationReport(Payload, frozen=True):
    """observation_manager -> majordome, scheduler: how an observation stands.

    ``again`` means that a failed one may be observed again later: it was preempted, or the weather stopped it.
    """

    observation: str = ""
    images: tuple[str, ...] = ()
    reason: str = ""
    again: bool = False


class Slew(Payload, frozen=True):
    """observation_manager -> telescope."""

    observation: str
    ra: Degrees
    dec: Latitude


class SlewStarted(Payload, frozen=True):
    """telescope -> observation_manager: the mount took the command; ``seconds`` is its own estimate."""

    observation: str
    seconds: float


class SlewFinished(Payload, frozen=True):
    """telescope -> observation_manager: the measured position, not the demanded one."""

    observation: str
    ra: float
    dec: float
    error: float
    """Separation of measured and demanded position, arcseconds."""


class Failure(Payload, frozen=True, kw_only=True):
    """An instrument's agent -> who asked: it did not work, and why.

    ``lost`` means that the device wasn't there or stayed silent: what it did is unknown, and it may be back soon.
    """

    observation: str = ""
    reason: str
    lost: bool = False


class Expose(Payload, frozen=True, kw_only=True):
    """observation_manager -> camera. ``number`` counts the exposures of the observation from 1.

    Of a BIAS and a DARK the shutter stays closed; for those and a FLAT, ``pyros send camera Expose`` will do.
    """

    observation: str
    number: int
    of: int
    filter: str
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    image_type: Literal["LIGHT", "BIAS", "DARK", "FLAT"] = "LIGHT"
    target: str = ""
    ra: Degrees
    dec: Latitude
    pointing_ra: float
    pointing_dec: float
    alert: str = ""
    event: str = ""
    error_radius: float | None = None
    event_time: float | None = None


class ExposureStarted(Payload, frozen=True):
    """camera -> observation_manager: the shutter is open."""

    observation: str
    number: int
    of: int
    filter: str
    seconds: float


class ExposureFinished(Payload, frozen=True):
    """camera -> observation_manager: the image is on disk, synced."""

    observation: str
    number: int
    filter: str
    path: str
    started: float | None = None
    seconds: float | None = None


class ImageTaken(Payload, frozen=True):
    """camera -> analyzer. ``ra`` and ``dec`` are where the target is, known to ``error_radius`` degrees."""

    observation: str
    path: str
    ra: float
    dec: float
    alert: str = ""
    event: str = ""
    error_radius: float | None = None
    event_time: float | None = None


class ImageAnalysed(Payload, frozen=True):
    """analyzer -> monitoring: what an image showed; ``problem`` says why something is missing.

    ``ra`` and ``dec`` are its true centre, ``east`` and ``north`` how far (arcseconds) that is from where its header
    says; ``fwhm`` of the stars in arcseconds; ``zero_point`` the magnitude of 1 ADU per second; ``new`` counts the
    sources near the alert's position that the catalogue doesn't know.
    """

    observation: str
    path: str
    sources: int = 0
    matched: int = 0
    fwhm: float | None = None
    zero_point: float | None = None
    zero_point_error: float | None = None
    ra: float | None = None
    dec: float | None = None
    east: float | None = None
    north: float | None = None
    new: int = 0
    calibrated: tuple[str, ...] = ()
    """Of bias, dark, flat those that there was a master for."""
    problem: str = ""


class PointingMeasured(Payload, frozen=True):
    """analyzer -> telescope: an image of this observation shows the sky so many arcseconds to the east and north of
    where the telescope had said that it points."""

    observation: str
    east: float
    north: float


class TakenImage(Payload, frozen=True):
    """One image of an observation, as others want to know it."""

    path: str
    filter: str
    seconds: float
    started: float


class FollowUp(Payload, frozen=True, kw_only=True):
    """observation_manager -> alert_manager, where the observatory publishes: an observation has begun or ended."""

    what: Literal["started", "finished", "stopped"]
    request: Observation
    time: float
    images: tuple[TakenImage, ...] = ()
    reason: str = ""


class Publish(Payload, frozen=True):
    """An agent -> broker: a VOEvent of our own, to be kept and sent to the subscribers, not to be followed up."""

    packet: bytes


class SourceFound(Payload, frozen=True, kw_only=True):
    """analyzer -> alert_manager: a source that may be what the alert is about, as it was measured in an image.

    It is published as a follow-up of the alert where the observatory publishes.
    """

    observation: str
    alert: str
    """The identifier of the packet that is followed up, as in `Observation`."""
    event: str
    ra: Degrees
    dec: Latitude
    magnitude: float
    magnitude_error: Annotated[float, msgspec.Meta(ge=0)] | None = None
    filter: str
    time: float
    """The middle of the exposure."""
    path: str = ""
    """The image; '' where there is none here."""
    error_radius: Positive | None = None
    """Of the position, degrees."""


class SelectFilter(Payload, frozen=True, kw_only=True):
    """observation_manager -> filter_wheel."""

    observation: str = ""
    filter: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class FilterSelected(Payload, frozen=True, kw_only=True):
    """filter_wheel -> observation_manager: the filter that the wheel itself reports."""

    observation: str = ""
    filter: str


class MoveFocus(Payload, frozen=True, kw_only=True):
    """observation_manager -> focuser: to an absolute position in its steps, or, without one, to that of the filter.

    With a position, that position is the filter's from then on, and the other filters' move along.
    """

    observation: str = ""
    position: int | None = None
    filter: str = ""


class FocusMoved(Payload, frozen=True, kw_only=True):
    """focuser -> observation_manager: the measured position."""

    observation: str = ""
    position: int
    filter: str = ""


class Cool(Payload, frozen=True):
    """-> camera: cool the detector to so many degrees Celsius; None switches the cooler off. Also the answer."""

    celsius: float | None = None


class SetSwitch(Payload, frozen=True):
    """-> switch: a channel, by its number from 0 or its name, and its level. Also the answer, with the measured one."""

    channel: Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(max_length=100)]
    level: float


class Follow(Payload, frozen=True, kw_only=True):
    """observation_manager -> dome: turn the slit to this position, ICRS degrees, and follow it until it closes."""

    observation: str = ""
    ra: Degrees
    dec: Latitude


class SlitInPlace(Payload, frozen=True, kw_only=True):
    """dome -> observation_manager: the slit looks there; the measured azimuth in degrees, None for a roof."""

    observation: str = ""
    azimuth: float | None = None


class SafetyReading(Payload, frozen=True):
    """safety -> monitoring: what the safety monitor says."""

    safe: bool
    reason: str = ""


class InstrumentConnection(Payload, frozen=True):
    """An instrument's agent -> monitoring, and whoever waits for it: the device is there, or not, and why."""

    instrument: str
    text: str


class Telemetry(Payload, frozen=True):
    """An instrument's agent -> monitoring: what the device says of itself, at a steady pace.

    ``values`` have the units of `pyros.instruments.interfaces`; None for what the device doesn't tell.
    """

    instrument: str
    state: str
    time: float
    values: dict[str, float | str | None] = {}


class Order(Payload, frozen=True):
    """majordome -> dome, telescope: open, close, park; ``reason`` is for whoever reads the journal."""

    reason: str = ""


class KeepOpen(Payload, frozen=True):
    """majordome -> dome: a lease. A dome that hears no new one within ``seconds`` closes by itself."""

    seconds: Positive


class WeatherReading(Payload, frozen=True):
    """weather -> monitoring. Degrees Celsius, percent, metres per second, rain as the sensor's yes or no.

    None stands for what the station does not tell.
    """

    temperature: float
    humidity: float
    wind: float
    rain: bool
    cloud: float = 0.0
    """Fraction of the sky covered, 0 to 1."""
    pressure: float | None = None
    """Hectopascal, at the station's height."""
    dew_point: float | None = None
    """Degrees Celsius."""
    sky_brightness: float | None = None
    """Magnitudes per square arcsecond: the greater, the darker."""


class WeatherState(Payload, frozen=True):
    """monitoring -> majordome, dome: safe or unsafe (the message's name tells), and why."""

    reason: str
    reading: WeatherReading | None = None


ALERT_RECEIVED = "Alert received"
ALERT_DECIDED = "Alert decided"
OBSERVATION_REQUESTED = "Observation requested"
OBSERVATION_REQUEST_CHANGED = "Observation request changed"
OBSERVATION_REQUEST_WITHDRAWN = "Observation request withdrawn"
PLAN_UPDATED = "Plan updated"
PLAN_AGAIN = "Plan again"
OBSERVE = "Observe"
ABORT_OBSERVATION = "Abort observation"
OBSERVATION_STARTED = "Observation started"
OBSERVATION_FINISHED = "Observation finished"
OBSERVATION_FAILED = "Observation failed"
SLEW = "Slew"
SLEW_STARTED = "Slew started"
SLEW_FINISHED = "Slew finished"
SLEW_FAILED = "Slew failed"
PARK = "Park"
PARK_FINISHED = "Park finished"
PARK_FAILED = "Park failed"
EXPOSE = "Expose"
EXPOSURE_STARTED = "Exposure started"
EXPOSURE_FINISHED = "Exposure finished"
EXPOSURE_FAILED = "Exposure failed"
ABORT = "Abort"
IMAGE_TAKEN = "Image taken"
IMAGE_ANALYSED = "Image analysed"
POINTING_MEASURED = "Pointing measured"
SOURCE_FOUND = "Source found"
FOLLOW_UP = "Follow-up"
PUBLISH = "Publish"
OPEN = "Open"
CLOSE = "Close"
KEEP_OPEN = "Keep open"
DOME_OPENED = "Dome opened"
DOME_CLOSED = "Dome closed"
DOME_FAILED = "Dome failed"
SELECT_FILTER = "Select filter"
FILTER_SELECTED = "Filter selected"
FILTER_FAILED = "Filter failed"
MOVE_FOCUS = "Move focus"
FOCUS_MOVED = "Focus moved"
FOCUS_FAILED = "Focus failed"
COOL = "Cool"
COOLING_SET = "Cooling set"
COOLING_FAILED = "Cooling failed"
SET_SWITCH = "Set switch"
SWITCH_SET = "Switch set"
SWITCH_FAILED = "Switch failed"
FOLLOW = "Follow"
SLIT_IN_PLACE = "Slit in place"
SLIT_FAILED = "Slit failed"
SAFETY_READING = "Safety reading"
INSTRUMENT_CONNECTED = "Instrument connected"
INSTRUMENT_DISCONNECTED = "Instrument disconnected"
TELEMETRY = "Telemetry"
WEATHER_READING = "Weather reading"
WEATHER_SAFE = "Weather safe"
WEATHER_UNSAFE = "Weather unsafe"

PAYLOADS: dict[str, type[Payload]] = {
    ALERT_RECEIVED: AlertReceived,
    ALERT_DECIDED: AlertDecided,
    OBSERVATION_REQUESTED: Observation,
    OBSERVATION_REQUEST_CHANGED: Observation,
    OBSERVATION_REQUEST_WITHDRAWN: Withdrawal,
    PLAN_UPDATED: Plan,
    PLAN_AGAIN: NoPayload,
    OBSERVE: Observation,
    ABORT_OBSERVATION: Abort,
    SLEW: Slew,
    SLEW_STARTED: SlewStarted,
    SLEW_FINISHED: SlewFinished,
    SLEW_FAILED: Failure,
    PARK: Order,
    PARK_FINISHED: NoPayload,
    PARK_FAILED: Failure,
    EXPOSE: Expose,
    EXPOSURE_STARTED: ExposureStarted,
    EXPOSURE_FINISHED: ExposureFinished,
    EXPOSURE_FAILED: Failure,
    ABORT: Abort,
    OBSERVATION_STARTED: ObservationReport,
    OBSERVATION_FINISHED: ObservationReport,
    OBSERVATION_FAILED: ObservationReport,
    IMAGE_TAKEN: ImageTaken,
    IMAGE_ANALYSED: ImageAnalysed,
    POINTING_MEASURED: PointingMeasured,
    SOURCE_FOUND: SourceFound,
    FOLLOW_UP: FollowUp,
    PUBLISH: Publish,
    OPEN: Order,
    CLOSE: Order,
    KEEP_OPEN: KeepOpen,
    DOME_OPENED: Order,
    DOME_CLOSED: Order,
    DOME_FAILED: Failure,
    SELECT_FILTER: SelectFilter,
    FILTER_SELECTED: FilterSelected,
    FILTER_FAILED: Failure,
    MOVE_FOCUS: MoveFocus,
    FOCUS_MOVED: FocusMoved,
    FOCUS_FAILED: Failure,
    COOL: Cool,
    COOLING_SET: Cool,
    COOLING_FAILED: Failure,
    SET_SWITCH: SetSwitch,
    SWITCH_SET: SetSwitch,
    SWITCH_FAILED: Failure,
    FOLLOW: Follow,
    SLIT_IN_PLACE: SlitInPlace,
    SLIT_FAILED: Failure,
    SAFETY_READING: SafetyReading,
    INSTRUMENT_CONNECTED: InstrumentConnection,
    INSTRUMENT_DISCONNECTED: InstrumentConnection,
    TELEMETRY: Telemetry,
    WEATHER_READING: WeatherReading,
    WEATHER_SAFE: WeatherState,
    WEATHER_UNSAFE: WeatherState,
}

_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(type_) for name, type_ in PAYLOADS.items()
}
_any_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


def register(name: str, payload: type[msgspec.Struct]) -> None:
    """Give the messages of that name a payload type, so that a wrong payload is refused where it arrives.

    Raises ValueError when the name has another type already.
    """
    if PAYLOADS.get(name, payload) is not payload:
        raise ValueError(f"message {name!r} already carries {PAYLOADS[name].__name__}")
    PAYLOADS[name] = payload  # type: ignore[assignment]
    _decoders[name] = msgspec.json.Decoder(payload)


def encode_payload(name: str, payload: Any = None) -> bytes:
    """The JSON object for a payload: None, a dict, or the name's own type.

    Raises ValueError when it does not fit the name, naming the field.
    """
    if payload is None:
        json = b"{}"
    elif isinstance(payload, (dict, msgspec.Struct)):
        try:
            json = _encoder.encode(payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"payload of {name!r} cannot be written as JSON: {error}") from None
    else:
        raise ValueError(f"payload of {name!r} must be a JSON object, not {type(payload).__name__}")
    type_ = PAYLOADS.get(name)
    if type_ is not None and not (isinstance(payload, type_) and type(payload) is type_):
        decode_payload(name, json)
    return json


def decode_payload(name: str, json: bytes) -> Any:
    """The typed payload (a dict for a name nobody registered); raises ValueError naming the field that is wrong."""
    try:
        return _decoders.get(name, _any_object).decode(json)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"payload of {name!r}: {error}") from None


class Message:
    """A named message as a handler sees it.

    ``id`` is unique, ``sender`` the agent or program it came from, ``sent`` when (Unix seconds). ``payload`` is decoded
    when it is first read.
    """

    __slots__ = ("_payload", "id", "json", "name", "sender", "sent", "unreadable")

    def __init__(self, id: str, name: str, sender: str, sent: float, json: bytes = b"{}") -> None:
        self.id = id
        self.name = name
        self.sender = sender
        self.sent = sent
        self.json = json
        self.unreadable = False
        self._payload: Any = None

    @property
    def payload(self) -> Any:
        """The typed payload, or a dict for a name that has no type."""
        if self._payload is None:
            self._payload = decode_payload(self.name, self.json)
        return self._payload

    def check(self) -> None:
        """Decode a typed payload now.

        Raises ValueError naming the field that is wrong, and sets ``unreadable``: such a message is refused.
        """
        self.unreadable = True
        if self.name in PAYLOADS:
            self._payload = decode_payload(self.name, self.json)
        elif not self.json.startswith(b"{"):
            raise ValueError(f"payload of {self.name!r} must be a JSON object")
        else:
            try:
                str(self.json, "utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"payload of {self.name!r} is not valid UTF-8") from None
        self.unreadable = False

    def __repr__(self) -> str:
        return f"<Message {self.name!r} {self.id} from {self.sender}>"
